//! HTTP for an archive: objects, files, events, work, deposits and restorations, for accounts that show
//! tokens. Every room that has an API gives a router, and [`Service`] mounts it; nobody else opens a
//! port for HTTP.
//!
//! ```no_run
//! use std::sync::Arc;
//! use strongroom_intake::{Archive, Options, Stop};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let archive = Archive::open(&Options::new("/var/lib/strongroom".into()))?;
//! if let Some(token) = strongroom_serve::first_administrator(&archive)? {
//!     println!("exchange this once: {token}");
//! }
//! let listener = std::net::TcpListener::bind("127.0.0.1:7070")?;
//! let service = strongroom_serve::Service::new(&archive, Default::default());
//! service.run(listener, &Stop::default(), &(Arc::new(()) as _), &|_| ())?;
//! # Ok(()) }
//! ```
//!
//! A call ([`Call`]) is one type for all who ask: a handler makes it of a request, the command line sends
//! it to a server or has [`answer`] answer it at once, and what comes back is the same JSON. Who may what
//! stands in one table ([`permit`]), and is asked in one place, before the archive is.
//!
//! The archive's calls block, so they run on a bounded pool of threads ([`CALLS_MAX`]), never on those
//! that serve connections. The workers run beside it.
//!
//! # What it refuses
//!
//! TLS and HTTP/2: where it is to be reached from elsewhere, something that speaks TLS stands before it.
//! A token in an address. Who shows no token, but for `/health` and the document. Paths of files are looked
//! up in the registry only, so no path in a request reaches the file system.
//!
//! # Failure modes
//!
//! | what fails | what happens |
//! |---|---|
//! | a client sends or takes nothing for [`STALL_SECONDS_MAX`] | its connection is given up; what it held is free |
//! | a client goes away while it uploads | the upload is deleted |
//! | the process dies while it receives | the upload is deleted by the next service, a day later |
//! | the process dies while work runs | the next takes it up; the upload is still there |
//! | more is asked than a bound allows | 429 or 503 with `Retry-After`, and `strongroom_bounds_hit_total` counts it |
//! | a file cannot be read to its end | the body is broken off, never ended as if it were whole |
//! | the registry is older than its shelves | it is only read: no work is done, and it is not ready |
//! | a shelf is added by another process | this one sees it when it is started again |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod app;
mod call;
mod content;
mod deposits;
mod error;
pub mod folder_tar;
mod io;
mod metrics;
mod openapi;
pub mod permit;
mod progress;
mod rate;
mod restorations;
mod routes;
mod service;
mod spool;
mod texts;
pub mod uri;
pub mod view;
mod who;

pub use answer::{
    EXCHANGED_DAYS, ONE_TIME_SECONDS, TOKEN_DAYS_MAX, TOKENS_MAX, answer, first_administrator,
};
pub use app::{CALLS_MAX, CALLS_WAITING_MAX, STREAMS_MAX, UPLOADS_MAX, WATCHERS_MAX};
pub use call::{Call, EventsOf, PAGE_ROWS_MAX, PREFIX, Request, SEGMENTS_MAX, object_path};
pub use error::{Error, status};
pub use openapi::document;
pub use progress::WATCH_SECONDS_MAX;
pub use rate::{BUCKETS_MAX, Rate};
pub use routes::{DAYS, JSON_BYTES_MAX, JSON_SECONDS_MAX, Peer, USAGE_DAYS};
pub use service::{
    GRACE_SECONDS, HEAD_BYTES_MAX, HEAD_SECONDS_MAX, HEADERS_MAX, Limits, Options,
    STALL_SECONDS_MAX, Service,
};
pub use spool::{ORPHAN_SECONDS, RESTORED_SECONDS};
pub use texts::{
    CALL_BYTES_MAX, CLIENT_SECONDS, CLIENTS_MAX, FILTERS_MAX, HELD_BYTES_MAX, QUICK_BYTES_MAX,
    RULES_BYTES_MAX, TEXTS_MAX, TEXTS_WAITING_MAX, WORDS_BYTES_MAX,
};
pub use who::{Caller, TOKEN_PREFIX, Who};
