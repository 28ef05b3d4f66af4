//! The numbers that ranking and confidence depend on, from `models/ranking.json`. What they were chosen
//! or fitted on is in BENCHMARKS.md.

use std::sync::OnceLock;

use serde::Deserialize;

static WEIGHTS: OnceLock<Weights> = OnceLock::new();

/// The weights of this process.
///
/// # Panics
/// Never: a test reads the file.
pub fn weights() -> &'static Weights {
    WEIGHTS.get_or_init(|| {
        serde_json::from_str(include_str!("../models/ranking.json")).expect("models/ranking.json is complete")
    })
}

/// Takes others, to measure what they do.
///
/// # Panics
/// When something was ranked before.
pub fn replace(text: &str) -> Result<(), serde_json::Error> {
    let weights = serde_json::from_str(text)?;
    assert!(WEIGHTS.set(weights).is_ok(), "weights are replaced before they are used");
    Ok(())
}

/// All of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// One tool's score for one text.
    pub tool: ToolWeights,
    /// A task of several clauses.
    pub task: TaskWeights,
    /// How scores become shares.
    pub belief: BeliefWeights,
    /// How shares and cosines become a probability.
    pub confidence: ConfidenceWeights,
    /// How they tell whether there is a tool for the task at all.
    pub fits: FitsWeights,
}

/// One tool's score for one text: a sum of cosines, plus its saturated BM25.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolWeights {
    /// Of the cosine of its own text, where it has examples; where it has none, that counts in full.
    pub text: f32,
    /// Of its nearest example.
    pub nearest: f32,
    /// Of its examples on average.
    pub mean: f32,
    /// Of its BM25, brought to the range 0 to 1.
    pub words: f32,
    /// BM25 at which the lexical part is half of its most. Anything from 25 to 80 does nearly as well.
    pub half_of_words: f32,
    /// What examples are taken to add to the cosine of a tool that has none yet: else a tool that
    /// somebody taught would come before a better one that nobody did.
    pub untaught: f32,
}

/// A task of several clauses. From .3 to .5 for the clause all do nearly as well.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskWeights {
    /// Share of a clause in a tool's score for it, the rest is the task's.
    pub clause: f32,
    /// Tools whose average score is the level of a clause. A short text is nearer to everything than a
    /// long one, so each clause is brought to the level of the task.
    pub level: usize,
    /// What each tool that was taken for a clause takes from the others for it.
    pub served: f32,
}

/// How scores become shares of what is believed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeliefWeights {
    /// By how much more a tool's share grows with its score: `exp(sharpness * score)`. About what a fit
    /// of the scores to the labelled sets gives.
    pub sharpness: f32,
    /// Score at which a tool is no likelier than that nothing fits: so the share of the best of a few
    /// tools is small where none is near.
    pub nothing: f32,
    /// The same where words alone are searched, which score lower.
    pub nothing_by_words: f32,
}

/// A logistic regression, fitted by `scripts/fit_fits.py`: whether there is a tool for the task, as far as one that has
/// examples tells.
/// The facts are those of [`Evidence`](crate::router::confidence::Evidence).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FitsWeights {
    /// Of its share.
    pub share: f32,
    /// Of the nearest example.
    pub best: f32,
    /// Of the examples on average.
    pub mean: f32,
    /// Of being nearer to the examples than these are to one another.
    pub familiar: f32,
    /// Of being nearer to the text than the examples are.
    pub familiar_text: f32,
    /// Of naming a service that the tool has nothing to do with.
    pub other_service: f32,
    /// Of asking for a change that the tool does not make.
    pub other_action: f32,
    /// Of asking for something by a verb that the tool knows nothing of.
    pub other_verb: f32,
    /// Of a task of several steps.
    pub several: f32,
    /// What is added in any case.
    pub constant: f32,
}

/// A logistic regression, fitted by `scripts/fit_confidence.py`: whether the first tool is the right one. The facts are
/// those of [`Evidence`](crate::router::confidence::Evidence).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfidenceWeights {
    /// Of its share.
    pub share: f32,
    /// Of the nearest example.
    pub best: f32,
    /// Of the examples on average.
    pub mean: f32,
    /// Of having examples.
    pub taught: f32,
    /// Of naming a service that the tool has nothing to do with.
    pub other_service: f32,
    /// Of asking for a change that the tool does not make.
    pub other_action: f32,
    /// What is added in any case.
    pub constant: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_complete_and_within_reason() {
        let Weights { tool, task, belief, confidence, fits } = weights();
        assert!(tool.half_of_words > 0.0 && (0.0..1.0).contains(&tool.untaught) && tool.words >= 0.0);
        // Else a tool's score would rise or fall with its first example, whatever that says.
        assert!((tool.text + tool.nearest + tool.mean - 1.0).abs() < 1e-6);
        assert!((0.0..=1.0).contains(&task.clause) && task.level > 0 && task.served >= 0.0);
        assert!(belief.sharpness > 0.0 && belief.nothing > belief.nothing_by_words);
        assert!(confidence.share > 0.0 && confidence.best > 0.0, "more of either means more sure");
        assert!(confidence.other_service < 0.0 && confidence.other_action < 0.0, "both speak against a tool");
        assert!(
            fits.other_service < 0.0 && fits.other_action < 0.0 && fits.other_verb < 0.0,
            "all speak against a tool"
        );
    }
}
