//! How long does the search for the fifty nearest vectors take, exact and by HNSW, and what does HNSW miss? The vectors
//! are those of real tools and of the same in other words (`scripts/large_catalog.py`), the queries those of tasks in
//! people's words; both come from the catalog in `ORCHESTRATOR_BENCH_CATALOG`.

mod support;

use std::{collections::HashSet, path::PathBuf, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use orchestrator::{
    catalog::{Store, text},
    embed::Embedder,
    examples::Pack,
    index::{Exact, Hnsw, Quantized, VectorIndex, Vectors},
};

/// Hits that are searched.
const WANTED: usize = 50;
/// Of how many of them is looked whether they were missed.
const JUDGED: usize = 10;
/// Queries that are searched in turn.
const QUERIES: usize = 500;

fn vector_search(criterion: &mut Criterion) {
    let Some((vectors, queries)) = real_vectors() else { return };
    let sizes = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000];
    let mut group = criterion.benchmark_group("vector_search");
    for size in sizes.into_iter().filter(|size| *size <= vectors.len()) {
        let rows = first(&vectors, size);
        let exact = Exact::new(rows.clone());
        let started = Instant::now();
        let hnsw = Hnsw::build(rows.clone());
        let built = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let grown = Hnsw::build(first(&vectors, size * 9 / 10)).extended(rows);
        let extended = started.elapsed().as_secs_f64();
        eprintln!(
            "{}",
            serde_json::json!({
                "vectors": size, "built_s": built, "recall_at_10": recall(&exact, &hnsw, &queries),
                "built_and_extended_s": extended, "extended_recall_at_10": recall(&exact, &grown, &queries),
            })
        );
        for (name, index) in [("exact", &exact as &dyn VectorIndex), ("hnsw", &hnsw)] {
            let mut next = queries.iter().cycle();
            group.bench_function(format!("{name} {size}"), |bencher| {
                bencher.iter(|| index.search(next.next().expect("it cycles"), WANTED));
            });
        }
    }
    group.finish();
}

/// The vectors of the catalog's tools, and of tasks; where there is no catalog, those of the few tools of a test.
fn real_vectors() -> Option<(Vectors, Vec<Quantized>)> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let source = support::source();
    let facts = runtime.block_on(Embedder::start(source.clone()).ready()).expect("the model loads");
    let file = match std::env::var_os("ORCHESTRATOR_BENCH_CATALOG").map(PathBuf::from) {
        Some(file) => file,
        None if support::measuring() => {
            eprintln!(
                "skipped: ORCHESTRATOR_BENCH_CATALOG names no catalog; scripts/bench_speed.sh makes one"
            );
            return None;
        }
        None => {
            let (library, _) = support::library(&runtime, source, 1_000);
            runtime.block_on(library.settled());
            support::cache().join("catalog-1000.db")
        }
    };
    let store = Store::open(&file).expect("the catalog opens");
    let tools = store.tools().expect("it has tools");
    let read = |hashes: Vec<String>| -> Vec<Quantized> {
        let mut found = Vec::new();
        let hashes = hashes.iter().map(String::as_str);
        let take = |_: &str, values: &[f32]| found.push(Quantized::new(values));
        store.each_vector(&facts.id, facts.dimensions, hashes, take).expect("it has vectors");
        found
    };
    let mut vectors = Vectors::new(facts.dimensions);
    // Mixed, so that the first of them are of all servers.
    let count = tools.len();
    let mixed = (0..count).map(|at| at * 7_919 % count).map(|at| tools[at].tool.text_hash.clone()).collect();
    for vector in read(mixed) {
        vectors.push(vector.as_slice());
    }
    let tasks: Vec<String> = Pack::shipped().lines().flat_map(|line| line.tasks).collect();
    let step = (tasks.len() / QUERIES).max(1);
    let hashes = tasks.iter().step_by(step).take(QUERIES).map(|task| text::example_hash(task)).collect();
    let mut queries = read(hashes);
    if queries.is_empty() {
        queries = read(tools.iter().take(QUERIES).map(|stored| stored.tool.text_hash.clone()).collect());
    }
    eprintln!("{} vectors and {} queries from {}", vectors.len(), queries.len(), file.display());
    Some((vectors, queries))
}

fn first(vectors: &Vectors, count: usize) -> Vectors {
    let mut rows = Vectors::new(vectors.dimensions());
    (0..count).for_each(|row| rows.push(vectors.row(row)));
    rows
}

fn recall(exact: &Exact, hnsw: &Hnsw, queries: &[Quantized]) -> f64 {
    let rows = |index: &dyn VectorIndex, query: &Quantized| -> HashSet<usize> {
        index.search(query, WANTED).into_iter().take(JUDGED).map(|hit| hit.row).collect()
    };
    let found: usize =
        queries.iter().map(|query| rows(exact, query).intersection(&rows(hnsw, query)).count()).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let share = found as f64 / (queries.len() * JUDGED) as f64;
    share
}

criterion_group!(benches, vector_search);
criterion_main!(benches);
