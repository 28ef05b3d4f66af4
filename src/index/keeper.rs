//! The thread that keeps store, vectors, examples and snapshot in step. It does one thing after the
//! other, so that a text is never embedded twice and nobody waits on a lock.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::{
    Snapshot,
    library::{IndexError, Progress, Report, Request},
};
use crate::{
    catalog::{CachedServer, Diff, Store, StoreError, StoredTool, Tool, text},
    child::Listing,
    config::ServerConfig,
    embed::{EmbedError, Embedder, ModelFacts},
    examples::{Example, ExampleStore, ExamplesError, Filter, Pack, State},
};

mod teaching;

/// Vectors that are written in one transaction.
const KEPT_TOGETHER: usize = 256;

/// What the thread owns.
pub(super) struct Keeper {
    store: Store,
    examples: ExampleStore,
    pack: Arc<Pack>,
    embedder: Embedder,
    /// The servers that are in use.
    servers: HashMap<String, InUse>,
    hnsw_threshold: usize,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Versions of the two databases when they were looked at last.
    versions: (Option<i64>, Option<i64>),
}

/// A server of the configuration.
struct InUse {
    fingerprint: String,
    /// Words of the command that starts it.
    words: Vec<String>,
}

/// Why the thread could not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    #[error(transparent)]
    Embed(#[from] Arc<EmbedError>),
}

impl Keeper {
    /// Reads what the store has of `servers`.
    pub(super) fn start(
        store: Store,
        examples: ExampleStore,
        embedder: Embedder,
        servers: &BTreeMap<String, ServerConfig>,
        hnsw_threshold: usize,
    ) -> Result<Self, StoreError> {
        let enabled = servers.iter().filter(|(_, config)| !config.disabled);
        let in_use =
            |config: &ServerConfig| InUse { fingerprint: config.fingerprint(), words: config.words() };
        let servers = enabled.map(|(name, config)| (name.clone(), in_use(config))).collect();
        let mut keeper = Self {
            store,
            examples,
            pack: Arc::default(),
            embedder,
            servers,
            hnsw_threshold,
            snapshot: Arc::default(),
            versions: (None, None),
        };
        keeper.changed_elsewhere();
        keeper.snapshot.store(Arc::new(keeper.read()?));
        Ok(keeper)
    }

