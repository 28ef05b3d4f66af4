//! How long does one query take to embed, by its length in tokens?

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use orchestrator::embed::{Encoder, Purpose};

fn embed_query(criterion: &mut Criterion) {
    let source = support::source();
    let encoder = Encoder::load(&source.resolve().expect("the model is right")).expect("it loads");
    let mut group = criterion.benchmark_group("embed_query");
    for tokens in [5, 20, 60] {
        let text = support::text_of_tokens(&encoder, tokens);
        group.bench_function(format!("{tokens} tokens"), |bencher| {
            bencher.iter(|| encoder.encode(&[&text], Purpose::Query).expect("it embeds"));
        });
    }
    group.finish();
}

criterion_group!(benches, embed_query);
criterion_main!(benches);
