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
    library::{Request, Stage},
    rows::Rows,
};
use crate::{
    catalog::{CachedServer, Store, StoreError, StoredTool, text},
    config::ServerConfig,
    embed::{EmbedError, Embedder, ModelFacts},
    examples::{ExampleStore, ExamplesError},
};

mod listings;
mod teaching;

/// Vectors that are written in one transaction.
const KEPT_TOGETHER: usize = 256;

/// What the thread owns.
pub(super) struct Keeper {
    store: Store,
    examples: ExampleStore,
    embedder: Embedder,
    /// The servers that are in use.
    servers: HashMap<String, InUse>,
    rows: Rows,
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
    /// Reads which of `servers` the store knows; their tools are read by [`Self::run`].
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
        let kept = store.on_disk().map(|file| file.with_extension("index"));
        let mut keeper = Self {
            store,
            examples,
            embedder,
            servers,
            rows: Rows::new(kept, hnsw_threshold),
            snapshot: Arc::default(),
            versions: (None, None),
        };
        keeper.changed_elsewhere();
        let servers = keeper.servers_in_use()?;
        keeper.snapshot.store(Arc::new(Snapshot::new(servers, Vec::new(), HashMap::new())));
        Ok(keeper)
    }

    /// What readers see.
    pub(super) fn shown(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.snapshot)
    }

    /// Works until nobody asks any more.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Request>, reached: &watch::Sender<Stage>) {
        let read = self.read_or_renew().map(|snapshot| self.snapshot.store(Arc::new(snapshot)));
        reached.send_replace(Stage::Words);
        let shown = read.map_err(Failure::from).and_then(|()| self.show(self.snapshot.load_full()));
        // What has a vector can be found by it; nobody waits for the rest.
        reached.send_replace(Stage::Settled);
        let completed = shown.and_then(|()| {
            self.store.set_example_words(self.snapshot.load().stored())?;
            if !self.embed_missing(&HashSet::new(), |_, _| ())?.is_empty() {
                self.publish()?;
            }
            self.settle_examples()?;
            self.finish_index()?;
            // It reads the whole file, so it comes last.
            if self.store.check()? {
                self.publish()?;
            }
            Ok(())
        });
        if let Err(error) = completed {
            tracing::warn!("tools are found by words only: {error}");
        }
        while let Some(request) = inbox.blocking_recv() {
            let mut waiting = vec![request];
            // Lists that wait together are shown together: showing takes a time that grows with the catalog.
            while let Some(Request::Listings(_)) = waiting.last()
                && let Ok(next) = inbox.try_recv()
            {
                waiting.push(next);
            }
            let mut listings = Vec::new();
            for request in waiting {
                match request {
                    Request::Listings(more) => listings.push(more),
                    Request::Examples { examples, source, reply } => {
                        self.take_in(std::mem::take(&mut listings));
                        // Whoever asked may have gone away; the work is done all the same.
                        reply.send(self.teach(&examples, source)).ok();
                    }
                }
            }
            self.take_in(listings);
            // Nobody waits for it.
            if inbox.is_empty()
                && let Err(error) = self.finish_index()
            {
                tracing::warn!("the index is not as fast as it could be: {error}");
            }
        }
    }

    /// Builds the graph if there are so many vectors that one is wanted, and keeps the index for the next start.
    fn finish_index(&mut self) -> Result<(), Failure> {
        if self.rows.build_graph() {
            self.publish()?;
        }
        self.rows.keep();
        Ok(())
    }

    /// Whether another process wrote into a database since this was asked last.
    fn changed_elsewhere(&mut self) -> bool {
        let now = (self.store.version().ok(), self.examples.version().ok());
        std::mem::replace(&mut self.versions, now) != now
    }

    /// The servers of the store that are in use, listed by the program that they are now.
    fn servers_in_use(&self) -> Result<Vec<CachedServer>, StoreError> {
        let in_use = |server: &CachedServer| {
            self.servers.get(&server.name).is_some_and(|known| known.fingerprint == server.fingerprint)
        };
        Ok(self.store.servers()?.into_iter().filter(in_use).collect())
    }

    /// What [`Self::read`] reads; from an empty store where the one that is there is damaged.
    fn read_or_renew(&self) -> Result<Snapshot, StoreError> {
        match self.read() {
            Err(error) if error.is_damage() => {
                self.store.renew(&error.to_string())?;
                self.read()
            }
            read => read,
        }
    }

    /// Tools of servers in use with their examples, without vectors.
    fn read(&self) -> Result<Snapshot, StoreError> {
        let servers = self.servers_in_use()?;
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
        self.examples.each_kept(&off, |server, tool, text| {
            examples.entry(format!("{server}:{tool}")).or_default().push(text.to_owned());
        })?;
        Ok(examples)
    }

    /// Shows readers what the stores hold now; with vectors where there is a model.
    fn publish(&mut self) -> Result<(), Failure> {
        let snapshot = self.read()?;
        self.store.set_example_words(snapshot.stored())?;
        self.show(Arc::new(snapshot))
    }

    /// Shows readers these tools; with vectors where there is a model.
    fn show(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Failure> {
        match self.model() {
            Ok(facts) => {
                let texts = snapshot.texts();
                self.rows.load(&self.store, &facts, texts.iter().flatten())?;
                self.snapshot.store(Arc::new(snapshot.with_vectors(&mut self.rows, &texts)));
                Ok(())
            }
            Err(error) => {
                self.snapshot.store(snapshot);
                Err(error.into())
            }
        }
    }

    /// Embeds the texts of tools that have no vector yet, and those in `again`; returns their hashes.
    fn embed_missing(
        &self,
        again: &HashSet<String>,
        progress: impl FnMut(usize, usize),
    ) -> Result<HashSet<String>, Failure> {
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
    fn embed(
        &self,
        texts: BTreeMap<String, String>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<HashSet<String>, Failure> {
        let facts = self.model()?;
        let missing: Vec<(String, String)> = texts.into_iter().collect();
        for part in missing.chunks(KEPT_TOGETHER) {
            let texts: Vec<String> = part.iter().map(|(_, text)| text.clone()).collect();
            let embeddings = self.embedder.embed_documents(&texts, |done| progress(done, missing.len()))?;
            let rows = part
                .iter()
                .zip(&embeddings)
                .map(|((hash, _), embedding)| (hash.as_str(), embedding.as_slice()));
            self.store.add_vectors(&facts.id, rows)?;
        }
        Ok(missing.into_iter().map(|(hash, _)| hash).collect())
    }

    /// Waits for the model: this thread has nothing to do without it.
    fn model(&self) -> Result<Arc<ModelFacts>, Arc<EmbedError>> {
        self.embedder.ready_blocking()
    }
}
