//! Where a model's files are, and whether they are the right ones. Looked for in this order: in the
//! program itself, a folder given by path, `models/` (beside the working directory, the executable, the
//! data), the Hugging Face cache. A checksum is computed once for each file and remembered by size and time.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EmbedError, KnownFile, KnownModel, Manifest, built_in};

/// Files of any sentence-transformer folder: those it must have, and those that tell how it is used.
const REQUIRED: &[&str] = &["config.json", "tokenizer.json", "model.safetensors"];
const OPTIONAL: &[&str] = &[
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
];

/// Which model is wanted and where it may be.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// A name of the manifest, or a folder.
    pub model: String,
    /// Folder for downloads; also holds the remembered checksums.
    pub downloads: PathBuf,
}

/// Where the files of a model are.
#[derive(Debug, Clone)]
pub enum Place {
    /// Inside the program.
    BuiltIn(&'static [built_in::File]),
    /// In a folder.
    Folder(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(_) => formatter.write_str("the program itself"),
            Self::Folder(folder) => folder.display().fmt(formatter),
        }
    }
}

impl Place {
    /// The content of a file, or none when it is not there.
    fn read(&self, path: &str) -> Result<Option<Cow<'static, [u8]>>, EmbedError> {
        match self {
            Self::BuiltIn(files) => {
                let found = files.iter().find(|(name, _)| *name == path);
                Ok(found.map(|(_, content)| Cow::Borrowed(*content)))
            }
            Self::Folder(folder) => {
                let file = folder.join(path);
                match fs::read(&file) {
                    Ok(content) => Ok(Some(Cow::Owned(content))),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(EmbedError::Read { file, source }),
                }
            }
        }
    }

    /// The name of a file, for messages.
    fn path(&self, path: &str) -> PathBuf {
        match self {
            Self::BuiltIn(_) => PathBuf::from(path),
            Self::Folder(folder) => folder.join(path),
        }
    }
}

/// A model's files, found and checked.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// Name for people.
    pub name: String,
    /// Where they are.
    pub place: Place,
    /// Identifies exactly these files: vectors of another id are never compared with these.
    pub id: String,
}

impl ModelFiles {
    pub(super) fn read(&self, path: &str) -> Result<Option<Cow<'static, [u8]>>, EmbedError> {
        self.place.read(path)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.place.path(path)
    }

    /// A file holds what this program cannot use.
    pub(super) fn unsupported(&self, path: &str, problem: String) -> EmbedError {
        EmbedError::Unsupported { file: self.path(path), problem }
    }

    /// Files that nobody checked.
    #[cfg(test)]
    pub(super) fn of_folder(folder: &Path) -> Self {
        Self { name: String::new(), place: Place::Folder(folder.to_owned()), id: String::new() }
    }
}

/// A file of a model as `model verify` reports it.
#[derive(Debug, Clone, Serialize)]
pub struct FileState {
    /// Path inside the folder.
    pub path: String,
    /// `ok`, or what is wrong.
    pub state: String,
    /// Whether it is the right file.
    pub ok: bool,
}

impl ModelSource {
    /// Where the model is, not yet checked, and what the manifest knows of it.
    pub fn locate(&self) -> Result<(Place, Option<KnownModel>), EmbedError> {
        let manifest = Manifest::built_in();
        let Some(known) = manifest.find(&self.model) else {
            let folder = PathBuf::from(&self.model);
            return if folder.is_dir() {
                Ok((Place::Folder(folder), None))
            } else {
                Err(EmbedError::UnknownModel { name: self.model.clone(), known: manifest.names() })
            };
        };
        if let Some(files) = built_in::files(&known.name) {
            return Ok((Place::BuiltIn(files), Some(known.clone())));
        }
        let searched = self.folders(known);
        let has = |folder: &PathBuf, file: &KnownFile| {
            folder.join(&file.path).metadata().is_ok_and(|found| found.is_file() && found.len() == file.bytes)
        };
        // The first that is complete; else the first that is not empty, so that what is wrong with
        // it can be told.
        let complete = searched.iter().find(|folder| known.files.iter().all(|file| has(folder, file)));
        let begun = || {
            searched.iter().find(|folder| known.files.iter().any(|file| folder.join(&file.path).is_file()))
        };
        let found = complete.or_else(begun).cloned();
        match found {
            Some(folder) => Ok((Place::Folder(folder), Some(known.clone()))),
            None => Err(EmbedError::NotFound { name: self.model.clone(), searched }),
        }
    }

