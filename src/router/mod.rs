//! From a task in plain language to ranked tools, each with a calibrated confidence. Reads the
//! catalog in memory; starts no child.

mod action;
mod clauses;
pub mod confidence;
pub mod explain;
mod ranking;
mod recent;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinHandle;

use self::{
    confidence::{Evidence, Objections},
    ranking::Ranked,
    recent::{Question, Recent},
    services::Service,
};
use crate::{
    catalog::{Store, StoreError, Tool},
    embed::{EmbedError, Embedder},
    index::{Library, Quantized, Scored, Snapshot, fuse::Views, lexical},
};

/// Tools taken from each of the two searches before both scores are put together.
const POOL: usize = 128;
/// The same for a clause of the task.
const POOL_OF_CLAUSE: usize = 32;
/// Tools that speak for their servers; what comes later says little.
const SPEAKING: usize = 10;
/// Characters of a task that are read; more would be cut by the encoder anyway.
const MAX_TASK_CHARS: usize = 4_000;

/// Which searches take part. Hybrid is what the product uses; the others are for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, clap::ValueEnum)]
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
    /// Probability, as far as this tool tells, that there is one for the task.
    pub fits: f32,
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
    /// Its example that is nearest to the task.
    pub example: Option<String>,
    /// What it was taken for, where the task has several clauses.
    pub clause: Option<ClauseMatch>,
}

impl Candidate {
    /// The probability that the tool does the task where it does not matter which service does.
    pub fn confidence_on_any_service(&self) -> f32 {
        if self.evidence.objections().other_service {
            confidence::of(&Evidence { other_service: 0.0, ..self.evidence })
        } else {
            self.confidence
        }
    }
}

/// The clause of a task that a tool was taken for.
#[derive(Debug, Clone, PartialEq)]
pub struct ClauseMatch {
    /// Its words.
    pub text: String,
    /// The tool's score for it, brought to the level of its scores for the task.
    pub score: f32,
    /// Tools that were taken for it before.
    pub served: usize,
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

    /// Servers by what is believed of their tools together, best first: three that are nearly right tell
    /// more of a server than one that is a little nearer.
    pub fn servers(&self) -> Vec<ServerMatch> {
        let total: f32 =
            self.candidates.iter().take(SPEAKING).map(|candidate| candidate.evidence.share).sum();
        let mut servers: Vec<ServerMatch> = Vec::new();
        for (at, candidate) in self.candidates.iter().enumerate() {
            let speaks = at < SPEAKING && total > 0.0;
            let share = if speaks { candidate.evidence.share / total } else { 0.0 };
            match servers.iter_mut().find(|found| found.server == candidate.tool.server) {
                Some(found) => found.share += share,
                None => servers.push(ServerMatch {
                    server: candidate.tool.server.clone(),
                    share,
                    tool: candidate.tool.name().to_owned(),
                    confidence: candidate.confidence,
                }),
            }
        }
        servers.sort_by(|left, right| right.share.total_cmp(&left.share));
        servers
    }
}

/// A server and how far it is the one for a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerMatch {
    /// The server.
    pub server: String,
    /// Its tools' share of what is believed of all that were found.
    pub share: f32,
    /// Its tool that fits best.
    pub tool: String,
    /// Probability that this tool does the task.
    pub confidence: f32,
}

/// Limits a search to part of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    servers: Option<BTreeSet<String>>,
    /// Tools that are left out, `server:tool` each.
    without: BTreeSet<String>,
}

impl Scope {
    /// Tools of these servers only.
    pub fn servers(servers: impl IntoIterator<Item = String>) -> Self {
        Self { servers: Some(servers.into_iter().collect()), ..Self::default() }
    }

    /// The same without these tools, `server:tool` each.
    #[must_use]
    pub fn without(self, tools: BTreeSet<String>) -> Self {
        Self { without: tools, ..self }
    }

    /// Tools of one server only, or all.
    pub fn server(server: Option<String>) -> Self {
        server.map_or_else(Self::default, |server| Self::servers([server]))
    }

