//! The examples on disk, in a file of their own: unlike the catalog it cannot be made anew, since it
//! holds what people taught.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior, params};

use super::{Example, NewExample, Source, State, tidy};
use crate::disk::{make_private_folder, move_aside, now_ms};

/// Version of the tables.
const SCHEMA_VERSION: i32 = 1;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE examples (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        server    TEXT NOT NULL,
        tool      TEXT NOT NULL,
        text      TEXT NOT NULL,
        source    TEXT NOT NULL,
        language  TEXT,
        state     TEXT NOT NULL,
        reason    TEXT,
        tool_hash TEXT NOT NULL,
        added_at  INTEGER NOT NULL,
        UNIQUE (server, tool, text)
    ) STRICT;
    CREATE TABLE imports (
        server    TEXT NOT NULL,
        tool      TEXT NOT NULL,
        pack      TEXT NOT NULL,
        tool_hash TEXT NOT NULL,
        PRIMARY KEY (server, tool)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sources_off (source TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;";

const COLUMNS: &str = "id, server, tool, text, source, language, state, reason, tool_hash, added_at";

/// Why the examples could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError {
    /// The folder cannot be made, or a damaged file cannot be moved.
    #[error("cannot use the folder of {}", file.display())]
    Folder {
        /// The database.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `SQLite` refused.
    #[error("the examples in {} cannot be used", file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What `SQLite` said.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer version of this program wrote the file.
    #[error("the examples in {} were written by a newer version of this program", file.display())]
    Newer {
        /// The database.
        file: PathBuf,
    },
}

/// Which examples are meant. An empty filter means all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this server only.
    pub server: Option<String>,
    /// Of the tool of this name only.
    pub tool: Option<String>,
    /// From this source only.
    pub source: Option<Source>,
    /// In this state only.
    pub state: Option<State>,
}

impl Filter {
    fn admits(&self, example: &Example) -> bool {
        self.server.as_ref().is_none_or(|server| *server == example.server)
            && self.tool.as_ref().is_none_or(|tool| *tool == example.tool)
            && self.source.is_none_or(|source| source == example.source)
            && self.state.is_none_or(|state| state == example.state)
    }
}

/// A look into the pack for a tool.
#[derive(Debug, Clone)]
pub struct Import {
    /// The tool's server.
    pub server: String,
    /// Its name.
    pub tool: String,
    /// Version of the pack.
    pub pack: String,
    /// The tool's content hash.
    pub tool_hash: String,
    /// Changes with whatever it is found by.
    pub sought: String,
}

/// The open store. Clones share the connection.
#[derive(Clone)]
pub struct ExampleStore {
    file: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
}

impl ExampleStore {
    /// Opens the store, making it if it is not there. A damaged file is moved aside with a warning;
    /// nothing is deleted.
    pub fn open(file: &Path) -> Result<Self, ExamplesError> {
        let folder = |source| ExamplesError::Folder { file: file.to_owned(), source };
        if let Some(parent) = file.parent() {
            make_private_folder(parent).map_err(folder)?;
        }
        match Self::connect(file) {
            Err(ExamplesError::Sqlite { source, .. }) if is_damage(&source) => {
                let aside = move_aside(file).map_err(folder)?;
                tracing::warn!(
                    "the examples in {} cannot be read ({source}); moved to {}, and begun anew",
                    file.display(),
                    aside.display()
                );
                Self::connect(file)
            }
            opened => opened,
        }
    }

    /// A store that is gone with the process.
    pub fn in_memory() -> Result<Self, ExamplesError> {
        let file = Path::new(":memory:");
        let connection = Connection::open_in_memory()
            .map_err(|source| ExamplesError::Sqlite { file: file.to_owned(), source })?;
        Self::prepare(file, connection)
    }

    fn connect(file: &Path) -> Result<Self, ExamplesError> {
        let open = || {
            let connection = Connection::open(file)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            Ok(connection)
        };
        let connection = open().map_err(|source| ExamplesError::Sqlite { file: file.to_owned(), source })?;
        Self::prepare(file, connection)
    }

    fn prepare(file: &Path, mut connection: Connection) -> Result<Self, ExamplesError> {
        let version = migrate(&mut connection)
            .map_err(|source| ExamplesError::Sqlite { file: file.to_owned(), source })?;
        if version > SCHEMA_VERSION {
            return Err(ExamplesError::Newer { file: file.to_owned() });
        }
        Ok(Self { file: file.into(), connection: Arc::new(Mutex::new(connection)) })
    }

    /// The database file, `:memory:` for one in memory.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, ExamplesError> {
        work(&mut self.lock())
            .map_err(|source| ExamplesError::Sqlite { file: self.file.to_path_buf(), source })
    }

    /// Keeps examples, and returns the numbers of those that were not there yet. What the user once
    /// removed comes back only when the user gives it.
    pub fn add(&self, examples: &[NewExample], source: Source) -> Result<Vec<i64>, ExamplesError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut added = Vec::new();
            for example in examples {
                added.extend(insert(&transaction, example, source)?);
            }
            transaction.commit()?;
            Ok(added)
        })
    }

    /// Takes in what the pack has for a tool, if anything, once for each version of pack and tool. `examined` says that it
    /// was written for exactly this tool.
    pub fn import(
        &self,
        import: &Import,
        examples: &[NewExample],
        examined: bool,
    ) -> Result<(), ExamplesError> {
        let Import { server, tool, pack, tool_hash, sought } = import;
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !examples.is_empty() {
                transaction.execute(
                    "DELETE FROM examples WHERE server = ?1 AND tool = ?2 AND source = 'pack' AND state <> 'removed'",
                    [server, tool],
                )?;
            }
            for example in examples {
                let Some(id) = insert(&transaction, example, Source::Pack)? else { continue };
                if examined {
                    set_state(&transaction, id, State::Kept, None, tool_hash)?;
                }
            }
            transaction.execute(
                "INSERT OR REPLACE INTO imports (server, tool, pack, tool_hash) VALUES (?1, ?2, ?3, ?4)",
                [server, tool, pack, sought],
            )?;
            transaction.commit()
        })
    }

    /// What was sought in a pack already: server, tool, pack version, and what it was sought by.
    pub fn imports(&self) -> Result<Vec<[String; 4]>, ExamplesError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT server, tool, pack, tool_hash FROM imports")?;
            statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?.collect()
        })
    }

    /// Examples in the order in which they came.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Example>, ExamplesError> {
        let all = self.with(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM examples ORDER BY id"))?;
            statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(all.into_iter().filter(|example| filter.admits(example)).collect())
    }

    /// Gives `take` server, tool and text of each example that is in use, in the order in which they came.
    pub fn each_kept(
        &self,
        off: &BTreeSet<Source>,
        mut take: impl FnMut(&str, &str, &str),
    ) -> Result<(), ExamplesError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT server, tool, text, source FROM examples WHERE state = 'kept' ORDER BY id",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let text = |at| row.get_ref(at).and_then(|value| Ok(value.as_str()?));
                if !text(3)?.parse().is_ok_and(|source| off.contains(&source)) {
                    take(text(0)?, text(1)?, text(2)?);
                }
            }
            Ok(())
        })
    }

    /// Says what examples are good for, each against a tool of that content hash.
    pub fn judge<'a>(
        &self,
        verdicts: impl IntoIterator<Item = (i64, State, Option<String>, &'a str)>,
    ) -> Result<(), ExamplesError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (id, state, reason, tool_hash) in verdicts {
                set_state(&transaction, id, state, reason.as_deref(), tool_hash)?;
            }
            transaction.commit()
        })
    }

    /// Takes examples out and returns how many there were. Those of the pack are remembered as removed.
    pub fn remove(&self, ids: &[i64]) -> Result<usize, ExamplesError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut removed = 0;
            for id in ids {
                removed += transaction.execute(
                    "UPDATE examples SET state = 'removed', reason = NULL
                     WHERE id = ?1 AND source = 'pack' AND state <> 'removed'",
                    [id],
                )?;
                removed +=
                    transaction.execute("DELETE FROM examples WHERE id = ?1 AND source <> 'pack'", [id])?;
            }
            transaction.commit()?;
            Ok(removed)
        })
    }

    /// Deletes all examples of a source, and returns how many. Those of the pack come back.
    pub fn forget(&self, source: Source) -> Result<usize, ExamplesError> {
        self.with(|connection| {
            connection.execute("DELETE FROM imports WHERE ?1 = 'pack'", [source.name()])?;
            connection.execute("DELETE FROM examples WHERE source = ?1", [source.name()])
        })
    }

    /// The sources that are switched off.
    pub fn sources_off(&self) -> Result<BTreeSet<Source>, ExamplesError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT source FROM sources_off")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
        })
    }

    /// Switches a source on or off. What it gave is kept, and not used while it is off.
    pub fn switch(&self, source: Source, on: bool) -> Result<(), ExamplesError> {
        let sql = if on {
            "DELETE FROM sources_off WHERE source = ?1"
        } else {
            "INSERT OR IGNORE INTO sources_off (source) VALUES (?1)"
        };
        self.with(|connection| connection.execute(sql, [source.name()]).map(drop))
    }

    /// A number that changes when another process writes.
    pub fn version(&self) -> Result<i64, ExamplesError> {
        self.with(|connection| connection.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    /// Moves what was written into the main file. Another process may be reading: then it is left to
    /// the last one.
    pub fn checkpoint(&self) {
        let done =
            self.with(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        if let Err(error) = done {
            tracing::debug!("the examples were not checkpointed: {error}");
        }
    }
}

/// The new row's number; none when the example is there already.
fn insert(connection: &Connection, example: &NewExample, source: Source) -> rusqlite::Result<Option<i64>> {
    let text = tidy(&example.text);
    if text.is_empty() {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO examples (server, tool, text, source, language, state, tool_hash, added_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'new', '', ?6)
         ON CONFLICT (server, tool, text) DO UPDATE SET state = 'new', source = ?4
            WHERE state = 'removed' AND ?4 = 'user'
         RETURNING id",
    )?;
    let values = params![example.server, example.tool, text, source.name(), example.language, now_ms()];
    statement.query_map(values, |row| row.get(0))?.next().transpose()
}

fn set_state(
    connection: &Connection,
    id: i64,
    state: State,
    reason: Option<&str>,
    tool_hash: &str,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE examples SET state = ?2, reason = ?3, tool_hash = ?4 WHERE id = ?1 AND state <> 'removed'",
        )?
        .execute(params![id, state.name(), reason, tool_hash])
}

fn read(row: &Row<'_>) -> rusqlite::Result<Example> {
    let source: String = row.get(4)?;
    let state: String = row.get(6)?;
    Ok(Example {
        id: row.get(0)?,
        server: row.get(1)?,
        tool: row.get(2)?,
        text: row.get(3)?,
        source: source.parse().unwrap_or(Source::User),
        language: row.get(5)?,
        state: State::from_name(&state),
        reason: row.get(7)?,
        tool_hash: row.get(8)?,
        added_at: row.get(9)?,
    })
}

/// Makes the tables in an empty database, and returns the version that is there now.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i32> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(version.max(SCHEMA_VERSION))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(tool: &str, text: &str) -> NewExample {
        NewExample { server: "s".to_owned(), tool: tool.to_owned(), text: text.to_owned(), language: None }
    }

    fn texts(store: &ExampleStore, state: State) -> Vec<String> {
        let filter = Filter { state: Some(state), ..Filter::default() };
        store.list(&filter).unwrap().into_iter().map(|example| example.text).collect()
    }

    #[test]
    fn examples_are_kept_once_each_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("examples.db");
        let store = ExampleStore::open(&file).unwrap();
        let given = [example("a", "what is open"), example("a", " what  is\nopen "), example("b", "?")];
        assert_eq!(store.add(&given, Source::User).unwrap().len(), 2);
        assert!(store.add(&given, Source::Host).unwrap().is_empty());
        drop(store);
        let again = ExampleStore::open(&file).unwrap();
        assert_eq!(texts(&again, State::New), ["what is open", "?"]);
    }

    #[test]
    fn what_the_user_removed_from_the_pack_stays_removed_until_the_user_gives_it() {
        let store = ExampleStore::in_memory().unwrap();
        let given = [example("a", "one"), example("a", "two")];
        let import = |pack: &str| Import {
            server: "s".to_owned(),
            tool: "a".to_owned(),
            pack: pack.to_owned(),
            tool_hash: "hash".to_owned(),
            sought: "hash".to_owned(),
        };
        store.import(&import("1"), &given, true).unwrap();
        assert_eq!(texts(&store, State::Kept), ["one", "two"]);
        let first = store.list(&Filter::default()).unwrap()[0].id;
        assert_eq!(store.remove(&[first, 999]).unwrap(), 1);
        store.import(&import("2"), &given, true).unwrap();
        store.import(&import("3"), &[], true).unwrap();
        assert_eq!(store.imports().unwrap()[0][2], "3");
        assert_eq!(texts(&store, State::Kept), ["two"]);
        store.add(&given, Source::User).unwrap();
        assert_eq!(texts(&store, State::New), ["one"]);
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_a_newer_one_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("examples.db");
        std::fs::write(&file, "no database at all, and long enough to be looked at").unwrap();
        assert!(ExampleStore::open(&file).unwrap().list(&Filter::default()).unwrap().is_empty());
        assert_eq!(
            std::fs::read_dir(folder.path())
                .unwrap()
                .filter(|entry| {
                    entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().contains("damaged"))
                })
                .count(),
            1
        );
        let connection = Connection::open(&file).unwrap();
        connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        drop(connection);
        assert!(matches!(ExampleStore::open(&file), Err(ExamplesError::Newer { .. })));
    }

    #[test]
    fn a_source_is_switched_off_and_forgotten() {
        let store = ExampleStore::in_memory().unwrap();
        store.add(&[example("a", "one")], Source::Use).unwrap();
        store.add(&[example("a", "two")], Source::User).unwrap();
        store.switch(Source::Use, false).unwrap();
        assert_eq!(store.sources_off().unwrap().into_iter().collect::<Vec<_>>(), [Source::Use]);
        assert_eq!(store.forget(Source::Use).unwrap(), 1);
        store.switch(Source::Use, true).unwrap();
        assert!(store.sources_off().unwrap().is_empty());
        assert_eq!(texts(&store, State::New), ["two"]);
    }
}
