//! The vectors of all texts that tools are found by, with the graph over them: read from the store once, kept while
//! tools come and go, and written to a file of their own, so that a start reads one block.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    Exact, Hnsw, Quantized, VectorIndex, Vectors,
    graph::Graph,
    kept::{self, Kept},
};
use crate::{
    catalog::{Store, StoreError},
    digest,
    embed::ModelFacts,
};

/// SHA-256 of a text.
pub(super) type TextHash = [u8; 32];

/// Rows that no text uses any more are let go of when they are more than those in use, and this many.
const UNUSED_ROWS: usize = 1024;
/// The file is written anew when it lacks one row of so many.
const UNWRITTEN_SHARE: usize = 20;

/// Vectors of one model by the hashes of their texts.
pub(super) struct Rows {
    file: Option<PathBuf>,
    hnsw_threshold: usize,
    model: Option<Arc<ModelFacts>>,
    by_text: HashMap<TextHash, u32>,
    vectors: Vectors,
    /// Over the first rows, or over all.
    graph: Option<Arc<Graph>>,
    /// Rows and nodes that the file holds.
    written: (usize, usize),
}

impl Rows {
    /// None yet. `file` is where they are kept, if anywhere.
    pub(super) fn new(file: Option<PathBuf>, hnsw_threshold: usize) -> Self {
        Self {
            file,
            hnsw_threshold,
            model: None,
            by_text: HashMap::new(),
            vectors: Vectors::default(),
            graph: None,
            written: (0, 0),
        }
    }

    /// Takes in the vectors of these texts, as far as the store has them. `texts` are all that are in use.
    pub(super) fn load<'a>(
        &mut self,
        store: &Store,
        model: &Arc<ModelFacts>,
        texts: impl Iterator<Item = &'a TextHash> + Clone,
    ) -> Result<(), StoreError> {
        if self.model.as_ref() != Some(model) {
            self.model = Some(Arc::clone(model));
            let kept = self.file.as_ref().and_then(|file| kept::read(file, &model.id, model.dimensions));
            self.written = kept.as_ref().map_or((0, 0), |kept| (kept.texts.len(), kept.nodes()));
            self.take(kept);
        }
        let in_use = texts.clone().count();
        if self.vectors.len() > 2 * in_use + UNUSED_ROWS {
            self.take(None);
        }
        let missing: Vec<String> =
            texts.filter(|text| self.row(text).is_none()).map(|text| digest::hex(text)).collect();
        let missing = missing.iter().map(String::as_str);
        store.each_vector(&model.id, model.dimensions, missing, |text, values| {
            if let (Some(text), Ok(row)) = (digest::bytes(text), u32::try_from(self.vectors.len()))
                && let Entry::Vacant(entry) = self.by_text.entry(text)
            {
                entry.insert(row);
                self.vectors.push(Quantized::new(values).as_slice());
            }
        })
    }

    fn take(&mut self, kept: Option<Kept>) {
        let dimensions = self.model.as_ref().map_or(0, |model| model.dimensions);
        let Kept { texts, vectors, graph } = kept.unwrap_or_else(|| Kept {
            texts: Vec::new(),
            vectors: Vectors::new(dimensions),
            graph: None,
        });
        self.by_text = texts.into_iter().zip(0..).collect();
        self.vectors = vectors;
        self.graph = graph.map(Arc::new);
    }

    /// All vectors.
    pub(super) fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// The row of a text.
    pub(super) fn row(&self, text: &TextHash) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// What to search all rows with. Exact below the threshold, where a scan is as fast; and while a graph would have to
    /// be built first, which takes its time.
    pub(super) fn index(&mut self) -> Box<dyn VectorIndex> {
        if !self.wants_graph() {
            self.graph = None;
        }
        match self.graph.take() {
            Some(graph) if self.is_extended(&graph) => {
                let index = Hnsw::extend(self.vectors.clone(), graph);
                self.graph = Some(Arc::clone(index.graph()));
                Box::new(index)
            }
            _ => Box::new(Exact::new(self.vectors.clone())),
        }
    }

    /// Builds the graph if it is wanted and not there. True if it was built.
    pub(super) fn build_graph(&mut self) -> bool {
        let is_due = self.wants_graph() && self.graph.is_none();
        if is_due {
            self.graph = Some(Arc::clone(Hnsw::build(self.vectors.clone()).graph()));
        }
        is_due
    }

    fn wants_graph(&self) -> bool {
        self.vectors.len() >= self.hnsw_threshold
    }

    /// Whether adding the new rows one by one is less work than building anew on all cores.
    fn is_extended(&self, graph: &Graph) -> bool {
        graph.len() <= self.vectors.len() && self.vectors.len() <= 2 * graph.len()
    }

    /// Writes the file anew if much of it is missing there.
    pub(super) fn keep(&mut self) {
        let (Some(file), Some(model)) = (&self.file, &self.model) else { return };
        let nodes = self.graph.as_ref().map_or(0, |graph| graph.len());
        let lacks = |now: usize, written: usize| now.abs_diff(written) > now / UNWRITTEN_SHARE;
        if !lacks(self.vectors.len(), self.written.0) && !lacks(nodes, self.written.1) {
            return;
        }
        let mut texts = vec![[0; 32]; self.vectors.len()];
        for (text, row) in &self.by_text {
            texts[*row as usize] = *text;
        }
        match kept::write(file, &model.id, &texts, &self.vectors, self.graph.as_deref()) {
            Ok(()) => self.written = (self.vectors.len(), nodes),
            // It costs time at the next start and nothing else.
            Err(error) => tracing::debug!("the index was not kept in {}: {error}", file.display()),
        }
    }
}
