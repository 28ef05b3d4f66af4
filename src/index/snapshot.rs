//! The catalog in memory at one moment: never changed, only replaced, so that readers never wait.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    ops::Range,
    sync::Arc,
};

use super::{
    Quantized, VectorIndex, Vectors,
    fuse::{Familiar, Views},
    rows::{Rows, TextHash},
};
use crate::{
    catalog::{CachedServer, StoredTool, Tool, text},
    digest,
};

/// All tools that can be found, with what they are found by.
#[derive(Default)]
pub struct Snapshot {
    known: Arc<Known>,
    meaning: Option<Meaning>,
}

/// What is known of the tools without a model.
#[derive(Default)]
struct Known {
    servers: BTreeMap<String, CachedServer>,
    /// By server, and in the server's order.
    tools: Vec<StoredTool>,
    places_of_server: HashMap<String, Range<usize>>,
    /// Places by `server:tool`.
    by_id: Vec<u32>,
    /// Row ids of the store with the places, in order.
    by_row_id: Vec<(i64, u32)>,
    /// Examples of each tool.
    examples: Vec<Vec<String>>,
}

/// The vectors of the tools that have one, several for each.
struct Meaning {
    vectors: Vectors,
    index: Box<dyn VectorIndex>,
    /// Rows of the tools, one tool's after the other's: first that of its own text, then those of its examples.
    rows: Vec<Row>,
    /// Where in `rows` those of each tool are. Nowhere when its text has no vector.
    rows_of_tool: Vec<Range<u32>>,
    /// Each row with the places of its tools, in order: several tools may be found by the same words.
    tools_by_row: Vec<(u32, u32)>,
}

/// A vector of a tool.
struct Row {
    row: u32,
    /// Which of the tool's examples it is; 0 for its text as well.
    example: u32,
}

/// Rows that are looked at for each tool that is wanted: a tool may have several among the nearest.
const ROWS_PER_TOOL: usize = 3;

impl Snapshot {
    /// Tools that can be found by words only, in the order of their servers; `examples` by `server:tool`.
    pub fn new(
        servers: Vec<CachedServer>,
        tools: Vec<StoredTool>,
        mut examples: HashMap<String, Vec<String>>,
    ) -> Self {
        let examples =
            tools.iter().map(|stored| examples.remove(&stored.tool.id()).unwrap_or_default()).collect();
        let mut places_of_server: HashMap<String, Range<usize>> = HashMap::new();
        for (place, stored) in tools.iter().enumerate() {
            match places_of_server.get_mut(&stored.tool.server) {
                Some(places) => places.end = place + 1,
                None => drop(places_of_server.insert(stored.tool.server.clone(), place..place + 1)),
            }
        }
        let places = || tools.iter().zip(0_u32..);
        let mut by_id: Vec<u32> = places().map(|(_, place)| place).collect();
        by_id.sort_unstable_by(|left, right| {
            let [left, right] = [left, right].map(|place| &tools[*place as usize].tool);
            id_bytes(left).cmp(id_bytes(right))
        });
        let mut by_row_id: Vec<(i64, u32)> = places().map(|(stored, place)| (stored.id, place)).collect();
        by_row_id.sort_unstable();
        let servers = servers.into_iter().map(|server| (server.name.clone(), server)).collect();
        let known = Known { servers, tools, places_of_server, by_id, by_row_id, examples };
        Self { known: Arc::new(known), meaning: None }
    }

    /// The texts that each tool is found by: its own, then its examples.
    pub(super) fn texts(&self) -> Vec<Vec<TextHash>> {
        let tools = self.known.tools.iter().zip(&self.known.examples);
        tools
            .map(|(stored, examples)| {
                let own = digest::bytes(&stored.tool.text_hash).unwrap_or_default();
                iter::once(own).chain(examples.iter().map(|example| text::example_digest(example))).collect()
            })
            .collect()
    }

