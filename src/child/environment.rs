//! The environment that a child starts with: a short allowlist and what its own entry gives it.
//! Never another child's secrets, never the orchestrator's.

use std::{collections::BTreeMap, ffi::OsString};

/// Variables that a program needs to run at all and that hold no credentials.
const ALLOWED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TMPDIR",
    "TZ",
    // Windows
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
];

/// Families of such variables, by how their names begin.
const ALLOWED_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// The child's whole environment: allowed variables of `parent`, overlaid by its `own`.
pub(super) fn for_child(
    parent: impl Iterator<Item = (OsString, OsString)>,
    own: &BTreeMap<String, String>,
) -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<OsString, OsString> =
        parent.filter(|(name, _)| name.to_str().is_some_and(is_allowed)).collect();
    environment.extend(own.iter().map(|(name, value)| (name.into(), value.into())));
    environment
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name) || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_and_own_variables_pass() {
        let parent = [("PATH", "/bin"), ("LC_ALL", "C"), ("GITHUB_TOKEN", "secret"), ("HOME", "/a")];
        let own =
            BTreeMap::from([("API_KEY".to_owned(), "k".to_owned()), ("HOME".to_owned(), "/b".to_owned())]);
        let environment = for_child(parent.into_iter().map(|(k, v)| (k.into(), v.into())), &own);
        let shown: Vec<_> =
            environment.iter().map(|(k, v)| (k.to_str().unwrap(), v.to_str().unwrap())).collect();
        assert_eq!(shown, [("API_KEY", "k"), ("HOME", "/b"), ("LC_ALL", "C"), ("PATH", "/bin")]);
    }
}
