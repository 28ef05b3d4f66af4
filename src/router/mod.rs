//! From a task in plain language to ranked tools, each with a calibrated confidence. Reads the
//! catalog in memory; starts no child.

pub mod confidence;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use self::confidence::Evidence;
use crate::{
    catalog::{Store, StoreError, Tool},
    embed::{EmbedError, Embedder, Embedding},
    index::{Library, Scored, Snapshot, fuse::Views, lexical},
};

/// Tools taken from each of the two searches before both scores are put together.
const POOL: usize = 128;
/// Characters of a task that are read; more would be cut by the encoder anyway.
const MAX_TASK_CHARS: usize = 4_000;

/// Which searches take part. Hybrid is what the product uses; the others are for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// Vectors alone.
    Dense,
    /// Words alone.
    Lexical,
    /// Both.
    #[default]
    Hybrid,
}

/// A ranked tool and why it stands where it does.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The tool.
    pub tool: Tool,
    /// Probability that it does the task, 0 to 1.
    pub confidence: f32,
    /// What it was ranked by.
    pub score: f32,
    /// How near its text and its examples are; none when the tool has no vector or no model is there.
    pub views: Option<Views>,
    /// All views in one.
    pub dense: Option<f32>,
    /// BM25 of the task's words in the tool's text and examples, saturated to 0..1.
    pub lexical: f32,
    /// What the confidence was computed from.
    pub evidence: Evidence,
}

/// Time of each stage, in ms.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RouteTimings {
    /// Embedding the task.
    pub embed_ms: f64,
    /// Both searches and the ranking.
    pub search_ms: f64,
}

/// The answer to a task.
#[derive(Debug, Clone)]
pub struct Route {
    /// Tools, best first.
    pub candidates: Vec<Candidate>,
    /// Why words alone were used, where that is so.
    pub degraded: Option<Arc<EmbedError>>,
    /// Time of each stage.
    pub timings: RouteTimings,
}

impl Route {
    /// The tool that fits best, if any was found.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.first()
    }
}

/// Limits a search to part of the catalog.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    servers: Option<BTreeSet<String>>,
}

impl Scope {
    /// Tools of these servers only.
    pub fn servers(servers: impl IntoIterator<Item = String>) -> Self {
        Self { servers: Some(servers.into_iter().collect()) }
    }

    /// Tools of one server only, or all.
    pub fn server(server: Option<String>) -> Self {
        server.map_or_else(Self::default, |server| Self::servers([server]))
    }

    fn admits(&self, tool: &Tool) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains(&tool.server))
    }
}

/// Finds tools. Clones share everything.
#[derive(Clone)]
pub struct Router {
    library: Library,
    store: Store,
    embedder: Embedder,
}

impl Router {
    /// A router over the library's tools.
    pub fn new(library: Library, store: Store, embedder: Embedder) -> Self {
        Self { library, store, embedder }
    }

    /// The tool that does a task best, with its confidence, the runners-up, and why.
    pub async fn find_best_mcp(&self, task: &str) -> Result<Route, StoreError> {
        self.rank(task, &Scope::default(), 10, Mode::Hybrid).await
    }

    /// Ranks up to `limit` tools of `scope` for a task.
    pub async fn rank(
        &self,
        task: &str,
        scope: &Scope,
        limit: usize,
        mode: Mode,
    ) -> Result<Route, StoreError> {
        let task: String = task.chars().take(MAX_TASK_CHARS).collect();
        let started = Instant::now();
        // The words are looked up on another thread while the task is embedded.
        let words = (mode != Mode::Dense).then(|| {
            let (store, task) = (self.store.clone(), task.clone());
            // In a part of the catalog nothing may be missed because others match better.
            let count = if scope.servers.is_some() { usize::MAX } else { POOL * 2 };
            tokio::task::spawn_blocking(move || lexical::search(&store, &task, count))
        });
        let (embedding, degraded) = match mode {
            Mode::Lexical => (None, None),
            _ => match self.embedder.embed_query(&task).await {
                Ok(embedding) => {
                    self.library.settled().await;
                    (Some(embedding), None)
                }
                Err(error) => (None, Some(error)),
            },
        };
        let embed = started.elapsed();
        let words = match words {
            Some(words) => words.await.unwrap_or_else(|_| Ok(HashMap::new()))?,
            None => HashMap::new(),
        };
        let candidates = rank(&self.library.snapshot(), embedding.as_ref(), &words, scope, limit);
        let timings =
            RouteTimings { embed_ms: ms(embed), search_ms: ms(started.elapsed().saturating_sub(embed)) };
        Ok(Route { candidates, degraded, timings })
    }
}

/// Puts both searches together: all tools that either finds, each with both scores.
fn rank(
    snapshot: &Snapshot,
    embedding: Option<&Embedding>,
    words: &HashMap<i64, f32>,
    scope: &Scope,
    limit: usize,
) -> Vec<Candidate> {
    let bm25: HashMap<usize, f32> = words
        .iter()
        .filter_map(|(row_id, score)| Some((snapshot.place_of_row_id(*row_id)?, *score)))
        .collect();
    let mut places: BTreeSet<usize> = bm25.keys().copied().collect();
    match embedding {
        Some(_) if scope.servers.is_some() => places.extend(0..snapshot.len()),
        Some(embedding) => {
            places.extend(snapshot.nearest(embedding.as_slice(), POOL));
        }
        None => {}
    }
    let mut scored: Vec<Scored> = places
        .into_iter()
        .filter(|place| scope.admits(snapshot.tool(*place)))
        .map(|place| {
            let bm25 = bm25.get(&place).copied().unwrap_or_default();
            Scored::new(snapshot, place, embedding.map(Embedding::as_slice), bm25)
        })
        .collect();
    scored.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.place.cmp(&right.place)));
    let tools = match &scope.servers {
        None => snapshot.len(),
        Some(_) => snapshot.tools().filter(|tool| scope.admits(tool)).count(),
    };
    let best_two = [0, 1].map(|rank| scored.get(rank).map_or(0.0, |scored| scored.score));
    scored
        .into_iter()
        .take(limit)
        .enumerate()
        .map(|(rank, Scored { place, score, views, lexical })| {
            let rival = if rank == 0 { best_two[1] } else { best_two[0] };
            let dense = views.map(|views| views.dense());
            let evidence = Evidence::new(score, rival, views, lexical, tools);
            Candidate {
                tool: snapshot.tool(place).clone(),
                confidence: confidence::of(&evidence),
                score,
                views,
                dense,
                lexical,
                evidence,
            }
        })
        .collect()
}

/// Milliseconds, with fractions.
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
