//! What does the orchestrator add to a call? The same call, by the same client over the same kind of
//! pipe: straight to a child, and through `orchestrator serve`.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

/// A client with one call at a time.
struct Client {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next_id: u64,
}

impl Client {
    fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdin = process.stdin.take().expect("it has a stdin");
        let stdout = BufReader::new(process.stdout.take().expect("it has a stdout"));
        let mut client = Self { process, stdin, stdout, next_id: 0 };
        client.request("initialize", &json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}
        }));
        client.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn write(&mut self, message: &Value) {
        writeln!(self.stdin, "{message}").expect("it reads");
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        self.write(&json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("it answers") > 0, "it ended");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message["id"] == self.next_id {
                return message;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert_eq!(answer["result"]["content"][0]["text"], "hello", "{answer}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn call_overhead(criterion: &mut Criterion) {
    let Some(fixture) = support::fixture() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.json");
    std::fs::write(&config, json!({"mcpServers": {"one": {"command": fixture}}}).to_string())
        .expect("it is written");
    let arguments = json!({"message": "hello"});

    let mut direct = Client::start(Command::new(&fixture));
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command
        .arg("serve")
        .env("ORCHESTRATOR_CONFIG", &config)
        .env("ORCHESTRATOR_DATA_DIR", folder.path().join("data"));
    let mut through = Client::start(command);

    let mut group = criterion.benchmark_group("call");
    group.bench_function("straight to the child", |bencher| bencher.iter(|| direct.call("echo", &arguments)));
    let wrapped = json!({"tool": "one:echo", "arguments": arguments});
    group.bench_function("through the orchestrator", |bencher| {
        bencher.iter(|| through.call("call_tool", &wrapped));
    });
    group.finish();
}

criterion_group!(benches, call_overhead);
criterion_main!(benches);
