//! What does the orchestrator add when many calls are under way, and to a result of 10 MB? The same client sends the same
//! calls straight to the fixture child and through `orchestrator serve`, by turns; each line is a JSON object. A peer that
//! takes the child's program as its last argument is measured as well: `ORCHESTRATOR_BENCH_PEER` is its command.
//!
//! `wait` is a tool that takes 20 ms, as those do that ask something over a network: calls meet nothing but each other's
//! overhead. `echo` answers at once, so that both processes work without a pause on the same cores as the client.

mod support;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Turns of each side.
const ROUNDS: usize = 3;
/// How long each side is measured in a turn.
const TURN: Duration = Duration::from_secs(2);
/// Bytes of a large result.
const LARGE: usize = 10 * 1024 * 1024;

/// One side: how a call is put there.
struct Side {
    name: &'static str,
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next_id: u64,
    wraps: bool,
}

impl Side {
    fn start(name: &'static str, mut command: Command) -> Self {
        let wraps = name == "through";
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("it starts");
        let stdin = process.stdin.take().expect("it has a stdin");
        let stdout = BufReader::with_capacity(1 << 20, process.stdout.take().expect("it has a stdout"));
        let mut side = Self { name, process, stdin, stdout, next_id: 0, wraps };
        side.send("initialize", &json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}
        }));
        side.answer();
        writeln!(side.stdin, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#)
            .expect("it reads");
        side
    }

    fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.next_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params});
        writeln!(self.stdin, "{request}").expect("it reads");
        self.next_id
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> u64 {
        let params = if self.wraps {
            json!({"name": "call_tool", "arguments": {"tool": format!("one:{tool}"), "arguments": arguments}})
        } else {
            json!({"name": tool, "arguments": arguments})
        };
        self.send("tools/call", &params)
    }

    /// The next answer: its id, and its line.
    fn answer(&mut self) -> (u64, String) {
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("it answers") > 0, "it ended");
            // The whole of a large answer is not looked at: that is no part of what is measured.
            let id = line.rfind("\"id\":").filter(|at| line.len() - at < 40).or_else(|| line.find("\"id\":"));
            let digits =
                id.map(|at| line[at + 5..].chars().take_while(char::is_ascii_digit).collect::<String>());
            if let Some(id) = digits.and_then(|digits| digits.parse().ok()) {
                return (id, line);
            }
        }
    }

    /// Keeps so many calls under way, and returns the ms that each took.
    fn load(&mut self, tool: &str, arguments: &Value, in_flight: usize, time: Duration) -> (Vec<f64>, f64) {
        let begun = Instant::now();
        let mut sent: HashMap<u64, Instant> = HashMap::new();
        let mut took = Vec::new();
        for _ in 0..in_flight {
            let at = Instant::now();
            sent.insert(self.call(tool, arguments), at);
        }
        while !sent.is_empty() {
            let (id, line) = self.answer();
            let Some(at) = sent.remove(&id) else { continue };
            assert!(line.contains("hello") || line.contains("slept"), "{line}");
            took.push(at.elapsed().as_secs_f64() * 1e3);
            if begun.elapsed() < time {
                let at = Instant::now();
                sent.insert(self.call(tool, arguments), at);
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let each_second = took.len() as f64 / seconds;
        (took, each_second)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}

fn main() {
    let Some(fixture) = support::fixture() else { return };
    let (rounds, turn) = if support::measuring() { (ROUNDS, TURN) } else { (1, Duration::from_millis(50)) };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.json");
    // As many at once as are measured, and a result as large as one: the defaults let 64 calls in, and 8 MiB through.
    let limits = json!({"concurrentCalls": 256, "lineBytes": 4 * LARGE});
    let settings = json!({
        "mcpServers": {"one": {"command": fixture}},
        "orchestrator": {"execute": {"maxResultBytes": 0}, "limits": limits}
    });
    std::fs::write(&config, settings.to_string()).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.arg("serve").env("ORCHESTRATOR_CONFIG", &config);
    command.env("ORCHESTRATOR_DATA_DIR", folder.path().join("data"));
    let mut sides = vec![Side::start("direct", Command::new(&fixture)), Side::start("through", command)];
    if let Ok(peer) = std::env::var("ORCHESTRATOR_BENCH_PEER") {
        let mut words = peer.split_whitespace();
        let mut command = Command::new(words.next().expect("the peer has a command"));
        command.args(words).arg(&fixture);
        sides.push(Side::start("peer", command));
    }
    for (name, tool, arguments) in
        [("wait", "sleep", json!({"ms": 20})), ("echo", "echo", json!({"message": "hello"}))]
    {
        for in_flight in [1, 16, 128] {
            tell(&compare(name, &mut sides, (tool, &arguments), in_flight, rounds, turn));
        }
    }
    large(&mut sides[..2], if support::measuring() { 20 } else { 1 });
}

/// A line for whoever started the bench.
fn tell(line: &Value) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads it");
}

/// The same load on each side, by turns.
fn compare(
    name: &str,
    sides: &mut [Side],
    (tool, arguments): (&str, &Value),
    in_flight: usize,
    rounds: usize,
    turn: Duration,
) -> Value {
    let mut took = vec![Vec::new(); sides.len()];
    let mut each_second = vec![0.0; sides.len()];
    for _ in 0..rounds {
        for ((side, took), each_second) in sides.iter_mut().zip(&mut took).zip(&mut each_second) {
            side.load(tool, arguments, in_flight, turn / 10);
            let (times, rate) = side.load(tool, arguments, in_flight, turn);
            took.extend(times);
            #[expect(clippy::cast_precision_loss, reason = "a few rounds")]
            let share = rounds as f64;
            *each_second += rate / share;
        }
    }
    let mut line = json!({"tool": name, "in_flight": in_flight, "added": {}});
    let mut direct = (0.0, 0.0, 0.0);
    for ((side, mut took), each_second) in sides.iter().zip(took).zip(each_second) {
        took.sort_by(f64::total_cmp);
        let (median, p99) = (quantile(&took, 0.5), quantile(&took, 0.99));
        line[side.name] = json!({"median_ms": median, "p99_ms": p99, "each_second": each_second});
        if side.name == "direct" {
            direct = (median, p99, each_second);
        } else {
            line["added"][side.name] = json!({
                "median_ms": median - direct.0, "p99_ms": p99 - direct.1, "throughput": each_second / direct.2
            });
        }
    }
    line
}

/// A result of 10 MB, and what it takes to parse one once.
fn large(sides: &mut [Side], times: usize) {
    let message = "sixteen letters ".repeat(64);
    let arguments = json!({"message": message, "times": LARGE / message.len()});
    let mut medians = [0.0, 0.0];
    let mut parsed = Vec::new();
    for (side, median) in sides.iter_mut().zip(&mut medians) {
        let mut took = Vec::new();
        for _ in 0..times {
            let at = Instant::now();
            let id = side.call("echo", &arguments);
            let (answered, line) = side.answer();
            took.push(at.elapsed().as_secs_f64() * 1e3);
            assert!(answered == id && line.len() > LARGE, "{}", &line[..200]);
            let at = Instant::now();
            let value: Value = serde_json::from_str(&line).expect("JSON");
            parsed.push(at.elapsed().as_secs_f64() * 1e3);
            assert!(value["result"]["content"][0]["text"].as_str().is_some_and(|text| text.len() == LARGE));
        }
        took.sort_by(f64::total_cmp);
        *median = quantile(&took, 0.5);
    }
    parsed.sort_by(f64::total_cmp);
    tell(&json!({
        "large_bytes": LARGE, "direct_ms": medians[0], "through_ms": medians[1],
        "added_ms": medians[1] - medians[0], "parse_once_ms": quantile(&parsed, 0.5)
    }));
}
