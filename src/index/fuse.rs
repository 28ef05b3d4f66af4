//! One score from several of different kinds: how near a tool's own text and its examples are to the
//! task, plus a saturated BM25 over both.
//!
//! Rank fusion throws away how good the best is; a sum with BM25 as it comes lets a long match drown
//! everything. `bm25 / (bm25 + half)` lies between 0 and 1, is nearly straight where most
//! scores lie, and grows slowly above.

use crate::weights::weights;

/// How near a tool is to a task, each as a cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Views {
    /// Its own text.
    pub text: f32,
    /// Its examples, where it has any.
    pub examples: Option<ExampleViews>,
}

/// How near examples are to a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExampleViews {
    /// The nearest.
    pub best: f32,
    /// Which of them that is.
    pub nearest: usize,
    /// All of them on average.
    pub mean: f32,
}

/// How near a tool's examples are to one another and to its text, each as a cosine. That of a task says little by itself:
/// .5 is near to a tool whose examples have little in common, and far from one whose examples are all alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Familiar {
    /// Of two of its examples, on average.
    pub examples: f32,
    /// Of its text and one of its examples, on average.
    pub text: f32,
}

impl Views {
    /// Views of a tool with those cosines of its examples.
    pub fn new(text: f32, examples: impl Iterator<Item = f32>) -> Self {
        let (mut best, mut nearest, mut sum, mut count) = (f32::MIN, 0, 0.0, 0.0);
        for (at, cosine) in examples.enumerate() {
            if cosine > best {
                (best, nearest) = (cosine, at);
            }
            sum += cosine;
            count += 1.0;
        }
        let examples = (count > 0.0).then(|| ExampleViews { best, nearest, mean: sum / count });
        Self { text, examples }
    }

    /// All of them in one.
    pub fn dense(&self) -> f32 {
        let weights = &weights().tool;
        match self.examples {
            Some(ExampleViews { best, mean, .. }) => {
                weights.text * self.text + weights.nearest * best + weights.mean * mean
            }
            None => self.text + weights.untaught,
        }
    }
}

/// BM25 brought to the range 0 to 1.
pub fn saturate(bm25: f32) -> f32 {
    let bm25 = bm25.max(0.0);
    bm25 / (bm25 + weights().tool.half_of_words)
}

/// The score by which tools are ranked, from the views in one and the saturated BM25. Without
/// a cosine (no model) words alone decide.
pub fn score(dense: Option<f32>, lexical: f32) -> f32 {
    dense.unwrap_or_default() + weights().tool.words * lexical
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn more_of_anything_never_ranks_lower(
            text in -1.0_f32..1.0, example in -1.0_f32..1.0, bm25 in 0.0_f32..60.0, more in 0.0_f32..1.0
        ) {
            let dense = |text: f32, example: f32| Views::new(text, [example, 0.1].into_iter()).dense();
            prop_assert!(dense(text + more, example) >= dense(text, example));
            prop_assert!(dense(text, example + more) >= dense(text, example));
            prop_assert!(saturate(bm25 + more) >= saturate(bm25));
            prop_assert!((0.0..1.0).contains(&saturate(bm25)));
            prop_assert!(score(Some(text + more), 0.5) >= score(Some(text), 0.5));
        }
    }

    #[test]
    fn a_tool_without_examples_is_not_starved() {
        let taught = Views::new(0.3, [0.35, 0.3, 0.2].into_iter());
        let untaught = Views::new(0.4, std::iter::empty());
        assert!(untaught.dense() > taught.dense());
        assert_eq!(untaught.examples, None);
        let ExampleViews { best, nearest, mean } = taught.examples.unwrap();
        assert_eq!(nearest, 0);
        assert!((best - 0.35).abs() < 1e-6 && (mean - 0.2833).abs() < 1e-3);
    }
}
