//! What is watched of a child while it runs: whether its tools change, and whether it still answers.

use std::time::{Duration, Instant};

use rmcp::{
    model::{ClientRequest, DiscoverRequest, DiscoverRequestParams, PingRequest, SubscriptionFilter},
    service::Subscription,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{Connection, Listing, connection::list};

/// A burst of `tools/list_changed` is answered by one listing, so long after its first.
const CHANGE_PAUSE: Duration = Duration::from_millis(500);
/// The same for a child that says so again and again, and nothing changes.
const LONGEST_CHANGE_PAUSE: Duration = Duration::from_secs(60);
/// Calls that time out in a row, with no answer in between, after which a child is taken for dead.
const TIMEOUTS_IN_A_ROW: u32 = 3;
/// How soon health is looked at again at the earliest.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Connection {
    /// Lists the tools anew whenever the child says that they changed. Never returns.
    pub(super) async fn follow_changes(&self, listings: &mpsc::Sender<Listing>) {
        // A child of the 2026-07-28 protocol tells only those who listen. What it tells is seen by the
        // transport; the subscription only has to live.
        let _subscription = self.listen_for_changes().await;
        let mut pause = CHANGE_PAUSE;
        loop {
            self.wire().tools_changed.notified().await;
            sleep(pause).await;
            match list(self.server(), self.peer(), &self.settings()).await {
                Ok(listing) if listing.tools == self.listing().tools => {
                    // It says so for nothing: each time it is believed a little later.
                    pause = (pause * 2).min(LONGEST_CHANGE_PAUSE);
                }
                Ok(listing) => {
                    pause = CHANGE_PAUSE;
                    self.set_listing(listing.clone());
                    listings.send(listing).await.ok();
                }
                Err(failure) => {
                    tracing::warn!(
                        server = self.server(),
                        "its tools changed but could not be listed: {failure:?}"
                    );
                }
            }
        }
    }

    async fn listen_for_changes(&self) -> Option<Subscription> {
        let info = self.peer().peer_info()?;
        let tells = info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true));
        if info.protocol_version.has_initialize() || !tells {
            return None;
        }
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let listening = timeout(self.timeouts().list, self.peer().listen(filter)).await;
        match listening {
            Ok(Ok(subscription)) => Some(subscription),
            failed => {
                tracing::debug!(server = self.server(), "it does not tell of changes: {:?}", failed.err());
                None
            }
        }
    }

    /// Pings a child that was silent for long, or that let a call time out. Returns when it is dead.
    pub(super) async fn watch_health(&self) {
        let timeouts = self.timeouts();
        let mut pinged = Instant::now();
        loop {
            let quiet = self.quiet_for().min(pinged.elapsed());
            let pause = timeouts.ping_every.saturating_sub(quiet).max(LOOK_AGAIN);
            tokio::select! {
                () = self.doubt() => {
                    if self.timeouts_in_a_row() >= TIMEOUTS_IN_A_ROW {
                        return self.note_end(&format!("{TIMEOUTS_IN_A_ROW} calls in a row had no answer"));
                    }
                }
                () = sleep(pause) => {
                    // Many servers do one thing at a time: while a call runs, its deadline counts.
                    let due = self.quiet_for().min(pinged.elapsed()) >= timeouts.ping_every;
                    if timeouts.ping_every.is_zero() || self.in_flight() > 0 || !due {
                        continue;
                    }
                }
            }
            pinged = Instant::now();
            let answer = self.ask(self.ping(), timeouts.ping).await;
            // Whatever it says, an error too, somebody is there.
            if answer.is_none() && self.wire().heard() < pinged {
                return self
                    .note_end(&format!("it answered no ping within {} s", timeouts.ping.as_secs_f32()));
            }
        }
    }

    /// A request that any server answers. The 2026-07-28 protocol has no ping.
    fn ping(&self) -> ClientRequest {
        let modern = self.peer().peer_info().is_some_and(|info| !info.protocol_version.has_initialize());
        if modern {
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        } else {
            ClientRequest::PingRequest(PingRequest::default())
        }
    }
}
