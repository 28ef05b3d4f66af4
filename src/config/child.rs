//! What governs a child: deadlines, restarts, circuit breaker, retries, limits. Set for all servers
//! in the `orchestrator` object, and for one of them under `orchestrator.servers.NAME`.

use std::time::Duration;

use serde::{Deserialize, Serialize, de};
use serde_json::{Map, Value};

/// All settings that may differ from server to server.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChildSettings {
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What follows a crash.
    pub restart: RestartSettings,
    /// When calls are refused because too many failed.
    pub breaker: BreakerSettings,
    /// When a lost call is sent again.
    pub retry: RetrySettings,
    /// What a child may send, and be sent.
    pub limits: Limits,
}

impl ChildSettings {
    /// These settings with those of `overlay` in their place. The overlay was checked when it was read.
    pub(super) fn overlaid(self, overlay: &Overlay) -> Self {
        let Ok(mut merged) = serde_json::to_value(self) else { return self };
        merge(&mut merged, &overlay.0);
        serde_json::from_value(merged).unwrap_or(self)
    }
}

fn merge(base: &mut Value, overlay: &Map<String, Value>) {
    for (key, value) in overlay {
        match (base.get_mut(key), value) {
            (Some(below), Value::Object(inner)) if below.is_object() => merge(below, inner),
            _ => base[key] = value.clone(),
        }
    }
}

/// Part of a [`ChildSettings`] object: only what it names is set.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay(Map<String, Value>);

impl<'de> Deserialize<'de> for Overlay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        // Read once for its mistakes, so that they are told with their place in the file.
        ChildSettings::deserialize(Value::Object(map.clone())).map_err(de::Error::custom)?;
        Ok(Self(map))
    }
}

/// Deadlines for whatever waits on a child. Written as seconds in the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// From spawn to the end of the handshake for programs that fetch packages first
    /// (`npx`, `uvx`, `docker` and the like).
    #[serde(with = "positive_seconds")]
    pub install: Duration,
    /// From spawn to the end of the handshake for all others.
    #[serde(with = "positive_seconds")]
    pub handshake: Duration,
    /// How long `server/discover` alone is waited for before `initialize` is tried as well.
    #[serde(with = "seconds")]
    pub discover: Duration,
    /// For a whole `tools/list`, all pages together.
    #[serde(with = "positive_seconds")]
    pub list: Duration,
    /// For a call without any sign of life; progress starts it anew.
    #[serde(with = "positive_seconds")]
    pub call: Duration,
    /// For a call in all, progress or not.
    #[serde(with = "positive_seconds")]
    pub call_total: Duration,
    /// For an answer to a ping; a child that lets it pass is restarted.
    #[serde(with = "positive_seconds")]
    pub ping: Duration,
    /// A child that was silent for so long is pinged; 0: never.
    #[serde(with = "seconds")]
    pub ping_every: Duration,
    /// A connection unused for so long is closed.
    #[serde(with = "seconds")]
    pub idle: Duration,
    /// For each step of ending a child: after EOF, and again after SIGTERM.
    #[serde(with = "seconds")]
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            install: Duration::from_secs(300),
            handshake: Duration::from_secs(30),
            discover: Duration::from_secs(2),
            list: Duration::from_secs(30),
            call: Duration::from_secs(120),
            call_total: Duration::from_secs(600),
            ping: Duration::from_secs(10),
            ping_every: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            shutdown: Duration::from_secs(3),
        }
    }
}

/// What follows a crash or a failed start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RestartSettings {
    /// Longest pause after the first crash; four times as long with each that follows. The pause itself
    /// is drawn at random below it, so that children do not restart in step.
    #[serde(with = "seconds")]
    pub initial_backoff: Duration,
    /// Where the growing ends.
    #[serde(with = "seconds")]
    pub max_backoff: Duration,
    /// Crashes and failed starts in a row after which the server is given up until the user acts.
    pub crash_limit: u32,
    /// So long without a failure, and the count begins anew.
    #[serde(with = "seconds")]
    pub stable_after: Duration,
}

impl Default for RestartSettings {
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            crash_limit: 5,
            stable_after: Duration::from_secs(300),
        }
    }
}

/// When calls are refused at once because too many before them failed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Calls of this last while are counted.
    #[serde(with = "seconds")]
    pub window: Duration,
    /// Fewer calls than this open nothing.
    pub minimum_calls: u32,
    /// Share of failed calls from which it opens, 0 to 1.
    #[serde(deserialize_with = "share")]
    pub failure_share: f64,
    /// Failures in a row from which it opens.
    pub consecutive: u32,
    /// How long it stays open before one call may probe.
    #[serde(with = "seconds")]
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            minimum_calls: 10,
            failure_share: 0.5,
            consecutive: 5,
            open_for: Duration::from_secs(10),
        }
    }
}

/// When a lost call is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Calls that are sent for one at most, the first included.
    pub attempts: u32,
    /// Retries as a share of calls, 0 to 1: an outage is not amplified beyond it.
    #[serde(deserialize_with = "share")]
    pub budget: f64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts: 2, budget: 0.2 }
    }
}

/// What a child may send, and be sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Longest line taken from a child, in bytes. TypeScript hosts close above 10 MiB.
    pub line_bytes: usize,
    /// Longest arguments given to a child, in bytes. TypeScript children end above 10 MiB.
    pub request_bytes: usize,
    /// Pages of one `tools/list`.
    pub pages: usize,
    /// Tools of one server.
    pub tools: usize,
    /// Bytes of one server's tools, all pages together.
    pub list_bytes: usize,
    /// Calls under way at once.
    pub concurrent_calls: usize,
    /// Calls that may wait for their turn.
    pub queued_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 8 * 1024 * 1024,
            request_bytes: 8 * 1024 * 1024,
            pages: 100,
            tools: 10_000,
            list_bytes: 32 * 1024 * 1024,
            concurrent_calls: 64,
            queued_calls: 256,
        }
    }
}

/// A number between 0 and 1.
fn share<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(de::Error::custom(format!("{value} is not a share between 0 and 1")))
    }
}

/// The same as [`seconds`], for what nothing could pass if it were 0.
mod positive_seconds {
    use std::time::Duration;

    use serde::{Deserializer, de};

    pub(super) use super::seconds::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let value = super::seconds::deserialize(deserializer)?;
        if value.is_zero() {
            Err(de::Error::custom("0 s is no deadline that could be kept"))
        } else {
            Ok(value)
        }
    }
}

/// Seconds, whole or not, up to a year.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        const YEAR: f64 = 365.0 * 24.0 * 3600.0;
        let value = f64::deserialize(deserializer)?;
        if (0.0..=YEAR).contains(&value) {
            Ok(Duration::from_secs_f64(value))
        } else {
            Err(de::Error::custom(format!("{value} is not a number of seconds between 0 and a year")))
        }
    }

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_sets_only_what_it_names() {
        let mut base = ChildSettings::default();
        base.timeouts.list = Duration::from_secs(7);
        let overlay: Overlay =
            serde_json::from_str(r#"{"timeouts": {"call": 0.5}, "limits": {"concurrentCalls": 1}}"#).unwrap();
        let settings = base.overlaid(&overlay);
        assert_eq!(settings.timeouts.call, Duration::from_millis(500));
        assert_eq!(settings.timeouts.list, Duration::from_secs(7));
        assert_eq!((settings.limits.concurrent_calls, settings.limits.tools), (1, 10_000));
        assert!(serde_json::from_str::<Overlay>(r#"{"timeouts": {"kall": 1}}"#).is_err());
    }
}