    /// Finds the files and checks them against the manifest.
    pub fn resolve(&self) -> Result<ModelFiles, EmbedError> {
        let (place, known) = self.locate()?;
        let digests = match (&place, &known) {
            // A test compares them with the manifest.
            (Place::BuiltIn(_), Some(known)) => known.files.iter().map(|file| file.sha256.clone()).collect(),
            (Place::Folder(folder), _) => self.digests(folder, known.as_ref())?,
            (Place::BuiltIn(_), None) => Vec::new(),
        };
        let name = known.map_or_else(|| self.model.clone(), |known| known.name);
        let parts: Vec<&str> = digests.iter().map(String::as_str).collect();
        let id = crate::digest::sha256(&parts);
        Ok(ModelFiles { name, place, id })
    }

    /// The checksums of a folder's files, which are those of the manifest where the model is known.
    fn digests(&self, folder: &Path, known: Option<&KnownModel>) -> Result<Vec<String>, EmbedError> {
        let mut checksums = Checksums::load(&self.downloads);
        let digests = match known {
            Some(known) => known
                .files
                .iter()
                .map(|file| check(folder, file, &mut checksums).map(|()| file.sha256.clone()))
                .collect::<Result<Vec<_>, _>>()?,
            None => digests_of_any(folder, &mut checksums)?,
        };
        checksums.save();
        Ok(digests)
    }

    /// The state of every file of a known model, checksums computed anew.
    pub fn verify(place: &Place, known: &KnownModel) -> Vec<FileState> {
        known
            .files
            .iter()
            .map(|file| {
                let outcome = match place {
                    Place::Folder(folder) => check(folder, file, &mut Checksums::default()),
                    Place::BuiltIn(_) => check_built_in(place, file),
                };
                let state = outcome.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
                FileState { path: file.path.clone(), ok: outcome.is_ok(), state }
            })
            .collect()
    }

    /// Where a known model may be, in order.
    fn folders(&self, known: &KnownModel) -> Vec<PathBuf> {
        let mut folders = vec![PathBuf::from("models").join(&known.name)];
        if let Ok(executable) = std::env::current_exe() {
            // target/release/orchestrator stands three folders below the models of a checkout.
            let above = executable.ancestors().skip(1).take(3);
            folders.extend(above.map(|folder| folder.join("models").join(&known.name)));
        }
        folders.push(self.downloads.join(&known.name));
        folders.extend(known.hub.as_ref().zip(hub_cache()).map(|(hub, cache)| {
            let repository = format!("models--{}", hub.repository.replace('/', "--"));
            cache.join(repository).join("snapshots").join(&hub.revision)
        }));
        folders
    }
}

/// The cache folder of Hugging Face's own tools, by the variables that they document.
fn hub_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("HF_HUB_CACHE").or_else(|| variable("HF_HOME").map(|home| home.join("hub"))).or_else(|| {
        let cache =
            variable("XDG_CACHE_HOME").or_else(|| etcetera::home_dir().ok().map(|home| home.join(".cache")));
        cache.map(|cache| cache.join("huggingface/hub"))
    })
}

/// Checks one file: there, of the right size, of the right content.
fn check(folder: &Path, known: &KnownFile, checksums: &mut Checksums) -> Result<(), EmbedError> {
    let file = folder.join(&known.path);
    let damaged = |problem| EmbedError::DamagedFile { file: file.clone(), problem };
    let metadata = fs::metadata(&file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => EmbedError::MissingFile { file: file.clone() },
        _ => EmbedError::Read { file: file.clone(), source },
    })?;
    if metadata.len() != known.bytes {
        return Err(damaged(format!("it has {} bytes instead of {}", metadata.len(), known.bytes)));
    }
    let found = checksums.of(&file)?;
    if found != known.sha256 {
        return Err(damaged(format!("its sha256 is {found} instead of {}", known.sha256)));
    }
    Ok(())
}

