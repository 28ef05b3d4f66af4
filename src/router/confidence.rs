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
    /// 1 where the task names a service, and the tool has nothing to do with it.
    pub other_service: f32,
    /// 1 where the task asks for a change that the tool does not make.
    pub other_action: f32,
}

/// What speaks against a tool however near it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objections {
    /// The task names a service, and the tool has nothing to do with it.
    pub other_service: bool,
    /// The task asks for a change that the tool does not make.
    pub other_action: bool,
}

impl Objections {
    /// The first of them in words, of the tools that are nearest.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self { other_service: true, .. } => {
                Some("the task names a service that the nearest have nothing to do with")
            }
            Self { other_action: true, .. } => Some("the nearest do not do what the task asks for"),
            Self { .. } => None,
        }
    }
}

impl Evidence {
    /// Evidence for a tool with that share and those views.
    pub fn new(share: f32, views: Option<Views>, objections: Objections) -> Self {
        let text = views.map_or(0.0, |views| views.text);
        let (best, mean, taught) = match views.and_then(|views| views.examples) {
            Some(examples) => (examples.best, examples.mean, 1.0),
            None => (text, text, 0.0),
        };
        let other_service = f32::from(u8::from(objections.other_service));
        let other_action = f32::from(u8::from(objections.other_action));
        Self { share, best, mean, taught, other_service, other_action }
    }

    /// What speaks against the tool.
    pub fn objections(&self) -> Objections {
        Objections { other_service: self.other_service > 0.0, other_action: self.other_action > 0.0 }
    }

    /// The facts as numbers, by the name of their weight.
    pub fn features(&self) -> [(&'static str, f32); 6] {
        [
            ("share", self.share),
            ("best", self.best),
            ("mean", self.mean),
            ("taught", self.taught),
            ("otherService", self.other_service),
            ("otherAction", self.other_action),
        ]
    }

    /// What adds up to the confidence, as log-odds.
    pub(super) fn terms(&self) -> Vec<Term> {
        let weights = &weights().confidence;
        vec![
            Term::new("share among all tools and none", self.share, weights.share),
            Term::new("nearest example or text", self.best, weights.best),
            Term::new("examples on average or text", self.mean, weights.mean),
            Term::new("has examples", self.taught, weights.taught),
            Term::new("the task names another service", self.other_service, weights.other_service),
            Term::new("the task asks for another action", self.other_action, weights.other_action),
            Term::new("constant", 1.0, weights.constant),
        ]
    }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    let sum: f32 = evidence.terms().iter().map(|term| term.adds).sum();
    1.0 / (1.0 + (-sum).exp())
}
