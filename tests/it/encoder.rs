//! The encoder against vectors that another implementation computed (`scripts/reference_vectors.py`).

use orchestrator::embed::{Encoder, ModelSource, Purpose};
use serde::Deserialize;

use crate::support::{has_model, root};

#[derive(Deserialize)]
struct Reference {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    tokens: usize,
    vector: Vec<f32>,
}

fn source() -> ModelSource {
    let downloads = tempfile::tempdir().unwrap();
    ModelSource { model: "all-MiniLM-L6-v2".to_owned(), downloads: downloads.path().to_owned() }
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

#[test]
fn vectors_agree_with_another_implementation() {
    if !has_model() {
        return;
    }
    let encoder = Encoder::load(&source().resolve().unwrap()).unwrap();
    let file = std::fs::read(root().join("tests/data/reference-vectors.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&file).unwrap();
    assert!(reference.items.len() >= 20);
    for item in &reference.items {
        assert_eq!(
            encoder.token_count(&item.text, Purpose::Document).unwrap(),
            item.tokens,
            "{:?}",
            item.text
        );
    }
    // One at a time, and all together with padding: the mask has to make them equal.
    let texts: Vec<&str> = reference.items.iter().map(|item| item.text.as_str()).collect();
    let together = encoder.encode(&texts, Purpose::Document).unwrap();
    for (item, batched) in reference.items.iter().zip(&together) {
        let alone = &encoder.encode(&[&item.text], Purpose::Query).unwrap()[0];
        for vector in [alone, batched] {
            let cosine = cosine(vector.as_slice(), &item.vector);
            assert!(cosine > 0.9999, "{cosine} for {:?}", item.text);
        }
    }
}

#[test]
fn damaged_model_files_are_named_with_the_remedy() {
    if !has_model() {
        return;
    }
    // A copy of the folder in the place of downloads, each file damaged in turn.
    let model = root().join("models/all-MiniLM-L6-v2");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m");
    std::fs::create_dir_all(copy.join("1_Pooling")).unwrap();
    for file in [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        std::fs::copy(model.join(file), copy.join(file)).unwrap();
    }
    let resolve = |name: &str| {
        let source = ModelSource { model: name.to_owned(), downloads: folder.path().to_owned() };
        source.resolve().and_then(|files| Encoder::load(&files).map(drop)).unwrap_err().to_string()
    };
    let copy_name = copy.to_str().unwrap();
    assert!(resolve(copy_name).contains("model.safetensors"));
    let whole = std::fs::read(model.join("model.safetensors")).unwrap();
    std::fs::write(copy.join("model.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let cut = resolve(copy_name);
    assert!(cut.contains("model.safetensors"), "{cut}");
    assert!(resolve("no-such-model").contains("all-MiniLM-L6-v2"));
}
