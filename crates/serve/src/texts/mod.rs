//! Texts over HTTP: the router of the pure room `text`, which is handed an account's rules and quota as values.
//!
//! A call brings one text, or up to [`TEXTS_MAX`], in [`CALL_BYTES_MAX`] bytes at most. Tokens, rules and quotas are known for
//! a moment ([`clients`]), so that a call for a short text asks no registry; texts are looked at on threads of
//! their own ([`pool`]). What is small is answered in one go. Many texts, and the sentences of a large one, are looked at in pieces,
//! a few ahead of what the client takes, and sent as they come: so a call holds its body and a few pieces, whatever
//! it asks ([`HELD_BYTES_MAX`] for the bodies of all that are not small).
//!
//! # Failure modes
//!
//! | what fails | what happens |
//! |---|---|
//! | one of many texts is wrong | it has an `error` in its place, the others their answers |
//! | the body is not JSON, or not UTF-8 | 400, with the place |
//! | too many texts, or bytes | 413 |
//! | the day's quota is used up | 429, and when the next day begins |
//! | texts wait in too great number, or too large | 503 with `Retry-After` |
//! | a piece panics | its call's body is broken off, never ended as if it were whole |
//! | the process dies | what was used in its last seconds is not counted |

mod ask;
mod clients;
mod large;
mod page;
mod pool;
mod rules;

pub use clients::{CLIENT_SECONDS, CLIENTS_MAX, RULES_BYTES_MAX};
pub(crate) use clients::{Client, day};
pub use large::WORDS_BYTES_MAX;
pub(crate) use page::clean;
pub use pool::TEXTS_WAITING_MAX;
pub(crate) use rules::{book, replace_book};

use crate::Error;
use crate::app::{App, internal, lock};
use crate::permit::Action;
use crate::rate::{Buckets, Rate};
use crate::routes::{Asked, JSON_SECONDS_MAX, expect_json, read_whole};
use ask::Ask;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use clients::Clients;
use pool::{Kind, Pool};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use strongroom_intake::{Archive, Code};
use strongroom_text::answer::Desk;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a call's body.
pub const CALL_BYTES_MAX: usize = 10 << 20;
/// Texts of a call.
pub const TEXTS_MAX: usize = 1000;
/// Bytes at one time of the bodies of all calls that have more than [`QUICK_BYTES_MAX`].
pub const HELD_BYTES_MAX: usize = 128 << 20;
/// Filters of a call.
pub const FILTERS_MAX: usize = 100;
/// A body of so many bytes is looked at in one go, before others that take long.
pub const QUICK_BYTES_MAX: usize = 16 << 10;
/// How often what was used is written down.
pub(crate) const WRITE_DOWN: Duration = Duration::from_secs(5);

/// What is asked of texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// All of it.
    All,
    /// Their language.
    Language,
    /// Their sentences and words.
    Tags,
    /// How they speak of their subject.
    Sentiment,
    /// Their phrases that speak for or against.
    Chunks,
    /// Phrases that tell what they are about.
    Themes,
    /// Names of persons, organisations, places.
    Entities,
    /// How they speak of things that are asked about.
    Topics,
    /// Which rules match them.
    Filter,
}

/// What serving texts needs.
pub(crate) struct Texts {
    pub(crate) clients: Clients,
    pool: Pool,
    rate: Mutex<Buckets<[u8; 16]>>,
    held: Arc<Semaphore>,
    texts: AtomicU64,
    bytes: AtomicU64,
}

