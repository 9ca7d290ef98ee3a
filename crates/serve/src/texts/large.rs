//! Calls that take long: looked at in pieces, and sent as they come.

use crate::Error;
use crate::app::{App, internal};
use crate::texts::ask::{AFTER_ITEMS, Ask, BEFORE_ITEMS, Wanted, told};
use crate::texts::clients::Client;
use crate::texts::pool::{Kind, threads};
use crate::texts::{About, charge};
use axum::body::{Body, Bytes};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use strongroom_intake::Code;
use strongroom_text::Language;
use strongroom_text::answer::{self, Desk, Wants};
use strongroom_text::filter::Filters;
use strongroom_text::item::{self, Item};
use strongroom_text::segment::piece_end;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Bytes of a piece, or one text where that has more.
const PIECE_BYTES: usize = 32 << 10;
/// A single text is cut for its sentences where it has more bytes.
const WHOLE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a text all of whose words must be there at once.
pub const WORDS_BYTES_MAX: usize = 1 << 20;
/// Pieces that are under way for a call, for each thread.
const AHEAD_PER_THREAD: usize = 2;
/// How long a piece for which there is no room waits.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers a call whose body is not small.
pub(super) async fn look(
    app: App,
    client: Arc<Client>,
    about: About,
    body: Bytes,
    held: Option<OwnedSemaphorePermit>,
) -> Result<Body, Error> {
    let call = Call { client, body, wanted: Wanted::default() };
    let (now, counted) = (app.archive.now(), app.clone());
    let planned = run(&app, Kind::Piece, move |_| call.plan(&counted, about, now)).await??;
    let (call, plan) = planned;
    match plan {
        Plan::Many(items) => {
            let pieces = pieces(&items);
            let count = pieces.len();
            let job = move |desk: &mut Desk, piece: usize| {
                call.items(&items[pieces[piece].clone()], desk)
            };
            Ok(flow(app, held, BEFORE_ITEMS.to_vec(), Arc::new(job), count, AFTER_ITEMS))
        }
        Plan::One { id, text } => one(app, Arc::new(call), id, text, held).await,
    }
}

/// What is asked of which texts, by whom.
struct Call {
    client: Arc<Client>,
    body: Bytes,
    wanted: Wanted,
}

/// What is to be looked at.
enum Plan {
    /// One text, with its id as JSON.
    One { id: Option<String>, text: String },
    /// Several: where they stand in the body.
    Many(Vec<Range<usize>>),
}

impl Call {
    fn plan(
        mut self,
        app: &App,
        about: About,
        now: strongroom_record::Time,
    ) -> Result<(Call, Plan), Error> {
        let ask = Ask::read(&self.body)?;
        let wanted = ask.wanted(about)?;
        charge(app, &self.client, ask.texts(), self.body.len(), now)?;
        let plan = match (ask.item(), &ask.texts) {
            (Some(Item { id, text, .. }), _) => {
                Plan::One { id: id.map(|id| id.get().to_owned()), text: text.into_owned() }
            }
            (None, texts) => {
                let begin = self.body.as_ptr().addr();
                let items = texts.iter().flat_map(|texts| &texts.items);
                let place = |item: &&serde_json::value::RawValue| {
                    let at = item.get().as_ptr().addr() - begin;
                    at..at + item.get().len()
                };
                Plan::Many(items.map(place).collect())
            }
        };
        self.wanted = wanted;
        Ok((self, plan))
    }

    fn wants(&self) -> Wants<'_> {
        self.wanted.with(&self.client.rules)
    }

    /// The answers to several texts, parted by commas.
    fn items(&self, items: &[Range<usize>], desk: &mut Desk) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 * PIECE_BYTES);
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            item::answer(&self.body[item.clone()], &self.wants(), desk, &mut out);
        }
        out
    }
}

/// Texts that make a piece together.
fn pieces(items: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut pieces, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (at, item) in items.iter().enumerate() {
        bytes += item.len();
        if bytes >= PIECE_BYTES || at + 1 == items.len() {
            pieces.push(begin..at + 1);
            (begin, bytes) = (at + 1, 0);
        }
    }
    pieces
}