    /// What readers see.
    pub(super) fn shown(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.snapshot)
    }

    /// Works until nobody asks any more.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Request>, settled: &watch::Sender<bool>) {
        // Read here, since it takes some time and nobody waits for this thread yet.
        self.pack = Pack::shipped();
        let published = self.publish();
        // What has a vector can be found by it; nobody waits for the rest.
        settled.send_replace(true);
        let completed = published.and_then(|()| {
            if self.embed_missing(&HashSet::new(), None)? > 0 {
                self.publish()?;
            }
            self.settle_examples()
        });
        if let Err(error) = completed {
            tracing::warn!("tools are found by words only: {error}");
        }
        while let Some(request) = inbox.blocking_recv() {
            // Whoever asked may have gone away; the work is done all the same.
            match request {
                Request::Listings { listings, force, progress, reply } => {
                    reply.send(self.take_in(&listings, force, progress)).ok();
                }
                Request::Examples { examples, source, reply } => {
                    reply.send(self.teach(&examples, source)).ok();
                }
            }
        }
    }

    fn take_in(
        &mut self,
        listings: &[Listing],
        force: bool,
        progress: Option<Progress>,
    ) -> Result<Report, IndexError> {
        let mut changes = Diff::default();
        let mut again = HashSet::new();
        let mut stale = self.changed_elsewhere();
        for listing in listings {
            let fingerprint = self.servers.get(&listing.server).map_or("", |server| &server.fingerprint);
            changes.extend(self.store.apply(listing, fingerprint, force)?);
            stale |= !self.shows(listing);
            if force {
                again.extend(self.text_hashes(&listing.server)?);
            }
        }
        if listings.is_empty() && !stale {
            return Ok(Report { changes, embedded: 0, embed_error: None });
        }
        let (embedded, embed_error) = match self.embed_missing(&again, progress) {
            Ok(embedded) => (embedded, None),
            Err(Failure::Embed(error)) => (0, Some(error)),
            Err(Failure::Store(error)) => return Err(error.into()),
            Err(Failure::Examples(error)) => return Err(error.into()),
        };
        if force || stale || embedded > 0 || !changes.is_empty() {
            match self.publish().and_then(|()| self.settle_examples()) {
                Ok(()) => {}
                Err(Failure::Store(error)) => return Err(error.into()),
                Err(Failure::Examples(error)) => tracing::warn!("examples are not used: {error}"),
                Err(Failure::Embed(error)) => tracing::debug!("published without vectors: {error}"),
            }
        }
        Ok(Report { changes, embedded, embed_error })
    }

    /// Whether the snapshot has exactly the tools of a listing. It may be behind the store, when
    /// another process wrote there.
    fn shows(&self, listing: &Listing) -> bool {
        let snapshot = self.snapshot.load();
        let shown = snapshot.tools_of(&listing.server).map(|tool| tool.hash.clone());
        let listed = listing.tools.iter().map(|tool| Tool::new(&listing.server, tool.clone()).hash);
        snapshot.servers().contains_key(&listing.server) && shown.eq(listed)
    }

    /// Whether another process wrote into a database since this was asked last.
    fn changed_elsewhere(&mut self) -> bool {
        let now = (self.store.version().ok(), self.examples.version().ok());
        std::mem::replace(&mut self.versions, now) != now
    }

    /// Tools of servers in use with their examples, without vectors.
    fn read(&self) -> Result<Snapshot, StoreError> {
        let in_use = |server: &CachedServer| {
            self.servers.get(&server.name).is_some_and(|known| known.fingerprint == server.fingerprint)
        };
        let servers: Vec<CachedServer> = self.store.servers()?.into_iter().filter(in_use).collect();
        let names: HashSet<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        let mut tools: Vec<StoredTool> = self.store.tools()?;
        tools.retain(|stored| names.contains(stored.tool.server.as_str()));
        let examples = self.kept_examples().unwrap_or_else(|error| {
            tracing::warn!("no example is used: {}", crate::report::chain(&error));
            HashMap::new()
        });
        Ok(Snapshot::new(servers, tools, examples))
    }

    /// The examples in use, by `server:tool`.
    fn kept_examples(&self) -> Result<HashMap<String, Vec<String>>, ExamplesError> {
        let off = self.examples.sources_off()?;
        let mut examples: HashMap<String, Vec<String>> = HashMap::new();
        for example in self.examples.list(&Filter { state: Some(State::Kept), ..Filter::default() })? {
            let Example { server, tool, text, source, .. } = example;
            if !off.contains(&source) {
                examples.entry(format!("{server}:{tool}")).or_default().push(text);
            }
        }
        Ok(examples)
    }

    /// Shows readers what the stores hold now; with vectors where there is a model.
    fn publish(&self) -> Result<(), Failure> {
        let snapshot = self.read()?;
        self.store.set_example_words(snapshot.stored())?;
        match self.model() {
            Ok(facts) => {
                let vectors = self.store.vectors(&facts.id, facts.dimensions)?;
                let snapshot = snapshot.with_vectors(&vectors, facts.dimensions, self.hnsw_threshold);
                self.snapshot.store(Arc::new(snapshot));
                Ok(())
            }
            Err(error) => {
                self.snapshot.store(Arc::new(snapshot));
                Err(error.into())
            }
        }
    }

    /// Embeds the texts of tools that have no vector yet, and those in `again`; returns how many.
    fn embed_missing(&self, again: &HashSet<String>, progress: Option<Progress>) -> Result<usize, Failure> {
        let have = self.store.text_hashes_with_vector(&self.model()?.id)?;
        let snapshot = self.read()?;
        let mut missing: BTreeMap<String, String> = BTreeMap::new();
        for tool in snapshot.tools() {
            if again.contains(&tool.text_hash) || !have.contains(&tool.text_hash) {
                missing.insert(tool.text_hash.clone(), text::to_embed(&tool.server, tool.definition()));
            }
        }
        self.embed(missing, progress)
    }

    /// Embeds texts by their hash and keeps the vectors, part by part, so that an interrupted run goes
    /// on where it stopped.
    fn embed(&self, texts: BTreeMap<String, String>, progress: Option<Progress>) -> Result<usize, Failure> {
        let facts = self.model()?;
        let missing: Vec<(String, String)> = texts.into_iter().collect();
        let mut progress = progress.unwrap_or_else(|| Box::new(|_, _| ()));
        for part in missing.chunks(KEPT_TOGETHER) {
            let texts: Vec<String> = part.iter().map(|(_, text)| text.clone()).collect();
            let embeddings = self.embedder.embed_documents(&texts, |done| progress(done, missing.len()))?;
            let rows = part
                .iter()
                .zip(&embeddings)
                .map(|((hash, _), embedding)| (hash.as_str(), embedding.as_slice()));
            self.store.add_vectors(&facts.id, rows)?;
        }
        Ok(missing.len())
    }

    fn text_hashes(&self, server: &str) -> Result<HashSet<String>, StoreError> {
        let tools = self.store.tools()?.into_iter();
        Ok(tools.filter(|stored| stored.tool.server == server).map(|stored| stored.tool.text_hash).collect())
    }

    /// Waits for the model: this thread has nothing to do without it.
    fn model(&self) -> Result<Arc<ModelFacts>, Arc<EmbedError>> {
        self.embedder.ready_blocking()
    }
}
