//! Why a tool stands where it does, in numbers that add up.

use serde::Serialize;

use super::Candidate;
use crate::{
    index::fuse::{ExampleViews, Views},
    weights::weights,
};

/// One fact, and what it adds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Term {
    /// What it is.
    pub feature: &'static str,
    /// How much of it there is.
    pub value: f32,
    /// What each of it counts.
    pub weight: f32,
    /// Both multiplied.
    pub adds: f32,
}

impl Term {
    pub(super) fn new(feature: &'static str, value: f32, weight: f32) -> Self {
        Self { feature, value, weight, adds: value * weight }
    }
}

/// Why a tool has its score and its confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Its example that is nearest to the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// The clause it was taken for, where the task has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
    /// What adds up to the score.
    pub score: Vec<Term>,
    /// What adds up to the confidence, as log-odds: 0 is .5, 1 is .73, 2 is .88.
    pub confidence: Vec<Term>,
    /// The same for whether there is a tool for the task at all; nothing where it has no examples.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<Term>,
}

impl From<&Candidate> for Explanation {
    fn from(candidate: &Candidate) -> Self {
        let weights = weights();
        let mut score = facts(candidate.views, candidate.lexical);
        if let Some(clause) = &candidate.clause {
            for term in &mut score {
                *term = Term::new(term.feature, term.value, term.weight * (1.0 - weights.task.clause));
            }
            score.push(Term::new("clause", clause.score, weights.task.clause));
            if clause.served > 0 {
                #[expect(clippy::cast_precision_loss, reason = "at most the number of tools shown")]
                let served = clause.served as f32;
                score.push(Term::new("tools before it for the same clause", served, -weights.task.served));
            }
        }
        Self {
            example: candidate.example.clone(),
            clause: candidate.clause.as_ref().map(|clause| clause.text.clone()),
            score,
            confidence: candidate.evidence.terms(),
            fits: candidate.evidence.fits_terms(),
        }
    }
}

impl Explanation {
    /// The same as text, a line for each part.
    pub fn lines(&self) -> Vec<String> {
        let quoted =
            |name: &str, text: &Option<String>| text.as_ref().map(|text| format!("{name}: \"{text}\""));
        let sum = |name: &str, terms: &[Term]| {
            let products: Vec<String> = terms
                .iter()
                .map(|term| format!("{} {:.2} × {:.2}", term.feature, term.value, term.weight))
                .collect();
            let total: f32 = terms.iter().map(|term| term.adds).sum();
            Some(format!("{name} {total:.3} = {}", products.join(" + ")))
        };
        [
            quoted("nearest example", &self.example),
            quoted("taken for", &self.clause),
            sum("score", &self.score),
            sum("log-odds", &self.confidence),
            if self.fits.is_empty() { None } else { sum("something fits, log-odds", &self.fits) },
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What adds up to a tool's score for one text.
fn facts(views: Option<Views>, lexical: f32) -> Vec<Term> {
    let weights = &weights().tool;
    let cosines = match views {
        None => Vec::new(),
        Some(Views { text, examples: Some(ExampleViews { best, mean, .. }) }) => vec![
            Term::new("text", text, weights.text),
            Term::new("nearest example", best, weights.nearest),
            Term::new("examples on average", mean, weights.mean),
        ],
        Some(Views { text, examples: None }) => {
            vec![Term::new("text", text, 1.0), Term::new("no examples yet", 1.0, weights.untaught)]
        }
    };
    cosines.into_iter().chain([Term::new("words", lexical, weights.words)]).collect()
}
