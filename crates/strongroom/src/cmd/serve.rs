//! `serve`: the archive over HTTP.

use super::Context;
use crate::errors::{Answer, Failure};
use crate::interrupt::stop_on_signals;
use clap::Args;
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use strongroom_intake::Progress;
use strongroom_serve::{Options, Service, first_administrator};

#[derive(Args)]
pub(crate) struct Serve {
    /// Address and port; others than 127.0.0.1 only behind something that speaks TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    listen: String,
    /// Threads that work off what is queued; 0 leaves it to `work run --stay`
    #[arg(long, default_value_t = Options::default().workers)]
    workers: usize,
}

pub(crate) fn run(cx: &Context, args: Serve) -> Result<Answer, Failure> {
    let archive = cx.open_or_create()?;
    let listener = TcpListener::bind(&args.listen).map_err(|e| Failure::io(&args.listen, &e))?;
    let address = listener.local_addr().map_err(|e| Failure::io(&args.listen, &e))?;
    let (stop, url) = (stop_on_signals(), format!("http://{address}"));
    let token = first_administrator(&archive)?;
    let mut lines = vec![format!("Serving {} at {url}", archive.data().display())];
    if let Some(token) = &token {
        lines.push(format!("No administrator has a token yet. Good once, for a day: {token}"));
        lines.push("Exchange it for a lasting one, which is then kept for you:".into());
        lines.push(format!("  STRONGROOM_TOKEN={token} strongroom --server {url} token exchange"));
    }
    let json = json!({ "url": url, "one_time_token": token });
    cx.out.value(&json, lines.join("\n"))?;
    if !address.ip().is_loopback() {
        eprintln!(
            "Tokens and records go over the network in the clear: put TLS before this address."
        );
    }
    let options = Options { workers: args.workers, ..Options::default() };
    let progress: Arc<dyn Progress> = Arc::new(());
    Service::new(&archive, options).run(listener, &stop, &progress, &|ended| {
        let item = &ended.item;
        tracing::info!(work = %item.id, status = %item.status, note = item.note, "work ended");
    })?;
    Ok(Answer::Yes)
}