    /// The same with vectors; `texts` are its own.
    #[must_use]
    pub(super) fn with_vectors(&self, vectors: &mut Rows, texts: &[Vec<TextHash>]) -> Self {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut rows: Vec<Row> = Vec::with_capacity(self.known.tools.len());
        let mut rows_of_tool = Vec::with_capacity(self.known.tools.len());
        let mut tools_by_row = Vec::with_capacity(self.known.tools.len());
        for (place, texts) in texts.iter().enumerate() {
            let first = narrow(rows.len());
            let mut texts = texts.iter().map(|text| vectors.row(text));
            if let Some(row) = texts.next().flatten() {
                rows.push(Row { row, example: 0 });
                let examples = texts.zip(0..).filter_map(|(row, example)| Some(Row { row: row?, example }));
                rows.extend(examples);
            }
            tools_by_row.extend(rows[first as usize..].iter().map(|row| (row.row, narrow(place))));
            rows_of_tool.push(first..narrow(rows.len()));
        }
        tools_by_row.sort_unstable();
        let index = vectors.index();
        let vectors = vectors.vectors().clone();
        let meaning = Meaning { vectors, index, rows, rows_of_tool, tools_by_row };
        Self { known: Arc::clone(&self.known), meaning: Some(meaning) }
    }

    /// Servers whose tools are here, by name.
    pub fn servers(&self) -> &BTreeMap<String, CachedServer> {
        &self.known.servers
    }

    /// All tools, by server and in the server's order.
    pub fn tools(&self) -> impl ExactSizeIterator<Item = &Tool> {
        self.known.tools.iter().map(|stored| &stored.tool)
    }

    /// The tools of one server, in its order.
    pub fn tools_of(&self, server: &str) -> impl ExactSizeIterator<Item = &Tool> {
        self.known.tools[self.places_of(server)].iter().map(|stored| &stored.tool)
    }

    /// The places of the tools of one server.
    pub fn places_of(&self, server: &str) -> Range<usize> {
        self.known.places_of_server.get(server).cloned().unwrap_or_default()
    }

    /// Number of tools of a server; none when it was never listed.
    pub fn count_of(&self, server: &str) -> Option<usize> {
        self.known.servers.contains_key(server).then(|| self.tools_of(server).len())
    }

    /// Number of tools.
    pub fn len(&self) -> usize {
        self.known.tools.len()
    }

    /// Whether no tool is known.
    pub fn is_empty(&self) -> bool {
        self.known.tools.is_empty()
    }

    /// The tool at a place.
    pub fn tool(&self, at: usize) -> &Tool {
        &self.known.tools[at].tool
    }

    /// The tool `server:name`.
    pub fn find(&self, id: &str) -> Option<&Tool> {
        self.place(id).map(|at| self.tool(at))
    }

    /// The place of the tool `server:name`.
    pub fn place(&self, id: &str) -> Option<usize> {
        let compare = |place: &u32| -> Ordering { id_bytes(self.tool(*place as usize)).cmp(id.bytes()) };
        self.known.by_id.binary_search_by(compare).ok().map(|at| self.known.by_id[at] as usize)
    }

    /// The place of the tool with a row id of the store.
    pub fn place_of_row_id(&self, row_id: i64) -> Option<usize> {
        let at = self.known.by_row_id.binary_search_by_key(&row_id, |(row_id, _)| *row_id).ok()?;
        Some(self.known.by_row_id[at].1 as usize)
    }

    /// Whether tools can be found by meaning.
    pub fn has_vectors(&self) -> bool {
        self.meaning.is_some()
    }

    /// The examples by which the tool at a place is found.
    pub fn examples(&self, at: usize) -> &[String] {
        &self.known.examples[at]
    }

    /// The tools that have none.
    pub fn untaught(&self) -> impl Iterator<Item = &Tool> {
        self.tools()
            .zip(&self.known.examples)
            .filter(|(_, examples)| examples.is_empty())
            .map(|(tool, _)| tool)
    }

