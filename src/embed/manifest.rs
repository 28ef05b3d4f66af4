//! models/manifest.json: the models that this program knows by name, with the size and checksum of
//! each file. It is part of the binary.

use serde::{Deserialize, Serialize};

/// All known models.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// Models, the default one first.
    pub models: Vec<KnownModel>,
}

/// A model that can be fetched and checked.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct KnownModel {
    /// Name to give as `--model`, and of its folder.
    pub name: String,
    /// Where it is on the Hugging Face hub, if it is there.
    #[serde(flatten)]
    pub hub: Option<Hub>,
    /// SPDX name.
    pub licence: String,
    /// Length of its vectors.
    pub dimensions: usize,
    /// All files that are needed.
    pub files: Vec<KnownFile>,
}

/// A place on the Hugging Face hub.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Hub {
    /// `owner/name`.
    pub repository: String,
    /// Commit there.
    pub revision: String,
}

/// A file of a model.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct KnownFile {
    /// Path inside the model's folder.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Checksum, lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// The manifest that was built in.
    ///
    /// # Panics
    /// Never: a test parses the same text.
    pub fn built_in() -> Self {
        serde_json::from_str(include_str!("../../models/manifest.json"))
            .expect("models/manifest.json is valid, see the test")
    }

    /// The model of that name.
    pub fn find(&self, name: &str) -> Option<&KnownModel> {
        self.models.iter().find(|model| model.name == name)
    }

    /// All names, for messages.
    pub fn names(&self) -> String {
        self.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_manifest_is_valid_and_has_the_default() {
        let manifest = Manifest::built_in();
        assert_eq!(manifest.models[0].name, crate::embed::DEFAULT_MODEL);
        for model in &manifest.models {
            assert!(model.files.iter().all(|file| file.sha256.len() == 64 && file.bytes > 0));
        }
        let stock = manifest.find("all-MiniLM-L6-v2").unwrap();
        assert_eq!(stock.hub.as_ref().unwrap().revision.len(), 40);
    }
}
