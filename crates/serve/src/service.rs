//! The service: its options, the connections it takes, and its workers.

use crate::app::App;
use crate::io::Patient;
use crate::rate::Rate;
use crate::routes::{Peer, router};
use crate::{Error, spool, texts};
use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use strongroom_intake::{Archive, Ended, Progress, Runner, Stop};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// Time for a client to send a request's head, the wait on a kept connection included.
pub const HEAD_SECONDS_MAX: u64 = 30;
/// Headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Time in which a client must take, or send, something.
pub const STALL_SECONDS_MAX: u64 = 30;
/// Time that requests which run are given when the service ends.
pub const GRACE_SECONDS: u64 = 5;
/// How often it is looked whether the service is to end.
const STOP_POLL: Duration = Duration::from_millis(50);
/// How often uploads and restorations that are done with are cleared away.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a worker waits after a failure that is not a work item's, such as of the registry.
const WORKER_PAUSE: Duration = Duration::from_secs(5);

/// What the service allows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Requests with one token.
    pub token: Rate,
    /// Requests from one address.
    pub address: Rate,
    /// Requests from one address without a token that counts.
    pub stranger: Rate,
    /// Calls about texts with one token; they count to none of the others.
    pub texts: Rate,
    /// Bytes of one upload.
    pub upload_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 512,
            token: Rate { per_second: 100.0, burst: 500.0 },
            address: Rate { per_second: 200.0, burst: 1_000.0 },
            stranger: Rate { per_second: 1.0, burst: 30.0 },
            texts: Rate { per_second: 20_000.0, burst: 40_000.0 },
            upload_bytes_max: 4 << 40,
        }
    }
}

/// How to serve.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Options {
    /// Threads that work off what is queued.
    pub workers: usize,
    /// What is allowed.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Options {
        Options { workers: 2, limits: Limits::default() }
    }
}

/// Serves an archive. Other rooms give their routers before it runs.
pub struct Service {
    archive: Archive,
    options: Options,
    mounted: Vec<(&'static str, Router)>,
}

impl Service {
    /// For an archive.
    pub fn new(archive: &Archive, options: Options) -> Service {
        Service { archive: archive.clone(), options, mounted: Vec::new() }
    }

    /// Mounts another room's router under `path`, such as `/api/v1/devices`. Its requests have passed
    /// the bounds, and hold [`crate::Who`] as an extension; what that may do is its own to ask.
    pub fn mount(mut self, path: &'static str, router: Router) -> Service {
        self.mounted.push((path, router));
        self
    }

    /// The router alone, for who has requests and no connections, such as a test: nothing is worked off or
    /// cleared away. Each request must hold a [`Peer`] as an extension, and the bounds count for all clones.
    pub fn router(&self, stop: &Stop) -> Router {
        router(&App::new(&self.archive, self.options, stop.clone()), self.mounted.clone())
    }

    /// Serves until `stop` is pressed; then ends requests that run within [`GRACE_SECONDS`], and work at
    /// its next durable point, its leases given back. Blocks, and must not be called from async code.
    /// `progress` and `ended` hear of the work that is done here.
    pub fn run(
        self,
        listener: TcpListener,
        stop: &Stop,
        progress: &Arc<dyn Progress>,
        ended: &(dyn Fn(&Ended) + Sync),
    ) -> Result<(), Error> {
        listener.set_nonblocking(true).map_err(Error::io("the listener"))?;
        let app = App::new(&self.archive, self.options, stop.clone());
        let router = router(&app, self.mounted);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(Error::io("no runtime"))?;
        let outcome = std::thread::scope(|scope| {
            // A registry that is older than its shelves is only read.
            if self.archive.behind().is_none() {
                for _ in 0..self.options.workers {
                    scope.spawn(|| work(&self.archive, stop, progress, ended));
                }
                scope.spawn(|| sweep(&self.archive, stop));
                scope.spawn(|| write_down(&app, &self.archive, stop));
            }
            let outcome = runtime.block_on(take(&app, listener, router));
            // Without connections there is nothing to work for.
            stop.stop();
            outcome
        });
        // Threads that still block are not waited for: what they do is safe to lose.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }
}

/// Works off what is queued until stopped.
fn work(
    archive: &Archive,
    stop: &Stop,
    progress: &Arc<dyn Progress>,
    ended: &(dyn Fn(&Ended) + Sync),
) {
    let runner = Runner::new(archive, stop.clone(), progress.clone());
    while !stop.stopped() {
        let worked = runner.run_all::<strongroom_intake::Error>(true, &mut |item| {
            ended(&item);
            spool::done_with(archive, &item.item);
            Ok(())
        });
        if let Err(error) = worked {
            tracing::error!(%error, "a worker failed, and begins again");
            pause(WORKER_PAUSE, stop);
        }
    }
}

/// Writes down what accounts used of texts, until stopped, and once more then.
fn write_down(app: &App, archive: &Archive, stop: &Stop) {
    while !stop.stopped() {
        pause(texts::WRITE_DOWN, stop);
        texts::write_down(app, archive);
    }
}

/// Clears away uploads and restorations that are done with, until stopped.
fn sweep(archive: &Archive, stop: &Stop) {
    while !stop.stopped() {
        if let Err(error) = spool::sweep(archive) {
            tracing::warn!(%error, "uploads and restorations are not cleared away");
        }
        pause(SWEEP, stop);
    }
}

fn pause(time: Duration, stop: &Stop) {
    let until = std::time::Instant::now() + time;
    while !stop.stopped() && std::time::Instant::now() < until {
        std::thread::sleep(STOP_POLL);
    }
}

pub(crate) async fn stopped(stop: &Stop) {
    while !stop.stopped() {
        tokio::time::sleep(STOP_POLL).await;
    }
}

/// Takes connections until stopped, and then waits for those that are open.
async fn take(app: &App, listener: TcpListener, router: Router) -> Result<(), Error> {
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(Error::io("the listener"))?;
    let most = app.options.limits.connections_max;
    let places = Arc::new(Semaphore::new(most));
    loop {
        let (stream, address) = tokio::select! {
            () = stopped(&app.stop) => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Such as too many open files: others must close first.
                    tracing::warn!(%error, "a connection is not taken");
                    tokio::time::sleep(STOP_POLL).await;
                    continue;
                }
            },
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            app.metrics.bound("connections");
            continue;
        };
        app.metrics.connection();
        let (router, stop) = (router.clone(), app.stop.clone());
        tokio::spawn(async move {
            serve(stream, address.ip(), router, &stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = places.acquire_many(u32::try_from(most).unwrap_or(u32::MAX));
    let _ = tokio::time::timeout(Duration::from_secs(GRACE_SECONDS), all).await;
    Ok(())
}

async fn serve(stream: tokio::net::TcpStream, address: IpAddr, router: Router, stop: &Stop) {
    let patience = Duration::from_secs(STALL_SECONDS_MAX);
    let _ = stream.set_nodelay(true);
    let answer = hyper::service::service_fn(move |request: hyper::Request<_>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(address));
        router.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, patience)), answer);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            let grace = Duration::from_secs(GRACE_SECONDS);
            tokio::time::timeout(grace, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}
