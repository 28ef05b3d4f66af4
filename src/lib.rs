//! `orchestrator`: one MCP server in front of all the others.
//!
//! A task in plain language is embedded in process, matched against the tools of every child
//! server, and sent to the one that fits. Each module may use those above it, never those below:
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | what the user wrote |
//! | [`child`] | processes, connections, the pool |
//! | [`catalog`] | tool records and their SQLite store |
//! | [`embed`] | model files, the encoder, its worker thread |
//! | [`examples`] | example tasks: where they come from, where they are kept, which are good |
//! | [`weights`] | the numbers that ranking and confidence depend on |
//! | [`index`] | vector and word search, kept in step with the children |
//! | [`router`] | from a task to ranked tools with a confidence |
//! | [`execute`] | from a ranked tool to a call, or to what is missing for one |
//! | [`audit`] | the trail of every decision |
//! | [`server`] | the four tools that a host sees |
//! | [`commands`] | the command line |

pub mod audit;
pub mod catalog;
pub mod child;
pub mod cli;
pub mod commands;
pub mod config;
pub mod digest;
mod disk;
pub mod embed;
pub mod examples;
pub mod execute;
pub mod index;
mod lines;
pub mod orchestrator;
pub mod report;
pub mod router;
pub mod server;
pub mod telemetry;
pub mod weights;
