//! How many tool texts are embedded in a second, by the size of the batch?

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orchestrator::embed::{Encoder, Purpose};

fn embed_batch(criterion: &mut Criterion) {
    let Some(source) = support::source() else { return };
    let encoder = Encoder::load(&source.resolve().expect("the model is right")).expect("it loads");
    // Every so many-th tool, so that long and short texts come as they do; sorted by length, as the
    // worker does it.
    let all = support::texts(&support::tools());
    let mut texts: Vec<&str> =
        all.iter().step_by((all.len() / 32).max(1)).take(32).map(String::as_str).collect();
    texts.sort_by_key(|text| text.len());
    let mut group = criterion.benchmark_group("embed_batch");
    group.sample_size(10);
    group.throughput(Throughput::Elements(texts.len() as u64));
    for size in [1, 8, 32] {
        group.bench_function(format!("{} texts in batches of {size}", texts.len()), |bencher| {
            bencher.iter(|| {
                for batch in texts.chunks(size) {
                    encoder.encode(batch, Purpose::Document).expect("it embeds");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, embed_batch);
criterion_main!(benches);
