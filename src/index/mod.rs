//! Search over what the catalog holds: by meaning (exact scan or HNSW over vectors), by words
//! (FTS5), and both together; and the thread that keeps it in step with what children list.

mod exact;
pub mod fuse;
mod hnsw;
mod keeper;
pub mod lexical;
mod library;
mod scored;
mod snapshot;

use std::sync::Arc;

pub use self::{
    exact::Exact,
    hnsw::Hnsw,
    library::{IndexError, Library, Progress, Report, Taught, Verdict},
    scored::Scored,
    snapshot::Snapshot,
};

/// Vectors of one length, row after row: `[rows, dimensions]`. Each has length 1.
#[derive(Debug, Clone, Default)]
pub struct Vectors {
    dimensions: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// An empty set of vectors of that length.
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, values: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When its length is another: HNSW would silently compare the shorter part.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.dimensions, "vectors of one index have one length");
        self.values.extend_from_slice(row);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimensions).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Length of each row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// One row.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dimensions..(at + 1) * self.dimensions]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions.max(1))
    }

    fn values(&self) -> &[f32] {
        &self.values
    }
}

/// A row found, with its cosine to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Row in the [`Vectors`].
    pub row: usize,
    /// Cosine, -1 to 1.
    pub score: f32,
}

/// Nearest rows to a query.
pub trait VectorIndex: Send + Sync {
    /// Up to `count` rows, best first. `query` has length 1 and the index's dimensions.
    fn search(&self, query: &[f32], count: usize) -> Vec<Hit>;

    /// The same for each query with its count.
    fn search_each(&self, queries: &[(&[f32], usize)]) -> Vec<Vec<Hit>> {
        queries.iter().map(|(query, count)| self.search(query, *count)).collect()
    }
}

/// The index for that many vectors: exact below `hnsw_threshold`, where a scan is as fast.
pub fn build(vectors: Arc<Vectors>, hnsw_threshold: usize) -> Box<dyn VectorIndex> {
    if vectors.len() < hnsw_threshold {
        Box::new(Exact::new(vectors))
    } else {
        Box::new(Hnsw::build(&vectors))
    }
}

/// Dot product of two slices of one length, in lanes that the compiler turns into vector code.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(a, b)| a * b).sum();
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Best first; equal scores by row, so that one query has one answer.
fn best_first(left: &Hit, right: &Hit) -> std::cmp::Ordering {
    right.score.total_cmp(&left.score).then(left.row.cmp(&right.row))
}

#[cfg(test)]
mod tests;
