//! The thread that writes the trail: row by row, and where that fails from a bounded queue in memory
//! as soon as it works again.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection,
    ErrorCode::{DatabaseCorrupt, NotADatabase},
    params,
};
use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::{AuditError, BUSY_TIMEOUT, Entry, Kind, SCHEMA};
use crate::{
    disk::{make_private_folder, move_aside},
    report,
};

/// Rows kept in memory while they cannot be written.
const KEPT_ROWS: usize = 10_000;
/// Rows written in one transaction at most.
const WRITTEN_TOGETHER: usize = 256;
/// How often writing is tried while it fails, and how long another process's lock is waited for then.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_BUSY: Duration = Duration::from_millis(50);
/// How often the inbox is looked at meanwhile.
const INBOX_PAUSE: Duration = Duration::from_millis(20);
/// For another process's lock at the end.
const LAST_BUSY: Duration = Duration::from_secs(5);

/// Work for the thread.
pub(super) enum Job {
    /// A row.
    Write(Box<Write>),
    /// A last try with all rows that wait.
    Flush(oneshot::Sender<bool>),
}

/// A row to be written.
pub(super) struct Write {
    pub(super) entry: Entry,
    pub(super) time_ms: i64,
    /// Whether it completes the row of the same request and kind.
    pub(super) finishes: bool,
    /// Told when the row is on disk (true) or waits (false).
    pub(super) done: oneshot::Sender<bool>,
}

/// A row that waits.
struct Kept {
    entry: Entry,
    time_ms: i64,
    finishes: bool,
}

pub(super) struct Writer {
    file: PathBuf,
    connection: Option<Connection>,
    waiting: VecDeque<Kept>,
    lost: u64,
    problem: Arc<Mutex<Option<String>>>,
}

impl Writer {
    pub(super) fn new(file: &Path, problem: Arc<Mutex<Option<String>>>) -> Self {
        Self { file: file.to_owned(), connection: None, waiting: VecDeque::new(), lost: 0, problem }
    }

    /// Writes until nobody sends any more.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut tried_at = Instant::now();
        loop {
            let first = if self.waiting.is_empty() {
                inbox.blocking_recv()
            } else {
                match inbox.try_recv() {
                    Ok(job) => Some(job),
                    Err(TryRecvError::Disconnected) => None,
                    Err(TryRecvError::Empty) => {
                        thread::sleep(INBOX_PAUSE);
                        if tried_at.elapsed() >= RETRY_PAUSE {
                            self.write_waiting(RETRY_BUSY);
                            tried_at = Instant::now();
                        }
                        continue;
                    }
                }
            };
            let Some(first) = first else { return self.write_waiting(LAST_BUSY) };
            // Where rows wait already, nobody waits for one more try.
            let fresh = self.waiting.is_empty();
            let mut told = Vec::new();
            let mut last = None;
            // Rows that came together are written together.
            for job in std::iter::once(first).chain(std::iter::from_fn(|| inbox.try_recv().ok())) {
                match job {
                    Job::Write(write) => {
                        let Write { entry, time_ms, finishes, done } = *write;
                        self.keep(Kept { entry, time_ms, finishes });
                        told.push(done);
                    }
                    Job::Flush(done) => last = Some(done),
                }
                if last.is_some() || told.len() >= WRITTEN_TOGETHER {
                    break;
                }
            }
            if last.is_some() {
                self.write_waiting(LAST_BUSY);
                // Closing it puts all rows into one file.
                self.connection = None;
            } else if fresh {
                self.write_waiting(BUSY_TIMEOUT);
                tried_at = Instant::now();
            }
            for done in told.into_iter().chain(last) {
                done.send(self.waiting.is_empty()).ok();
            }
        }
    }

    fn keep(&mut self, row: Kept) {
        if self.waiting.len() >= KEPT_ROWS {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(row);
    }

    /// Writes what waits, in order, as far as it goes.
    fn write_waiting(&mut self, patience: Duration) {
        let outcome = self.try_write(patience);
        if outcome.is_err() {
            // Opened anew next time: the folder may be another, the file may have been damaged.
            self.connection = None;
        }
        let problem = outcome.err().map(|error| {
            let lost = if self.lost > 0 { format!(", {} are lost", self.lost) } else { String::new() };
            let reason = report::chain(&error);
            format!("{reason}; {} rows wait in memory{lost}", self.waiting.len())
        });
        if problem.is_none() && self.lost > 0 {
            tracing::error!("{} rows of the audit trail are lost: more waited than could be kept", self.lost);
            self.lost = 0;
        }
        tell(&self.problem, problem);
    }

    fn try_write(&mut self, patience: Duration) -> Result<(), AuditError> {
        let mut repaired = false;
        while !self.waiting.is_empty() {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => open(&self.file, patience)?,
            };
            let count = self.waiting.len().min(WRITTEN_TOGETHER);
            let written = connection
                .busy_timeout(patience)
                .and_then(|()| write_together(&connection, self.waiting.iter().take(count)));
            match written {
                Ok(()) => {
                    self.waiting.drain(..count);
                    self.connection = Some(connection);
                }
                Err(error) if is_damage(&error) && !repaired => {
                    repaired = true;
                    drop(connection);
                    begin_anew(&self.file)?;
                }
                Err(source) => return Err(AuditError::Sqlite { file: self.file.clone(), source }),
            }
        }
        Ok(())
    }
}

