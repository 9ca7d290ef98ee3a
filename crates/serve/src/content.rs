//! Bytes to a client: files of versions, and restorations, whole or a range.

use crate::answer::Desk;
use crate::app::{App, Held, internal};
use crate::permit::Action;
use crate::routes::Asked;
use crate::service::STALL_SECONDS_MAX;
use crate::who::Who;
use crate::{Error, error};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::ops::Range;
use std::time::Duration;
use strongroom_intake::{Archive, Code};
use strongroom_record::json::bytes::base64;
use strongroom_record::{FileKind, FileRecord, InstitutionId};
use tokio::sync::mpsc;

/// Pieces that wait to be sent on one stream.
const PIECES_MAX: usize = 4;
/// Bytes of one.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes from a thread that blocks to a body. Where the client takes nothing for too long, or goes
/// away, writing fails.
pub(crate) struct Outlet {
    to: mpsc::Sender<std::io::Result<Bytes>>,
    handle: tokio::runtime::Handle,
}

impl Outlet {
    pub(crate) fn send(&self, bytes: &[u8]) -> std::io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.give(Ok(Bytes::copy_from_slice(piece)))?;
        }
        Ok(())
    }

    /// Breaks the body off, so that nobody takes it for whole.
    fn fail(&self, error: &Error) {
        let _ = self.give(Err(std::io::Error::other(error.to_string())));
    }

    fn give(&self, piece: std::io::Result<Bytes>) -> std::io::Result<()> {
        let patience = Duration::from_secs(STALL_SECONDS_MAX);
        let sent = async { tokio::time::timeout(patience, self.to.send(piece)).await };
        match self.handle.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(std::io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }
}

impl std::io::Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.send(bytes).map(|()| bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A body that `fill` writes on a thread of its own. What fails before the first byte is the answer;
/// what fails later breaks the body off.
pub(crate) async fn streamed(
    app: &App,
    fill: impl FnOnce(&Archive, &mut Outlet) -> Result<(), Error> + Send + 'static,
) -> Result<Body, Error> {
    let place = app.hold(Held::Stream)?;
    let (to, mut from) = mpsc::channel(PIECES_MAX);
    let mut outlet = Outlet { to, handle: tokio::runtime::Handle::current() };
    let archive = app.archive.clone();
    let (failed, early) = tokio::sync::oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let _place = place;
        if let Err(error) = fill(&archive, &mut outlet) {
            tracing::debug!(%error, "a stream ended badly");
            outlet.fail(&error);
            let _ = failed.send(error);
        }
    });
    let first = match from.recv().await {
        None => return Ok(Body::empty()),
        Some(Ok(first)) => first,
        Some(Err(_)) => {
            return Err(early.await.unwrap_or_else(|_| internal("a stream failed")));
        }
    };
    let first = futures_util::stream::iter([Ok(first)]);
    let rest = futures_util::stream::poll_fn(move |cx| from.poll_recv(cx));
    Ok(Body::from_stream(futures_util::StreamExt::chain(first, rest)))
}

/// `GET` and `HEAD` of a file.
pub(crate) async fn file(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let (who, object) = (asked.who.clone(), asked.named("object")?);
    let path = asked.bytes("path").to_vec();
    let (institution, file) =
        app.blocking(move |archive| find(archive, &who, &object, &path)).await?;
    let etag = format!("\"{}\"", file.sha256);
    let wanted = Wanted::of(&asked.headers, file.size, &etag);
    let digest = format!("sha-256=:{}:", base64(&file.sha256.0));
    let size = file.size;
    let mut response = head(&wanted, size, &etag, "application/octet-stream")?;
    response.headers_mut().insert("repr-digest", value(&digest)?);
    if asked.method == Method::GET
        && let Some(range) = wanted.range(size)
        && !range.is_empty()
    {
        let fill = move |archive: &Archive, outlet: &mut Outlet| {
            let mut sink = |bytes: &[u8]| {
                outlet.send(bytes).map_err(|_| strongroom_intake::Error::Interrupted)
            };
            Ok(strongroom_intake::read_range(archive, institution, &file, range, &mut sink)?)
        };
        *response.body_mut() = streamed(&app, fill).await?;
    }
    Ok(response)
}

