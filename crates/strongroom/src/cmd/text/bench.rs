//! `text bench`: how many short texts a second, by the library and through HTTP, on this machine's cores, the client's included.

use super::super::Context;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use strongroom_serve::TEXTS_MAX;
use strongroom_text::answer::{self, Desk, Wants};
use strongroom_text::parallel::in_order;

/// Connections that send a text at a time.
const SINGLE_CONNECTIONS: usize = 32;
/// Connections that send many.
const BULK_CONNECTIONS: usize = 4;
/// Single calls a second at which it is measured how long each takes: half of those that are asked of two cores.
const HALF_LOAD: f64 = 4_000.0;
/// Texts that the library takes at a time.
const CHUNK: usize = 100;

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Files with a short text in the last column, parted by tabs, of each line
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How long single calls are sent, in seconds, for each row
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

type Sender = SendRequest<Full<Bytes>>;

/// A call, as it is sent over and over.
#[derive(Clone)]
struct Post {
    path: &'static str,
    token: Rc<str>,
}

pub(crate) fn run(cx: &Context, args: &BenchArgs) -> Result<Answer, Failure> {
    let texts = texts(args)?;
    let chars: usize = texts.iter().map(|text| text.chars().count()).sum();
    let mean = chars as f64 / texts.len().max(1) as f64;
    eprintln!("{}, {mean:.1} characters each", output::count(texts.len() as u64, "text"));
    let mut rows = Vec::new();
    let mut row = |name: &str, value: f64, unit: &str| {
        let shown = if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        eprintln!("{name}: {shown} {unit}");
        let json = json!({ "name": name, "value": value, "unit": unit });
        rows.push((json, vec![name.to_owned(), shown, unit.to_owned()]));
    };
    row("library, all cores", library(&texts), "texts/s");
    let mut server = Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::internal)?;
    let local = tokio::task::LocalSet::new();
    let wrong = |error: Wrong| Failure::server(format_args!("{error}"));
    let (texts, seconds) = (Rc::new(texts), Duration::from_secs(args.seconds));
    local
        .block_on(&runtime, async {
            let token: Rc<str> = server.token().await?.into();
            let post = |path| Post { path, token: token.clone() };
            let address = server.address.clone();
            // What HTTP alone takes: a call whose text says nothing.
            let empty = Rc::new(vec![String::new()]);
            let alone =
                single(&address, &post("/api/v1/text/language"), &empty, seconds, None).await?;
            row("http alone, single calls with no text", alone.rate, "calls/s");
            let bulk = bulk(&address, &post("/api/v1/text/analyze"), &texts).await?;
            row("http, bulk", bulk, "texts/s");
            let analyze = post("/api/v1/text/analyze");
            let most = single(&address, &analyze, &texts, seconds, None).await?;
            row("http, single calls", most.rate, "calls/s");
            let half = single(&address, &analyze, &texts, seconds, Some(HALF_LOAD)).await?;
            row("paced single calls", half.rate, "calls/s");
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("worst", 1.0)] {
                row(&format!("paced single calls, {name}"), half.percentile(share), "ms");
            }
            Ok(())
        })
        .map_err(wrong)?;
    row("memory of the server, at most", server.peak_mib()?, "MiB");
    cx.out.table(&["texts", "", ""], rows)?;
    Ok(Answer::Yes)
}

fn texts(args: &BenchArgs) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    for path in &args.files {
        let all = std::fs::read_to_string(path).map_err(|e| Failure::io(path.display(), &e))?;
        texts.extend(all.lines().filter_map(|line| line.rsplit('\t').next()).map(str::to_owned));
    }
    match texts.is_empty() {
        true => Err(Failure::usage("there are no texts in these files")),
        false => Ok(texts),
    }
}

/// Texts a second: language, sentences, words with parts of speech and lemmas, sentiment.
fn library(texts: &[String]) -> f64 {
    let wants = Wants { tags: true, sentiment: true, ..Wants::default() };
    let look = |desk: &mut Desk, chunk: &[String]| {
        chunk.iter().filter(|text| answer::answer(text, &wants, desk).language.is_some()).count()
    };
    let threads = super::threads();
    let round = || in_order(texts.chunks(CHUNK), threads, Desk::default, look, |_| true);
    // Models are made ready when they are first used.
    round();
    let begun = Instant::now();
    round();
    texts.len() as f64 / begun.elapsed().as_secs_f64()
}

/// A server of a new archive, as a process of its own.
struct Server {
    child: Child,
    address: String,
    once: String,
    _place: tempfile::TempDir,
}

