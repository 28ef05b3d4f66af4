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
        let score = |(row, values): (usize, &[f32])| Hit { row, score: dot(query, values) };
        let mut hits: Vec<Hit> = if self.vectors.len() >= PARALLEL_FROM {
            let dimensions = self.vectors.dimensions();
            self.vectors.values().par_chunks_exact(dimensions).enumerate().map(score).collect()
        } else {
            self.vectors.rows().enumerate().map(score).collect()
        };
        if count < hits.len() {
            hits.select_nth_unstable_by(count, best_first);
            hits.truncate(count);
        }
        hits.sort_unstable_by(best_first);
        hits
    }
}
