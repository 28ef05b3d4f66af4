//! What every child can do: tool records, the difference between two lists of them, the texts by
//! which they are found, and the `SQLite` store that keeps all of it over restarts.

mod diff;
mod effect;
mod signature;
mod store;
pub mod text;
mod tool;

pub use self::{
    diff::{Diff, diff},
    effect::{Effect, may_take_away},
    signature::signature,
    store::{CachedServer, Store, StoreError, StoredTool},
    tool::Tool,
};

/// The tools of all recorded servers of `../shared/servers`; none where that folder is not there.
///
/// # Panics
/// When a file there is no list of tools.
#[cfg(test)]
pub fn recorded_tools() -> Option<Vec<Tool>> {
    use std::{fs, path::Path};

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/servers");
    let Ok(files) = fs::read_dir(&folder) else {
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    };
    let mut tools = Vec::new();
    for file in files.map(|file| file.unwrap().path()) {
        let is_list =
            file.extension().is_some_and(|extension| extension == "json") && !file.ends_with("fleet.json");
        if is_list {
            let listed: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            let server = file.file_stem().unwrap().to_string_lossy().into_owned();
            let listed = serde_json::from_value::<Vec<rmcp::model::Tool>>(listed["tools"].clone()).unwrap();
            tools.extend(listed.into_iter().map(|definition| Tool::new(&server, definition)));
        }
    }
    Some(tools)
}
