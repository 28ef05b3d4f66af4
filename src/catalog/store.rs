//! The catalog on disk: servers, tools, vectors and the word index, in one `SQLite` file that may be
//! deleted at any time at the cost of a reindex. Two processes on one file work (WAL).

use std::{
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::{
    Diff, Tool, diff,
    text::{self, Words},
};
use crate::{
    child::{Listing, ServerInfo},
    disk::{make_private_folder, move_aside, now_ms},
};

/// Raise with every change of the tables; another version is moved aside and rebuilt.
const SCHEMA_VERSION: i32 = 3;

/// What `SQLite` calls a database that is gone with the process.
const IN_MEMORY: &str = ":memory:";

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE servers (
        name        TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        info        TEXT NOT NULL,
        listed_at   INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tools (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        server     TEXT NOT NULL REFERENCES servers(name) ON DELETE CASCADE,
        position   INTEGER NOT NULL,
        name       TEXT NOT NULL,
        hash       TEXT NOT NULL,
        text_hash  TEXT NOT NULL,
        definition BLOB NOT NULL,
        examples   TEXT NOT NULL DEFAULT '',
        UNIQUE (server, name)
    ) STRICT;
    CREATE INDEX tools_in_order ON tools (server, position, name);
    CREATE TABLE vectors (
        model     TEXT NOT NULL,
        text_hash TEXT NOT NULL,
        vector    BLOB NOT NULL,
        PRIMARY KEY (model, text_hash)
    ) STRICT;
    CREATE VIRTUAL TABLE words USING fts5 (
        server, name, description, parameters, examples,
        content = '', contentless_delete = 1, tokenize = 'porter unicode61'
    );";

/// Why the store could not do something. The catalog is a cache: losing it loses no user data.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("cannot create the data folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `SQLite` refused.
    #[error("the catalog {} failed", file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What `SQLite` said.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether a new file would help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if is_damage(source))
    }
}

/// A server as the cache knows it.
#[derive(Debug, Clone)]
pub struct CachedServer {
    /// Name in the configuration.
    pub name: String,
    /// Fingerprint of the configuration entry that gave this list.
    pub fingerprint: String,
    /// What the server says of itself.
    pub info: ServerInfo,
    /// When it was listed, ms since 1970.
    pub listed_at: i64,
}

/// A tool with its row id, which is also that of its words.
#[derive(Debug, Clone)]
pub struct StoredTool {
    /// Row id; stays while the tool is listed.
    pub id: i64,
    /// The tool.
    pub tool: Tool,
}