impl Texts {
    pub(crate) fn new(rate: Rate) -> Texts {
        Texts {
            clients: Clients::default(),
            pool: Pool::default(),
            rate: Mutex::new(Buckets::new(rate)),
            held: Arc::new(Semaphore::new(HELD_BYTES_MAX)),
            texts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Texts that were looked at, their calls' bytes, jobs that wait, and bytes that are held.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let held = HELD_BYTES_MAX - self.held.available_permits();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [count(&self.texts), count(&self.bytes), self.pool.waiting() as u64, held as u64]
    }
}

/// Whoever sends texts with a token that was looked up a moment ago, if it may send more now; `None` where it must be looked up.
pub(crate) fn known(app: &App, headers: &HeaderMap) -> Result<Option<Arc<Client>>, Error> {
    let client = app.texts.clients.known(headers);
    client.map(|client| turn(app, client)).transpose()
}

/// As [`known`], looked up.
pub(crate) async fn look_up(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Arc<Client>, Error> {
    turn(app, app.texts.clients.look_up(app, headers, address).await?)
}

fn turn(app: &App, client: Arc<Client>) -> Result<Arc<Client>, Error> {
    let taken = lock(&app.texts.rate).take(client.token, Instant::now());
    taken.map_err(|wait| app.bound("rate-of-texts", crate::app::too_many(wait)))?;
    Ok(client)
}

/// Writes down what accounts used, if it can; else the next time.
pub(crate) fn write_down(app: &App, archive: &Archive) {
    if let Err(error) = app.texts.clients.write_down(archive) {
        tracing::warn!(%error, "what was used of texts is not written down yet");
    }
}

/// `POST` of a text, or of several.
pub(crate) async fn look(app: App, asked: Asked, about: About) -> Result<Response<Body>, Error> {
    let client = asked.client.clone().ok_or_else(|| internal("texts of nobody"))?;
    asked.who.may_to_itself(Action::Analyse)?;
    expect_json(&asked.headers)?;
    let held = hold(&app, &asked.headers)?;
    let body = read_whole(&app, asked.body, CALL_BYTES_MAX, JSON_SECONDS_MAX).await?;
    match body.len() <= QUICK_BYTES_MAX {
        true => {
            let (counted, now) = (app.clone(), app.archive.now());
            let job = move |desk: &mut Desk| {
                let ask = Ask::read(&body)?;
                charge(&counted, &client, ask.texts(), body.len(), now)?;
                ask.answer(about, &client.rules, desk)
            };
            let answer = app.texts.pool.run(Kind::Quick, job);
            let answer = answer.map_err(|error| app.bound("texts", error))?.await;
            Ok(json(Body::from(answer.map_err(|_| internal("looking at a text panicked"))??)))
        }
        false => large::look(app, client, about, body, held).await.map(json),
    }
}

/// A place in memory for a call's body; small ones need none, so that large ones which come or go slowly leave room for them.
fn hold(app: &App, headers: &HeaderMap) -> Result<Option<OwnedSemaphorePermit>, Error> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse::<usize>().ok()).unwrap_or(CALL_BYTES_MAX);
    if length > CALL_BYTES_MAX {
        let why = format!("a call has at most {CALL_BYTES_MAX} bytes; send the rest in another");
        return Err(app.bound("body-bytes", Error::refused(Code::TooLarge, why)));
    }
    if length <= QUICK_BYTES_MAX {
        return Ok(None);
    }
    let permits = u32::try_from(length).unwrap_or(u32::MAX);
    match app.texts.held.clone().try_acquire_many_owned(permits) {
        Ok(held) => Ok(Some(held)),
        Err(_) => {
            Err(app.bound("texts-held", Error::busy("too many bytes of texts are held already")))
        }
    }
}

/// Counts a call, or refuses it.
fn charge(
    app: &App,
    client: &Client,
    texts: usize,
    bytes: usize,
    now: strongroom_record::Time,
) -> Result<(), Error> {
    let (texts, bytes) = (texts as u64, bytes as u64);
    client.account.take(texts, bytes, now).map_err(|error| app.bound("text-quota", error))?;
    app.texts.texts.fetch_add(texts, Ordering::Relaxed);
    app.texts.bytes.fetch_add(bytes, Ordering::Relaxed);
    Ok(())
}

fn json(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
