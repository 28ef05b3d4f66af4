//! One tool's score for one task.

use super::{
    Quantized, Snapshot,
    fuse::{self, Views},
};

/// A tool with what it scored.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// Its place in the snapshot.
    pub place: usize,
    /// What it is ranked by.
    pub score: f32,
    /// How near it is; none when it has no vector or no model is there.
    pub views: Option<Views>,
    /// BM25, saturated to 0..1.
    pub lexical: f32,
}

impl Scored {
    /// Scores the tool at `place`; `query` is the task's vector, where there is a model.
    pub fn new(snapshot: &Snapshot, place: usize, query: Option<&Quantized>, bm25: f32) -> Self {
        let lexical = fuse::saturate(bm25);
        let views = query.and_then(|query| snapshot.views(place, query));
        // With a model, a tool that has no vector yet is as far away as can be, not favoured.
        let dense = query.map(|_| views.map_or(0.0, |views| views.dense()));
        Self { place, score: fuse::score(dense, lexical), views, lexical }
    }
}
