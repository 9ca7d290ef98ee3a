//! Finding every frame from the logs alone, past whatever is torn or damaged.

use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{DiskFile, read_up_to};
use crate::error::Error;
use crate::format::{
    ALIGN_BYTES, FORMAT_VERSION, Fault, HEAD_BYTES, HEADER_BYTES, Head, Key, Location, LogId,
    LogName, frame_bytes,
};
use crate::spool::{HeaderState, Spool, read_header};

/// Entries that the lists of a [`ScanReport`] have at most, each; the rest is counted.
pub const LISTED_MAX: usize = 1000;

/// Bytes that are read at once when a next head is searched, at first and at most. It begins small,
/// so that a log with damage everywhere is not read a thousand times over.
const SEARCH_BYTES_MIN: usize = 4 << 10;
const SEARCH_BYTES_MAX: usize = 256 << 10;

/// What a scan does.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanOptions {
    /// Read every payload and verify its checksum; otherwise only heads are read.
    pub verify_payload: bool,
    /// Scan this log alone.
    pub log: Option<LogId>,
}

/// A frame that a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub location: Location,
    /// Its key.
    pub key: Key,
    /// Its position in its item, as the caller gave it to [`crate::Writer::append`].
    pub first: u64,
    /// Whether the payload's checksum is right; `None` when that was not asked.
    pub payload_ok: Option<bool>,
}

/// What a scan met.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// Frames that were found.
    pub frames: u64,
    /// Bytes of these frames, with heads and padding.
    pub bytes: u64,
    /// Ends of logs after which no frame comes: a crash or a full disk leaves them, and damage to
    /// the last frame looks the same. The end of a log in use is not listed, it may be growing.
    pub torn: Vec<Damage>,
    /// Regions that were passed over, and frames whose payload is wrong or cannot be read.
    pub damaged: Vec<Damage>,
    /// Files that were left out whole.
    pub unreadable: Vec<Unreadable>,
    /// What the three lists would have had more, were they not bounded by [`LISTED_MAX`].
    pub not_listed: u64,
}

/// A region of a log that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The log.
    pub log: LogId,
    /// Where the region begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What is wrong at its beginning.
    pub why: Why,
}

/// What is wrong with a region of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The log's header is not whole, or names another log.
    Header,
    /// There is no head of this log and this place.
    Head,
    /// The log ends before the frame does.
    Short,
    /// The payload's checksum is wrong.
    Payload,
    /// The head is of a newer format version.
    Newer(u32),
    /// The disk could not read it.
    Read(ErrorKind),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Header => f.write_str("the log's header is damaged or another log's"),
            Why::Head => f.write_str("there is no valid frame head"),
            Why::Short => f.write_str("the log ends before the frame does"),
            Why::Payload => f.write_str("the payload's checksum is wrong"),
            Why::Newer(version) => write!(f, "the frame is of the newer format version {version}"),
            Why::Read(kind) => write!(f, "the disk could not read it: {kind}"),
        }
    }
}

/// A file that a scan left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its path.
    pub path: PathBuf,
    /// Why, in words.
    pub why: String,
}