async fn one(
    app: App,
    call: Arc<Call>,
    id: Option<String>,
    text: String,
    held: Option<OwnedSemaphorePermit>,
) -> Result<Body, Error> {
    if text.len() > WORDS_BYTES_MAX && needs_words(&call.wants()) {
        let why = format!(
            "names, themes, topics, and lemmas of rules and filters want all words of a text at once: it has {WORDS_BYTES_MAX} bytes at most then"
        );
        return Err(Error::refused(Code::TooLarge, why));
    }
    let Wants { tags, sentiment, each, .. } = call.wants();
    let cut = tags && text.len() > WHOLE_BYTES_MAX;
    let text = Arc::new(text);
    let (asked, of) = (call.clone(), text.clone());
    // Sentences of a large text follow behind; its language and sentiment are of the whole.
    let whole = move |desk: &mut Desk| {
        let wants = Wants { tags: tags && !cut, ..asked.wants() };
        let mut out = Vec::new();
        let found = answer::answer(&of, &wants, desk);
        let raw = id.map(serde_json::value::RawValue::from_string).transpose();
        let id = raw.map_err(|error| told(error.into()))?;
        item::write(id.as_deref(), &found, &mut out).map_err(told)?;
        let language = found.language.and_then(Language::parse);
        Ok::<_, Error>((out, language))
    };
    let (mut head, language) = run(&app, Kind::Whole, whole).await??;
    let Some(language) = language.filter(|_| cut) else {
        drop(held);
        return Ok(Body::from(head));
    };
    // The object goes on.
    head.pop();
    head.extend(b",\"sentences\":[");
    let parts = parts(&text);
    let count = parts.len();
    let job = move |desk: &mut Desk, piece: usize| {
        let (range, chars) = parts[piece].clone();
        let rules = call.client.rules.matchers.as_deref();
        let wants =
            Wants { language: Some(language), tags, sentiment, each, rules, ..Wants::default() };
        let found = answer::answer(&text[range.clone()], &wants, desk);
        let mut out = Vec::with_capacity(16 * PIECE_BYTES);
        for mut sentence in found.sentences.into_iter().flatten() {
            sentence.shift(range.start, chars);
            if !out.is_empty() {
                out.push(b',');
            }
            // A vector takes all that is written to it.
            let _ = serde_json::to_writer(&mut out, &sentence);
        }
        out
    };
    Ok(flow(app, held, head, Arc::new(job), count, b"]}"))
}

/// Whether all words of a text must be there at once.
fn needs_words(wants: &Wants<'_>) -> bool {
    let ruled = wants.rules.is_some() && (wants.sentiment || wants.chunks);
    let filtered = wants.filters.is_some_and(Filters::need_lemmas);
    wants.entities || wants.themes || wants.topics.is_some() || ruled || filtered
}

/// Where a text is cut, and how many characters stand before each part.
fn parts(text: &str) -> Vec<(Range<usize>, usize)> {
    let (mut parts, mut at, mut chars) = (Vec::new(), 0, 0);
    while at < text.len() {
        let end = at + piece_end(&text.as_bytes()[at..], PIECE_BYTES);
        parts.push((at..end, chars));
        chars += text[at..end].chars().count();
        at = end;
    }
    parts
}

async fn run<T: Send + 'static>(
    app: &App,
    kind: Kind,
    job: impl FnOnce(&mut Desk) -> T + Send + 'static,
) -> Result<T, Error> {
    let told = app.texts.pool.run(kind, job).map_err(|error| app.bound("texts", error))?;
    told.await.map_err(|_| internal("looking at a text panicked"))
}

/// What makes the bytes of a piece, by its number.
type Job = Arc<dyn Fn(&mut Desk, usize) -> Vec<u8> + Send + Sync>;

/// An answer that is being sent: its pieces are made a little ahead of what is taken.
struct Flow {
    app: App,
    job: Job,
    next: usize,
    count: usize,
    coming: VecDeque<oneshot::Receiver<Vec<u8>>>,
    head: Option<Vec<u8>>,
    tail: Option<&'static [u8]>,
    /// Whether a piece was sent that the next is parted from.
    sent: bool,
    _held: Option<OwnedSemaphorePermit>,
}

fn flow(
    app: App,
    held: Option<OwnedSemaphorePermit>,
    head: Vec<u8>,
    job: Job,
    count: usize,
    tail: &'static [u8],
) -> Body {
    let (head, tail, coming) = (Some(head), Some(tail), VecDeque::new());
    let flow = Flow { app, job, next: 0, count, coming, head, tail, sent: false, _held: held };
    Body::from_stream(futures_util::stream::unfold(flow, |mut flow| async {
        flow.bytes().await.map(|bytes| (bytes, flow))
    }))
}

impl Flow {
    /// What is sent next.
    async fn bytes(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(head) = self.head.take() {
            return Some(Ok(head.into()));
        }
        loop {
            self.go_ahead().await;
            let Some(piece) = self.coming.pop_front() else {
                return self.tail.take().map(|tail| Ok(Bytes::from_static(tail)));
            };
            let Ok(mut piece) = piece.await else {
                (self.count, self.tail) = (0, None);
                self.coming.clear();
                return Some(Err(io::Error::other("looking at a text panicked")));
            };
            if piece.is_empty() {
                continue;
            }
            if std::mem::replace(&mut self.sent, true) {
                piece.insert(0, b',');
            }
            return Some(Ok(piece.into()));
        }
    }

    /// Has pieces made, as many as may be under way.
    async fn go_ahead(&mut self) {
        while self.next < self.count && self.coming.len() < AHEAD_PER_THREAD * threads() {
            let (job, number) = (self.job.clone(), self.next);
            match self.app.texts.pool.run(Kind::Piece, move |desk| job(desk, number)) {
                Ok(piece) => {
                    self.coming.push_back(piece);
                    self.next += 1;
                }
                // Who is answered already waits for its turn.
                Err(_) if self.coming.is_empty() => tokio::time::sleep(PAUSE).await,
                Err(_) => return,
            }
        }
    }
}