/// The open store. Clones share the connections: one to write, one to read.
#[derive(Clone)]
pub struct Store {
    file: Arc<Path>,
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

impl Store {
    /// Opens the store, making it if it is not there. A damaged file, or one of another version,
    /// is moved aside with a warning; nothing is deleted.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = file.parent() {
            make_private_folder(folder)
                .map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })?;
        }
        let fail = |source| StoreError::Sqlite { file: file.to_owned(), source };
        match Self::connect(file) {
            Ok(store) => Ok(store),
            Err(error) if is_damage(&error) => {
                set_aside(file, &error.to_string())?;
                Self::connect(file).map_err(fail)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// A store that is gone with the process: for evaluation, and where no disk can be written.
    pub fn in_memory() -> Result<Self, StoreError> {
        let file: Arc<Path> = Path::new(IN_MEMORY).into();
        let fail = |source| StoreError::Sqlite { file: file.to_path_buf(), source };
        let mut connection = Connection::open_in_memory().map_err(fail)?;
        migrate(&mut connection).map_err(fail)?;
        let connection = Arc::new(Mutex::new(connection));
        Ok(Self { writer: Arc::clone(&connection), reader: connection, file })
    }

    fn connect(file: &Path) -> rusqlite::Result<Self> {
        let (writer, reader) = Self::open_both(file)?;
        Ok(Self {
            file: file.into(),
            writer: Arc::new(Mutex::new(writer)),
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    /// A connection to write and one to read.
    fn open_both(file: &Path) -> rusqlite::Result<(Connection, Connection)> {
        is_whole(file)?;
        let mut writer = Connection::open(file)?;
        writer.busy_timeout(BUSY_TIMEOUT)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        writer.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut writer)?;
        let reader = Connection::open(file)?;
        reader.busy_timeout(BUSY_TIMEOUT)?;
        Ok((writer, reader))
    }

    /// Looks whether the file is damaged anywhere, and begins a new one if so. True if it did. It reads all of the file
    /// beside those who use it.
    pub fn check(&self) -> Result<bool, StoreError> {
        let Some(file) = self.on_disk() else { return Ok(false) };
        let look = || {
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?.query_row(
                "PRAGMA quick_check(1)",
                [],
                |row| row.get::<_, String>(0),
            )
        };
        match look() {
            Ok(found) if found == "ok" => Ok(false),
            Ok(problem) => self.renew(&problem).map(|()| true),
            Err(error) if is_damage(&error) => self.renew(&error.to_string()).map(|()| true),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Moves the damaged file aside and begins a new one, for all clones.
    pub fn renew(&self, problem: &str) -> Result<(), StoreError> {
        let nowhere = || Connection::open_in_memory().map_err(|error| self.fail(error));
        let (mut writer, mut reader) =
            (self.write(), self.reader.lock().unwrap_or_else(PoisonError::into_inner));
        // Some systems move no file that is open.
        (*writer, *reader) = (nowhere()?, nowhere()?);
        set_aside(&self.file, problem)?;
        (*writer, *reader) = Self::open_both(&self.file).map_err(|error| self.fail(error))?;
        Ok(())
    }

    /// The database file, `:memory:` for one in memory.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The database file; none for a store in memory.
    pub fn on_disk(&self) -> Option<&Path> {
        (&*self.file != Path::new(IN_MEMORY)).then_some(&*self.file)
    }

    fn fail(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { file: self.file.to_path_buf(), source }
    }

    fn write(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a query on the reading connection.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        query(&connection).map_err(|error| self.fail(error))
    }

    /// All servers of the cache.
    pub fn servers(&self) -> Result<Vec<CachedServer>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT name, fingerprint, info, listed_at FROM servers ORDER BY name")?;
            let rows = statement.query_map([], |row| {
                let info: String = row.get(2)?;
                Ok(CachedServer {
                    name: row.get(0)?,
                    fingerprint: row.get(1)?,
                    info: serde_json::from_str(&info).unwrap_or_default(),
                    listed_at: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// The names of the first tools of a server, in its order: quick, also while all tools are read.
    pub fn first_tools(&self, server: &str, count: usize) -> Result<Vec<String>, StoreError> {
        // At start the other connection is in use for a while.
        let connection = self.write();
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = connection
                .prepare_cached("SELECT name FROM tools WHERE server = ?1 ORDER BY position LIMIT ?2")?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            statement.query_map(params![server, count], |row| row.get(0))?.collect()
        };
        read().map_err(|error| self.fail(error))
    }

    /// All tools of the cache, by server and in the server's order.
    pub fn tools(&self) -> Result<Vec<StoredTool>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, server, name, definition, hash, text_hash FROM tools ORDER BY server, position",
            )?;
            let rows = statement.query_map([], |row| {
                let definition = row.get_ref(3)?.as_blob()?;
                let tool = Tool::stored(row.get(1)?, row.get(2)?, definition, row.get(4)?, row.get(5)?);
                Ok(StoredTool { id: row.get(0)?, tool })
            })?;
            rows.collect()
        })
    }

    /// Writes what a server lists now, in one transaction: only tools that differ are touched.
    /// `force` writes all of them anew.
    pub fn apply(&self, listing: &Listing, fingerprint: &str, force: bool) -> Result<Diff, StoreError> {
        let tools: Vec<Tool> =
            listing.tools.iter().map(|definition| Tool::new(&listing.server, definition.clone())).collect();
        let mut connection = self.write();
        apply(&mut connection, listing, fingerprint, &tools, force).map_err(|error| self.fail(error))
    }

    /// Writes the words of the examples by which tools are found, where they are not those that are
    /// there. Returns the number of tools that changed.
    pub fn set_example_words<'a>(
        &self,
        tools: impl IntoIterator<Item = (&'a StoredTool, Vec<&'a str>)>,
    ) -> Result<usize, StoreError> {
        let mut connection = self.write();
        let write = || {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let known: HashMap<i64, String> = {
                let mut statement = transaction.prepare_cached("SELECT id, examples FROM tools")?;
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?
            };
            let mut changed = 0;
            for (stored, examples) in tools {
                // A tool that is gone meanwhile has no words any more.
                if known.get(&stored.id).is_some_and(|hash| *hash != examples_hash(&examples)) {
                    write_words(&transaction, stored.id, &stored.tool, &examples)?;
                    changed += 1;
                }
            }
            transaction.commit()?;
            Ok(changed)
        };
        write().map_err(|error| self.fail(error))
    }

    /// A number that changes when another process writes.
    pub fn version(&self) -> Result<i64, StoreError> {
        let connection = self.write();
        let version = connection.pragma_query_value(None, "data_version", |row| row.get(0));
        version.map_err(|error| self.fail(error))
    }

    /// Moves what was written into the main file, so that an orderly end leaves one file behind.
    /// Another process may be reading: then it is left to the last one.
    pub fn checkpoint(&self) {
        let connection = self.write();
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!("the catalog was not checkpointed: {error}");
        }
    }
}

fn apply(
    connection: &mut Connection,
    listing: &Listing,
    fingerprint: &str,
    tools: &[Tool],
    force: bool,
) -> rusqlite::Result<Diff> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let server = &listing.server;
    transaction.execute(
        "INSERT INTO servers (name, fingerprint, info, listed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET fingerprint = ?2, info = ?3, listed_at = ?4",
        params![server, fingerprint, serde_json::to_string(&listing.info).unwrap_or_default(), now_ms()],
    )?;
    let known: Vec<(String, String)> = {
        let mut statement = transaction.prepare_cached("SELECT name, hash FROM tools WHERE server = ?1")?;
        statement
            .query_map([server], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?
    };
    let changes = diff(
        known.iter().map(|(name, hash)| (name.as_str(), hash.as_str())),
        tools.iter().map(|tool| (tool.name(), tool.hash.as_str())),
    );
    for name in &changes.removed {
        if let Some(id) = tool_id(&transaction, server, name)? {
            transaction.execute("DELETE FROM words WHERE rowid = ?1", [id])?;
            transaction.execute("DELETE FROM tools WHERE id = ?1", [id])?;
        }
    }
    let differs =
        |name: &str| force || changes.added.iter().chain(&changes.changed).any(|changed| changed == name);
    for (position, tool) in (0_i64..).zip(tools) {
        if differs(tool.name()) {
            write_tool(&transaction, tool, position)?;
        } else {
            // The text to embed may be of a newer format although the tool is the same.
            transaction
                .prepare_cached(
                    "UPDATE tools SET position = ?3, text_hash = ?4 WHERE server = ?1 AND name = ?2",
                )?
                .execute(params![server, tool.name(), position, tool.text_hash])?;
        }
    }
    transaction.commit()?;
    Ok(changes)
}

fn write_tool(transaction: &rusqlite::Transaction<'_>, tool: &Tool, position: i64) -> rusqlite::Result<()> {
    let id: i64 = transaction
        .prepare_cached(
            "INSERT INTO tools (server, position, name, hash, text_hash, definition) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (server, name) DO UPDATE SET position = ?2, hash = ?4, text_hash = ?5, definition = ?6
             RETURNING id",
        )?
        .query_row(
            params![tool.server, position, tool.name(), tool.hash, tool.text_hash, tool.packed()],
            |row| row.get(0),
        )?;
    write_words(transaction, id, tool, &[])
}

/// Writes the words by which a tool is found; `examples` are told apart by their hash.
fn write_words(
    transaction: &rusqlite::Transaction<'_>,
    id: i64,
    tool: &Tool,
    examples: &[&str],
) -> rusqlite::Result<()> {
    let words = Words::new(&tool.server, tool.definition());
    transaction.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([id])?;
    transaction
        .prepare_cached(
            "INSERT INTO words (rowid, server, name, description, parameters, examples)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            words.server,
            words.name,
            words.description,
            words.parameters,
            text::example_words(examples)
        ])?;
    transaction
        .prepare_cached("UPDATE tools SET examples = ?2 WHERE id = ?1")?
        .execute(params![id, examples_hash(examples)])?;
    Ok(())
}

/// Tells one list of examples from another.
fn examples_hash(examples: &[&str]) -> String {
    if examples.is_empty() { String::new() } else { crate::digest::sha256(examples) }
}

fn tool_id(connection: &Connection, server: &str, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM tools WHERE server = ?1 AND name = ?2")?
        .query_row([server, name], |row| row.get(0))
        .optional()
}

/// Makes the tables in an empty database; reports another version as damage.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        SCHEMA_VERSION => {}
        0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        other => {
            return Err(damage(&format!("it has format {other}, this program uses {SCHEMA_VERSION}")));
        }
    }
    transaction.commit()
}

