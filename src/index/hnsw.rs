//! Approximate search over a graph of near neighbours (HNSW). `hnsw_rs` builds the graph on all cores; it is kept,
//! searched and extended in the packed form of [`Graph`].

use std::{collections::HashMap, sync::Arc};

use hnsw_rs::prelude::{Distance, Hnsw as Built};

use super::{
    Hit, Quantized, VectorIndex, Vectors,
    graph::{Graph, LINKS},
    product,
    vectors::cosine,
};

/// Breadth of the search while building.
const BUILD_BREADTH: usize = 200;
/// Breadth of a search, at least; also at least twice the rows wanted.
const SEARCH_BREADTH: usize = 128;
/// Layers, the most that the crate allows.
const LAYERS: usize = 16;
/// Nodes of the layers from this on are those that a search may begin at: one of some hundred.
const ENTRY_LAYER: usize = 2;

/// Distance of two vectors of length 1 in fixed point.
#[derive(Clone, Copy, Default)]
struct UnitDot;

impl Distance<i16> for UnitDot {
    fn eval(&self, left: &[i16], right: &[i16]) -> f32 {
        // The crate wants none below 0, as rounding gives for a vector and itself.
        (1.0 - cosine(product::dot(left, right))).max(0.0)
    }
}

/// Vectors with their graph.
pub struct Hnsw {
    vectors: Vectors,
    graph: Arc<Graph>,
}

impl Hnsw {
    /// Builds the graph over all rows, on all cores.
    pub fn build(vectors: Vectors) -> Self {
        let graph = Arc::new(build(&vectors));
        Self { vectors, graph }
    }

    /// The same with more rows after those that it has.
    #[must_use]
    pub fn extended(self, vectors: Vectors) -> Self {
        Self::extend(vectors, self.graph)
    }

    /// Takes a graph over the first rows and extends it by the others.
    pub(super) fn extend(vectors: Vectors, mut graph: Arc<Graph>) -> Self {
        if graph.len() < vectors.len() {
            let extended = Arc::make_mut(&mut graph);
            for _ in extended.len()..vectors.len() {
                extended.insert(&vectors);
            }
        }
        Self { vectors, graph }
    }

    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }
}

/// Builds a graph by the crate, and packs it.
fn build(vectors: &Vectors) -> Graph {
    let built = Built::new(LINKS / 2, vectors.len().max(1), LAYERS, BUILD_BREADTH, UnitDot);
    let rows: Vec<(&[i16], usize)> = (0..vectors.len()).map(|row| (vectors.row(row), row)).collect();
    built.parallel_insert_slice(&rows);
    let mut links = vec![u32::MAX; vectors.len() * LINKS];
    let mut entries_by_layer: HashMap<usize, Vec<u32>> = HashMap::new();
    let narrow = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
    if !vectors.is_empty() {
        for point in built.get_point_indexation() {
            let row = point.get_origin_id();
            let lowest = point.get_neighborhood_id().into_iter().next().unwrap_or_default();
            // The crate may link a node to itself or twice where rows are equal.
            let mut known: Vec<u32> = Vec::with_capacity(LINKS);
            for neighbour in lowest.into_iter().map(|neighbour| narrow(neighbour.d_id)) {
                if neighbour != narrow(row) && !known.contains(&neighbour) && known.len() < LINKS {
                    known.push(neighbour);
                }
            }
            links[row * LINKS..][..known.len()].copy_from_slice(&known);
            entries_by_layer.entry(usize::from(point.get_point_id().0)).or_default().push(narrow(row));
        }
    }
    let highest = entries_by_layer.keys().copied().max().unwrap_or_default();
    let from = highest.min(ENTRY_LAYER);
    let mut entries: Vec<u32> =
        entries_by_layer.into_iter().filter(|(layer, _)| *layer >= from).flat_map(|(_, rows)| rows).collect();
    entries.sort_unstable();
    Graph::new(links, entries).unwrap_or_default()
}

impl VectorIndex for Hnsw {
    fn search(&self, query: &Quantized, count: usize) -> Vec<Hit> {
        let breadth = SEARCH_BREADTH.max(count * 2);
        let near = self.graph.search(&self.vectors, query.as_slice(), breadth);
        let hits = near.into_iter().take(count);
        hits.map(|(product, row)| Hit { row: row as usize, score: cosine(product) }).collect()
    }
}
