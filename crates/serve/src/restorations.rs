//! Restorations that were asked for over HTTP: how they stand, and what they brought back.

use crate::answer::Desk;
use crate::app::{App, internal};
use crate::content::{Outlet, Wanted, head, streamed};
use crate::permit::Action;
use crate::routes::{Asked, json_response};
use crate::who::Who;
use crate::{Error, folder_tar, spool, view};
use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, header};
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use strongroom_intake::{Archive, Code};
use strongroom_record::{WorkItem, WorkStatus};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// `GET` of a restoration.
pub(crate) async fn show(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let (who, id) = (asked.who.clone(), asked.named("id")?);
    let value = app
        .blocking(move |archive| {
            let (item, path) = find(archive, &who, &id)?;
            let ready = item.status == WorkStatus::Succeeded && path.exists();
            Ok(serde_json::json!({ "work": view::work(&item), "ready": ready }))
        })
        .await?;
    Ok(json_response(200, &value))
}

/// `GET` of what was brought back.
pub(crate) async fn fetch(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let (who, id) = (asked.who.clone(), asked.named("id")?);
    let (id, path, meta) = app
        .blocking(move |archive| {
            let (item, path) = find(archive, &who, &id)?;
            let meta = std::fs::metadata(&path).ok();
            match (item.status, meta) {
                (WorkStatus::Succeeded, Some(meta)) => Ok((item.id, path, meta)),
                (WorkStatus::Succeeded, None) => {
                    Err(Error::not_found("what was brought back is no longer kept: ask again"))
                }
                (status, _) => {
                    Err(Error::refused(Code::Conflict, format!("the restoration is {status}")))
                }
            }
        })
        .await?;
    if meta.is_dir() {
        let mut response = Response::new(Body::empty());
        let kind = HeaderValue::from_static("application/x-tar");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if asked.method == Method::GET {
            *response.body_mut() = streamed(&app, move |_, outlet| folder(&path, outlet)).await?;
        }
        return Ok(response);
    }
    let (size, etag) = (meta.len(), format!("\"{id}\""));
    let wanted = Wanted::of(&asked.headers, size, &etag);
    let mut response = head(&wanted, size, &etag, "application/x-tar")?;
    if asked.method == Method::GET
        && let Some(range) = wanted.range(size)
        && !range.is_empty()
    {
        let fill = move |_: &Archive, outlet: &mut Outlet| {
            let io = || Error::io(path.display().to_string());
            let mut file = File::open(&path).map_err(io())?;
            file.seek(SeekFrom::Start(range.start)).map_err(io())?;
            let mut rest = file.take(range.end - range.start);
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = rest.read(&mut buffer).map_err(io())?;
                match read {
                    0 if rest.limit() > 0 => {
                        return Err(internal("the tar is shorter than it was"));
                    }
                    0 => return Ok(()),
                    read => outlet.send(&buffer[..read]).map_err(io())?,
                }
            }
        };
        *response.body_mut() = streamed(&app, fill).await?;
    }
    Ok(response)
}

fn folder(path: &std::path::Path, outlet: &mut Outlet) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(READ_BYTES, outlet);
    let packed = folder_tar::pack(path, &mut out).and_then(|()| out.flush());
    packed.map_err(Error::io(path.display().to_string()))
}

/// A restoration that was asked for over HTTP, and where it goes. Contents are its owner's alone.
fn find(archive: &Archive, who: &Who, id: &str) -> Result<(WorkItem, PathBuf), Error> {
    let item = Desk { archive, who }.work(Action::Restore, id)?;
    let path = spool::restored(archive, &item);
    let path = path.ok_or_else(|| Error::not_found(format!("no restoration is `{id}`")))?;
    Ok((item, path))
}