fn damage(problem: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error { code: ErrorCode::DatabaseCorrupt, extended_code: 0 };
    rusqlite::Error::SqliteFailure(code, Some(problem.to_owned()))
}

/// Whether a new file would help. A full disk or a locked file is not damage.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
        }
        None => true,
    }
}

/// Moves a damaged catalog out of the way, with a warning.
fn set_aside(file: &Path, problem: &str) -> Result<(), StoreError> {
    let aside = move_aside(file).map_err(|source| StoreError::Folder { folder: file.to_owned(), source })?;
    tracing::warn!(
        "the catalog {} cannot be used ({problem}); moved to {} and rebuilt",
        file.display(),
        aside.display()
    );
    Ok(())
}

/// Reports a file as damaged that is shorter than its header says (database file format, 1.3.8): one that was cut off
/// while it was copied. It costs nothing, while looking at each page takes a time that grows with the file.
fn is_whole(file: &Path) -> rusqlite::Result<()> {
    let mut header = [0; 32];
    let read = fs::File::open(file).and_then(|mut file| {
        file.read_exact(&mut header)?;
        Ok(file.metadata()?.len())
    });
    let Ok(length) = read else { return Ok(()) };
    let number = |at: usize| {
        u64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
    };
    let page = match number(16) >> 16 {
        1 => 65_536,
        size => size,
    };
    if header.starts_with(b"SQLite format 3") && number(28) * page > length {
        return Err(damage("it is cut off"));
    }
    Ok(())
}

mod vectors;

#[cfg(test)]
mod tests;
