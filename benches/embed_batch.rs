//! How many tool texts are embedded in a second, by the size of the batch?

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orchestrator::embed::{Encoder, Purpose};

fn embed_batch(criterion: &mut Criterion) {
    let source = support::source();
    let encoder = Encoder::load(&source.resolve().expect("the model is right")).expect("it loads");
    // Every so many-th tool, so that long and short texts come as they do.
    let all = support::texts(&support::tools());
    let texts: Vec<&str> = all.iter().step_by((all.len() / 32).max(1)).take(32).map(String::as_str).collect();
    // What many queries at once come to.
    let short: Vec<&str> =
        (0..32).map(|at| ["what time is it", "list my open issues", "send it"][at % 3]).collect();
    let mut group = criterion.benchmark_group("embed_batch");
    group.sample_size(10);
    for (name, texts) in [("tool texts", &texts), ("short queries", &short)] {
        group.throughput(Throughput::Elements(texts.len() as u64));
        for size in [1, 8, 32] {
            group.bench_function(format!("{} {name}, {size} at a time", texts.len()), |bencher| {
                bencher.iter(|| {
                    for batch in texts.chunks(size) {
                        encoder.encode(batch, Purpose::Document).expect("it embeds");
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, embed_batch);
criterion_main!(benches);
