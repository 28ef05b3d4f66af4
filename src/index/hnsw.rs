//! Approximate search over a graph of near neighbours (HNSW, Malkov and Yashunin 2016) through
//! `hnsw_rs`. The graph is built from the vectors and never read from disk.

use hnsw_rs::prelude::{Distance, Hnsw as Graph};

use super::{Hit, VectorIndex, Vectors, best_first};

/// Links of a node in each layer.
const LINKS: usize = 24;
/// Breadth of the search while building.
const BUILD_BREADTH: usize = 200;
/// Breadth of a search, at least; also at least twice the rows wanted.
const SEARCH_BREADTH: usize = 128;
/// Layers, the most that the crate allows.
const LAYERS: usize = 16;

/// Distance of two vectors of length 1. The crate's own `DistDot` panics when rounding puts a
/// product above 1, as it does for a vector with itself.
#[derive(Clone, Copy, Default)]
struct UnitDot;

impl Distance<f32> for UnitDot {
    fn eval(&self, left: &[f32], right: &[f32]) -> f32 {
        (1.0 - super::dot(left, right)).max(0.0)
    }
}

/// A built graph.
pub struct Hnsw {
    graph: Graph<'static, f32, UnitDot>,
}

impl Hnsw {
    /// Builds the graph over all rows, on all cores.
    pub fn build(vectors: &Vectors) -> Self {
        let graph = Graph::new(LINKS, vectors.len().max(1), LAYERS, BUILD_BREADTH, UnitDot);
        let rows: Vec<(&[f32], usize)> =
            vectors.rows().enumerate().map(|(row, values)| (values, row)).collect();
        graph.parallel_insert_slice(&rows);
        Self { graph }
    }
}

impl VectorIndex for Hnsw {
    fn search(&self, query: &[f32], count: usize) -> Vec<Hit> {
        let breadth = SEARCH_BREADTH.max(count * 2);
        let mut hits: Vec<Hit> = self
            .graph
            .search(query, count, breadth)
            .into_iter()
            .map(|neighbour| Hit { row: neighbour.d_id, score: 1.0 - neighbour.distance })
            .collect();
        hits.sort_unstable_by(best_first);
        hits
    }
}
