//! The ranking on tasks that nothing was fitted on: a quarter of the golden set (tests/data/golden), over
//! 1,895 real tools with the shipped examples. Falls here are falls for users.

use serde_json::json;

use crate::support::{Sandbox, shared};

#[test]
fn the_ranking_is_as_good_as_it_was() {
    let Some(tools) = shared("eval/fleet/tools.jsonl") else { return };
    let sandbox = Sandbox::new(json!({}));
    let exported = sandbox.run(&["examples", "export", "--shipped"]);
    let examples = sandbox.path("examples.jsonl");
    std::fs::write(&examples, exported.stdout).unwrap();
    let queries = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/gate.jsonl");
    let [tools, examples] = [&tools, &examples].map(|path| path.to_str().unwrap());
    let measured =
        sandbox.json(&["eval", "--json", "--tools", tools, "--queries", queries, "--examples", examples]);
    assert_eq!((&measured["tools"], &measured["examples"]), (&json!(1895), &json!(9475)));
    // Three queries fewer than measured when the encoder was last trained.
    for (figure, floor) in [("h1", 0.70), ("h5", 0.92), ("r5", 0.92), ("ndcg5", 0.82), ("server_h1", 0.87)] {
        assert!(measured[figure].as_f64().unwrap() >= floor, "{figure} fell below {floor}: {measured}");
    }
}
