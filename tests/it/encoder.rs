//! The encoder against vectors that other implementations computed (`scripts/reference_vectors.py`,
//! `scripts/train/reference_vectors.py`).

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Command,
};

use orchestrator::embed::{DEFAULT_MODEL, Encoder, ModelSource, Purpose};
use serde::Deserialize;

use crate::support::{has_stock_model, root, text};

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

fn encoder(model: &str) -> Encoder {
    let downloads = tempfile::tempdir().unwrap();
    let source = ModelSource { model: model.to_owned(), downloads: downloads.path().to_owned() };
    Encoder::load(&source.resolve().unwrap()).unwrap()
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

#[test]
fn our_vectors_agree_with_another_implementation() {
    vectors_agree(&encoder(DEFAULT_MODEL), "tests/data/tool-encoder-vectors.json");
}

#[test]
fn vectors_of_the_stock_model_agree_with_sentence_transformers() {
    if has_stock_model() {
        vectors_agree(&encoder("all-MiniLM-L6-v2"), "tests/data/reference-vectors.json");
    }
}

fn vectors_agree(encoder: &Encoder, file: &str) {
    let reference: Reference = serde_json::from_slice(&std::fs::read(root().join(file)).unwrap()).unwrap();
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
    // A copy of the folder in the place of downloads, each file damaged in turn.
    let model = root().join("models").join(DEFAULT_MODEL);
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

/// A hub on this machine that serves the model's folder; what `change` makes of a file is served.
fn hub(change: fn(&str, Vec<u8>) -> Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, change));
        }
    });
    format!("http://{address}")
}

/// Answers one request for `/owner/name/resolve/REVISION/FILE`, as the real hub does.
fn serve(mut stream: TcpStream, change: fn(&str, Vec<u8>) -> Vec<u8>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let (method, path) = request.split_once(' ').unwrap();
    let file = path.split(' ').next().unwrap().split("/resolve/").nth(1).unwrap();
    let (revision, file) = file.split_once('/').unwrap();
    let body = change(file, std::fs::read(root().join("models/all-MiniLM-L6-v2").join(file)).unwrap());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"{}\"\r\nX-Repo-Commit: {revision}\r\nConnection: close\r\n\r\n",
        body.len(),
        orchestrator::digest::sha256(&[file])
    );
    stream.write_all(head.as_bytes()).unwrap();
    if method == "GET" {
        stream.write_all(&body).ok();
    }
}

/// `model pull` in an empty place, from a hub on this machine.
fn pull(hub: &str) -> (tempfile::TempDir, std::process::Output) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("orchestrator");
    // Elsewhere, so that no models/ is found beside it.
    std::fs::copy(crate::support::orchestrator(), &program).unwrap();
    let output = Command::new(program)
        .args(["model", "pull", "all-MiniLM-L6-v2"])
        .current_dir(folder.path())
        .env("ORCHESTRATOR_DATA_DIR", folder.path().join("data"))
        .env("HF_ENDPOINT", hub)
        .env("HF_HOME", folder.path().join("hub"))
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    (folder, output)
}

#[test]
fn the_model_is_downloaded_and_checked() {
    if !has_stock_model() {
        return;
    }
    let (folder, output) = pull(&hub(|_, bytes| bytes));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(folder.path().join("data/models/all-MiniLM-L6-v2/1_Pooling/config.json").is_file());

    let swapped = |file: &str, mut bytes: Vec<u8>| {
        if file == "model.safetensors" {
            bytes[1_000_000] ^= 1;
        }
        bytes
    };
    let (folder, output) = pull(&hub(swapped));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("model.safetensors"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("sha256"), "{}", text(&output.stderr));
    assert!(!folder.path().join("data/models/all-MiniLM-L6-v2").exists(), "a wrong file takes no place");
}
