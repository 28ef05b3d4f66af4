//! Keeps store, vectors and snapshot in step with what children list. One thread does all of it,
//! one listing after the other, so that a tool is never embedded twice and nobody waits on a lock.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    thread,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use super::Snapshot;
use crate::{
    catalog::{CachedServer, Diff, Store, StoreError, StoredTool, Tool, text},
    child::Listing,
    config::ServerConfig,
    embed::{EmbedError, Embedder},
};

/// Listings that may wait for the thread.
const WAITING_LISTINGS: usize = 64;
/// Vectors that are written in one transaction.
const KEPT_TOGETHER: usize = 256;

/// Why a listing was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store refused. Tools known before stay findable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread is gone, because the process is ending.
    #[error("the index has stopped")]
    Stopped,
}

/// What taking in a listing came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Tools that changed.
    pub changes: Diff,
    /// Texts that were embedded; all others had their vector already.
    pub embedded: usize,
    /// Why tools can be found by words only, if that is so.
    pub embed_error: Option<Arc<EmbedError>>,
}

/// Told how many more texts are embedded, of how many.
pub type Progress = Box<dyn FnMut(usize, usize) + Send>;

struct Request {
    listings: Vec<Listing>,
    force: bool,
    progress: Option<Progress>,
    reply: oneshot::Sender<Result<Report, IndexError>>,
}

/// Handle to the catalog in memory and to the thread that keeps it. Clones share both.
#[derive(Clone)]
pub struct Library {
    snapshot: Arc<ArcSwap<Snapshot>>,
    requests: mpsc::Sender<Request>,
    settled: watch::Receiver<bool>,
}

impl Library {
    /// Reads the tools of `servers` from the store and starts the thread, which adds the vectors
    /// as soon as the model is there. Tools listed by another program under the same name are
    /// left out.
    pub fn start(
        store: Store,
        embedder: Embedder,
        servers: &BTreeMap<String, ServerConfig>,
        hnsw_threshold: usize,
    ) -> Result<Self, StoreError> {
        let fingerprints = servers
            .iter()
            .filter(|(_, config)| !config.disabled)
            .map(|(name, config)| (name.clone(), config.fingerprint()))
            .collect();
        let (requests, inbox) = mpsc::channel(WAITING_LISTINGS);
        let (settled_sender, settled) = watch::channel(false);
        let mut keeper =
            Keeper { store, embedder, fingerprints, hnsw_threshold, snapshot: Arc::default(), version: None };
        keeper.changed_elsewhere();
        keeper.snapshot.store(Arc::new(keeper.read()?));
        let snapshot = Arc::clone(&keeper.snapshot);
        let spawned =
            thread::Builder::new().name("index".to_owned()).spawn(move || keeper.run(inbox, &settled_sender));
        if let Err(error) = spawned {
            tracing::error!("cannot start the index's thread: {error}");
        }
        Ok(Self { snapshot, requests, settled })
    }

    /// The catalog as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Waits until the vectors of all cached tools are there, or it is known why not.
    pub async fn settled(&self) {
        // An error means that the thread is gone: there is nothing more to wait for.
        self.settled.clone().wait_for(|settled| *settled).await.ok();
    }

    /// Takes in what a server lists: writes what changed, embeds what is new, shows it to readers.
    /// `force` writes and embeds all of it anew.
    pub async fn apply(
        &self,
        listing: Listing,
        force: bool,
        progress: Option<Progress>,
    ) -> Result<Report, IndexError> {
        self.request(vec![listing], force, progress).await
    }

    /// Takes in what several servers list, all at once.
    pub async fn apply_all(&self, listings: Vec<Listing>) -> Result<Report, IndexError> {
        self.request(listings, false, None).await
    }

    /// Looks whether another process wrote into the store, and shows it to readers if so.
    pub async fn refresh(&self) -> Result<Report, IndexError> {
        self.request(Vec::new(), false, None).await
    }

    async fn request(
        &self,
        listings: Vec<Listing>,
        force: bool,
        progress: Option<Progress>,
    ) -> Result<Report, IndexError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { listings, force, progress, reply };
        self.requests.send(request).await.map_err(|_| IndexError::Stopped)?;
        answer.await.map_err(|_| IndexError::Stopped)?
    }
}