/// Tells of a change: once when rows cannot be written, once when they are written again.
pub(super) fn tell(problem: &Mutex<Option<String>>, now: Option<String>) {
    let mut before = problem.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*before, &now) {
        (None, Some(reason)) => tracing::error!("audit degraded, rows are not being written: {reason}"),
        (Some(_), None) => tracing::warn!("the audit trail is being written again"),
        _ => {}
    }
    *before = now;
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(NotADatabase | DatabaseCorrupt))
}

/// Opens the trail; a damaged one is kept aside and a new one begins.
fn open(file: &Path, patience: Duration) -> Result<Connection, AuditError> {
    if let Some(folder) = file.parent() {
        make_private_folder(folder)
            .map_err(|source| AuditError::Folder { folder: folder.to_owned(), source })?;
    }
    let connected = match connect(file, patience) {
        Err(error) if is_damage(&error) => {
            begin_anew(file)?;
            connect(file, patience)
        }
        outcome => outcome,
    };
    connected.map_err(|source| AuditError::Sqlite { file: file.to_owned(), source })
}

fn connect(file: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(patience)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Keeps a damaged trail aside: nothing of it is deleted.
fn begin_anew(file: &Path) -> Result<(), AuditError> {
    let aside = move_aside(file).map_err(|source| AuditError::Folder { folder: file.to_owned(), source })?;
    let (file, aside) = (file.display(), aside.display());
    tracing::error!("the audit trail {file} is damaged; kept as {aside}, a new one begins");
    Ok(())
}

/// Writes all of these rows or none.
fn write_together<'a>(connection: &Connection, rows: impl Iterator<Item = &'a Kept>) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for row in rows {
        write(&transaction, row)?;
    }
    transaction.commit()
}

fn write(connection: &Connection, row: &Kept) -> rusqlite::Result<()> {
    if row.finishes && update(connection, row)? {
        return Ok(());
    }
    insert(connection, row)
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Route => "route",
        Kind::Call => "call",
    }
}

/// Completes the row that was begun; false where there is none.
fn update(connection: &Connection, row: &Kept) -> rusqlite::Result<bool> {
    let entry = &row.entry;
    let changed = connection
        .prepare_cached(
            "UPDATE entries SET attempts = ?3, outcome = ?4, error = ?5, durations = ?6
             WHERE request = ?1 AND kind = ?2",
        )?
        .execute(params![
            entry.request,
            kind(entry),
            entry.attempts,
            entry.outcome,
            entry.error,
            entry.durations.to_string(),
        ])?;
    Ok(changed > 0)
}

fn insert(connection: &Connection, row: &Kept) -> rusqlite::Result<()> {
    let entry = &row.entry;
    connection
        .prepare_cached(
            "INSERT INTO entries (time_ms, request, kind, task, candidates, server, tool, confidence, attempts, outcome, error, durations)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            row.time_ms,
            entry.request,
            kind(entry),
            entry.task,
            serde_json::to_string(&entry.candidates).unwrap_or_default(),
            entry.choice.as_ref().map(|(server, _)| server),
            entry.choice.as_ref().map(|(_, tool)| tool),
            entry.confidence,
            entry.attempts,
            entry.outcome,
            entry.error,
            entry.durations.to_string(),
        ])?;
    Ok(())
}
