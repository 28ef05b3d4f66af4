//! The catalog in memory, and how to change it: handle to the thread that keeps store, vectors and
//! snapshot in step with what children list and people teach.

use std::{collections::BTreeMap, sync::Arc, thread};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Snapshot, keeper::Keeper};
use crate::{
    catalog::{Diff, Store, StoreError},
    child::Listing,
    config::ServerConfig,
    embed::{EmbedError, Embedder},
    examples::{ExampleStore, ExamplesError, NewExample, Source},
};

/// Listings that may wait for the thread.
const WAITING_LISTINGS: usize = 64;

/// Why a listing was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// The store refused. Tools known before stay findable.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The examples cannot be kept.
    #[error(transparent)]
    Examples(Arc<ExamplesError>),
    /// The thread is gone, because the process is ending.
    #[error("the index has stopped")]
    Stopped,
}

impl From<StoreError> for IndexError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<ExamplesError> for IndexError {
    fn from(error: ExamplesError) -> Self {
        Self::Examples(Arc::new(error))
    }
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

/// What became of an example that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its tool is found by it from now on.
    Kept,
    /// It is kept aside, for this reason.
    Doubtful(String),
    /// It was there before.
    Known,
    /// It waits for the model, or for its tool to be listed.
    Waiting,
    /// There is no such tool.
    UnknownTool,
    /// Its source is switched off, so it was not taken in.
    Off,
}

/// An example that was given, and what became of it.
#[derive(Debug, Clone)]
pub struct Taught {
    /// What was given.
    pub example: NewExample,
    /// What became of it.
    pub verdict: Verdict,
}

/// Work for the thread.
pub(super) enum Request {
    /// Take in what servers list.
    Listings(Listed),
    /// Take in examples.
    Examples {
        examples: Vec<NewExample>,
        source: Source,
        reply: oneshot::Sender<Result<Vec<Taught>, IndexError>>,
    },
}

/// What servers list, all of it to be shown to readers before the reply.
pub(super) struct Listed {
    pub listings: Vec<Listing>,
    pub force: bool,
    pub progress: Option<Progress>,
    pub reply: oneshot::Sender<Result<Report, IndexError>>,
}

/// Handle to the catalog in memory and to the thread that keeps it. Clones share both.
#[derive(Clone)]
pub struct Library {
    snapshot: Arc<ArcSwap<Snapshot>>,
    requests: mpsc::Sender<Request>,
    stage: watch::Receiver<Stage>,
}

/// How far the start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The servers are known, their tools not yet.
    Servers,
    /// Tools can be found by words.
    Words,
    /// Vectors of all cached tools are there, or it is known why not.
    Settled,
}

impl Library {
    /// Starts the thread, which reads the tools of `servers` from the store, and adds the vectors
    /// as soon as the model is there. Tools listed by another program under the same name are
    /// left out.
    pub fn start(
        store: Store,
        examples: ExampleStore,
        embedder: Embedder,
        servers: &BTreeMap<String, ServerConfig>,
        hnsw_threshold: usize,
    ) -> Result<Self, StoreError> {
        let (requests, inbox) = mpsc::channel(WAITING_LISTINGS);
        let (reached, stage) = watch::channel(Stage::Servers);
        let keeper = Keeper::start(store, examples, embedder, servers, hnsw_threshold)?;
        let snapshot = keeper.shown();
        let spawned =
            thread::Builder::new().name("index".to_owned()).spawn(move || keeper.run(inbox, &reached));
        if let Err(error) = spawned {
            tracing::error!("cannot start the index's thread: {error}");
        }
        Ok(Self { snapshot, requests, stage })
    }

    /// The catalog as it is now. Until it is [`Self::read`] it has servers and no tools.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Whether the cached tools are there.
    pub fn is_read(&self) -> bool {
        *self.stage.borrow() >= Stage::Words
    }

    /// Waits until the cached tools are there.
    pub async fn read(&self) {
        self.reached(Stage::Words).await;
    }

    /// Waits until the vectors of all cached tools are there, or it is known why not.
    pub async fn settled(&self) {
        self.reached(Stage::Settled).await;
    }

    async fn reached(&self, wanted: Stage) {
        // An error means that the thread is gone: there is nothing more to wait for.
        self.stage.clone().wait_for(|stage| *stage >= wanted).await.ok();
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

    /// Takes in examples: each is kept where its tool is found by it, else kept aside.
    pub async fn teach(&self, examples: Vec<NewExample>, source: Source) -> Result<Vec<Taught>, IndexError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Examples { examples, source, reply };
        self.requests.send(request).await.map_err(|_| IndexError::Stopped)?;
        answer.await.map_err(|_| IndexError::Stopped)?
    }

    async fn request(
        &self,
        listings: Vec<Listing>,
        force: bool,
        progress: Option<Progress>,
    ) -> Result<Report, IndexError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Listings(Listed { listings, force, progress, reply });
        self.requests.send(request).await.map_err(|_| IndexError::Stopped)?;
        answer.await.map_err(|_| IndexError::Stopped)?
    }
}
