//! From a ranking to probabilities: of all routes given .8, about 80 % should be right, and of all tasks for which it says
//! .8 that something fits, there should be something for about 80 %.
//!
//! Logistic regressions over a few facts of a ranking, fitted by `scripts/fit_confidence.py` and `scripts/fit_fits.py` on
//! what `scripts/evidence.py` has `orchestrator eval --evidence` write with the default model. The confidence is fitted
//! on labelled sets alone; Seal-Tools has no part in it, since it is made up and far easier than what people ask, and would
//! make all others look too sure. Whether anything fits is told apart from whether the first tool is right, as a task
//! that two tools could do is none that nothing does.

use super::explain::Term;
use crate::{
    index::fuse::{Familiar, Views},
    weights::weights,
};

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
    /// How much nearer the task is to its examples, on average, than they are to one another; 0 where it has not two.
    pub familiar: f32,
    /// How much nearer the task is to its text than its examples are.
    pub familiar_text: f32,
    /// 1 where the task names a service, and the tool has nothing to do with it.
    pub other_service: f32,
    /// 1 where the task asks for a change that the tool does not make.
    pub other_action: f32,
    /// 1 where the task asks for something by a verb that the tool knows nothing of.
    pub other_verb: f32,
    /// 1 where the task has several steps: then something mostly fits one of them.
    pub several: f32,
}

/// What speaks against a tool however near it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objections {
    /// The task names a service, and the tool has nothing to do with it.
    pub other_service: bool,
    /// The task asks for a change that the tool does not make.
    pub other_action: bool,
    /// The task asks for something by a verb that the tool knows nothing of.
    pub other_verb: bool,
}

impl Objections {
    /// The first of them in words, of the tools that are nearest.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self { other_service: true, .. } => {
                Some("the task names a service that the nearest have nothing to do with")
            }
            Self { other_action: true, .. } | Self { other_verb: true, .. } => {
                Some("the nearest do not do what the task asks for")
            }
            Self { .. } => None,
        }
    }
}

impl Evidence {
    /// Evidence for a tool with that share and those views.
    pub fn new(
        share: f32,
        views: Option<Views>,
        familiar: Option<Familiar>,
        objections: Objections,
        has_steps: bool,
    ) -> Self {
        let text = views.map_or(0.0, |views| views.text);
        let (best, mean, taught) = match views.and_then(|views| views.examples) {
            Some(examples) => (examples.best, examples.mean, 1.0),
            None => (text, text, 0.0),
        };
        let (familiar, familiar_text) =
            familiar.map_or((0.0, 0.0), |familiar| (mean - familiar.examples, text - familiar.text));
        let fact = |holds: bool| f32::from(u8::from(holds));
        Self {
            share,
            best,
            mean,
            taught,
            familiar,
            familiar_text,
            other_service: fact(objections.other_service),
            other_action: fact(objections.other_action),
            other_verb: fact(objections.other_verb),
            several: fact(has_steps),
        }
    }

    /// What speaks against the tool.
    pub fn objections(&self) -> Objections {
        Objections {
            other_service: self.other_service > 0.0,
            other_action: self.other_action > 0.0,
            other_verb: self.other_verb > 0.0,
        }
    }

    /// The facts as numbers, by the name of their weight.
    pub fn features(&self) -> [(&'static str, f32); 10] {
        [
            ("share", self.share),
            ("best", self.best),
            ("mean", self.mean),
            ("taught", self.taught),
            ("familiar", self.familiar),
            ("familiarText", self.familiar_text),
            ("otherService", self.other_service),
            ("otherAction", self.other_action),
            ("otherVerb", self.other_verb),
            ("several", self.several),
        ]
    }

    /// What adds up to the log-odds that there is a tool for the task; nothing where this one has no examples.
    pub(super) fn fits_terms(&self) -> Vec<Term> {
        if self.taught == 0.0 {
            return Vec::new();
        }
        let weights = &weights().fits;
        vec![
            Term::new("share among all tools and none", self.share, weights.share),
            Term::new("nearest example or text", self.best, weights.best),
            Term::new("examples on average or text", self.mean, weights.mean),
            Term::new("nearer to the examples than these to one another", self.familiar, weights.familiar),
            Term::new("nearer to the text than the examples", self.familiar_text, weights.familiar_text),
            Term::new("the task names another service", self.other_service, weights.other_service),
            Term::new("the task asks for another action", self.other_action, weights.other_action),
            Term::new("the task has a verb unknown to it", self.other_verb, weights.other_verb),
            Term::new("the task has several steps", self.several, weights.several),
            Term::new("constant", 1.0, weights.constant),
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

/// The probability, as far as this tool tells, that there is one for the task. Its own text alone tells too little to say
/// that there is none.
pub fn fits(evidence: &Evidence) -> f32 {
    let terms = evidence.fits_terms();
    if terms.is_empty() { 1.0 } else { probability(&terms) }
}

/// The probability that the tool does the task, 0 to 1.
pub fn of(evidence: &Evidence) -> f32 {
    probability(&evidence.terms())
}

fn probability(terms: &[Term]) -> f32 {
    let sum: f32 = terms.iter().map(|term| term.adds).sum();
    1.0 / (1.0 + (-sum).exp())
}
