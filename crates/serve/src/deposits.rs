//! Deposits: a tar is received into the archive's folder, synced, compared with the digest that its
//! sender told, and queued. The upload is deleted only when its version is published and recorded.

use crate::answer::Desk;
use crate::app::{App, Held, internal};
use crate::permit::Action;
use crate::routes::{Asked, json_response, location};
use crate::service::STALL_SECONDS_MAX;
use crate::{Error, spool, view};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use strongroom_bag::source::{Container, detect};
use strongroom_digest::{Algorithm, MultiHasher};
use strongroom_intake::{Code, Deposit};
use strongroom_record::json::bytes::{base64, hex, unbase64};
use strongroom_record::{Coding, ObjectName, WorkId};
use tokio::sync::mpsc;

/// Pieces of an upload that wait to be written.
const PIECES_MAX: usize = 16;
/// Bytes of what an object is told to come from.
const ORIGIN_BYTES_MAX: usize = 1000;

/// What reaches the thread that writes an upload. A sender that goes away before the end leaves nothing.
enum Part {
    Bytes(Bytes),
    End,
}

/// An upload that is durable.
struct Upload {
    path: PathBuf,
    bytes: u64,
    sha256: Vec<u8>,
    sha512: Vec<u8>,
}

/// `POST` of a tar.
pub(crate) async fn receive(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let object = asked.text("object").ok_or_else(|| Error::usage("name the object: ?object="))?;
    let object = match object.contains('/') {
        true => object,
        false => format!("{}/{object}", asked.who.institution_name()),
    };
    let name: ObjectName = object.parse()?;
    let policy: Option<Coding> = asked.parsed("policy")?;
    let accept_degraded = asked.parsed("accept_degraded")?.unwrap_or(false);
    let origin = asked.text("origin").unwrap_or_else(|| "upload".into());
    if origin.len() > ORIGIN_BYTES_MAX || origin.chars().any(char::is_control) {
        return Err(Error::usage(format!("`origin` is text of at most {ORIGIN_BYTES_MAX} bytes")));
    }
    let Asked { who, headers, body, .. } = asked;
    let told = Told::of(&headers)?;
    let most = app.options.limits.upload_bytes_max;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse::<u64>().ok());
    // Refused before its bytes are taken. An institution is never made by a deposit here.
    let (of, asker) = (name.institution().to_string(), who.clone());
    app.blocking(move |archive| {
        let desk = Desk { archive, who: &who };
        desk.institution(Action::Deposit, &of).map(|_| ())
    })
    .await?;
    if length.is_some_and(|length| length > most) {
        return Err(app.bound("upload-bytes", too_large(most)));
    }
    let _place = app.hold(Held::Upload)?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system's random source works");
    let id = WorkId(id);
    let folder = spool::upload_folder(&app.archive, id);
    let upload = store(&app, body, folder.clone(), most).await?;
    let deposit = Deposit {
        source: upload.path.clone(),
        object: name.to_string(),
        policy,
        accept_degraded,
        origin: Some(origin),
    };
    let (bytes, sha256) = (upload.bytes, hex(&upload.sha256));
    let item = app
        .blocking(move |archive| {
            if let Err(error) = check(&upload, &told) {
                spool::remove(&folder);
                return Err(error);
            }
            // From here on the registry may know it, so it stays; the sweep decides.
            Ok(archive.deposit_as(id, &deposit, asker.account())?)
        })
        .await?;
    let value = json!({ "work": view::work(&item), "bytes": bytes, "sha256": sha256 });
    let mut response = json_response(202, &value);
    response.headers_mut().insert(header::LOCATION, location(&format!("/work/{}", item.id))?);
    Ok(response)
}

fn too_large(most: u64) -> Error {
    Error::refused(Code::TooLarge, format!("an upload has at most {most} bytes"))
}

/// Receives a body into a file of a new folder, durably.
async fn store(app: &App, mut body: Body, folder: PathBuf, most: u64) -> Result<Upload, Error> {
    let (to, from) = mpsc::channel(PIECES_MAX);
    let writer = tokio::task::spawn_blocking(move || {
        let written = write(&folder, from);
        if !matches!(written, Ok(Some(_))) {
            spool::remove(&folder);
        }
        written
    });
    let received = async {
        let mut bytes = 0;
        let patience = Duration::from_secs(STALL_SECONDS_MAX);
        loop {
            let frame = tokio::time::timeout(patience, body.frame()).await;
            let frame = frame
                .map_err(|_| app.bound("upload-time", Error::usage("the upload stands still")))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| Error::usage("the upload ends early"))?;
            let Ok(piece) = frame.into_data() else { continue };
            bytes += piece.len() as u64;
            if bytes > most {
                return Err(app.bound("upload-bytes", too_large(most)));
            }
            if to.send(Part::Bytes(piece)).await.is_err() {
                break; // the writer says why
            }
        }
        let _ = to.send(Part::End).await;
        Ok(())
    };
    let received = received.await;
    drop(to);
    let written = writer.await.map_err(|_| internal("the upload's writer panicked"))?;
    received?;
    written?.ok_or_else(|| internal("an upload without an end"))
}

