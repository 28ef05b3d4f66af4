//! What deciding adds to a route: with the arguments given, and with them read from the task's words.

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use orchestrator::{
    config::ExecuteSettings,
    execute::{decide, fill},
};
use serde_json::json;

fn decisions(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let count = if support::measuring() { 2_000 } else { 200 };
    let (library, router) = support::library(&runtime, support::source(), count);
    runtime.block_on(library.settled());
    let settings = ExecuteSettings::default();
    let task = "What time is it in Tokyo when it is 9:30 in Berlin?";
    let route = runtime.block_on(router.find_best_mcp(task)).expect("it ranks");
    let arguments =
        json!({"source_timezone": "Europe/Berlin", "time": "09:30", "target_timezone": "Asia/Tokyo"});
    let given = arguments.as_object();
    let mut group = criterion.benchmark_group("decide");
    group.bench_function("arguments given", |bencher| {
        bencher.iter(|| decide(black_box(&route.candidates), task, given, &settings));
    });
    group.bench_function("arguments from words", |bencher| {
        bencher.iter(|| decide(black_box(&route.candidates), task, None, &settings));
    });
    let Some(best) = route.best() else { return };
    group.bench_function("fill", |bencher| bencher.iter(|| fill(black_box(&best.tool), task)));
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
