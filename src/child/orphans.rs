//! What a guard leaves behind when it is itself killed (Linux). The orchestrator is a subreaper too, so
//! orphans of a dead guard become its own children, where they are found and ended.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use super::guard::{children, descendants};

/// How often it is looked whether all are gone, and for how long.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);
const SWEEPS: usize = 250;

/// The children that somebody owns. Locked while one is spawned, so that a sweep never meets a child
/// that is not listed yet.
static OWNED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static ADOPTING: AtomicBool = AtomicBool::new(false);

/// From now on orphans come to this process. For the program alone: a process that embeds the library
/// may have children that are none of our business.
pub fn adopt() {
    match set_child_subreaper(Some(getpid())) {
        Ok(()) => ADOPTING.store(true, Ordering::Release),
        Err(error) => tracing::debug!("orphans of a killed guard would not be found: {error}"),
    }
}

/// Spawns a child by `spawn` and lists it as owned.
pub(super) fn owning<T>(spawn: impl FnOnce() -> T, pid: impl FnOnce(&T) -> Option<u32>) -> T {
    let mut owned = owned();
    let spawned = spawn();
    owned.extend(pid(&spawned).and_then(to_pid));
    spawned
}

/// A child was waited for.
pub(super) fn disown(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        owned().retain(|owned| *owned != pid);
    }
}

/// Ends all children that nobody owns, with all below them.
pub(super) async fn sweep() {
    if !ADOPTING.load(Ordering::Acquire) {
        return;
    }
    for _ in 0..SWEEPS {
        if end_strangers() == 0 {
            return;
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
    tracing::error!("processes of a killed guard could not be ended");
}

/// Kills and takes in children that nobody owns; says how many there were.
fn end_strangers() -> usize {
    let owned = owned();
    let strangers: Vec<Pid> = children(getpid()).into_iter().filter(|pid| !owned.contains(pid)).collect();
    for stranger in &strangers {
        for pid in descendants(*stranger).into_iter().chain([*stranger]) {
            kill_process(pid, Signal::KILL).ok();
        }
        waitpid(Some(*stranger), WaitOptions::NOHANG).ok();
    }
    strangers.len()
}

fn owned() -> MutexGuard<'static, Vec<Pid>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
