//! The metrics of a ranking on labelled queries. A query has slots, each a set of tools that would
//! all do; a query without slots has nothing that fits.

use std::collections::HashSet;

use serde::Serialize;

/// Samples of the queries from which an interval is taken.
const RESAMPLES: usize = 2_000;

/// Names of the figures of a ranking, as JSON has them.
pub(super) const FIGURES: [&str; 7] = ["h1", "h5", "r5", "r10", "ndcg5", "mrr", "server_h1"];

/// Bins of the calibration error.
const BINS: usize = 10;

/// What a ranking was worth for one query.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// For each rank, the slots that the tool there fills.
    filled: Vec<Vec<usize>>,
    slots: usize,
    /// Whether the first tool's server is that of a tool in some slot.
    right_server: bool,
    confidence: f32,
}

impl Judged {
    /// Judges ranked `server:tool` ids against slots.
    pub(super) fn new(ranked: &[String], slots: &[Vec<String>], confidence: f32) -> Self {
        let filled = ranked
            .iter()
            .map(|id| (0..slots.len()).filter(|slot| slots[*slot].contains(id)).collect())
            .collect();
        let server = |id: &str| id.split(':').next().map(str::to_owned);
        let servers: HashSet<_> = slots.iter().flatten().map(|id| server(id)).collect();
        let right_server = ranked.first().is_some_and(|id| servers.contains(&server(id)));
        Self { filled, slots: slots.len(), right_server, confidence }
    }

    /// What the query was worth, in the order of [`FIGURES`].
    pub(super) fn figures(&self) -> [f64; 7] {
        let share = |test: bool| f64::from(u8::from(test));
        [
            share(self.hit_at(1)),
            share(self.hit_at(5)),
            self.recall_at(5),
            self.recall_at(10),
            self.ndcg_at_5(),
            self.reciprocal_rank(),
            share(self.right_server),
        ]
    }

    /// The rank of the first tool in some slot, from 1 on.
    pub(super) fn first_hit(&self) -> Option<usize> {
        self.filled.iter().position(|slots| !slots.is_empty()).map(|rank| rank + 1)
    }

    /// Whether one of the first `k` is in some slot.
    pub(super) fn hit_at(&self, k: usize) -> bool {
        self.filled.iter().take(k).any(|slots| !slots.is_empty())
    }

    /// Share of the slots with a hit in the first `k`.
    fn recall_at(&self, k: usize) -> f64 {
        let found: HashSet<usize> = self.filled.iter().take(k).flatten().copied().collect();
        ratio(found.len(), self.slots)
    }

    /// Binary gains: a rank gains when it fills a slot that no rank before it filled.
    fn ndcg_at_5(&self) -> f64 {
        let mut found = HashSet::new();
        let mut gain = 0.0;
        for (rank, slots) in self.filled.iter().take(5).enumerate() {
            if let Some(slot) = slots.iter().find(|slot| !found.contains(*slot)) {
                found.insert(*slot);
                gain += discount(rank);
            }
        }
        let ideal: f64 = (0..self.slots.min(5)).map(discount).sum();
        if ideal > 0.0 { gain / ideal } else { 0.0 }
    }

    fn reciprocal_rank(&self) -> f64 {
        self.first_hit().map_or(0.0, |rank| ratio(1, rank))
    }
}

