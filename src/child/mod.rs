//! Child servers: their processes, the MCP connection to each, and the pool that starts, shares
//! and ends them. Knows what a child says of its tools, not what they are used for.

mod breaker;
mod call;
mod connection;
mod environment;
mod error;
mod gate;
#[cfg(target_os = "linux")]
pub mod guard;
mod handshake;
mod health;
mod listing;
#[cfg(target_os = "linux")]
pub mod orphans;
mod pool;
mod process;
mod relay;
mod retry;
mod start;
mod status;
mod stderr;
mod supervisor;
mod transport;

pub use self::{
    breaker::BreakerState,
    call::{Answer, CallRequest},
    connection::{Connection, ServerInfo},
    error::{CallError, ConnectError},
    handshake::Lifecycle,
    listing::Listing,
    pool::{CallReport, Pool, PoolOptions},
    relay::{Boxed, Caller, Connected, Host, HostProgress, Hosts},
    status::{ServerState, ServerStatus},
    supervisor::Lease,
    transport::Noise,
};

/// The name among `names` that is nearest to `wanted`, if any is near enough to be a slip.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two measures: the first knows shared beginnings, the second swapped and missing letters.
    let similarity = |name: &str| {
        let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
        let edits = strsim::normalized_damerau_levenshtein(&wanted, &name);
        if edits >= 0.6 { edits.max(0.75) } else { 0.0 }.max(strsim::jaro_winkler(&wanted, &name))
    };
    names
        .into_iter()
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}
