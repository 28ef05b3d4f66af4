//! Exact search: every row is compared. As fast as HNSW up to some thousand rows, and exact.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Hit, VectorIndex, Vectors, best_first, dot};

/// From so many rows on the scan is spread over threads.
const PARALLEL_FROM: usize = 20_000;

/// A scan over all rows.
pub struct Exact {
    vectors: Arc<Vectors>,
}

impl Exact {
    /// An index that compares with each of `vectors`.
    pub fn new(vectors: Arc<Vectors>) -> Self {
        Self { vectors }
    }
}

impl VectorIndex for Exact {
    fn search(&self, query: &[f32], count: usize) -> Vec<Hit> {
        self.search_each(&[(query, count)]).pop().unwrap_or_default()
    }

    // One pass: reading the rows from memory costs more than comparing them.
    fn search_each(&self, queries: &[(&[f32], usize)]) -> Vec<Vec<Hit>> {
        let compare = |values| queries.iter().map(move |(query, _)| dot(query, values));
        // `[rows, queries]`.
        let scores: Vec<f32> = if self.vectors.len() >= PARALLEL_FROM {
            let rows = self.vectors.values().par_chunks_exact(self.vectors.dimensions());
            rows.flat_map_iter(compare).collect()
        } else {
            self.vectors.rows().flat_map(compare).collect()
        };
        let of_query = |(at, (_, count)): (usize, &(&[f32], usize))| {
            let scores = scores.iter().skip(at).step_by(queries.len()).enumerate();
            best(scores.map(|(row, score)| Hit { row, score: *score }).collect(), *count)
        };
        queries.iter().enumerate().map(of_query).collect()
    }
}

/// The best `count` of the hits, in order.
fn best(mut hits: Vec<Hit>, count: usize) -> Vec<Hit> {
    if count < hits.len() {
        hits.select_nth_unstable_by(count, best_first);
        hits.truncate(count);
    }
    hits.sort_unstable_by(best_first);
    hits
}