/// Writes what comes, syncs it and the folders above; `None` where its end did not come.
fn write(folder: &Path, mut from: mpsc::Receiver<Part>) -> Result<Option<Upload>, Error> {
    let io = || Error::io(format!("the upload in {}", folder.display()));
    let path = folder.join("upload.tar");
    std::fs::create_dir_all(folder).map_err(io())?;
    let mut file = File::create_new(&path).map_err(io())?;
    let mut hasher = MultiHasher::new(&[Algorithm::Sha256, Algorithm::Sha512]);
    let mut bytes = 0;
    loop {
        match from.blocking_recv() {
            Some(Part::Bytes(piece)) => {
                hasher.update(&piece);
                file.write_all(&piece).map_err(io())?;
                bytes += piece.len() as u64;
            }
            Some(Part::End) => break,
            None => return Ok(None),
        }
    }
    file.sync_all().map_err(io())?;
    let above = folder.ancestors().take(3);
    for folder in above {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io())?;
    }
    let mut digests = hasher.finish().into_iter().map(|digest| digest.as_bytes().to_vec());
    let (Some(sha256), Some(sha512)) = (digests.next(), digests.next()) else {
        return Err(internal("two digests"));
    };
    Ok(Some(Upload { path, bytes, sha256, sha512 }))
}

/// Whether an upload is what was told, and a tar at all.
fn check(upload: &Upload, told: &Told) -> Result<(), Error> {
    let refused = |why: String| Err(Error::refused(Code::SourceRefused, why));
    for (name, told, found) in
        [("sha-256", &told.sha256, &upload.sha256), ("sha-512", &told.sha512, &upload.sha512)]
    {
        if told.as_ref().is_some_and(|told| told != found) {
            return refused(format!("the upload's {name} is {}, not what was told", base64(found)));
        }
    }
    match detect(&upload.path) {
        Ok(Some(Container::Tar | Container::TarGz | Container::TarZst)) => Ok(()),
        Ok(_) => refused("the upload is no tar, plain or compressed by gzip or zstd".into()),
        Err(error) if strongroom_bag::source::is_damage(&error) => {
            refused(format!("the upload is a damaged tar: {error}"))
        }
        Err(source) => Err(Error::io(upload.path.display().to_string())(source)),
    }
}

/// The digests that a sender told (RFC 9530). Other algorithms are passed over.
#[derive(Default, PartialEq, Debug)]
struct Told {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl Told {
    fn of(headers: &HeaderMap) -> Result<Told, Error> {
        let mut told = Told::default();
        for name in ["repr-digest", "content-digest"] {
            for value in headers.get_all(name) {
                let bad = || Error::usage(format!("`{name}` is not as RFC 9530 says"));
                for one in value.to_str().map_err(|_| bad())?.split(',') {
                    let (algorithm, value) = one.trim().split_once('=').ok_or_else(bad)?;
                    let (place, length) = match algorithm {
                        "sha-256" => (&mut told.sha256, 32),
                        "sha-512" => (&mut told.sha512, 64),
                        _ => continue,
                    };
                    let coded = value.strip_prefix(':').and_then(|v| v.strip_suffix(':'));
                    let bytes = coded.and_then(unbase64).filter(|b| b.len() == length);
                    let bytes = bytes.ok_or_else(bad)?;
                    if place.as_ref().is_some_and(|before| *before != bytes) {
                        return Err(Error::usage("two digests of one kind are told"));
                    }
                    *place = Some(bytes);
                }
            }
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_rfc_9530_says() {
        let read = |name: &'static str, value: &str| {
            Told::of(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        let (short, long) = (vec![7; 32], vec![9; 64]);
        let both = format!("sha-512=:{}:, sha-256=:{}:", base64(&long), base64(&short));
        let told = read("repr-digest", &both).unwrap();
        assert_eq!(told, Told { sha256: Some(short.clone()), sha512: Some(long) });
        assert_eq!(read("content-digest", "md5=:AA==:").unwrap(), Told::default());
        let wrong_length = format!("sha-256=:{}:", base64(&short[1..]));
        for bad in ["sha-256", "sha-256=AAAA", "sha-256=:@:", &wrong_length] {
            assert!(read("repr-digest", bad).is_err(), "{bad}");
        }
    }
}
