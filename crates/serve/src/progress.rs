//! The progress of work, as server-sent events.
//!
//! What is told is what the registry knows, so it is the same whichever process does the work: an
//! event `progress` at each change, and `ended` with the item when it is over.

use crate::answer::Desk;
use crate::app::{App, Held};
use crate::permit::Action;
use crate::routes::Asked;
use crate::who::Who;
use crate::{Error, view};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use strongroom_intake::Archive;
use strongroom_record::{WorkId, WorkItem, WorkStatus};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often the registry is asked.
const POLL: Duration = Duration::from_millis(300);
/// After so long without news a comment is sent, so that who went away is noticed.
const QUIET: Duration = Duration::from_secs(10);
/// One client watches for so long; then it asks again.
pub const WATCH_SECONDS_MAX: u64 = 3600;

/// `GET` of the progress of a work item.
pub(crate) async fn watch(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let (who, id) = (asked.who.clone(), asked.named("id")?);
    let (id, first) = app.blocking(move |archive| first(archive, &who, &id)).await?;
    let place = app.hold(Held::Watch)?;
    let (to, mut from) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let _place = place;
        tell(app, id, first, to).await;
    });
    let events = futures_util::stream::poll_fn(move |cx| {
        from.poll_recv(cx).map(|event| event.map(Ok::<_, Infallible>))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn first(archive: &Archive, who: &Who, id: &str) -> Result<(WorkId, Progress), Error> {
    let item = Desk { archive, who }.work(Action::WatchWork, id)?;
    Ok((item.id, Progress::of(archive, item)?))
}

async fn tell(app: App, id: WorkId, first: Progress, to: mpsc::Sender<Bytes>) {
    let until = Instant::now() + Duration::from_secs(WATCH_SECONDS_MAX);
    let (mut now, mut told, mut at) = (first, Value::Null, Instant::now());
    while Instant::now() < until && !app.stop.stopped() {
        let event = match (now.over, now.told != told) {
            (true, _) => Some(format!("event: ended\ndata: {}\n\n", now.item)),
            (false, true) => Some(format!("event: progress\ndata: {}\n\n", now.told)),
            (false, false) => (at.elapsed() >= QUIET).then(|| ": still there\n\n".into()),
        };
        if let Some(event) = event {
            if to.send(Bytes::from(event)).await.is_err() || now.over {
                return;
            }
            (told, at) = (now.told.clone(), Instant::now());
        }
        tokio::select! {
            // Who went away makes room for another at once.
            () = to.closed() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        let asked = app.blocking(move |archive| {
            let item = archive.block_on(archive.registry().work(id))?;
            let item = item.ok_or_else(|| Error::not_found("the work item is gone"))?;
            Progress::of(archive, item)
        });
        match asked.await {
            Ok(progress) => now = progress,
            // Such as while everybody waits: what is known is told again later.
            Err(error) => tracing::debug!(%error, "progress is not known"),
        }
    }
}

struct Progress {
    over: bool,
    told: Value,
    item: Value,
}

impl Progress {
    fn of(archive: &Archive, item: WorkItem) -> Result<Progress, Error> {
        let draft = match item.object {
            Some(object) => archive.block_on(archive.registry().draft(object))?,
            None => None,
        };
        // What is recorded of the version that is being made, a batch at a time.
        let draft = draft.filter(|draft| draft.work == item.id);
        let over = !matches!(item.status, WorkStatus::Queued | WorkStatus::Running);
        let told = json!({
            "id": item.id,
            "status": item.status,
            "stage": item.stage,
            "attempts": item.attempts,
            "note": item.note,
            "files": draft.as_ref().map(|draft| draft.files),
            "bytes": draft.as_ref().map(|draft| draft.bytes),
        });
        Ok(Progress { over, told, item: view::work(&item) })
    }
}
