//! The `orchestrator` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestrator::cli::main(std::env::args_os())
}
