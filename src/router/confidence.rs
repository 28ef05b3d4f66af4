//! From scores to a probability: of all routes given 0.8, about 80 % should be right.
//!
//! A logistic regression over a few facts of a ranking, fitted by `scripts/fit_confidence.py` on what
//! `orchestrator eval --evidence` writes with the default model for three labelled sets of
//! `../shared/eval`: fleet and livemcpbench, each with and without examples, and mcpproxy-golden. The
//! fourth, seal-tools, is made up and far easier than what people ask, and would make all others look
//! too sure.

use crate::index::fuse::Views;

/// What the confidence is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Score of the tool.
    pub score: f32,
    /// Its score less that of the best other tool; negative for all but the first.
    pub margin: f32,
    /// How near its text and examples are, 0 when it has no vector.
    pub dense: f32,
    /// Saturated BM25.
    pub lexical: f32,
    /// Logarithm of the number of tools that were ranked: among many, a good score is more easily
    /// had by chance.
    pub tools: f32,
    /// 1 where the tool has examples: then the same score says more.
    pub taught: f32,
}

/// Weights in the order of [`Evidence::features`], and the constant.
const WEIGHTS: [f32; 6] = [4.514, 2.474, 3.411, 1.103, -0.279, 0.91];
const CONSTANT: f32 = -4.433;

impl Evidence {
    /// Evidence for a tool with `score` among `tools`, where the best other tool has `rival`.
    pub fn new(score: f32, rival: f32, views: Option<Views>, lexical: f32, tools: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rough count will do")]
        let tools = (tools as f32).ln_1p();
        let dense = views.map_or(0.0, |views| views.dense());
        let taught = f32::from(u8::from(views.is_some_and(|views| views.examples.is_some())));
        Self { score, margin: score - rival, dense, lexical, tools, taught }
    }

    /// The facts as numbers, in the order of the weights.
    pub fn features(&self) -> [f32; 6] {
        [self.score, self.margin, self.dense, self.lexical, self.tools, self.taught]
    }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    let sum: f32 = evidence.features().iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    1.0 / (1.0 + (-(sum + CONSTANT)).exp())
}