    fn admits(&self, tool: &Tool) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains(&tool.server))
            && (self.without.is_empty() || !self.without.contains(&tool.id()))
    }

    /// Places of all tools, where only those of some servers are wanted.
    fn places(&self, snapshot: &Snapshot) -> Option<BTreeSet<usize>> {
        let servers = self.servers.as_ref()?;
        let places = servers.iter().flat_map(|server| snapshot.places_of(server));
        Some(places.filter(|place| self.admits(snapshot.tool(*place))).collect())
    }
}

/// Finds tools. Clones share everything.
#[derive(Clone)]
pub struct Router {
    library: Library,
    store: Store,
    embedder: Embedder,
    recent: Arc<Recent>,
}

impl Router {
    /// A router over the library's tools.
    pub fn new(library: Library, store: Store, embedder: Embedder) -> Self {
        Self { library, store, embedder, recent: Arc::new(Recent::new()) }
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
        let started = Instant::now();
        let task: String = task.chars().take(MAX_TASK_CHARS).collect();
        let question = Question { task: task.clone(), scope: scope.clone(), limit, mode };
        if let Some(candidates) = self.recent.get(&self.library.snapshot(), &question) {
            let timings = RouteTimings { embed_ms: 0.0, search_ms: ms(started.elapsed()) };
            return Ok(Route { candidates, degraded: None, timings });
        }
        // The task as a whole, then its clauses.
        let parts: Vec<&str> = iter::once(task.as_str()).chain(clauses::clauses(&task)).collect();
        // The words are looked up on another thread while the parts are embedded.
        let words = (mode != Mode::Dense).then(|| self.search_words(&parts, scope));
        let (vectors, degraded) = match mode {
            Mode::Lexical => (None, None),
            _ => match self.embedder.embed_queries(&parts).await {
                Ok(embeddings) => {
                    self.library.settled().await;
                    let vectors = embeddings.iter().map(|embedding| Quantized::new(embedding.as_slice()));
                    (Some(vectors.collect::<Vec<_>>()), None)
                }
                Err(error) => (None, Some(error)),
            },
        };
        let embed = started.elapsed();
        let words = match words {
            Some(words) => words.await.unwrap_or_else(|_| Ok(Vec::new()))?,
            None => Vec::new(),
        };
        let snapshot = self.library.snapshot();
        let mut words = words.into_iter();
        let parts: Vec<Part> = parts
            .iter()
            .enumerate()
            .map(|(at, text)| {
                let vector = vectors.as_ref().map(|vectors| &vectors[at]);
                Part::new(&snapshot, scope, text, vector, words.next().unwrap_or_default())
            })
            .collect();
        let candidates = rank(&snapshot, &parts, scope, limit);
        if degraded.is_none() {
            self.recent.put(&snapshot, question, candidates.clone());
        }
        let timings =
            RouteTimings { embed_ms: ms(embed), search_ms: ms(started.elapsed().saturating_sub(embed)) };
        Ok(Route { candidates, degraded, timings })
    }

    /// What the words of each part find.
    fn search_words(&self, parts: &[&str], scope: &Scope) -> JoinHandle<Result<Vec<Words>, StoreError>> {
        let store = self.store.clone();
        let snapshot = self.library.snapshot();
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        // In a part of the catalog nothing may be missed because others match better.
        let count = if scope.servers.is_some() { usize::MAX } else { POOL * 2 };
        tokio::task::spawn_blocking(move || {
            let servers = services::words_of_servers(&snapshot);
            let search = |part: &String| {
                let bm25 = lexical::search(&store, part, count)?;
                Ok(Words { bm25, mentions: services::mentions(&store, services::named(part, &servers))? })
            };
            parts.iter().map(search).collect()
        })
    }
}

/// What the words of a text find.
#[derive(Default)]
struct Words {
    /// BM25 by row id.
    bm25: HashMap<i64, f32>,
    /// Row ids of the tools that mention each service that is named.
    mentions: BTreeMap<Service, Vec<i64>>,
}

/// What was found for the task, or for a clause of it.
struct Part<'a> {
    text: &'a str,
    vector: Option<&'a Quantized>,
    /// By place in the snapshot.
    bm25: HashMap<usize, f32>,
    /// Places of the tools that have to do with a service that is named; none where none is.
    concerned: Option<HashSet<usize>>,
}

