//! What all handlers share: the archive behind bounded pools, rates, counts.

use crate::metrics::Metrics;
use crate::rate::{Buckets, Rate};
use crate::texts::Texts;
use crate::who::{Caller, Who, secret_of};
use crate::{Error, Options};
use axum::http::HeaderMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use strongroom_intake::{Archive, Code, Stop};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls to the archive that run at once; each blocks a thread.
pub const CALLS_MAX: usize = 16;
/// Calls that wait for their turn; whoever comes then hears `busy`.
pub const CALLS_WAITING_MAX: usize = 256;
/// Files and restorations that are sent at once; each blocks a thread for as long as it takes.
pub const STREAMS_MAX: usize = 32;
/// Uploads that are received at once.
pub const UPLOADS_MAX: usize = 16;
/// Clients that watch the progress of work.
pub const WATCHERS_MAX: usize = 64;

/// The state of the service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) archive: Archive,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) texts: Texts,
    /// Pressed when the service is to end.
    pub(crate) stop: Stop,
    calls: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    of_token: Mutex<Buckets<[u8; 16]>>,
    of_address: Mutex<Buckets<IpAddr>>,
    /// Of addresses that showed no token that counts.
    of_stranger: Mutex<Buckets<IpAddr>>,
}

impl std::ops::Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What is held at one time by one who is served at length.
#[derive(Clone, Copy)]
pub(crate) enum Held {
    Stream,
    Upload,
    Watch,
}

impl App {
    pub(crate) fn new(archive: &Archive, options: Options, stop: Stop) -> App {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let buckets = |rate: Rate| Mutex::new(Buckets::new(rate));
        let limits = options.limits;
        App(Arc::new(Inner {
            archive: archive.clone(),
            options,
            metrics: Metrics::default(),
            texts: Texts::new(limits.texts),
            stop,
            calls: semaphore(CALLS_MAX),
            waiting: semaphore(CALLS_MAX + CALLS_WAITING_MAX),
            streams: semaphore(STREAMS_MAX),
            uploads: semaphore(UPLOADS_MAX),
            watchers: semaphore(WATCHERS_MAX),
            of_token: Mutex::new(Buckets::new(limits.token)),
            of_address: buckets(limits.address),
            of_stranger: buckets(limits.stranger),
        }))
    }

    /// Does what blocks on a thread of its own, within the bounds.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Archive) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Ok(_waits) = self.waiting.clone().try_acquire_owned() else {
            return Err(self.bound("calls", Error::busy("too many calls wait already")));
        };
        let turn = self.calls.clone().acquire_owned().await;
        let turn = turn.map_err(|_| internal("the pool of calls is closed"))?;
        let archive = self.archive.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, not by who waits for it: a client that goes away ends no work.
            let _turn = turn;
            work(&archive)
        });
        done.await.map_err(|_| internal("a call panicked"))?
    }

    /// A place among those who are served at length.
    pub(crate) fn hold(&self, what: Held) -> Result<OwnedSemaphorePermit, Error> {
        let (semaphore, bound, why) = match what {
            Held::Stream => (&self.streams, "streams", "too many files are sent already"),
            Held::Upload => (&self.uploads, "uploads", "too many uploads are received already"),
            Held::Watch => (&self.watchers, "watchers", "too many clients watch already"),
        };
        let place = semaphore.clone().try_acquire_owned();
        place.map_err(|_| self.bound(bound, Error::busy(why)))
    }

    /// Calls that run, and that wait for their turn.
    pub(crate) fn queue(&self) -> (usize, usize) {
        let running = CALLS_MAX - self.calls.available_permits();
        let all = CALLS_MAX + CALLS_WAITING_MAX - self.waiting.available_permits();
        (running, all.saturating_sub(running))
    }

    /// Counts that a bound was hit.
    pub(crate) fn bound(&self, which: &'static str, error: Error) -> Error {
        self.metrics.bound(which);
        error
    }

    /// Whether an address may ask at all.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<(), Error> {
        let taken = lock(&self.of_address).take(address, Instant::now());
        taken.map_err(|wait| self.bound("rate-of-address", too_many(wait)))
    }

    /// Who shows the token that these headers have.
    pub(crate) async fn who(&self, headers: &HeaderMap, address: IpAddr) -> Result<Who, Error> {
        let known = self.known(headers).await;
        if let Err(Error::Refused { code: Code::Unauthorized, .. }) = &known {
            let taken = lock(&self.of_stranger).take(address, Instant::now());
            taken.map_err(|wait| self.bound("rate-of-strangers", too_many(wait)))?;
        }
        let caller = known?;
        let taken = lock(&self.of_token).take(caller.token, Instant::now());
        taken.map_err(|wait| self.bound("rate-of-token", too_many(wait)))?;
        Ok(Who::Account(Box::new(caller)))
    }

    async fn known(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let sha256 = secret_of(headers)?;
        self.blocking(move |archive| {
            let registry = archive.registry();
            let bearer = archive.block_on(registry.bearer(&sha256))?;
            let bearer = bearer
                .ok_or_else(|| Error::refused(Code::Unauthorized, "nobody has this token"))?;
            let (now, before) = (archive.now(), bearer.token.last_used);
            let caller = Caller::of(bearer, now)?;
            let lately = |before: strongroom_record::Time| {
                now.seconds_since(before) < strongroom_registry::TOUCH_SECONDS
            };
            if !before.is_some_and(lately) {
                // That it was used is worth a note, not a failure.
                if let Err(error) = archive.block_on(registry.touch_token(caller.token, now)) {
                    tracing::warn!(%error, "a token's use is not noted");
                }
            }
            Ok(caller)
        })
        .await
    }
}

pub(crate) fn internal(why: &str) -> Error {
    strongroom_intake::Error::Internal(why.into()).into()
}

pub(crate) fn too_many(wait: Duration) -> Error {
    let retry_seconds = Some(wait.as_secs() + 1);
    let message = "too many requests in too short a time".into();
    Error::Refused { code: Code::TooManyRequests, message, retry_seconds }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
