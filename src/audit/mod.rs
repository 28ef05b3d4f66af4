//! The audit trail: one row for each routing decision and each call, in a database of its own, so
//! that clearing the catalog loses none. Values of arguments are never written.
//!
//! A thread writes. [`Audit::record`] returns when the row is on disk. When rows cannot be written
//! (full disk, locked or read-only file) that is said once, `status` shows it, and they wait in memory
//! until they can. A call has its row before it is sent: what was begun is known, whatever happens.

mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use self::writer::{Job, Write, Writer, tell};
use crate::disk::now_ms;

/// Rows that may wait for the thread.
const WAITING_ROWS: usize = 1024;
/// How long a statement waits for another process's transaction: an answer waits along.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS entries (
        id         INTEGER PRIMARY KEY,
        time_ms    INTEGER NOT NULL,
        request    TEXT NOT NULL,
        kind       TEXT NOT NULL,
        task       TEXT,
        candidates TEXT,
        server     TEXT,
        tool       TEXT,
        confidence REAL,
        attempts   INTEGER NOT NULL,
        outcome    TEXT NOT NULL,
        error      TEXT,
        durations  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS entries_by_request ON entries (request);";

/// Why a trail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder cannot be made, or the damaged file not moved aside.
    #[error("cannot use the data folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `SQLite` refused.
    #[error("the audit trail {} failed", file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What `SQLite` said.
        #[source]
        source: rusqlite::Error,
    },
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A decision which tool does a task.
    Route,
    /// A call of a tool.
    Call,
}

/// A candidate of a decision, as it is kept.
#[derive(Debug, Clone, Serialize)]
pub struct AuditCandidate {
    /// The server.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Probability given to it.
    pub confidence: f32,
    /// Cosine, where there was one.
    pub dense: Option<f32>,
    /// Saturated BM25.
    pub lexical: f32,
}

/// A row to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Ties the rows of one request together.
    pub request: String,
    /// What the row is about.
    pub kind: Kind,
    /// The task, where there was one.
    pub task: Option<String>,
    /// Ranked tools of a decision.
    pub candidates: Vec<AuditCandidate>,
    /// The chosen server and tool.
    pub choice: Option<(String, String)>,
    /// Confidence in the choice.
    pub confidence: Option<f32>,
    /// Calls that were sent, retries included.
    pub attempts: u32,
    /// How it ended: a status of `execute`, or `started` while it is under way.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Stages and their times in ms.
    pub durations: serde_json::Value,
}

/// A row as it is read back.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Row number.
    pub id: i64,
    /// When, in UTC (RFC 3339).
    pub time: String,
    /// Ties the rows of one request together.
    pub request: String,
    /// `route` or `call`.
    pub kind: String,
    /// The task, where there was one.
    pub task: Option<String>,
    /// The chosen server.
    pub server: Option<String>,
    /// The chosen tool.
    pub tool: Option<String>,
    /// Confidence in the choice.
    pub confidence: Option<f64>,
    /// Calls that were sent.
    pub attempts: i64,
    /// How it ended.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Ranked tools of a decision.
    pub candidates: serde_json::Value,
    /// Stages and their times in ms.
    pub durations: serde_json::Value,
}

/// Handle to the trail. Clones share it.
#[derive(Clone)]
pub struct Audit {
    jobs: mpsc::Sender<Job>,
    problem: Arc<Mutex<Option<String>>>,
}

impl Audit {
    /// Opens the trail and starts its thread. Never fails: what is wrong is told by [`Self::problem`].
    pub fn start(file: &Path) -> Self {
        let (jobs, inbox) = mpsc::channel(WAITING_ROWS);
        let problem = Arc::new(Mutex::new(None));
        let writer = Writer::new(file, Arc::clone(&problem));
        let spawned = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(inbox));
        if let Err(error) = spawned {
            tell(&problem, Some(format!("cannot start the audit trail's thread: {error}")));
        }
        Self { jobs, problem }
    }

    /// Writes a row. Returns when the database has it (it then survives the end of this process, and
    /// that of the machine once the system has written it), or when it waits in memory because that
    /// cannot be; says which.
    pub async fn record(&self, entry: Entry) -> bool {
        self.send(|done| Job::Write(Box::new(Write { entry, time_ms: now_ms(), finishes: false, done })))
            .await
    }

    /// Completes the row of a call that was recorded as started; as [`Self::record`].
    pub async fn finish(&self, entry: Entry) -> bool {
        self.send(|done| Job::Write(Box::new(Write { entry, time_ms: now_ms(), finishes: true, done }))).await
    }

    /// Gives rows that wait in memory a last chance.
    pub async fn flush(&self) {
        self.send(Job::Flush).await;
    }

    async fn send(&self, job: impl FnOnce(oneshot::Sender<bool>) -> Job) -> bool {
        let (done, written) = oneshot::channel();
        let sent = self.jobs.send(job(done)).await.is_ok();
        match written.await {
            Ok(written) if sent => written,
            _ => {
                if self.problem().is_none() {
                    tell(&self.problem, Some("the audit trail's thread has ended".to_owned()));
                }
                false
            }
        }
    }

    /// Why rows are not being written, if that is so.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A short name for a request, unique in this process and, by the time in it, over others.
pub fn new_request_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{count:x}", now_ms(), std::process::id())
}

/// The newest rows, newest first. No trail yet is no row.
pub fn read(file: &Path, limit: usize) -> Result<Vec<Row>, AuditError> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let query = || {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let mut statement = connection.prepare(
            "SELECT id, strftime('%Y-%m-%dT%H:%M:%fZ', time_ms / 1000.0, 'unixepoch'), request, kind, task, server, tool,
                    confidence, attempts, outcome, error, candidates, durations
             FROM entries ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            let json = |at| {
                row.get::<_, Option<String>>(at)
                    .map(|text| text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
            };
            Ok(Row {
                id: row.get(0)?,
                time: row.get(1)?,
                request: row.get(2)?,
                kind: row.get(3)?,
                task: row.get(4)?,
                server: row.get(5)?,
                tool: row.get(6)?,
                confidence: row.get(7)?,
                attempts: row.get(8)?,
                outcome: row.get(9)?,
                error: row.get(10)?,
                candidates: json(11)?,
                durations: json(12)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<Row>>>()
    };
    query().map_err(|source| AuditError::Sqlite { file: file.to_owned(), source })
}
