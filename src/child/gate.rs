//! Back-pressure: so many calls at once, so many more in a bounded queue, and a clear "busy" for all
//! others at once. One gate for each server, one for all together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets a bounded number through. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    capacity: usize,
    queue: usize,
}

/// The gate is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    /// Calls under way.
    pub(super) running: usize,
    /// Calls that wait.
    pub(super) queued: usize,
}

/// A place in the queue, left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    /// Lets `capacity` calls through at once; `queue` more may wait.
    pub(super) fn new(capacity: usize, queue: usize) -> Self {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Self { running: Arc::new(Semaphore::new(capacity)), waiting: Arc::default(), capacity, queue }
    }

    /// Passes the gate, after waiting if need be, in order of arrival. Held until dropped.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        self.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
                (waiting < self.queue).then_some(waiting + 1)
            })
            .map_err(|_| self.full())?;
        let _place = Place(&self.waiting);
        // The semaphore is never closed.
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| self.full())
    }

    /// What is told to those who do not get in.
    pub(super) fn full(&self) -> Full {
        Full { running: self.capacity - self.running.available_permits(), queued: self.queued() }
    }

    /// Calls that wait for their turn.
    pub(super) fn queued(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_places_come_back() {
        let gate = Gate::new(1, 2);
        let first = gate.enter().await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let gate = gate.clone();
                tokio::spawn(async move { gate.enter().await.map(drop) })
            })
            .collect();
        while gate.queued() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.enter().await.unwrap_err(), Full { running: 1, queued: 2 });
        waiting[0].abort();
        while gate.queued() > 1 {
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in waiting {
            if let Ok(outcome) = task.await {
                assert_eq!(outcome, Ok(()));
            }
        }
        assert_eq!(gate.queued(), 0);
        assert!(gate.enter().await.is_ok());
    }
}
