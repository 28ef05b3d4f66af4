//! The thread that owns the encoder. Queries go before documents, and queries that wait together
//! are embedded together. The model is loaded here, so that nobody waits for it at start.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{EmbedError, Embedding, Encoder, ModelSource, Purpose};

/// Texts that are taken from the line at once.
const BATCH: usize = 32;
/// Queries that may wait; past them the answer is "busy".
const MAX_WAITING_QUERIES: usize = 1024;
/// How long a query waits for the model; loading takes a fraction of a second, downloading minutes.
const LOAD_PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Name for people.
    pub name: String,
    /// Identifies exactly these files.
    pub id: String,
    /// Length of the vectors.
    pub dimensions: usize,
}

type Shared<T> = Result<T, Arc<EmbedError>>;

/// Handle to the encoder's thread. Clones share it; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Embedder {
    queue: Arc<Closing>,
    loaded: watch::Receiver<Option<Shared<Arc<ModelFacts>>>>,
}

/// Closes the queue when the last handle goes, or the thread.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    wake: Condvar,
}

#[derive(Default)]
struct Jobs {
    queries: VecDeque<Query>,
    documents: VecDeque<Documents>,
    closed: bool,
}

struct Query {
    text: String,
    reply: oneshot::Sender<Shared<Embedding>>,
}

/// A batch of documents, with the places of its texts in the caller's list.
struct Documents {
    texts: Vec<(usize, String)>,
    reply: mpsc::Sender<Shared<Vec<(usize, Embedding)>>>,
}

enum Work {
    Queries(Vec<Query>),
    Documents(Documents),
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of all who wait, and takes nothing more.
    fn close(&self) {
        let mut jobs = self.lock();
        jobs.closed = true;
        jobs.queries.clear();
        jobs.documents.clear();
        self.wake.notify_one();
    }