    /// Number of examples in all.
    pub fn example_count(&self) -> usize {
        self.known.examples.iter().map(Vec::len).sum()
    }

    /// The tools as they are stored, each with its examples.
    pub(super) fn stored(&self) -> impl Iterator<Item = (&StoredTool, Vec<&str>)> {
        self.known
            .tools
            .iter()
            .zip(&self.known.examples)
            .map(|(stored, examples)| (stored, examples.iter().map(String::as_str).collect()))
    }

    /// Places of the tools of which a text or an example is nearest to a query, for each query with the
    /// number that is wanted.
    pub fn nearest(&self, queries: &[(&Quantized, usize)]) -> BTreeSet<usize> {
        let Some(meaning) = &self.meaning else { return BTreeSet::new() };
        let rows: Vec<(&Quantized, usize)> =
            queries.iter().map(|(query, count)| (*query, count * ROWS_PER_TOOL)).collect();
        let hits = meaning.index.search_each(&rows).into_iter().flatten();
        hits.flat_map(|hit| meaning.tools_of(hit.row)).collect()
    }

    /// How near one tool is to a query; none when the tool has no vector.
    pub fn views(&self, at: usize, query: &Quantized) -> Option<Views> {
        let meaning = self.meaning.as_ref()?;
        let mut cosines = meaning.rows(at).iter().map(|row| meaning.vectors.cosine(row.row as usize, query));
        let text = cosines.next()?;
        Some(Views::new(text, cosines))
    }

    /// What the texts of a tool have in common; none where it has fewer than two examples.
    pub fn familiar(&self, at: usize) -> Option<Familiar> {
        let meaning = self.meaning.as_ref()?;
        let (text, examples) = meaning.rows(at).split_first()?;
        let cosine = |left: &Row, right: &Row| meaning.vectors.between(left.row as usize, right.row as usize);
        let pairs = examples
            .iter()
            .enumerate()
            .flat_map(|(at, left)| examples[at + 1..].iter().map(move |right| cosine(left, right)));
        Some(Familiar {
            examples: mean(pairs)?,
            text: mean(examples.iter().map(|example| cosine(text, example)))?,
        })
    }

    /// The example that is nearest according to the views of the tool at a place.
    pub fn example_of(&self, at: usize, views: &Views) -> Option<&str> {
        let row = self.meaning.as_ref()?.rows(at).get(1 + views.examples?.nearest)?;
        Some(&self.known.examples[at][row.example as usize])
    }

    /// The nearest example of another tool than the one at `at`: that tool's place, and the cosine.
    pub fn nearest_example_of_another(&self, at: usize, query: &Quantized) -> Option<(usize, f32)> {
        let meaning = self.meaning.as_ref()?;
        let others = (0..self.len()).filter(|place| *place != at);
        let rows = others.flat_map(|place| meaning.rows(place).iter().skip(1).map(move |row| (place, row)));
        let cosines = rows.map(|(place, row)| (place, meaning.vectors.cosine(row.row as usize, query)));
        cosines.max_by(|left, right| left.1.total_cmp(&right.1))
    }
}

impl Meaning {
    fn rows(&self, place: usize) -> &[Row] {
        let Range { start, end } = self.rows_of_tool[place];
        &self.rows[start as usize..end as usize]
    }

    /// Places of the tools that are found by a row.
    fn tools_of(&self, row: usize) -> impl Iterator<Item = usize> {
        let first = self.tools_by_row.partition_point(|(other, _)| (*other as usize) < row);
        let of_row = self.tools_by_row[first..].iter().take_while(move |(other, _)| *other as usize == row);
        of_row.map(|(_, place)| *place as usize)
    }
}

/// The mean of some numbers; none of none.
fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The bytes of `server:tool`.
fn id_bytes(tool: &Tool) -> impl Iterator<Item = u8> {
    tool.server.bytes().chain(iter::once(b':')).chain(tool.name().bytes())
}
