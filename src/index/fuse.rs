//! One score from two of different kinds: the cosine, plus a saturated BM25.
//!
//! Rank fusion throws away how good the best is; a sum with BM25 as it comes lets a long match
//! drown everything. `bm25 / (bm25 + 50)` lies between 0 and 1, is nearly straight where most
//! scores lie (the best match of a task has 7 to 35), and grows slowly above.

/// BM25 at which the lexical part is half of its most. A round number, chosen on the labelled sets
/// of `../shared/eval`; anything from 30 to 60 does nearly as well.
const HALF: f32 = 50.0;

/// BM25 brought to the range 0 to 1.
pub fn saturate(bm25: f32) -> f32 {
    let bm25 = bm25.max(0.0);
    bm25 / (bm25 + HALF)
}

/// The score by which tools are ranked. Without a cosine (no model) words alone decide.
pub fn score(cosine: Option<f32>, bm25: f32) -> f32 {
    match cosine {
        Some(cosine) => cosine + saturate(bm25),
        None => saturate(bm25),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn more_of_either_never_ranks_lower(cosine in -1.0_f32..1.0, bm25 in 0.0_f32..60.0, more in 0.0_f32..1.0) {
            prop_assert!(score(Some(cosine + more), bm25) >= score(Some(cosine), bm25));
            prop_assert!(score(Some(cosine), bm25 + more) >= score(Some(cosine), bm25));
            prop_assert!((0.0..1.0).contains(&saturate(bm25)));
        }
    }
}
