//! `orchestrator serve`: the four tools on stdin and stdout, until the host closes stdin or a
//! signal asks for the end. Children are gone before the process is.

use std::time::Duration;

use rmcp::ServiceExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    cli::Exit,
    server::{Front, HostTransport},
};

/// For the session to end after its host: longer than rmcp takes for it.
const AFTER_THE_HOST: Duration = Duration::from_secs(6);
/// For answers that are still to be written when the session is closed.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Serves one host.
pub async fn run(context: Context) -> anyhow::Result<Exit> {
    let patience = context.config.settings.drain;
    let orchestrator = context.start_at_once()?;
    let front = Front::new(&orchestrator);
    let close = CancellationToken::new();
    let transport = HostTransport::stdio();
    let closed = transport.closed();
    let serving = front.clone().serve_with_ct(transport, close.clone());
    let session = async {
        // An end before `initialize` is a host that changed its mind, not a failure.
        match Box::pin(serving).await {
            Ok(running) => drop(running.waiting().await),
            Err(error) => tracing::debug!("the session did not begin: {error}"),
        }
    };
    tokio::pin!(session);
    let mut over = false;
    tokio::select! {
        () = &mut session => over = true,
        // Whoever closes a pipe may still read: rmcp lets calls that came before end, for 5 s at most, and
        // the session with them. Hosts that do not send SIGTERM some two seconds later.
        () = closed.cancelled() => {
            tokio::select! {
                () = &mut session => over = true,
                () = sleep(AFTER_THE_HOST) => {}
                () = asked_to_end() => tracing::debug!("asked to end at once"),
            }
        }
        () = asked_to_end() => {
            tracing::debug!("asked to end; calls under way have {} s", patience.as_secs_f32());
            tokio::select! {
                () = front.drain(patience) => {}
                () = &mut session => over = true,
                () = asked_to_end() => tracing::debug!("asked to end at once"),
            }
        }
    }
    // Calls that are still under way are answered as cancelled.
    front.drain(Duration::ZERO).await;
    close.cancel();
    if !over {
        timeout(LAST_WORDS, &mut session).await.ok();
    }
    orchestrator.shutdown().await;
    Ok(Exit::Done)
}

/// Returns at the first signal that asks a process to end.
#[cfg(unix)]
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = kinds.map(signal) else {
        tracing::error!("signals cannot be listened to");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