    /// Waits for work; none when the queue is closed.
    fn next(&self) -> Option<Work> {
        let mut jobs = self.lock();
        loop {
            // Whoever went away meanwhile needs no answer.
            jobs.queries.retain(|query| !query.reply.is_closed());
            if !jobs.queries.is_empty() {
                let count = jobs.queries.len().min(BATCH);
                return Some(Work::Queries(jobs.queries.drain(..count).collect()));
            }
            if jobs.closed {
                return None;
            }
            if let Some(documents) = jobs.documents.pop_front() {
                return Some(Work::Documents(documents));
            }
            jobs = self.wake.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Embedder {
    /// Starts the thread, which finds, checks and loads the model. Never waits.
    pub fn start(source: ModelSource) -> Self {
        let queue = Arc::new(Queue::default());
        let (sender, loaded) = watch::channel(None);
        let worker_queue = Arc::clone(&queue);
        let spawned = thread::Builder::new().name("encoder".to_owned()).spawn(move || {
            // Whatever ends this thread, nobody goes on waiting for it.
            let _closing = Closing(Arc::clone(&worker_queue));
            let encoder = catching(|| load(&source)).map_err(Arc::new);
            sender
                .send_replace(Some(encoder.as_ref().map(|(facts, _)| Arc::clone(facts)).map_err(Arc::clone)));
            let encoder = encoder.map(|(_, encoder)| encoder);
            while let Some(work) = worker_queue.next() {
                answer(work, encoder.as_ref());
            }
        });
        if let Err(error) = spawned {
            tracing::error!("cannot start the encoder's thread: {error}");
            queue.close();
        }
        Self { queue: Arc::new(Closing(queue)), loaded }
    }

    /// Waits until the model is loaded.
    pub async fn ready(&self) -> Shared<Arc<ModelFacts>> {
        let mut loaded = self.loaded.clone();
        let outcome = loaded.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or_else(|| Err(Arc::new(EmbedError::Stopped)))
    }

    /// Like [`Self::ready`], for threads that may block.
    pub fn ready_blocking(&self) -> Shared<Arc<ModelFacts>> {
        // Batches are served once the model is loaded, so an empty one is a way to wait for it.
        self.embed_batch(Vec::new())?;
        self.state().unwrap_or_else(|| Err(Arc::new(EmbedError::Stopped)))
    }

    /// What is known now: none while the model is loading.
    pub fn state(&self) -> Option<Shared<Arc<ModelFacts>>> {
        self.loaded.borrow().clone()
    }

    /// Embeds queries, which pass through the encoder together; in their order. Dropping the future
    /// takes them out of the line. A model that is still being downloaded is not waited for.
    pub async fn embed_queries(&self, texts: &[&str]) -> Shared<Vec<Embedding>> {
        match tokio::time::timeout(LOAD_PATIENCE, self.ready()).await {
            Ok(loaded) => drop(loaded?),
            Err(_) => return Err(Arc::new(EmbedError::Loading)),
        }
        let mut answers = Vec::with_capacity(texts.len());
        {
            let mut jobs = self.queue.0.lock();
            if jobs.closed {
                return Err(Arc::new(EmbedError::Stopped));
            }
            if jobs.queries.len() + texts.len() > MAX_WAITING_QUERIES {
                return Err(Arc::new(EmbedError::Busy { waiting: jobs.queries.len() }));
            }
            for text in texts {
                let (reply, answer) = oneshot::channel();
                jobs.queries.push_back(Query { text: (*text).to_owned(), reply });
                answers.push(answer);
            }
        }
        self.queue.0.wake.notify_one();
        let mut embeddings = Vec::with_capacity(texts.len());
        for answer in answers {
            embeddings.push(answer.await.unwrap_or_else(|_| Err(Arc::new(EmbedError::Stopped)))?);
        }
        Ok(embeddings)
    }

    /// Embeds documents and blocks meanwhile: for threads that may. Texts are sorted by length, so
    /// that little is padded; `progress` is told how many more are done.
    pub fn embed_documents(
        &self,
        texts: &[String],
        mut progress: impl FnMut(usize),
    ) -> Shared<Vec<Embedding>> {
        let mut by_length: Vec<(usize, &String)> = texts.iter().enumerate().collect();
        by_length.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        let mut embeddings: Vec<Option<Embedding>> = vec![None; texts.len()];
        for batch in by_length.chunks(BATCH) {
            let texts = batch.iter().map(|(place, text)| (*place, (*text).clone())).collect();
            let done = self.embed_batch(texts)?;
            progress(done.len());
            for (place, embedding) in done {
                embeddings[place] = Some(embedding);
            }
        }
        embeddings
            .into_iter()
            .map(|embedding| embedding.ok_or_else(|| Arc::new(EmbedError::Stopped)))
            .collect()
    }

    fn embed_batch(&self, texts: Vec<(usize, String)>) -> Shared<Vec<(usize, Embedding)>> {
        let (reply, answer) = mpsc::channel();
        {
            let mut jobs = self.queue.0.lock();
            if jobs.closed {
                return Err(Arc::new(EmbedError::Stopped));
            }
            jobs.documents.push_back(Documents { texts, reply });
        }
        self.queue.0.wake.notify_one();
        answer.recv().unwrap_or_else(|_| Err(Arc::new(EmbedError::Stopped)))
    }
}

fn load(source: &ModelSource) -> Result<(Arc<ModelFacts>, Encoder), EmbedError> {
    let started = std::time::Instant::now();
    let files = match source.resolve() {
        #[cfg(feature = "hub")]
        Err(EmbedError::NotFound { .. }) => {
            super::download::download_blocking(source)?;
            source.resolve()?
        }
        found => found?,
    };
    let encoder = Encoder::load(&files)?;
    tracing::debug!(model = files.id, "loaded in {} ms", started.elapsed().as_millis());
    let facts = ModelFacts { name: files.name, id: files.id, dimensions: encoder.dimensions() };
    Ok((Arc::new(facts), encoder))
}

/// Answers that nobody waits for any more are dropped.
fn answer(work: Work, encoder: Result<&Encoder, &Arc<EmbedError>>) {
    match work {
        Work::Queries(queries) => {
            let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
            match encode(encoder, &texts, Purpose::Query) {
                Ok(embeddings) => {
                    for (query, embedding) in queries.into_iter().zip(embeddings) {
                        query.reply.send(Ok(embedding)).ok();
                    }
                }
                Err(error) => {
                    for query in queries {
                        query.reply.send(Err(Arc::clone(&error))).ok();
                    }
                }
            }
        }
        Work::Documents(documents) => {
            let texts: Vec<&str> = documents.texts.iter().map(|(_, text)| text.as_str()).collect();
            let embeddings = encode(encoder, &texts, Purpose::Document);
            let placed = embeddings
                .map(|embeddings| documents.texts.iter().map(|(place, _)| *place).zip(embeddings).collect());
            documents.reply.send(placed).ok();
        }
    }
}

fn encode(
    encoder: Result<&Encoder, &Arc<EmbedError>>,
    texts: &[&str],
    purpose: Purpose,
) -> Shared<Vec<Embedding>> {
    let encoder = encoder.map_err(Arc::clone)?;
    catching(|| encoder.encode(texts, purpose)).map_err(Arc::new)
}

/// A panic in the model's code, as an odd configuration can cause, is an error like others.
fn catching<T>(compute: impl FnOnce() -> Result<T, EmbedError>) -> Result<T, EmbedError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(compute))
        .unwrap_or_else(|_| Err(EmbedError::Compute("the model's code panicked".to_owned())))
}