/// The same for a file of the program.
fn check_built_in(place: &Place, known: &KnownFile) -> Result<(), EmbedError> {
    let file = place.path(&known.path);
    let content = place.read(&known.path)?.ok_or_else(|| EmbedError::MissingFile { file: file.clone() })?;
    let found = crate::digest::hex(&Sha256::digest(&content));
    if found == known.sha256 {
        Ok(())
    } else {
        Err(EmbedError::DamagedFile { file, problem: format!("its sha256 is {found}") })
    }
}

fn digests_of_any(folder: &Path, checksums: &mut Checksums) -> Result<Vec<String>, EmbedError> {
    let mut digests = Vec::new();
    for path in REQUIRED {
        let file = folder.join(path);
        if !file.is_file() {
            return Err(EmbedError::Unsupported {
                file,
                problem:
                    "it is missing; a model's folder has config.json, tokenizer.json and model.safetensors"
                        .to_owned(),
            });
        }
        digests.push(checksums.of(&file)?);
    }
    for path in OPTIONAL {
        let file = folder.join(path);
        digests.push(if file.is_file() { checksums.of(&file)? } else { String::new() });
    }
    Ok(digests)
}

/// Checksums that were computed before, kept in `checksums.json`, so that 90 MB are not read twice
/// at each start. A file with another size or time is computed anew.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Checksums {
    #[serde(skip)]
    file: Option<PathBuf>,
    #[serde(skip)]
    changed: bool,
    files: BTreeMap<PathBuf, Checksum>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checksum {
    bytes: u64,
    modified_ns: u128,
    sha256: String,
}

impl Checksums {
    fn load(folder: &Path) -> Self {
        let file = folder.join("checksums.json");
        let kept: Self =
            fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file: Some(file), ..kept }
    }

    fn of(&mut self, file: &Path) -> Result<String, EmbedError> {
        let read = |source| EmbedError::Read { file: file.to_owned(), source };
        let path = fs::canonicalize(file).map_err(read)?;
        let metadata = fs::metadata(&path).map_err(read)?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |since| since.as_nanos());
        if let Some(known) = self.files.get(&path)
            && known.bytes == metadata.len()
            && known.modified_ns == modified_ns
        {
            return Ok(known.sha256.clone());
        }
        let sha256 = checksum(&path).map_err(read)?;
        self.changed = true;
        self.files.insert(path, Checksum { bytes: metadata.len(), modified_ns, sha256: sha256.clone() });
        Ok(sha256)
    }

    /// Failing to keep them costs time at the next start and nothing else.
    fn save(&self) {
        let (true, Some(file)) = (self.changed, &self.file) else { return };
        if let (Some(folder), Ok(json)) = (file.parent(), serde_json::to_vec_pretty(self)) {
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(file, json));
            if let Err(error) = written {
                tracing::debug!("cannot keep checksums in {}: {error}", file.display());
            }
        }
    }
}

/// SHA-256 of a file, in pieces.
fn checksum(file: &Path) -> std::io::Result<String> {
    let mut source = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(crate::digest::hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(content: &str) -> KnownFile {
        KnownFile {
            path: "weights".to_owned(),
            bytes: content.len() as u64,
            sha256: crate::digest::hex(&Sha256::digest(content.as_bytes())),
        }
    }

    #[test]
    fn missing_cut_and_swapped_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        let checked = || check(folder.path(), &known("right"), &mut Checksums::default());
        assert!(matches!(checked(), Err(EmbedError::MissingFile { .. })));
        fs::write(&file, "rig").unwrap();
        let cut = checked().unwrap_err().to_string();
        assert!(
            cut.contains("3 bytes instead of 5") && cut.contains("weights") && cut.contains("model pull"),
            "{cut}"
        );
        fs::write(&file, "wrong").unwrap();
        assert!(checked().unwrap_err().to_string().contains("sha256"));
        fs::write(&file, "right").unwrap();
        assert!(checked().is_ok());
    }

    #[test]
    fn a_remembered_checksum_is_dropped_when_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        fs::write(&file, "one").unwrap();
        let mut checksums = Checksums::load(folder.path());
        let first = checksums.of(&file).unwrap();
        checksums.save();
        let mut again = Checksums::load(folder.path());
        assert_eq!(again.of(&file).unwrap(), first);
        assert!(!again.changed);
        fs::write(&file, "other").unwrap();
        assert_ne!(again.of(&file).unwrap(), first);
    }
}
