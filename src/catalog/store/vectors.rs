//! The vectors in the catalog: little-endian 32-bit floats, by model and hash of the text.

use std::collections::{HashMap, HashSet};

use rusqlite::params;

use super::{Store, StoreError};

/// Vectors that are read while nobody else can read.
const READ_TOGETHER: usize = 1_000;

impl Store {
    /// All vectors of a model by text hash. `dimensions` is checked: a blob of another length is
    /// left out, to be computed anew.
    pub fn vectors(&self, model: &str, dimensions: usize) -> Result<HashMap<String, Vec<f32>>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT text_hash, vector FROM vectors WHERE model = ?1")?;
            let mut rows = statement.query([model])?;
            let mut vectors = HashMap::new();
            while let Some(row) = rows.next()? {
                let bytes = row.get_ref(1)?.as_blob()?;
                if bytes.len() == dimensions * size_of::<f32>() {
                    vectors.insert(row.get(0)?, floats(bytes));
                }
            }
            Ok(vectors)
        })
    }

    /// Gives `take` the vector of each of these texts that has one of a model, with the text's hash. `dimensions` is
    /// checked as by [`Self::vectors`].
    pub fn each_vector<'a>(
        &self,
        model: &str,
        dimensions: usize,
        texts: impl IntoIterator<Item = &'a str>,
        mut take: impl FnMut(&str, &[f32]),
    ) -> Result<(), StoreError> {
        let mut texts = texts.into_iter().peekable();
        while texts.peek().is_some() {
            self.read(|connection| {
                let mut statement = connection
                    .prepare_cached("SELECT vector FROM vectors WHERE model = ?1 AND text_hash = ?2")?;
                for text in texts.by_ref().take(READ_TOGETHER) {
                    let mut rows = statement.query([model, text])?;
                    if let Some(row) = rows.next()? {
                        let bytes = row.get_ref(0)?.as_blob()?;
                        if bytes.len() == dimensions * size_of::<f32>() {
                            take(text, &floats(bytes));
                        }
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Hashes of the texts that have a vector of a model.
    pub fn text_hashes_with_vector(&self, model: &str) -> Result<HashSet<String>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT text_hash FROM vectors WHERE model = ?1")?;
            statement.query_map([model], |row| row.get(0))?.collect()
        })
    }

    /// Keeps vectors of a model, by text hash.
    pub fn add_vectors<'a>(
        &self,
        model: &str,
        vectors: impl IntoIterator<Item = (&'a str, &'a [f32])>,
    ) -> Result<(), StoreError> {
        let mut connection = self.write();
        let add = || {
            let transaction = connection.transaction()?;
            {
                let mut statement = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO vectors (model, text_hash, vector) VALUES (?1, ?2, ?3)",
                )?;
                for (text_hash, vector) in vectors {
                    statement.execute(params![model, text_hash, blob(vector)])?;
                }
            }
            transaction.commit()
        };
        add().map_err(|error| self.fail(error))
    }

    /// Drops vectors that no tool and none of `kept` uses any more, and returns how many.
    pub fn prune_vectors(&self, kept: &HashSet<String>) -> Result<usize, StoreError> {
        let mut connection = self.write();
        let mut prune = || {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let unused: Vec<String> = {
                let mut statement = transaction.prepare(
                    "SELECT DISTINCT text_hash FROM vectors WHERE text_hash NOT IN (SELECT text_hash FROM tools)",
                )?;
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
            };
            let mut dropped = 0;
            for hash in unused.iter().filter(|hash| !kept.contains(*hash)) {
                dropped += transaction.execute("DELETE FROM vectors WHERE text_hash = ?1", [hash])?;
            }
            transaction.commit()?;
            Ok(dropped)
        };
        prune().map_err(|error| self.fail(error))
    }
}

fn blob(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}
