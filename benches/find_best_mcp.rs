//! How long does `find_best_mcp` take from a task to ranked tools, over 2,000 tools?

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

const TASKS: &[&str] = &[
    "what time is it in Tokyo right now",
    "open a pull request for my branch and ask Ada for a review",
    "find all invoices of last month that nobody has paid yet",
    "post the build results to the team channel",
    "which customers signed up this week",
    "crop the screenshot and save it as a PNG",
];

fn find_best_mcp(criterion: &mut Criterion) {
    let source = support::source();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let count = if support::measuring() { 2_000 } else { 200 };
    let (library, router) = support::library(&runtime, source, count);
    runtime.block_on(library.settled());
    assert_eq!(library.snapshot().len(), count);
    let mut next = TASKS.iter().cycle().zip(0..);
    criterion.bench_function(&format!("find_best_mcp over {count} tools"), |bencher| {
        bencher.iter(|| {
            let (task, number) = next.next().expect("it cycles");
            // Each task is another one, since answers are remembered.
            runtime.block_on(router.find_best_mcp(&format!("{task} {number}"))).expect("it ranks")
        });
    });
    criterion.bench_function(&format!("find_best_mcp over {count} tools, asked before"), |bencher| {
        bencher.iter(|| runtime.block_on(router.find_best_mcp(TASKS[0])).expect("it ranks"));
    });
}

criterion_group!(benches, find_best_mcp);
criterion_main!(benches);