impl Spool {
    /// Visits every frame of every log, in the order in which each log was written, until the
    /// visitor breaks off. What cannot be used is passed over and reported; an error means that the
    /// folder could not be listed, or that the one log that was asked for is not there.
    ///
    /// A frame that is found is not therefore one that was acknowledged: what a crash left unsynced
    /// may be found whole.
    pub fn scan(
        &self,
        options: ScanOptions,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<ScanReport, Error> {
        let mut report = ScanReport::default();
        let names = match options.log {
            Some(log) => vec![self.name(log)?],
            None => {
                self.report_misnamed(&mut report)?;
                self.refresh()?
            }
        };
        for name in names {
            let path = self.shared.dir.join(name.to_string());
            let log = match LogScan::open(self, &path, name, options.verify_payload) {
                Ok(log) => log,
                // Removed by another process since the folder was listed.
                Err(error) if error.kind() == ErrorKind::NotFound && options.log.is_none() => {
                    continue;
                }
                Err(error) => {
                    report.leave_out(path, error.to_string());
                    continue;
                }
            };
            match log.run(&mut report, visit) {
                ControlFlow::Break(Stop::Visitor) => break,
                ControlFlow::Break(Stop::Newer(version)) => report.leave_out(
                    path.clone(),
                    Error::NewerVersion { path, version, known: FORMAT_VERSION }.to_string(),
                ),
                ControlFlow::Continue(()) => {}
            }
        }
        Ok(report)
    }

    /// A log that somebody renamed must not go missing silently.
    fn report_misnamed(&self, report: &mut ScanReport) -> Result<(), Error> {
        let dir = &self.shared.dir;
        for name in self.shared.disk.list(dir).map_err(Error::io("list", dir))? {
            if name.ends_with(".log") && LogName::parse(&name).is_none() {
                let why = "its name is not a log's; its header says what it must be";
                report.leave_out(dir.join(name), why.to_owned());
            }
        }
        Ok(())
    }
}

impl ScanReport {
    fn leave_out(&mut self, path: PathBuf, why: String) {
        let unreadable = Unreadable { path, why };
        push_bounded(&mut self.unreadable, unreadable, &mut self.not_listed);
    }
}

fn push_bounded<T>(list: &mut Vec<T>, entry: T, not_listed: &mut u64) {
    if list.len() < LISTED_MAX {
        list.push(entry);
    } else {
        *not_listed += 1;
    }
}

enum Stop {
    Visitor,
    Newer(u32),
}

/// The scan of one log.
struct LogScan {
    file: Arc<dyn DiskFile>,
    log: LogId,
    /// The length when the scan began: a log that grows meanwhile has its later frames found by a
    /// later scan.
    len: u64,
    in_use: bool,
    verify_payload: bool,
}

impl LogScan {
    fn open(spool: &Spool, path: &Path, name: LogName, verify_payload: bool) -> io::Result<Self> {
        let file = spool.shared.disk.open(path)?;
        // Asked on a handle of its own, which gives the lock back at once; and before the length,
        // so that a tail which is being written is never taken for a torn one.
        let in_use = !spool.shared.disk.open(path)?.try_lock()?;
        let len = file.len()?;
        Ok(LogScan { file, log: name.id, len, in_use, verify_payload })
    }

