//! Integration tests, in one binary. They use the built program, a fixture child of our own (a real
//! process), real third-party servers and real third-party clients. What needs something that is
//! not there is skipped with a printed reason; scripts/test.sh installs all of it.
//!
//! Each test has a data folder of its own and looks at its own processes only.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "tests")]

mod acting;
mod bad_input;
mod catalogs;
mod children;
mod clients;
mod commands;
mod encoder;
mod examples;
mod execute;
mod faults;
mod fuzz;
mod golden;
mod input;
mod machine;
mod real_servers;
mod relay;
mod serve;
mod shutdown;
mod support;
mod teaching;
