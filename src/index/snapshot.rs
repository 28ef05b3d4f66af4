//! The catalog in memory at one moment: never changed, only replaced, so that readers never wait.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Hit, VectorIndex, Vectors, dot};
use crate::{
    catalog::{CachedServer, StoredTool, Tool},
    embed::Embedding,
};

/// All tools that can be found, with what they are found by.
#[derive(Default)]
pub struct Snapshot {
    servers: BTreeMap<String, CachedServer>,
    tools: Vec<StoredTool>,
    by_row_id: HashMap<i64, usize>,
    by_id: HashMap<String, usize>,
    meaning: Option<Meaning>,
}

/// The vectors of the tools that have one.
struct Meaning {
    vectors: Arc<Vectors>,
    index: Box<dyn VectorIndex>,
    /// Row of each tool's vector.
    row_of_tool: Vec<Option<usize>>,
    /// Tool of each row.
    tool_of_row: Vec<usize>,
}

impl Snapshot {
    /// Tools that can be found by words only.
    pub fn new(servers: Vec<CachedServer>, tools: Vec<StoredTool>) -> Self {
        let by_row_id = tools.iter().enumerate().map(|(at, stored)| (stored.id, at)).collect();
        let by_id = tools.iter().enumerate().map(|(at, stored)| (stored.tool.id(), at)).collect();
        let servers = servers.into_iter().map(|server| (server.name.clone(), server)).collect();
        Self { servers, tools, by_row_id, by_id, meaning: None }
    }

    /// The same with vectors, by text hash.
    #[must_use]
    pub fn with_vectors(
        mut self,
        by_text: &HashMap<String, Vec<f32>>,
        dimensions: usize,
        hnsw_threshold: usize,
    ) -> Self {
        let mut vectors = Vectors::new(dimensions);
        let mut row_of_tool = vec![None; self.tools.len()];
        let mut tool_of_row = Vec::with_capacity(self.tools.len());
        for (at, stored) in self.tools.iter().enumerate() {
            if let Some(vector) = by_text.get(&stored.tool.text_hash) {
                row_of_tool[at] = Some(tool_of_row.len());
                tool_of_row.push(at);
                vectors.push(vector);
            }
        }
        let vectors = Arc::new(vectors);
        let index = super::build(Arc::clone(&vectors), hnsw_threshold);
        self.meaning = Some(Meaning { vectors, index, row_of_tool, tool_of_row });
        self
    }

    /// Servers whose tools are here, by name.
    pub fn servers(&self) -> &BTreeMap<String, CachedServer> {
        &self.servers
    }

    /// All tools, by server and in the server's order.
    pub fn tools(&self) -> impl ExactSizeIterator<Item = &Tool> {
        self.tools.iter().map(|stored| &stored.tool)
    }

    /// The tools of one server, in its order.
    pub fn tools_of<'a>(&'a self, server: &'a str) -> impl Iterator<Item = &'a Tool> {
        self.tools().filter(move |tool| tool.server == server)
    }

    /// Number of tools of a server; none when it was never listed.
    pub fn count_of(&self, server: &str) -> Option<usize> {
        self.servers.contains_key(server).then(|| self.tools_of(server).count())
    }

    /// Number of tools.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether no tool is known.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The tool at a place.
    pub fn tool(&self, at: usize) -> &Tool {
        &self.tools[at].tool
    }

    /// The tool `server:name`.
    pub fn find(&self, id: &str) -> Option<&Tool> {
        self.by_id.get(id).map(|at| self.tool(*at))
    }

    /// The place of the tool with a row id of the store.
    pub fn place_of_row_id(&self, row_id: i64) -> Option<usize> {
        self.by_row_id.get(&row_id).copied()
    }

    /// Whether tools can be found by meaning.
    pub fn has_vectors(&self) -> bool {
        self.meaning.is_some()
    }

    /// Places of the tools nearest to a query, best first.
    pub fn nearest(&self, query: &Embedding, count: usize) -> Vec<(usize, f32)> {
        let Some(meaning) = &self.meaning else { return Vec::new() };
        let hits = meaning.index.search(query.as_slice(), count);
        hits.into_iter().map(|Hit { row, score }| (meaning.tool_of_row[row], score)).collect()
    }

    /// Cosine of one tool to a query; none when the tool has no vector.
    pub fn cosine(&self, at: usize, query: &Embedding) -> Option<f32> {
        let meaning = self.meaning.as_ref()?;
        let row = meaning.row_of_tool[at]?;
        Some(dot(query.as_slice(), meaning.vectors.row(row)))
    }
}
