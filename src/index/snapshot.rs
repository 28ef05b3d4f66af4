//! The catalog in memory at one moment: never changed, only replaced, so that readers never wait.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use super::{VectorIndex, Vectors, dot, fuse::Views};
use crate::catalog::{CachedServer, StoredTool, Tool, text};

/// All tools that can be found, with what they are found by.
#[derive(Default)]
pub struct Snapshot {
    servers: BTreeMap<String, CachedServer>,
    tools: Vec<StoredTool>,
    by_row_id: HashMap<i64, usize>,
    by_id: HashMap<String, usize>,
    /// Examples of each tool.
    examples: Vec<Vec<String>>,
    meaning: Option<Meaning>,
}

/// The vectors of the tools that have one, several for each.
struct Meaning {
    vectors: Arc<Vectors>,
    index: Box<dyn VectorIndex>,
    /// Rows of each tool: first its own text, then its examples. Empty when its text has no vector.
    rows_of_tool: Vec<Range<usize>>,
    /// Tool of each row, and which of its examples it is; 0 for its text as well.
    source_of_row: Vec<(usize, usize)>,
}

/// Rows that are looked at for each tool that is wanted: a tool may have several among the nearest.
const ROWS_PER_TOOL: usize = 3;

impl Snapshot {
    /// Tools that can be found by words only; `examples` by `server:tool`.
    pub fn new(
        servers: Vec<CachedServer>,
        tools: Vec<StoredTool>,
        mut examples: HashMap<String, Vec<String>>,
    ) -> Self {
        let examples =
            tools.iter().map(|stored| examples.remove(&stored.tool.id()).unwrap_or_default()).collect();
        let by_row_id = tools.iter().enumerate().map(|(at, stored)| (stored.id, at)).collect();
        let by_id = tools.iter().enumerate().map(|(at, stored)| (stored.tool.id(), at)).collect();
        let servers = servers.into_iter().map(|server| (server.name.clone(), server)).collect();
        Self { servers, tools, by_row_id, by_id, examples, meaning: None }
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
        let mut rows_of_tool = Vec::with_capacity(self.tools.len());
        let mut source_of_row = Vec::with_capacity(self.tools.len());
        for (at, stored) in self.tools.iter().enumerate() {
            let first = source_of_row.len();
            if let Some(own) = by_text.get(&stored.tool.text_hash) {
                vectors.push(own);
                source_of_row.push((at, 0));
                for (number, example) in self.examples[at].iter().enumerate() {
                    if let Some(vector) = by_text.get(&text::example_hash(example)) {
                        vectors.push(vector);
                        source_of_row.push((at, number));
                    }
                }
            }
            rows_of_tool.push(first..source_of_row.len());
        }
        let vectors = Arc::new(vectors);
        let index = super::build(Arc::clone(&vectors), hnsw_threshold);
        self.meaning = Some(Meaning { vectors, index, rows_of_tool, source_of_row });
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

    /// The place of the tool `server:name`.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The place of the tool with a row id of the store.
    pub fn place_of_row_id(&self, row_id: i64) -> Option<usize> {
        self.by_row_id.get(&row_id).copied()
    }

    /// Whether tools can be found by meaning.
    pub fn has_vectors(&self) -> bool {
        self.meaning.is_some()
    }

    /// The examples by which the tool at a place is found.
    pub fn examples(&self, at: usize) -> &[String] {
        &self.examples[at]
    }

    /// The tools that have none.
    pub fn untaught(&self) -> impl Iterator<Item = &Tool> {
        self.tools().zip(&self.examples).filter(|(_, examples)| examples.is_empty()).map(|(tool, _)| tool)
    }

    /// Number of examples in all.
    pub fn example_count(&self) -> usize {
        self.examples.iter().map(Vec::len).sum()
    }

    /// The tools as they are stored, each with its examples.
    pub(super) fn stored(&self) -> impl Iterator<Item = (&StoredTool, Vec<&str>)> {
        self.tools
            .iter()
            .zip(&self.examples)
            .map(|(stored, examples)| (stored, examples.iter().map(String::as_str).collect()))
    }

    /// Places of the tools of which a text or an example is nearest to a query, for each query with the
    /// number that is wanted.
    pub fn nearest(&self, queries: &[(&[f32], usize)]) -> BTreeSet<usize> {
        let Some(meaning) = &self.meaning else { return BTreeSet::new() };
        let rows: Vec<(&[f32], usize)> =
            queries.iter().map(|(query, count)| (*query, count * ROWS_PER_TOOL)).collect();
        let hits = meaning.index.search_each(&rows).into_iter().flatten();
        hits.map(|hit| meaning.source_of_row[hit.row].0).collect()
    }

    /// How near one tool is to a query; none when the tool has no vector.
    pub fn views(&self, at: usize, query: &[f32]) -> Option<Views> {
        let meaning = self.meaning.as_ref()?;
        let rows = meaning.rows_of_tool[at].clone();
        let mut cosines = rows.map(|row| dot(query, meaning.vectors.row(row)));
        let text = cosines.next()?;
        Some(Views::new(text, cosines))
    }

    /// The example that is nearest according to the views of the tool at a place.
    pub fn example_of(&self, at: usize, views: &Views) -> Option<&str> {
        let meaning = self.meaning.as_ref()?;
        let row = meaning.rows_of_tool[at].start + 1 + views.examples?.nearest;
        Some(&self.examples[at][meaning.source_of_row[row].1])
    }

    /// The nearest example of another tool than the one at `at`: that tool's place, and the cosine.
    pub fn nearest_example_of_another(&self, at: usize, query: &[f32]) -> Option<(usize, f32)> {
        let meaning = self.meaning.as_ref()?;
        let others = meaning.rows_of_tool.iter().enumerate().filter(|(place, _)| *place != at);
        let rows = others.flat_map(|(place, rows)| rows.clone().skip(1).map(move |row| (place, row)));
        let cosines = rows.map(|(place, row)| (place, dot(query, meaning.vectors.row(row))));
        cosines.max_by(|left, right| left.1.total_cmp(&right.1))
    }
}