/// What the thread owns.
struct Keeper {
    store: Store,
    embedder: Embedder,
    /// Fingerprints of the servers that are in use.
    fingerprints: HashMap<String, String>,
    hnsw_threshold: usize,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// The store's version when it was looked at last.
    version: Option<i64>,
}

impl Keeper {
    fn run(mut self, mut inbox: mpsc::Receiver<Request>, settled: &watch::Sender<bool>) {
        let published = self.publish();
        // What has a vector can be found by it; nobody waits for the rest.
        settled.send_replace(true);
        let completed = published.and_then(|()| match self.embed_missing(&HashSet::new(), None)? {
            0 => Ok(()),
            _ => self.publish(),
        });
        if let Err(error) = completed {
            tracing::warn!("tools are found by words only: {error}");
        }
        while let Some(request) = inbox.blocking_recv() {
            let outcome = self.take_in(&request.listings, request.force, request.progress);
            // Whoever asked may have gone away; the work is done all the same.
            request.reply.send(outcome).ok();
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
            let fingerprint = self.fingerprints.get(&listing.server).map_or("", String::as_str);
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
        };
        if force || stale || embedded > 0 || !changes.is_empty() {
            match self.publish() {
                Ok(()) => {}
                Err(Failure::Store(error)) => return Err(error.into()),
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

    /// Whether another process wrote into the store since this was asked last.
    fn changed_elsewhere(&mut self) -> bool {
        let now = self.store.version().ok();
        std::mem::replace(&mut self.version, now) != now
    }

    /// Tools of servers in use, as the store has them, without vectors.
    fn read(&self) -> Result<Snapshot, StoreError> {
        let in_use = |server: &CachedServer| self.fingerprints.get(&server.name) == Some(&server.fingerprint);
        let servers: Vec<CachedServer> = self.store.servers()?.into_iter().filter(in_use).collect();
        let names: HashSet<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        let mut tools: Vec<StoredTool> = self.store.tools()?;
        tools.retain(|stored| names.contains(stored.tool.server.as_str()));
        Ok(Snapshot::new(servers, tools))
    }

    /// Shows readers what the store holds now; with vectors where there is a model.
    fn publish(&self) -> Result<(), Failure> {
        let snapshot = self.read()?;
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

    /// Embeds the texts that have no vector yet, and those in `again`, and returns how many.
    fn embed_missing(&self, again: &HashSet<String>, progress: Option<Progress>) -> Result<usize, Failure> {
        let facts = self.model()?;
        let have = self.store.text_hashes_with_vector(&facts.id)?;
        let snapshot = self.read()?;
        let mut missing: BTreeMap<&str, String> = BTreeMap::new();
        for tool in snapshot.tools() {
            if again.contains(&tool.text_hash) || !have.contains(&tool.text_hash) {
                missing.insert(&tool.text_hash, text::to_embed(&tool.server, tool.definition()));
            }
        }
        let missing: Vec<(&str, String)> = missing.into_iter().collect();
        let mut progress = progress.unwrap_or_else(|| Box::new(|_, _| ()));
        // Kept part by part, so that an interrupted run goes on where it stopped.
        for part in missing.chunks(KEPT_TOGETHER) {
            let texts: Vec<String> = part.iter().map(|(_, text)| text.clone()).collect();
            let embeddings = self.embedder.embed_documents(&texts, |done| progress(done, missing.len()))?;
            let rows =
                part.iter().zip(&embeddings).map(|((hash, _), embedding)| (*hash, embedding.as_slice()));
            self.store.add_vectors(&facts.id, rows)?;
        }
        Ok(missing.len())
    }

    fn text_hashes(&self, server: &str) -> Result<HashSet<String>, StoreError> {
        let tools = self.store.tools()?.into_iter();
        Ok(tools.filter(|stored| stored.tool.server == server).map(|stored| stored.tool.text_hash).collect())
    }

    /// Waits for the model: this thread has nothing to do without it.
    fn model(&self) -> Result<Arc<crate::embed::ModelFacts>, Arc<EmbedError>> {
        self.embedder.ready_blocking()
    }
}

/// Either kind of failure inside the thread.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Embed(#[from] Arc<EmbedError>),
}
