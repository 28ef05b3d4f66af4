//! Where files are kept: XDG folders by default, `--config`, `--data-dir` or `ORCHESTRATOR_*` otherwise.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// Files and folders of one installation.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// Folder of `catalog.db`, `examples.db`, `audit.db` and downloaded models.
    pub data: PathBuf,
}

impl Paths {
    /// What the user gave, else `$XDG_CONFIG_HOME/orchestrator/config.json` and
    /// `$XDG_DATA_HOME/orchestrator`; without a home folder, the working directory.
    pub fn resolve(config: Option<&Path>, data: Option<&Path>) -> Self {
        let base = etcetera::choose_base_strategy().ok();
        let or_default = |given: Option<&Path>, default: Option<PathBuf>, file: &str| {
            given.map(Path::to_owned).or(default).unwrap_or_else(|| PathBuf::from(file))
        };
        Self {
            config: or_default(
                config,
                base.as_ref().map(|base| base.config_dir().join("orchestrator/config.json")),
                "orchestrator.json",
            ),
            data: or_default(
                data,
                base.as_ref().map(|base| base.data_dir().join("orchestrator")),
                ".orchestrator",
            ),
        }
    }

    /// The catalog database; may be deleted at the cost of a reindex.
    pub fn catalog(&self) -> PathBuf {
        self.data.join("catalog.db")
    }

    /// The audit trail.
    pub fn audit(&self) -> PathBuf {
        self.data.join("audit.db")
    }

    /// The example tasks.
    pub fn examples(&self) -> PathBuf {
        self.data.join("examples.db")
    }

    /// Models that were downloaded.
    pub fn models(&self) -> PathBuf {
        self.data.join("models")
    }
}