fn discount(rank: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
    let position = (rank + 2) as f64;
    1.0 / position.log2()
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Averages over all queries that have a slot; see the README of the labelled sets.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Metrics {
    pub(super) queries: usize,
    pub(super) h1: f64,
    h5: f64,
    pub(super) r5: f64,
    r10: f64,
    ndcg5: f64,
    mrr: f64,
    server_h1: f64,
    /// Expected calibration error of the first tool's confidence against `h1`, 10 equal-width bins.
    ece: f64,
    /// How well the first tool's confidence tells queries with a slot from those without; none
    /// when there is only one kind.
    none_auroc: Option<f64>,
}

impl Metrics {
    pub(super) fn of(judged: &[&Judged]) -> Self {
        let possible: Vec<&Judged> = judged.iter().copied().filter(|query| query.slots > 0).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let count = possible.len().max(1) as f64;
        let mut means = [0.0; 7];
        for query in &possible {
            for (mean, figure) in means.iter_mut().zip(query.figures()) {
                *mean += figure / count;
            }
        }
        let [h1, h5, r5, r10, ndcg5, mrr, server_h1] = means;
        Self {
            queries: judged.len(),
            h1,
            h5,
            r5,
            r10,
            ndcg5,
            mrr,
            server_h1,
            ece: calibration_error(&possible),
            none_auroc: none_auroc(judged),
        }
    }

    /// The figures of the ranking.
    fn of_ranking(&self) -> [f64; 7] {
        [self.h1, self.h5, self.r5, self.r10, self.ndcg5, self.mrr, self.server_h1]
    }

    /// The figures as a row of text.
    pub(super) fn row(&self) -> Vec<String> {
        let figures = self.of_ranking().into_iter().chain([self.ece]);
        let mut row: Vec<String> = figures.map(|figure| format!("{figure:.3}")).collect();
        row.push(self.none_auroc.map_or_else(|| "-".to_owned(), |auroc| format!("{auroc:.3}")));
        row
    }
}

/// Between which values each figure of the ranking lies in 95 of 100 samples of as many queries, drawn
/// with replacement from those that have a slot (percentile bootstrap). The draw is always the same.
pub(super) fn intervals(judged: &[&Judged]) -> [[f64; 2]; 7] {
    let judged: Vec<&Judged> = judged.iter().copied().filter(|query| query.slots > 0).collect();
    let mut draw = fastrand::Rng::with_seed(1);
    let mut figures: [Vec<f64>; 7] = Default::default();
    for _ in 0..RESAMPLES {
        let sample: Vec<&Judged> =
            (0..judged.len()).filter_map(|_| draw.choice(judged.iter().copied())).collect();
        for (values, figure) in figures.iter_mut().zip(Metrics::of(&sample).of_ranking()) {
            values.push(figure);
        }
    }
    figures.map(|mut values| {
        values.sort_by(f64::total_cmp);
        [values[RESAMPLES / 40], values[RESAMPLES - 1 - RESAMPLES / 40]]
    })
}

fn calibration_error(queries: &[&Judged]) -> f64 {
    let mut bins = [(0_usize, 0.0_f64, 0.0_f64); BINS];
    for query in queries {
        let confidence = f64::from(query.confidence).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "0 to 10"
        )]
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += 1;
        bins[bin].1 += confidence;
        bins[bin].2 += f64::from(u8::from(query.hit_at(1)));
    }
    let error: f64 = bins.iter().map(|(_, confidence, right)| (confidence - right).abs()).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let count = queries.len().max(1) as f64;
    error / count
}

/// Probability that a query with a slot has a higher confidence than one without; ties count half.
fn none_auroc(judged: &[&Judged]) -> Option<f64> {
    let (possible, none): (Vec<&Judged>, Vec<&Judged>) =
        judged.iter().copied().partition(|query| query.slots > 0);
    if possible.is_empty() || none.is_empty() {
        return None;
    }
    let wins: f64 = possible
        .iter()
        .flat_map(|high| none.iter().map(move |low| high.confidence.partial_cmp(&low.confidence)))
        .map(|order| match order {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Equal) => 0.5,
            _ => 0.0,
        })
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let pairs = (possible.len() * none.len()) as f64;
    Some(wins / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ranked: &[&str], slots: &[&[&str]], confidence: f32) -> Judged {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Judged::new(&owned(ranked), &slots.iter().map(|slot| owned(slot)).collect::<Vec<_>>(), confidence)
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn metrics_of_a_worked_example() {
        // Two slots; the first rank is wrong, the second fills slot 0 by its alternative.
        let query = judged(&["a:x", "b:y", "c:z"], &[&["b:y", "b:q"], &["d:w"]], 0.6);
        assert!(!query.hit_at(1) && query.hit_at(5));
        assert!(close(query.recall_at(5), 0.5));
        assert!(close(query.reciprocal_rank(), 0.5));
        assert!(close(query.ndcg_at_5(), discount(1) / (discount(0) + discount(1))));
        let others = [judged(&["b:q"], &[&["b:q"]], 0.8), judged(&["b:q"], &[], 0.1)];
        let metrics = Metrics::of(&[&query, &others[0], &others[1]]);
        assert!(close(metrics.h1, 0.5) && close(metrics.mrr, 0.75) && close(metrics.server_h1, 0.5));
        assert!((metrics.ece - f64::midpoint(0.6, 0.2)).abs() < 1e-6);
        assert_eq!(metrics.none_auroc, Some(1.0));
    }

    #[test]
    fn an_interval_holds_the_figure_and_narrows_with_more_queries() {
        let queries = |count: usize| -> Vec<Judged> {
            (0..count)
                .map(|at| judged(if at % 4 == 0 { &["a:y"] } else { &["a:x"] }, &[&["a:x"]], 0.5))
                .collect()
        };
        let width = |count: usize| {
            let queries = queries(count);
            let [low, high] = intervals(&queries.iter().collect::<Vec<_>>())[0];
            assert!(low <= 0.75 && 0.75 <= high, "{low} {high}");
            high - low
        };
        // 1.96 standard errors on either side.
        assert!((width(40) - 2.0 * 1.96 * (0.75 * 0.25 / 40.0_f64).sqrt()).abs() < 0.03);
        assert!(width(400) < width(40) / 2.0);
    }

    #[test]
    fn an_alternative_of_a_filled_slot_gains_nothing_more() {
        let twice = judged(&["a:x", "a:y"], &[&["a:x", "a:y"]], 0.5);
        assert!(close(twice.ndcg_at_5(), 1.0) && close(twice.recall_at(5), 1.0));
    }
}
