//! How long does the search for the ten nearest vectors take, exact and by HNSW, and what does HNSW
//! miss? Vectors are those of real tools; beyond their number, copies with noise.

mod support;

use std::{collections::HashSet, sync::Arc, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use orchestrator::{
    embed::Embedder,
    index::{Exact, Hnsw, VectorIndex},
};

const WANTED: usize = 10;

fn vector_search(criterion: &mut Criterion) {
    let source = support::source();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let real = real_vectors(&runtime, source);
    let sizes: &[usize] = if support::measuring() { &[100, 1_000, 10_000, 100_000] } else { &[100, 1_000] };
    let mut group = criterion.benchmark_group("vector_search");
    for size in sizes {
        let vectors = Arc::new(support::vectors(&real, *size));
        let queries = support::vectors(&real, *size + 50);
        // The last fifty are noisy copies that are in no index.
        let queries: Vec<&[f32]> = (*size..*size + 50).map(|row| queries.row(row)).collect();
        let exact = Exact::new(Arc::clone(&vectors));
        let started = Instant::now();
        let hnsw = Hnsw::build(&vectors);
        let built = started.elapsed();
        eprintln!(
            "{size} vectors: HNSW built in {:.2} s, recall@{WANTED} {:.3}",
            built.as_secs_f64(),
            recall(&exact, &hnsw, &queries)
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

/// The vectors of real tools.
fn real_vectors(
    runtime: &tokio::runtime::Runtime,
    source: orchestrator::embed::ModelSource,
) -> Vec<Vec<f32>> {
    let texts = support::texts(&support::tools());
    let (library, _router) = support::library(runtime, source.clone(), texts.len());
    let embedder = Embedder::start(source);
    let facts = runtime.block_on(embedder.ready()).expect("the model loads");
    let store =
        orchestrator::catalog::Store::open(&support::cache().join(format!("catalog-{}.db", texts.len())))
            .expect("the store opens");
    let vectors = store.vectors(&facts.id, facts.dimensions).expect("the vectors are there");
    library.snapshot().tools().filter_map(|tool| vectors.get(&tool.text_hash).cloned()).collect()
}

fn recall(exact: &Exact, hnsw: &Hnsw, queries: &[&[f32]]) -> f64 {
    let rows = |index: &dyn VectorIndex, query: &[f32]| -> HashSet<usize> {
        index.search(query, WANTED).into_iter().map(|hit| hit.row).collect()
    };
    let found: usize =
        queries.iter().map(|query| rows(exact, query).intersection(&rows(hnsw, query)).count()).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let share = found as f64 / (queries.len() * WANTED) as f64;
    share
}

criterion_group!(benches, vector_search);
criterion_main!(benches);