fn find(
    archive: &Archive,
    who: &Who,
    object: &str,
    path: &[u8],
) -> Result<(InstitutionId, FileRecord), Error> {
    let desk = Desk { archive, who };
    let (object, version) = desk.version(Action::Contents, object)?;
    for path in [path.to_vec(), [b"data/", path].concat()] {
        let found = archive.block_on(archive.registry().file_by_path(version.id, &path))?;
        let Some(file) = found else { continue };
        return match file.kind {
            FileKind::File => Ok((object.institution, file)),
            kind => Err(Error::refused(Code::Conflict, format!("it is a {}", kind.word()))),
        };
    }
    let path = strongroom_bag::path::show(path);
    Err(Error::not_found(format!("{}@{} has no file {path}", object.name, version.number)))
}

/// What of a representation a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Whole,
    Part(Range<u64>),
    /// Nothing of it is there.
    Beyond,
    /// It has it already.
    Unchanged,
}

impl Wanted {
    /// By `Range`, `If-Range` and `If-None-Match` (RFC 9110). What is no single range of bytes is
    /// passed over, as the RFC allows.
    pub(crate) fn of(headers: &HeaderMap, size: u64, etag: &str) -> Wanted {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let names = |list: &str| list.split(',').any(|one| one.trim() == etag || one.trim() == "*");
        if text(header::IF_NONE_MATCH).is_some_and(names) {
            return Wanted::Unchanged;
        }
        if text(header::IF_RANGE).is_some_and(|tag| tag.trim() != etag) {
            return Wanted::Whole;
        }
        let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
            return Wanted::Whole;
        };
        let Some((from, to)) = range.trim().split_once('-') else { return Wanted::Whole };
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than a number has mean more than there can be.
            true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
            _ => None,
        };
        let range = match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => from..to.saturating_add(1).min(size),
            (Some(from), None) if to.is_empty() => from..size,
            (None, Some(last)) if from.is_empty() => size.saturating_sub(last)..size,
            _ => return Wanted::Whole,
        };
        if range.start >= size { Wanted::Beyond } else { Wanted::Part(range) }
    }

    /// The bytes that are sent.
    pub(crate) fn range(&self, size: u64) -> Option<Range<u64>> {
        match self {
            Wanted::Whole => Some(0..size),
            Wanted::Part(range) => Some(range.clone()),
            Wanted::Beyond | Wanted::Unchanged => None,
        }
    }
}

/// The head of an answer, with an empty body.
pub(crate) fn head(
    wanted: &Wanted,
    size: u64,
    etag: &str,
    kind: &'static str,
) -> Result<Response<Body>, Error> {
    let mut response = match wanted {
        Wanted::Beyond => {
            let why = format!("it has {size} bytes");
            error::problem(StatusCode::RANGE_NOT_SATISFIABLE, Code::Usage, &why)
        }
        _ => Response::new(Body::empty()),
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(etag)?);
    match wanted {
        Wanted::Whole => {
            headers.insert(header::CONTENT_LENGTH, size.into());
        }
        Wanted::Part(range) => {
            let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            headers.insert(header::CONTENT_RANGE, value(&told)?);
            headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Wanted::Beyond => {
            headers.insert(header::CONTENT_RANGE, value(&format!("bytes */{size}"))?);
            return Ok(response);
        }
        Wanted::Unchanged => *response.status_mut() = StatusCode::NOT_MODIFIED,
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| internal("a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let check = |range: &str, expected: Wanted| {
            let headers = HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
            assert_eq!(Wanted::of(&headers, 100, "\"x\""), expected, "{range}");
        };
        check("bytes=0-9", Wanted::Part(0..10));
        check("bytes=90-", Wanted::Part(90..100));
        check("bytes=-10", Wanted::Part(90..100));
        check("bytes=-1000", Wanted::Part(0..100));
        check("bytes=5-1000000000000000000000000", Wanted::Part(5..100));
        check("bytes=100-", Wanted::Beyond);
        check("bytes=-0", Wanted::Beyond);
        check("bytes=18446744073709551615-18446744073709551615", Wanted::Beyond);
        for other in ["bytes=9-0", "bytes=0-1,3-4", "bytes=", "bytes=-", "lines=1-2", "bytes=a-b"] {
            check(other, Wanted::Whole);
        }
    }
}
