//! How long does one query take to embed, by its length in tokens?

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use orchestrator::embed::{Encoder, Purpose};

fn embed_query(criterion: &mut Criterion) {
    let source = support::source();
    let encoder = Encoder::load(&source.resolve().expect("the model is right")).expect("it loads");
    let words = "what time is it in the city of Tokyo right now and how many hours is that ahead of Berlin"
        .split(' ');
    let words: Vec<&str> = words.cycle().take(200).collect();
    let mut group = criterion.benchmark_group("embed_query");
    for tokens in [5, 20, 60] {
        // Special tokens are counted along.
        let text = (1..words.len())
            .map(|count| words[..count].join(" "))
            .find(|text| encoder.token_count(text, Purpose::Query).is_ok_and(|count| count >= tokens))
            .expect("there are enough words");
        group.bench_function(format!("{tokens} tokens"), |bencher| {
            bencher.iter(|| encoder.encode(&[&text], Purpose::Query).expect("it embeds"));
        });
    }
    group.finish();
}

criterion_group!(benches, embed_query);
criterion_main!(benches);
