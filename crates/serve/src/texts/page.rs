//! The main text of a page that is given as HTML.

use crate::Error;
use crate::app::{App, internal};
use crate::permit::Action;
use crate::routes::{Asked, JSON_SECONDS_MAX, read_whole};
use crate::texts::pool::Kind;
use crate::texts::{CALL_BYTES_MAX, QUICK_BYTES_MAX, charge, hold, json};
use axum::body::Body;
use axum::http::{Response, header};
use strongroom_text::html::{self, Keep};

/// `POST` of a page, which is the body.
pub(crate) async fn clean(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let client = asked.client.clone().ok_or_else(|| internal("texts of nobody"))?;
    asked.who.may_to_itself(Action::Analyse)?;
    let keep = match asked.text("keep").as_deref() {
        None | Some("main") => Keep::Main,
        Some("all") => Keep::All,
        Some(other) => return Err(Error::usage(format!("`keep` is main or all, not `{other}`"))),
    };
    let kind = asked.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut parts = kind.unwrap_or_default().split(';');
    if parts.next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("text/html")) {
        return Err(Error::usage("the body must be a page: Content-Type: text/html"));
    }
    let charset = parts.find_map(|part| part.trim().strip_prefix("charset="));
    let charset = charset.map(|name| name.trim_matches('"').to_owned());
    let _held = hold(&app, &asked.headers)?;
    let body = read_whole(&app, asked.body, CALL_BYTES_MAX, JSON_SECONDS_MAX).await?;
    charge(&app, &client, 1, body.len(), app.archive.now())?;
    let how = if body.len() <= QUICK_BYTES_MAX { Kind::Quick } else { Kind::Whole };
    let job = app.texts.pool.run(how, move |_| {
        let refused = |error: html::Error| Error::usage(error.to_string());
        let page = html::decode(&body, charset.as_deref()).map_err(refused)?;
        let found = html::clean(&page, keep).map_err(refused)?;
        serde_json::to_vec(&found).map_err(|error| internal(&error.to_string()))
    });
    let found = job.map_err(|error| app.bound("texts", error))?.await;
    Ok(json(Body::from(found.map_err(|_| internal("reading a page panicked"))??)))
}
