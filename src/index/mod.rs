//! Search over what the catalog holds: by meaning (exact scan or HNSW over vectors), by words
//! (FTS5), and both together; and the thread that keeps it in step with what children list.

mod exact;
pub mod fuse;
mod graph;
mod hnsw;
mod keeper;
mod kept;
pub mod lexical;
mod library;
mod product;
mod rows;
mod scored;
mod snapshot;
mod vectors;

pub use self::{
    exact::Exact,
    hnsw::Hnsw,
    library::{IndexError, Library, Progress, Report, Taught, Verdict},
    scored::Scored,
    snapshot::Snapshot,
    vectors::{Quantized, Vectors},
};

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
    /// Up to `count` rows, best first. `query` has the index's dimensions.
    fn search(&self, query: &Quantized, count: usize) -> Vec<Hit>;

    /// The same for each query with its count.
    fn search_each(&self, queries: &[(&Quantized, usize)]) -> Vec<Vec<Hit>> {
        queries.iter().map(|(query, count)| self.search(query, *count)).collect()
    }
}

#[cfg(test)]
mod tests;
