//! From scores to a probability: of all routes given 0.8, about 80 % should be right.
//!
//! A logistic regression over a few facts of a ranking, fitted by `scripts/fit_confidence.py` on what
//! `orchestrator eval --evidence` writes for three labelled sets of `../shared/eval`: fleet,
//! livemcpbench and mcpproxy-golden. The fourth, seal-tools, is made up and far easier than what
//! people ask, and would make all others look too sure.

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
    /// Logarithm of the number of tools that were ranked: among many, a good score is more easily
    /// had by chance.
    pub tools: f32,
}

/// Weights in the order of [`Evidence::features`], and the constant.
const WEIGHTS: [f32; 5] = [3.805, 2.134, 2.393, 2.108, -0.316];
const CONSTANT: f32 = -3.502;

impl Evidence {
    /// Evidence for a tool with `score` among `tools`, where the best other tool has `rival`.
    pub fn new(score: f32, rival: f32, dense: Option<f32>, lexical: f32, tools: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rough count will do")]
        let tools = (tools as f32).ln_1p();
        Self { score, margin: score - rival, dense: dense.unwrap_or_default(), lexical, tools }
    }

    /// The facts as numbers, in the order of the weights.
    pub fn features(&self) -> [f32; 5] {
        [self.score, self.margin, self.dense, self.lexical, self.tools]
    }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    let sum: f32 = evidence.features().iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    1.0 / (1.0 + (-(sum + CONSTANT)).exp())
}
