//! What the tests share: paths, a sandbox with its own configuration and data folder, and a session
//! with `orchestrator serve` on raw pipes.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A guard against tests that hang, far above what anything here takes.
pub(crate) const HANG: Duration = Duration::from_secs(60);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The built program.
pub(crate) fn orchestrator() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orchestrator"))
}

/// The built fixture child, which cargo puts beside the program.
pub(crate) fn fixture() -> PathBuf {
    example("fixture-server")
}

fn example(name: &str) -> PathBuf {
    let path = orchestrator().with_file_name("examples").join(name);
    assert!(path.is_file(), "{} is built by cargo test", path.display());
    path
}

/// A folder of ../shared, or none with a printed reason.
pub(crate) fn shared(part: &str) -> Option<PathBuf> {
    let folder = root().parent()?.join("shared").join(part);
    if folder.exists() {
        return Some(folder);
    }
    skip(&format!("{} is not there", folder.display()));
    None
}

/// Whether the stock model is there, with which ours is compared; says so when it is not.
pub(crate) fn has_stock_model() -> bool {
    let there = root().join("models/all-MiniLM-L6-v2/model.safetensors").is_file();
    if !there {
        skip("the stock model is not there; scripts/fetch-model.sh gets it");
    }
    there
}

/// The configuration of the real servers, or none with a printed reason.
pub(crate) fn real_servers() -> Option<PathBuf> {
    let file = root().join(".servers/mcp.json");
    if file.is_file() {
        return Some(file);
    }
    skip("no real servers; scripts/install-servers.sh installs them");
    None
}

pub(crate) fn skip(reason: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped {name}: {reason}");
}

/// Configuration entry of a fixture child.
pub(crate) fn child(arguments: &[&str]) -> Value {
    json!({"command": fixture(), "args": arguments})
}

/// Configuration entry of a hostile child.
pub(crate) fn hostile(arguments: &[&str]) -> Value {
    json!({"command": example("hostile-server"), "args": arguments})
}

/// A folder with a configuration and a data folder of its own.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new(servers: Value) -> Self {
        Self::with_settings(servers, json!({}))
    }

    pub(crate) fn with_settings(servers: Value, settings: Value) -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        sandbox.configure(&json!({"mcpServers": servers, "orchestrator": settings}).to_string());
        sandbox
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config.json")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The program with this sandbox's files, run in the repository.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(orchestrator());
        command
            .current_dir(root())
            .env("ORCHESTRATOR_CONFIG", self.config())
            .env("ORCHESTRATOR_DATA_DIR", self.data())
            .env_remove("ORCHESTRATOR_LOG")
            .env_remove("ORCHESTRATOR_MODEL")
            .args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to end with 0 and to print JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn serve(&self) -> Session {
        Session::start(self.command(&["serve"]))
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session with `serve`, line by line, as a host without an SDK would have it.
pub(crate) struct Session {
    pub(crate) process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
    /// Answers that came while another was waited for.
    early: Vec<Value>,
}

impl Session {
    pub(crate) fn start(command: Command) -> Self {
        Self::start_as(command, &json!({}))
    }

    /// A session of a host that offers `capabilities`.
    pub(crate) fn start_as(command: Command, capabilities: &Value) -> Self {
        let mut session = Self::without_handshake(command);
        let id = session.send(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25", "capabilities": capabilities,
                "clientInfo": {"name": "test", "version": "1"}
            }),
        );
        let answer = session.answer(id);
        assert_eq!(answer["result"]["serverInfo"]["name"], "orchestrator", "{answer}");
        session.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        session
    }

    /// A session in which nothing was said yet.
    pub(crate) fn without_handshake(mut command: Command) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { process, stdin, lines, next_id: 0, early: Vec::new() }
    }

    /// Sends a line as it is.
    pub(crate) fn write_line(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(line).unwrap();
        stdin.write_all(b"\n").unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn write(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{message}").unwrap();
        stdin.flush().unwrap();
    }

    /// Sends a request and returns its id.
    pub(crate) fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Waits for the answer to a request. Every line has to be JSON-RPC: stdout is the protocol's.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        self.message(&format!("an answer to request {id}"), |message| {
            message["id"] == id && message.get("method").is_none()
        })
    }

    /// Waits for a request or notification of this method.
    pub(crate) fn incoming(&mut self, method: &str) -> Value {
        self.message(method, |message| message["method"] == method)
    }

    /// Waits for a message; others are kept for later.
    pub(crate) fn message(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&wanted) {
            return self.early.remove(at);
        }
        let deadline = Instant::now() + HANG;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let message: Value =
                        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON on stdout: {line}"));
                    assert_eq!(message["jsonrpc"], "2.0");
                    if wanted(&message) {
                        return message;
                    }
                    self.early.push(message);
                }
                Err(RecvTimeoutError::Timeout) => panic!("not within {HANG:?}: {what}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the session ended before {what}"),
            }
        }
    }

    /// The messages of this method that came while others were waited for.
    pub(crate) fn kept(&self, method: &str) -> Vec<&Value> {
        self.early.iter().filter(|message| message["method"] == method).collect()
    }

    /// Sends a call of a child's tool through `call_tool` and returns its id.
    pub(crate) fn begin_call(&mut self, tool: &str, arguments: &Value) -> u64 {
        let call = json!({"tool": tool, "arguments": arguments});
        self.send("tools/call", &json!({"name": "call_tool", "arguments": call}))
    }

    pub(crate) fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// Calls one of the four tools and returns its result.
    pub(crate) fn tool(&mut self, name: &str, arguments: &Value) -> Value {
        let answer = self.request("tools/call", &json!({"name": name, "arguments": arguments}));
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// Calls a child's tool through `call_tool`.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.tool("call_tool", &json!({"tool": tool, "arguments": arguments}))
    }

    /// Closes stdin, as a host does at its end.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// Waits for the process to end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        wait_until("the orchestrator ends", || self.process.try_wait().unwrap())
    }

    pub(crate) fn end(mut self) {
        self.close();
        assert!(self.wait().success());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The text of a result's first content block.
pub(crate) fn first_text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}"))
}

/// Polls until `test` gives something.
pub(crate) fn wait_until<T>(what: &str, mut test: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + HANG;
    loop {
        if let Some(value) = test() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {HANG:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Process ids whose command line or environment holds `mark`, zombies left out.
pub(crate) fn processes_with(mark: &str) -> Vec<u32> {
    let holds = |pid: u32, file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| text(&bytes).contains(mark))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && (holds(*pid, "cmdline") || holds(*pid, "environ")))
        .filter(|pid| {
            !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
        })
        .collect()
}
