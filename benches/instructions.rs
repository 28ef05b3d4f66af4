//! So many forward passes, or scans over real vectors, and nothing else: for `scripts/count_instructions.sh`, which counts
//! the instructions of one as the difference of two runs. Unlike times they are the same at each run.
//!
//! usage: instructions forward TOKENS TIMES | scan ROWS TIMES

mod support;

use std::{env, hint::black_box};

use orchestrator::{
    embed::{Encoder, Purpose},
    index::{Exact, Quantized, VectorIndex, Vectors},
};

fn main() {
    // cargo adds arguments of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |at: usize| arguments.get(at).and_then(|number| number.parse().ok()).unwrap_or(1);
    match arguments.first().map(String::as_str) {
        Some("scan") => scan(number(1), number(2)),
        _ => forward(number(1), number(2)),
    }
}

fn forward(tokens: usize, times: usize) {
    let encoder = Encoder::load(&support::source().resolve().expect("the model is right")).expect("it loads");
    let text = support::text_of_tokens(&encoder, tokens);
    for _ in 0..times {
        black_box(encoder.encode(&[&text], Purpose::Query).expect("it embeds"));
    }
}

fn scan(rows: usize, times: usize) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut row = || -> Vec<i16> { (0..384).map(|_| random.i16(-3_000..3_000)).collect() };
    let mut vectors = Vectors::new(384);
    (0..rows).for_each(|_| vectors.push(&row()));
    let query = Quantized::new(&[0.05; 384]);
    let exact = Exact::new(vectors);
    for _ in 0..times {
        black_box(exact.search(&query, 50));
    }
}