    fn run(
        &self,
        report: &mut ScanReport,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<Stop> {
        let mut fault = match read_header(&*self.file, self.log) {
            Ok(HeaderState::Whole) => None,
            Ok(HeaderState::Newer(version)) => return ControlFlow::Break(Stop::Newer(version)),
            Ok(HeaderState::Short) => Some(Why::Short),
            Ok(HeaderState::Damaged) => Some(Why::Header),
            Err(error) => Some(Why::Read(error.kind())),
        };
        let first_frame = HEADER_BYTES as u64;
        let mut at = if fault.is_some() { 0 } else { first_frame };
        while at < self.len {
            let why = match fault.take().map_or_else(|| self.head(at), Err) {
                Ok(head) => {
                    let found = self.found(&head, report);
                    report.frames += 1;
                    report.bytes += frame_bytes(head.len);
                    if visit(found).is_break() {
                        return ControlFlow::Break(Stop::Visitor);
                    }
                    at += frame_bytes(head.len);
                    continue;
                }
                Err(why) => why,
            };
            let next = self.search((at + ALIGN_BYTES).max(first_frame));
            let end = next.unwrap_or(self.len);
            if next.is_some() || matches!(why, Why::Read(_)) {
                self.damaged(report, at, end - at, why);
            } else {
                self.torn(report, at, why);
            }
            at = end;
        }
        ControlFlow::Continue(())
    }

    /// The head at this place, of a frame that the log has whole.
    fn head(&self, at: u64) -> Result<Head, Why> {
        let mut bytes = [0; HEAD_BYTES];
        let read =
            read_up_to(&*self.file, at, &mut bytes).map_err(|error| Why::Read(error.kind()))?;
        if read < HEAD_BYTES {
            return Err(Why::Short);
        }
        self.decode(&bytes, at)
    }

    fn decode(&self, bytes: &[u8], at: u64) -> Result<Head, Why> {
        let head = Head::decode(bytes, self.log, at).map_err(|fault| match fault {
            Fault::Damaged => Why::Head,
            Fault::Newer(version) => Why::Newer(version),
        })?;
        // The padding may be missing: it says nothing.
        let end = at.saturating_add(HEAD_BYTES as u64 + u64::from(head.len));
        if end > self.len { Err(Why::Short) } else { Ok(head) }
    }

    fn found(&self, head: &Head, report: &mut ScanReport) -> Found {
        let location = Location { log: self.log, offset: head.offset, len: head.len };
        let payload_ok = self.verify_payload.then(|| match self.payload_crc(head) {
            Ok(crc) if crc == head.payload_crc => true,
            Ok(_) => {
                self.damaged(report, head.offset, location.frame_bytes(), Why::Payload);
                false
            }
            Err(error) => {
                let why = Why::Read(error.kind());
                self.damaged(report, head.offset, location.frame_bytes(), why);
                false
            }
        });
        Found { location, key: head.key, first: head.first, payload_ok }
    }

    fn payload_crc(&self, head: &Head) -> io::Result<u32> {
        let mut left = head.len as usize;
        let mut from = head.offset + HEAD_BYTES as u64;
        let mut buf = vec![0; left.min(SEARCH_BYTES_MAX)];
        let mut crc = 0;
        while left > 0 {
            let part = &mut buf[..left.min(SEARCH_BYTES_MAX)];
            let read = read_up_to(&*self.file, from, part)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            crc = crc32c::crc32c_append(crc, &part[..read]);
            left -= read;
            from += read as u64;
        }
        Ok(crc)
    }

    /// The next place, from `at` on, with the head of a whole frame. Frames are aligned, so every
    /// eighth byte is tried; what the disk cannot read is stepped over.
    fn search(&self, mut at: u64) -> Option<u64> {
        let mut piece = SEARCH_BYTES_MIN;
        let mut buf = Vec::new();
        while at < self.len {
            // A head may begin in this piece and end in the next.
            let read = match self.piece(at, piece + HEAD_BYTES, &mut buf) {
                Ok(read) => read,
                Err(_) if piece > SEARCH_BYTES_MIN => {
                    piece = SEARCH_BYTES_MIN;
                    continue;
                }
                // Perhaps only what follows this page cannot be read.
                Err(_) => {
                    let page_end = (at + 1).next_multiple_of(SEARCH_BYTES_MIN as u64);
                    piece = (page_end - at) as usize;
                    self.piece(at, piece, &mut buf).unwrap_or(0)
                }
            };
            let found = (0..read.min(piece))
                .step_by(ALIGN_BYTES as usize)
                .find(|from| self.decode(&buf[*from..read], at + *from as u64).is_ok());
            if let Some(from) = found {
                return Some(at + from as u64);
            }
            at += piece as u64;
            piece = (piece * 2).clamp(SEARCH_BYTES_MIN, SEARCH_BYTES_MAX);
        }
        None
    }

    fn piece(&self, at: u64, len: usize, buf: &mut Vec<u8>) -> io::Result<usize> {
        buf.resize(len, 0);
        read_up_to(&*self.file, at, buf)
    }

    fn damaged(&self, report: &mut ScanReport, offset: u64, len: u64, why: Why) {
        let damage = Damage { log: self.log, offset, len, why };
        push_bounded(&mut report.damaged, damage, &mut report.not_listed);
    }

    fn torn(&self, report: &mut ScanReport, offset: u64, why: Why) {
        if !self.in_use {
            let damage = Damage { log: self.log, offset, len: self.len - offset, why };
            push_bounded(&mut report.torn, damage, &mut report.not_listed);
        }
    }
}