impl<'a> Part<'a> {
    fn new(
        snapshot: &Snapshot,
        scope: &Scope,
        text: &'a str,
        vector: Option<&'a Quantized>,
        words: Words,
    ) -> Self {
        let concerned = services::concerned(snapshot, scope, &words.mentions);
        let places = words.bm25.into_iter();
        let bm25 = places.filter_map(|(row, score)| Some((snapshot.place_of_row_id(row)?, score))).collect();
        Self { text, vector, bm25, concerned }
    }

    /// What speaks against the tool at a place.
    fn objections(&self, snapshot: &Snapshot, place: usize) -> Objections {
        Objections {
            other_service: self.concerned.as_ref().is_some_and(|places| !places.contains(&place)),
            other_action: action::asks_otherwise(self.text, snapshot.tool(place)),
            other_verb: action::asks_by_another_verb(
                self.text,
                snapshot.tool(place),
                snapshot.examples(place),
            ),
        }
    }

    fn score(&self, snapshot: &Snapshot, place: usize) -> Scored {
        Scored::new(snapshot, place, self.vector, self.bm25.get(&place).copied().unwrap_or_default())
    }
}

/// Places of the tools that either search finds for any part.
fn found(snapshot: &Snapshot, parts: &[Part<'_>]) -> BTreeSet<usize> {
    let pools = iter::once(POOL).chain(iter::repeat(POOL_OF_CLAUSE));
    let queries: Vec<(&Quantized, usize)> =
        parts.iter().zip(pools).filter_map(|(part, pool)| Some((part.vector?, pool))).collect();
    let by_words = parts.iter().flat_map(|part| part.bm25.keys().copied());
    snapshot.nearest(&queries).into_iter().chain(by_words).collect()
}

/// Puts both searches together: all tools that either finds for any part, each with all scores.
/// `parts` is the task, then its clauses.
fn rank(snapshot: &Snapshot, parts: &[Part<'_>], scope: &Scope, limit: usize) -> Vec<Candidate> {
    let Some((whole, clauses)) = parts.split_first() else { return Vec::new() };
    let by_words = whole.vector.is_none();
    // In a part of the catalog each tool is compared: an index would find too few of that part.
    let places = scope.places(snapshot).filter(|_| !by_words).unwrap_or_else(|| {
        let mut places = found(snapshot, parts);
        places.retain(|place| scope.admits(snapshot.tool(*place)));
        places
    });
    let mut scored: Vec<Scored> = Vec::with_capacity(places.len());
    let mut by_clause = vec![Vec::with_capacity(places.len()); clauses.len()];
    // Tool by tool, so that its vectors are read from memory once.
    for place in places {
        scored.push(whole.score(snapshot, place));
        for (clause, scores) in clauses.iter().zip(&mut by_clause) {
            scores.push(clause.score(snapshot, place).score);
        }
    }
    let by_task: Vec<f32> = scored.iter().map(|scored| scored.score).collect();
    ranking::rank(&by_task, &by_clause, by_words, limit)
        .into_iter()
        .map(|Ranked { at, score, share, clause }| {
            let Scored { place, views, lexical, .. } = scored[at];
            let taken_for = clause.map_or(whole, |taken| &clauses[taken.at]);
            let familiar = whole.vector.and_then(|_| snapshot.familiar(place));
            let evidence = Evidence::new(
                share,
                views,
                familiar,
                taken_for.objections(snapshot, place),
                clause.is_some(),
            );
            Candidate {
                tool: snapshot.tool(place).clone(),
                confidence: confidence::of(&evidence),
                fits: confidence::fits(&evidence),
                score,
                views,
                dense: views.map(|views| views.dense()),
                lexical,
                evidence,
                example: views.and_then(|views| snapshot.example_of(place, &views)).map(str::to_owned),
                clause: clause.map(|taken| ClauseMatch {
                    text: clauses[taken.at].text.to_owned(),
                    score: taken.score,
                    served: taken.served,
                }),
            }
        })
        .collect()
}

/// Milliseconds, with fractions.
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
