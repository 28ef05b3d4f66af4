//! All parts put together, once for `serve` and for every command that needs them.

use std::path::PathBuf;

use crate::{
    audit::Audit,
    catalog::{Store, StoreError},
    child::{Listing, Pool, PoolOptions},
    config::{Config, Paths},
    embed::{Embedder, ModelSource},
    execute::Executor,
    index::Library,
    report,
    router::Router,
};

/// Tool lists that may wait to be taken in.
const WAITING_LISTINGS: usize = 64;

/// Tool lists as children give them.
pub type Listings = tokio::sync::mpsc::Receiver<Listing>;

/// A running orchestrator. Nothing is started but its own threads: children start when needed.
pub struct Orchestrator {
    /// What the user wrote.
    pub config: Config,
    /// Where files are kept.
    pub paths: Paths,
    /// The catalog on disk.
    pub store: Store,
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
}

impl Orchestrator {
    /// Puts the parts together inside a tokio runtime, and takes in what children list. `guard` is the orchestrator's executable,
    /// which guards each child on Linux. Where the data folder cannot be written, the catalog is
    /// kept in memory, with a warning.
    pub fn start(config: Config, paths: Paths, guard: Option<PathBuf>) -> Result<Self, StoreError> {
        let (orchestrator, listings) = Self::start_without_listening(config, paths, guard)?;
        tokio::spawn(take_in(orchestrator.library.clone(), listings));
        Ok(orchestrator)
    }

    /// Like [`Self::start`], for callers that take in lists themselves, as from this receiver.
    pub fn start_without_listening(
        config: Config,
        paths: Paths,
        guard: Option<PathBuf>,
    ) -> Result<(Self, Listings), StoreError> {
        let store = match Store::open(&paths.catalog()) {
            Ok(store) => store,
            Err(error) => {
                tracing::warn!("{}; the catalog is kept in memory this time", report::chain(&error));
                Store::in_memory()?
            }
        };
        let source = ModelSource { model: config.settings.model.clone(), downloads: paths.models() };
        let embedder = Embedder::start(source);
        let threshold = config.settings.hnsw_threshold;
        let library = Library::start(store.clone(), embedder.clone(), &config.servers, threshold)?;
        let (listings, arrived) = tokio::sync::mpsc::channel(WAITING_LISTINGS);
        let options = PoolOptions { timeouts: config.settings.timeouts, guard };
        let pool = Pool::new(&config.servers, options, listings);
        let audit = Audit::start(&paths.audit());
        let router = Router::new(library.clone(), store.clone(), embedder.clone());
        let executor = Executor::new(
            router.clone(),
            library.clone(),
            pool.clone(),
            audit.clone(),
            config.settings.execute,
            config.servers.keys().cloned(),
        );
        let orchestrator = Self { config, paths, store, embedder, library, pool, router, executor, audit };
        Ok((orchestrator, arrived))
    }

    /// Ends all children and puts the catalog in order.
    pub async fn shutdown(&self) {
        self.pool.shutdown().await;
        self.store.checkpoint();
    }
}

/// Takes in each tool list that a child gives, at its start and after each change.
async fn take_in(library: Library, mut listings: Listings) {
    while let Some(listing) = listings.recv().await {
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
