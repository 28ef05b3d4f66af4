//! Log lines on stderr; stdout belongs to the protocol and to answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged when `ORCHESTRATOR_LOG` says nothing. rmcp logs every notification with its content.
const DEFAULT_FILTER: &str = "warn,orchestrator=info,rmcp=error,orchestrator::child=warn";

/// Starts logging. A second call, as in tests, changes nothing.
pub fn start(filter: Option<&str>) {
    let filter = filter.map_or_else(|| EnvFilter::new(DEFAULT_FILTER), EnvFilter::new);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .try_init()
        .ok();
}