impl Server {
    fn start() -> Result<Server, Failure> {
        let place = tempfile::tempdir().map_err(|e| Failure::io("a folder for an archive", &e))?;
        let program =
            std::env::current_exe().map_err(|e| Failure::io("this program's path", &e))?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--json", "--workers", "0", "--data"])
            .arg(place.path().join("archive"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Failure::io("the server", &e))?;
        let told = child.stdout.take().map(serde_json::Deserializer::from_reader);
        let told = told.and_then(|json| json.into_iter().next()?.ok());
        let told: Value = told.unwrap_or_default();
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        let address = text("url").and_then(|url| Some(url.strip_prefix("http://")?.to_owned()));
        let (Some(address), Some(once)) = (address, text("one_time_token")) else {
            let _ = child.kill();
            return Err(Failure::server("it did not begin"));
        };
        Ok(Server { child, address, once, _place: place })
    }

    /// A lasting token of its administrator.
    async fn token(&self) -> Result<String, Wrong> {
        let mut sender = connect(&self.address).await?;
        let post = Post { path: "/api/v1/tokens/exchange", token: self.once.as_str().into() };
        let answer = ask(&mut sender, &post, "{}".into()).await?;
        let made: Value = serde_json::from_slice(&answer)?;
        Ok(made["token"].as_str().ok_or("there is no token")?.to_owned())
    }

    /// The most memory that it had, in MiB, as the kernel says.
    fn peak_mib(&mut self) -> Result<f64, Failure> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).map_err(|e| Failure::io(&path, &e))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.unwrap_or(0.0) / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Wrong = Box<dyn std::error::Error>;

async fn connect(address: &str) -> Result<Sender, Wrong> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// The whole answer; anything but success is wrong.
async fn ask(sender: &mut Sender, post: &Post, body: Bytes) -> Result<Bytes, Wrong> {
    let request = hyper::Request::post(post.path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", post.token))
        .body(Full::new(body))?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    match status.is_success() {
        true => Ok(body),
        false => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
    }
}

/// What came of single calls.
#[derive(Default)]
struct Calls {
    rate: f64,
    /// From when each was due to its answer, in milliseconds, the shortest first.
    took_ms: Vec<f64>,
}

impl Calls {
    fn percentile(&self, share: f64) -> f64 {
        let last = self.took_ms.len().saturating_sub(1);
        self.took_ms.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
    }
}

/// Sends a text a call, on many connections: as fast as answers come, or so many a second, whether or not answers have come.
async fn single(
    address: &str,
    post: &Post,
    texts: &Rc<Vec<String>>,
    seconds: Duration,
    rate: Option<f64>,
) -> Result<Calls, Wrong> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..SINGLE_CONNECTIONS {
        let (mut sender, post, texts) = (connect(address).await?, post.clone(), texts.clone());
        let pause = rate.map(|rate| Duration::from_secs_f64(SINGLE_CONNECTIONS as f64 / rate));
        tasks.push(tokio::task::spawn_local(async move {
            let mut took = Vec::new();
            for turn in 0u32.. {
                let due = match pause {
                    // Connections do not send all at once.
                    Some(pause) => {
                        let shift = pause.mul_f64(number as f64 / SINGLE_CONNECTIONS as f64);
                        let due = begun + shift + pause * turn;
                        tokio::time::sleep_until(due.into()).await;
                        due
                    }
                    None => Instant::now(),
                };
                if due.duration_since(begun) >= seconds {
                    break;
                }
                let at = number + turn as usize * SINGLE_CONNECTIONS;
                let body = json!({ "text": texts[at % texts.len()] }).to_string();
                ask(&mut sender, &post, body.into()).await.map_err(|error| error.to_string())?;
                took.push(due.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, String>(took)
        }));
    }
    let mut calls = Calls::default();
    for task in tasks {
        calls.took_ms.extend(task.await??);
    }
    calls.took_ms.sort_by(f64::total_cmp);
    calls.rate = calls.took_ms.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(calls)
}

/// Sends each text once, as many a call as are allowed; gives texts a second.
async fn bulk(address: &str, post: &Post, texts: &Rc<Vec<String>>) -> Result<f64, Wrong> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..BULK_CONNECTIONS {
        let (mut sender, post, texts) = (connect(address).await?, post.clone(), texts.clone());
        tasks.push(tokio::task::spawn_local(async move {
            for chunk in texts.chunks(TEXTS_MAX).skip(number).step_by(BULK_CONNECTIONS) {
                let body = json!({ "texts": chunk }).to_string();
                let answer = ask(&mut sender, &post, body.into()).await;
                let answer = answer.map_err(|error| error.to_string())?;
                if !answer.ends_with(b"]}") {
                    return Err("an answer was broken off".to_owned());
                }
            }
            Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(texts.len() as f64 / begun.elapsed().as_secs_f64())
}
