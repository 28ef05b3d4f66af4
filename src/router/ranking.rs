//! One order of tools from their scores for a task and for its clauses. Pure.
//!
//! A task of several steps wants tools that cover it, not five for its first verb: the next in order is
//! the tool that does most for a clause, where a clause that was served already counts less.

use crate::weights::weights;

/// A tool in its place of the order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    /// Which of the tools that had scores.
    pub at: usize,
    /// What it was ranked by; falls from one to the next.
    pub score: f32,
    /// Its share among all tools and none for what it was taken for, the task or a clause: nearly 1 when
    /// no other comes near, a half when another is as good.
    pub share: f32,
    /// The clause that it was taken for, where there are any.
    pub clause: Option<Taken>,
}

/// For which clause a tool was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    /// Which of the clauses.
    pub at: usize,
    /// The tool's score for it, brought to the level of the task.
    pub score: f32,
    /// Tools that were taken for it before.
    pub served: usize,
}

/// The best `limit` tools. `whole` holds their scores for the task, `clauses` those for each clause,
/// `by_words` tells that vectors have no part in them.
pub(super) fn rank(whole: &[f32], clauses: &[Vec<f32>], by_words: bool, limit: usize) -> Vec<Ranked> {
    let weights = weights();
    // At the level of the task.
    let lifted: Vec<Vec<f32>> = clauses.iter().map(|clause| lifted(whole, clause)).collect();
    let fits: Vec<Vec<f32>> = match lifted.as_slice() {
        [] => vec![whole.to_vec()],
        clauses => clauses.iter().map(|clause| fits(whole, clause)).collect(),
    };
    // Where nothing else waits to be served, one more tool takes nothing from the next.
    let cost = if clauses.is_empty() { 0.0 } else { weights.task.served };
    let nothing = if by_words { weights.belief.nothing_by_words } else { weights.belief.nothing };
    let totals: Vec<(f32, f32)> = fits.iter().map(|fits| belief(fits, nothing)).collect();
    let mut taken = vec![false; whole.len()];
    let mut served = vec![0_usize; fits.len()];
    let mut ranked = Vec::with_capacity(limit.min(whole.len()));
    while ranked.len() < limit {
        let mut best: Option<(f32, usize, usize)> = None;
        for (clause, fits) in fits.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "at most the limit")]
            let cost = cost * served[clause] as f32;
            for (at, fit) in fits.iter().enumerate().filter(|(at, _)| !taken[*at]) {
                let score = fit - cost;
                if best.is_none_or(|(highest, ..)| score > highest) {
                    best = Some((score, clause, at));
                }
            }
        }
        let Some((score, clause, at)) = best else { break };
        taken[at] = true;
        let (highest, total) = totals[clause];
        let share = (weights.belief.sharpness * (fits[clause][at] - highest)).exp() / total;
        let taken_for =
            lifted.get(clause).map(|scores| Taken { at: clause, score: scores[at], served: served[clause] });
        ranked.push(Ranked { at, score, share, clause: taken_for });
        served[clause] += 1;
    }
    ranked
}

/// The highest score, and the sum of all beliefs, that in `nothing` included, when that of the highest is 1.
fn belief(scores: &[f32], nothing: f32) -> (f32, f32) {
    let sharpness = weights().belief.sharpness;
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let believed = scores.iter().chain([&nothing]).map(|score| (sharpness * (score - highest)).exp());
    (highest, believed.sum())
}

/// Scores for a clause at the level of those for the task.
fn lifted(whole: &[f32], clause: &[f32]) -> Vec<f32> {
    let lift = level(whole) - level(clause);
    clause.iter().map(|score| score + lift).collect()
}

/// How well each tool does a clause, which is understood within the task.
fn fits(whole: &[f32], clause: &[f32]) -> Vec<f32> {
    let share = weights().task.clause;
    whole.iter().zip(clause).map(|(whole, clause)| (1.0 - share) * whole + share * clause).collect()
}

/// The average of the best scores.
fn level(scores: &[f32]) -> f32 {
    let mut best = scores.to_vec();
    best.sort_unstable_by(|left, right| right.total_cmp(left));
    best.truncate(weights().task.level);
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let count = best.len().max(1) as f32;
    best.iter().sum::<f32>() / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(whole: &[f32], clauses: &[Vec<f32>]) -> Vec<usize> {
        rank(whole, clauses, false, 10).into_iter().map(|ranked| ranked.at).collect()
    }

    #[test]
    fn a_task_of_one_clause_is_ordered_by_score() {
        assert_eq!(order(&[0.2, 0.9, 0.5], &[]), [1, 2, 0]);
        assert_eq!(rank(&[0.2, 0.9, 0.5], &[], false, 2).len(), 2);
        let nothing = weights().belief.nothing;
        let as_good = Ranked { at: 0, score: nothing, share: 0.5, clause: None };
        assert_eq!(rank(&[nothing], &[], false, 5), [as_good]);
        assert_eq!(rank(&[], &[], false, 5), []);
    }

    #[test]
    fn the_share_is_that_among_all_tools_and_none() {
        let shares = |scores: &[f32], by_words| -> Vec<f32> {
            rank(scores, &[], by_words, 3).iter().map(|found| found.share).collect()
        };
        let equal = shares(&[0.9, 0.9], false);
        assert!(equal.iter().all(|share| (share - 0.5).abs() < 0.01), "{equal:?}");
        let clear = shares(&[0.9, 0.8, 0.3], false);
        assert!((clear.iter().sum::<f32>() - 1.0).abs() < 0.01 && clear[0] > 0.85, "{clear:?}");
        assert!(shares(&[0.2, 0.1, 0.1], false)[0] < 0.01);
        assert!(shares(&[0.2, 0.1, 0.1], true)[0] > 0.7);
    }

    #[test]
    fn tools_for_each_clause_come_before_more_for_the_first() {
        // Three tools read, one writes.
        let whole = [0.60, 0.59, 0.58, 0.55];
        let clauses = [vec![0.70, 0.69, 0.68, 0.10], vec![0.10, 0.10, 0.10, 0.70]];
        assert_eq!(order(&whole, &[]), [0, 1, 2, 3]);
        assert_eq!(order(&whole, &clauses), [3, 0, 1, 2]);
    }

    proptest! {
        #[test]
        fn every_tool_comes_once_and_scores_never_rise(
            scores in prop::collection::vec(prop::array::uniform3(0.0_f32..2.0), 0..30),
            limit in 0_usize..40,
        ) {
            let whole: Vec<f32> = scores.iter().map(|scores| scores[0]).collect();
            let clauses = [1, 2].map(|clause| scores.iter().map(|scores| scores[clause]).collect());
            let ranked = rank(&whole, &clauses, false, limit);
            prop_assert_eq!(ranked.len(), limit.min(scores.len()));
            prop_assert!(ranked.is_sorted_by(|left, right| left.score >= right.score));
            let mut places: Vec<usize> = ranked.iter().map(|ranked| ranked.at).collect();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), ranked.len());
        }
    }
}
