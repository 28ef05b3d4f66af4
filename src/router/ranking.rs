//! One order of tools from their scores for a task and for its clauses. Pure.
//!
//! A task of several steps wants tools that cover it, not five for its first verb: the next in order is
//! the tool that does most for a clause, where a clause that was served already counts less.

/// Share of a clause in a tool's score for it, the rest is the task's. Chosen on the labelled sets of
/// `../shared/eval` like the two below: from .3 to .5 all do nearly as well.
const CLAUSE: f32 = 0.3;
/// Tools whose average score is the level of a clause. A short text is nearer to everything than a long
/// one, so each clause is brought to the level of the task.
const LEVEL: usize = 40;
/// What each tool that was taken for a clause takes from the others for it.
const SERVED: f32 = 0.04;

/// A tool in its place of the order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    /// Which of the tools that had scores.
    pub at: usize,
    /// What it was ranked by; falls from one to the next.
    pub score: f32,
    /// How well it does what it was taken for: the task, or a clause in the task.
    pub fit: f32,
    /// The same of the best other tool, 0 when there is none.
    pub rival: f32,
}

/// The best `limit` tools. `whole` holds their scores for the task, `clauses` those for each clause.
pub(super) fn rank(whole: &[f32], clauses: &[Vec<f32>], limit: usize) -> Vec<Ranked> {
    let fits: Vec<Vec<f32>> = if clauses.is_empty() {
        vec![whole.to_vec()]
    } else {
        clauses.iter().map(|clause| fits(whole, clause)).collect()
    };
    // Serving a task of one clause again takes nothing from the others.
    let served = if clauses.is_empty() { 0.0 } else { SERVED };
    let best_two: Vec<[usize; 2]> = fits.iter().map(|fits| best_two(fits)).collect();
    let mut taken = vec![false; whole.len()];
    let mut cost = vec![0.0; fits.len()];
    let mut ranked = Vec::with_capacity(limit.min(whole.len()));
    while ranked.len() < limit {
        let mut best: Option<(f32, usize, usize)> = None;
        for (clause, fits) in fits.iter().enumerate() {
            for (at, fit) in fits.iter().enumerate().filter(|(at, _)| !taken[*at]) {
                let score = fit - cost[clause];
                if best.is_none_or(|(highest, ..)| score > highest) {
                    best = Some((score, clause, at));
                }
            }
        }
        let Some((score, clause, at)) = best else { break };
        taken[at] = true;
        cost[clause] += served;
        let [first, second] = best_two[clause];
        let rival = if first == at { second } else { first };
        let fits = &fits[clause];
        let rival = if rival == at { 0.0 } else { fits[rival] };
        ranked.push(Ranked { at, score, fit: fits[at], rival });
    }
    ranked
}

/// How well each tool does a clause, which is understood within the task.
fn fits(whole: &[f32], clause: &[f32]) -> Vec<f32> {
    let lift = level(whole) - level(clause);
    whole
        .iter()
        .zip(clause)
        .map(|(whole, clause)| (1.0 - CLAUSE) * whole + CLAUSE * (clause + lift))
        .collect()
}

/// The average of the best scores.
fn level(scores: &[f32]) -> f32 {
    let mut best = scores.to_vec();
    best.sort_unstable_by(|left, right| right.total_cmp(left));
    best.truncate(LEVEL);
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let count = best.len().max(1) as f32;
    best.iter().sum::<f32>() / count
}

/// Where the two highest are; twice the same when there is only one.
fn best_two(scores: &[f32]) -> [usize; 2] {
    let mut best = [0, 0];
    for (at, score) in scores.iter().enumerate().skip(1) {
        if *score > scores[best[0]] {
            best = [at, best[0]];
        } else if best[1] == best[0] || *score > scores[best[1]] {
            best[1] = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(whole: &[f32], clauses: &[Vec<f32>]) -> Vec<usize> {
        rank(whole, clauses, 10).into_iter().map(|ranked| ranked.at).collect()
    }

    #[test]
    fn a_task_of_one_clause_is_ordered_by_score() {
        let ranked = rank(&[0.2, 0.9, 0.5], &[], 2);
        assert_eq!(ranked[0], Ranked { at: 1, score: 0.9, fit: 0.9, rival: 0.5 });
        assert_eq!(ranked[1], Ranked { at: 2, score: 0.5, fit: 0.5, rival: 0.9 });
        assert_eq!(ranked.len(), 2);
        assert_eq!(rank(&[0.4], &[], 5), [Ranked { at: 0, score: 0.4, fit: 0.4, rival: 0.0 }]);
        assert_eq!(rank(&[], &[], 5), []);
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
            let ranked = rank(&whole, &clauses, limit);
            prop_assert_eq!(ranked.len(), limit.min(scores.len()));
            prop_assert!(ranked.is_sorted_by(|left, right| left.score >= right.score));
            let mut places: Vec<usize> = ranked.iter().map(|ranked| ranked.at).collect();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), ranked.len());
        }
    }
}
