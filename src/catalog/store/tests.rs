use std::{collections::HashSet, sync::Arc};

use rmcp::model::{JsonObject, Tool as Definition};

use super::*;

fn listing(server: &str, tools: &[(&'static str, &'static str)]) -> Listing {
    let definition = |(name, description): &(&'static str, &'static str)| {
        Definition::new(*name, *description, Arc::new(JsonObject::new()))
    };
    Listing {
        server: server.to_owned(),
        info: ServerInfo::default(),
        tools: tools.iter().map(definition).collect(),
        warnings: Vec::new(),
    }
}

fn names(store: &Store) -> Vec<String> {
    store.tools().unwrap().into_iter().map(|stored| stored.tool.id()).collect()
}

#[test]
fn only_what_differs_is_written_and_rows_keep_their_ids() {
    let store = Store::in_memory().unwrap();
    let first =
        store.apply(&listing("s", &[("a", "one"), ("b", "two"), ("c", "three")]), "f", false).unwrap();
    assert_eq!(first.added, ["a", "b", "c"]);
    let ids = |store: &Store| -> HashMap<String, i64> {
        store.tools().unwrap().into_iter().map(|stored| (stored.tool.id(), stored.id)).collect()
    };
    let before = ids(&store);
    let second =
        store.apply(&listing("s", &[("d", "four"), ("a", "one"), ("b", "TWO")]), "f", false).unwrap();
    assert_eq!(
        (second.added, second.changed, second.removed, second.unchanged),
        (vec!["d".into()], vec!["b".into()], vec!["c".into()], 1)
    );
    let after = ids(&store);
    assert_eq!((after["s:a"], after["s:b"]), (before["s:a"], before["s:b"]));
    assert_eq!(names(&store), ["s:d", "s:a", "s:b"], "in the order of the new list");
    let words = |text: &str| crate::index::lexical::search(&store, text, 10).unwrap();
    assert!(words("three").is_empty(), "words of a removed tool are gone");
    assert_eq!(words("four").len(), 1);
}

#[test]
fn vectors_are_kept_by_model_and_pruned_with_their_tools() {
    let store = Store::in_memory().unwrap();
    store.apply(&listing("s", &[("a", "one")]), "f", false).unwrap();
    let hash = store.tools().unwrap()[0].tool.text_hash.clone();
    store.add_vectors("m1", [(hash.as_str(), &[0.5_f32, -1.0][..]), ("gone", &[1.0, 2.0][..])]).unwrap();
    assert_eq!(store.vectors("m1", 2).unwrap()[&hash], [0.5, -1.0]);
    assert!(store.vectors("m2", 2).unwrap().is_empty(), "another model's vectors are not used");
    assert!(store.vectors("m1", 3).unwrap().is_empty(), "nor those of another length");
    assert_eq!(store.prune_vectors(&HashSet::new()).unwrap(), 1);
    assert_eq!(store.text_hashes_with_vector("m1").unwrap(), HashSet::from([hash]));
}

#[test]
fn two_processes_share_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.db");
    let (one, two) = (Store::open(&file).unwrap(), Store::open(&file).unwrap());
    one.apply(&listing("s", &[("a", "one")]), "f", false).unwrap();
    two.apply(&listing("t", &[("b", "two")]), "f", false).unwrap();
    assert_eq!(names(&one), ["s:a", "t:b"]);
    assert_eq!(names(&one), names(&two));
}

#[test]
fn damage_in_the_middle_is_found_by_the_check_and_all_clones_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.db");
    let long = "many words ".repeat(500);
    let tools: Vec<(&'static str, &'static str)> = ["a", "b", "c", "d", "e", "f"]
        .map(|name| (name, &*Box::leak(format!("{name} {long}").into_boxed_str())))
        .to_vec();
    let store = Store::open(&file).unwrap();
    store.apply(&listing("s", &tools), "f", false).unwrap();
    assert!(!store.check().unwrap(), "nothing is wrong yet");
    store.checkpoint();
    drop(store);
    let mut bytes = std::fs::read(&file).unwrap();
    for page in bytes.chunks_mut(4096).skip(4) {
        page[..64].fill(0xA5);
    }
    std::fs::write(&file, bytes).unwrap();

    let store = Store::open(&file).unwrap();
    let clone = store.clone();
    assert!(store.check().unwrap());
    assert!(names(&store).is_empty() && names(&clone).is_empty());
    store.apply(&listing("s", &[("a", "one")]), "f", false).unwrap();
    assert_eq!(names(&clone), ["s:a"]);
    let files = std::fs::read_dir(folder.path()).unwrap().flatten();
    assert!(files.into_iter().any(|entry| entry.file_name().to_string_lossy().contains(".damaged-")));
}

#[test]
fn the_first_tools_are_those_that_a_server_names_first() {
    let store = Store::in_memory().unwrap();
    store.apply(&listing("s", &[("z", ""), ("a", ""), ("m", "")]), "f", false).unwrap();
    assert_eq!(store.first_tools("s", 2).unwrap(), ["z", "a"]);
    assert!(store.first_tools("t", 2).unwrap().is_empty());
}

#[test]
fn vectors_are_given_text_by_text() {
    let store = Store::in_memory().unwrap();
    store.add_vectors("m", [("one", &[1.0_f32, 0.0][..]), ("two", &[0.0, 1.0][..])]).unwrap();
    let mut found = Vec::new();
    let texts = ["two", "gone", "one"];
    store.each_vector("m", 2, texts, |text, vector| found.push((text.to_owned(), vector.to_vec()))).unwrap();
    assert_eq!(found, [("two".to_owned(), vec![0.0, 1.0]), ("one".to_owned(), vec![1.0, 0.0])]);
    store.each_vector("m", 3, texts, |text, _| panic!("{text} has another length")).unwrap();
}
