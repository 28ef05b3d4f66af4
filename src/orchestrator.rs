//! All parts put together, once for `serve` and for every command that needs them.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{
    audit::Audit,
    catalog::{Store, StoreError},
    child::{Listing, Pool, PoolOptions},
    config::{Config, Paths},
    embed::{Embedder, ModelSource},
    examples::{ExampleStore, ExamplesError},
    execute::Executor,
    index::Library,
    report,
    router::Router,
};

/// Tool lists that may wait to be taken in.
const WAITING_LISTINGS: usize = 64;
/// For tool lists that are still to be taken in at the end.
const LAST_LISTINGS: Duration = Duration::from_secs(5);
/// How often the catalog is looked at for changes by another process, such as `reindex`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// Tool lists as children give them.
pub type Listings = tokio::sync::mpsc::Receiver<Listing>;

/// Why an orchestrator could not be put together: not even a database in memory works.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The catalog.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The examples.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
}

/// A running orchestrator. Nothing is started but its own threads: children start when needed.
pub struct Orchestrator {
    /// What the user wrote.
    pub config: Config,
    /// Where files are kept.
    pub paths: Paths,
    /// The catalog on disk.
    pub store: Store,
    /// The example tasks on disk.
    pub examples: ExampleStore,
    /// The encoder.
    pub embedder: Embedder,
    /// The catalog in memory.
    pub library: Library,
    /// The children.
    pub pool: Pool,
    /// `find_best_mcp`.
    pub router: Router,
    /// Tasks and calls.
    pub executor: Executor,
    /// The trail.
    pub audit: Audit,
    /// Takes in what children list.
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Orchestrator {
    /// Puts the parts together inside a tokio runtime, and takes in what children list. `guard` is the
    /// orchestrator's executable, which guards each child on Linux. Where the data folder cannot be
    /// written, the catalog is kept in memory, with a warning.
    pub fn start(config: Config, paths: Paths, guard: Option<PathBuf>) -> Result<Self, StartError> {
        let (orchestrator, listings) = Self::start_without_listening(config, paths, guard)?;
        let follower = tokio::spawn(take_in(orchestrator.library.clone(), listings));
        *orchestrator.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(follower);
        Ok(orchestrator)
    }

    /// Like [`Self::start`], for callers that take in lists themselves, as from this receiver.
    pub fn start_without_listening(
        config: Config,
        paths: Paths,
        guard: Option<PathBuf>,
    ) -> Result<(Self, Listings), StartError> {
        let store = match Store::open(&paths.catalog()) {
            Ok(store) => store,
            Err(error) => {
                tracing::warn!("{}; the catalog is kept in memory this time", report::chain(&error));
                Store::in_memory()?
            }
        };
        let examples = match ExampleStore::open(&paths.examples()) {
            Ok(examples) => examples,
            Err(error) => {
                tracing::warn!("{}; none is used this time", report::chain(&error));
                ExampleStore::in_memory()?
            }
        };
        let source = ModelSource { model: config.settings.model.clone(), downloads: paths.models() };
        let embedder = Embedder::start(source);
        let threshold = config.settings.hnsw_threshold;
        let library =
            Library::start(store.clone(), examples.clone(), embedder.clone(), &config.servers, threshold)?;
        let (listings, arrived) = tokio::sync::mpsc::channel(WAITING_LISTINGS);
        let known = library.snapshot();
        let protocols =
            known.servers().iter().map(|(name, server)| (name.clone(), server.info.protocol.clone()));
        let total_limits = config.settings.total_limits;
        let options = PoolOptions { total_limits, guard, protocols: protocols.collect() };
        let pool = Pool::new(&config.servers, &options, &listings);
        let audit = Audit::start(&paths.audit());
        let router = Router::new(library.clone(), store.clone(), embedder.clone());
        let executor = Executor::new(
            router.clone(),
            library.clone(),
            pool.clone(),
            audit.clone(),
            &config.settings,
            config.servers.keys().cloned(),
        );
        let orchestrator = Self {
            config,
            paths,
            store,
            examples,
            embedder,
            library,
            pool,
            router,
            executor,
            audit,
            follower: Mutex::default(),
        };
        Ok((orchestrator, arrived))
    }

    /// Ends all children, takes in what they listed last, and puts the catalog in order.
    pub async fn shutdown(&self) {
        self.pool.shutdown().await;
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            // It ends by itself when all lists are taken in.
            tokio::time::timeout(LAST_LISTINGS, follower).await.ok();
        }
        self.audit.flush().await;
        self.store.checkpoint();
        self.examples.checkpoint();
    }
}

/// Takes in each tool list that a child gives, at its start and after each change, and now and then
/// looks whether another process changed the catalog.
async fn take_in(library: Library, mut listings: Listings) {
    loop {
        let listing = match tokio::time::timeout(REFRESH_INTERVAL, listings.recv()).await {
            Ok(Some(listing)) => listing,
            Ok(None) => return,
            Err(_) => {
                if let Err(error) = library.refresh().await {
                    tracing::debug!("the catalog was not looked at: {}", report::chain(&error));
                }
                continue;
            }
        };
        let server = listing.server.clone();
        match library.apply(listing, false, None).await {
            Ok(taken) if taken.changes.is_empty() => {}
            Ok(taken) => tracing::debug!(
                server,
                added = taken.changes.added.len(),
                changed = taken.changes.changed.len(),
                removed = taken.changes.removed.len(),
                "its tools changed"
            ),
            Err(error) => tracing::warn!(server, "its tools cannot be kept: {}", report::chain(&error)),
        }
    }
}
