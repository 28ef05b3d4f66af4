//! From a ranking to a probability: of all routes given 0.8, about 80 % should be right.
//!
//! A logistic regression over a few facts of a ranking, fitted by `scripts/fit_confidence.py` on what
//! `orchestrator eval --evidence` writes with the default model for three labelled sets of
//! `../shared/eval`: fleet and livemcpbench, each with and without examples, and mcpproxy-golden. The
//! fourth, seal-tools, is made up and far easier than what people ask, and would make all others look
//! too sure.

use super::explain::Term;
use crate::{index::fuse::Views, weights::weights};

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

impl Evidence {
    /// Evidence for a tool with that share and those views.
    pub fn new(share: f32, views: Option<Views>) -> Self {
        let text = views.map_or(0.0, |views| views.text);
        match views.and_then(|views| views.examples) {
            Some(examples) => Self { share, best: examples.best, mean: examples.mean, taught: 1.0 },
            None => Self { share, best: text, mean: text, taught: 0.0 },
        }
    }

    /// The facts as numbers, by name.
    pub fn features(&self) -> [(&'static str, f32); 4] {
        [("share", self.share), ("best", self.best), ("mean", self.mean), ("taught", self.taught)]
    }

    /// What adds up to the confidence, as log-odds.
    pub(super) fn terms(&self) -> Vec<Term> {
        let weights = &weights().confidence;
        vec![
            Term::new("share among all tools and none", self.share, weights.share),
            Term::new("nearest example or text", self.best, weights.best),
            Term::new("examples on average or text", self.mean, weights.mean),
            Term::new("has examples", self.taught, weights.taught),
            Term::new("constant", 1.0, weights.constant),
        ]
    }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    let sum: f32 = evidence.terms().iter().map(|term| term.adds).sum();
    1.0 / (1.0 + (-sum).exp())
}
