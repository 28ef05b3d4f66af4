//! From a ranking to a probability: of all routes given 0.8, about 80 % should be right.
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
    /// The tool's share among all and none: high when it is near and no other comes close.
    pub share: f32,
    /// Cosine of its nearest example, of its text where it has none; 0 when it has no vector.
    pub best: f32,
    /// The same on average over its examples.
    pub mean: f32,
    /// 1 where the tool has examples: then the same cosines say something else.
    pub taught: f32,
}

/// Weights in the order of [`Evidence::features`], and the constant.
const WEIGHTS: [f32; 4] = [3.715, 1.507, 1.121, 0.618];
const CONSTANT: f32 = -3.08;

impl Evidence {
    /// Evidence for a tool with that share and those views.
    pub fn new(share: f32, views: Option<Views>) -> Self {
        let text = views.map_or(0.0, |views| views.text);
        match views.and_then(|views| views.examples) {
            Some(examples) => Self { share, best: examples.best, mean: examples.mean, taught: 1.0 },
            None => Self { share, best: text, mean: text, taught: 0.0 },
        }
    }

    /// The facts as numbers, in the order of the weights.
    pub fn features(&self) -> [f32; 4] {
        [self.share, self.best, self.mean, self.taught]
    }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    let sum: f32 = evidence.features().iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    1.0 / (1.0 + (-(sum + CONSTANT)).exp())
}
