//! Durable append-only logs in a folder, over a small [`Disk`] trait that tests can cut the power of.
//!
//! A [`Spool`] is one folder of logs. A [`Writer`] appends *frames* to logs of its own, which it keeps
//! locked, so several processes can share the folder. An append says where the frame lies; it is
//! durable when a later [`Writer::sync`] has returned, and one sync serves all who wait for one.
//! Reading names the [`Location`] and the key. [`Spool::scan`] finds every frame again from the
//! logs alone.
//!
//! ```
//! use std::{ops::ControlFlow, sync::Arc};
//! use strongroom_spool::{KEY_BYTES, LogId, Options, OsDisk, ScanOptions, Spool};
//!
//! let dir = tempfile::tempdir()?;
//! let spool = Spool::open(Arc::new(OsDisk), dir.path(), Options::default())?;
//! // A real caller draws log ids from the system's random source.
//! let writer = spool.writer(1, [7; 16], Box::new(|| LogId([1; 16])))?;
//!
//! let key = [0; KEY_BYTES];
//! let at = writer.append(&key, 0, &[b"a shard's ", b"blocks"])?;
//! writer.sync()?; // durable from here on
//! assert_eq!(spool.read_frame(&at, &key)?, b"a shard's blocks");
//!
//! let mut found = Vec::new();
//! let report = spool.scan(ScanOptions::default(), &mut |frame| {
//!     found.push(frame.location);
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((found, report.frames), (vec![at], 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it refuses
//!
//! - A folder that is not there: an unmounted disk is not an empty spool, so nothing is created.
//! - A log or a frame of a newer format version, by name ([`Error::NewerVersion`]).
//! - To change, cut or delete anything in a log of another writer. Only [`Spool::remove_log`]
//!   deletes, a whole log, and never one that is being written.
//! - To go on after a failed write or sync: the kernel may have forgotten what it could not write,
//!   so a second sync proves nothing. The writer is finished ([`Error::Poisoned`]); what it had
//!   synced stays, and a new writer begins new logs.
//!
//! # What can go wrong
//!
//! A power cut can tear the end of a log: a scan passes over it and reports it as *torn*. Damage in
//! the middle costs the frames that it touches: a scan searches for the next head and reports the
//! region as *damaged*. A checksum here is CRC32C, which finds accidents and not forgeries; whoever
//! needs more proves the payload with a digest of its own.
//!
//! The bytes are specified in `docs/format/spool.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod disk;
mod error;
mod format;
mod scan;
mod spool;
#[doc(hidden)]
pub mod testing;
mod writer;

pub use disk::{Disk, DiskFile, OsDisk, PageBuf, create_folders, read_file, settle, write_file};
pub use error::Error;
pub use format::{
    ALIGN_BYTES, CREATED_BY_BYTES_MAX, FORMAT_VERSION, FRAME_BYTES_LIMIT, HEAD_BYTES, HEADER_BYTES,
    KEY_BYTES, Key, Location, LogId,
};
pub use scan::{Damage, Found, LISTED_MAX, ScanOptions, ScanReport, Unreadable, Why};
pub use spool::{LogInfo, OPEN_FILES_MAX, Options, Spool};
pub use writer::{LOGS_BEHIND_MAX, WRITEBACK_BYTES, Writer};
