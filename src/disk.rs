//! What the two databases share: their private folder, and moving a damaged file out of the way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Renames a database and its side files, and returns the new name.
pub(crate) fn move_aside(file: &Path) -> std::io::Result<PathBuf> {
    let named = |ending: &str| PathBuf::from(format!("{}{ending}", file.display()));
    let aside = named(&format!(".damaged-{}", now_ms()));
    fs::rename(file, &aside)?;
    for ending in ["-wal", "-shm"] {
        match fs::rename(named(ending), format!("{}{ending}", aside.display())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// The folder holds what people asked for, so it is theirs alone (0700).
pub(crate) fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
