//! What is begun once, however many want it at the same time: connections, and the threads that carry bulk data.

use std::sync::PoisonError;

use tokio::sync::Notify;

use crate::hello::Place;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU16, Ordering};

/// Places to which somebody sees, a bit each.
#[derive(Default)]
pub(crate) struct Wanted(AtomicU16);

impl Wanted {
    /// Whether this is the first to want it.
    pub(crate) fn first(&self, place: Place) -> bool {
        let (lane, slot) = place.to_bytes();
        let bit = 1 << (u16::from(lane) * 4 + u16::from(slot));
        // Most times it is no news, and others need not wait for this one's write.
        self.0.load(Ordering::Relaxed) & bit == 0
            && self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

/// What is started when it is first used. Whoever comes meanwhile waits for it.
pub(crate) struct Once<T>(Mutex<Option<T>>);

impl<T> Default for Once<T> {
    fn default() -> Once<T> {
        Once(Mutex::new(None))
    }
}

impl<T> Once<T> {
    /// Uses it; starts it before, if nobody did. The next tries again where that failed.
    pub(crate) fn started<E, U>(
        &self,
        start: impl FnOnce() -> Result<T, E>,
        using: impl FnOnce(&T) -> U,
    ) -> Result<U, E> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(started) = &*started {
            return Ok(using(started));
        }
        Ok(using(started.insert(start()?)))
    }

    /// Takes it out, if it was started.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits until something is so, which may have changed when `changed` says so.
pub(crate) async fn until(changed: &Notify, so: impl Fn() -> bool) {
    loop {
        // Listened for first: what changes after it was looked is not missed.
        let change = changed.notified();
        tokio::pin!(change);
        change.as_mut().enable();
        if so() {
            return;
        }
        change.await;
    }
}
