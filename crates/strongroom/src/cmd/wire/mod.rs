//! `wire`: messages between nodes, to try a network, and to measure it.

mod bench;

use super::Context;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use strongroom_digest::{Algorithm, Hasher};
use strongroom_wire::blob::{Incoming, PIECE_BYTES_MAX};
use strongroom_wire::membership;
use strongroom_wire::path::Tcp;
use strongroom_wire::{
    CallError, Context as Handling, Failure as Refusal, Node, NodeId, NodeKey, Settings,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages that are under way at once when many are sent.
const UNDER_WAY: usize = 16;
/// What a peer is asked for, by name.
const MESSAGE: &str = "strongroom.message";
const BLOB: &str = "strongroom.blob";
const PEERS: &str = "strongroom.peers";
const METRICS: &str = "strongroom.metrics";
/// Bytes of messages that are kept in a spool.
const SPOOL_BYTES_MAX: u64 = 4 << 30;
/// Bytes of a file that is sent as one spooled message.
const SPOOLED_BYTES_MAX: u64 = 30 << 20;
/// Bytes of a message's number, with which it begins.
const NUMBER_BYTES: usize = 8;
/// Replies that are under way at the end are waited for so long.
const LAST_REPLIES: Duration = Duration::from_secs(5);
/// A line for a message that was taken in waits for stdout; so many may.
const LINES_MAX: usize = 1024;

#[derive(Subcommand)]
pub(crate) enum Wire {
    /// Take messages from other nodes, and print a line for each
    Listen(Listen),
    /// Send messages to a node that listens, and print a line for each that was handled
    Send(Send),
    /// Measure the round trip to a node that listens
    Ping(Ping),
    /// Show the peers of a node that listens, and the lanes to each
    Peers(Peers),
    /// Measure messages between processes on this machine
    Bench(bench::Bench),
}

#[derive(Args)]
pub(crate) struct Me {
    /// The node's private key; it is drawn and kept where the file is not there. Without, one for this run alone
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Listen {
    #[command(flatten)]
    me: Me,
    /// Where to listen; a port of 0 is chosen by the system
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    address: String,
    /// Take messages from this node; may be given again. Without, from every node
    #[arg(long, value_name = "NODE")]
    admit: Vec<NodeId>,
    /// Be a member of the network in which this node is, and be told of the others; may be given again
    #[arg(long, value_name = "NODE@HOST:PORT", value_parser = peer)]
    join: Vec<(NodeId, String)>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    spool: Spool,
}

#[derive(Args)]
pub(crate) struct Spool {
    /// Messages that are sent with --spool outlive either side: in this folder it is kept what is to be delivered, and what was.
    /// It is made where it is not there; say --key too, since it belongs to the node
    #[arg(long, value_name = "FOLDER", requires = "key")]
    spool: Option<PathBuf>,
}

impl Spool {
    fn open(&self, node: &Node) -> Result<bool, Failure> {
        let Some(folder) = &self.spool else { return Ok(false) };
        std::fs::create_dir_all(folder).map_err(|e| Failure::io(folder.display(), &e))?;
        let disk = Arc::new(strongroom_spool::OsDisk);
        node.open_spool(disk, folder, SPOOL_BYTES_MAX).map_err(Failure::undecided)?;
        Ok(true)
    }
}

#[derive(Args)]
pub(crate) struct To {
    #[command(flatten)]
    me: Me,
    /// Which node, and where: what `wire listen` says
    #[arg(value_name = "NODE@HOST:PORT", value_parser = peer)]
    peer: (NodeId, String),
}

#[derive(Args)]
pub(crate) struct Send {
    #[command(flatten)]
    to: To,
    /// Send the contents of these files, each as a message
    files: Vec<PathBuf>,
    /// Send so many messages of chance bytes
    #[arg(long, value_name = "N", conflicts_with = "files")]
    generate: Option<u64>,
    /// How large generated messages are: one size, or from the first to the second
    #[arg(long, value_name = "SIZE[-SIZE]", default_value = "1KiB", value_parser = sizes)]
    size: (u64, u64),
    #[command(flatten)]
    spool: Spool,
    /// Give a message up after so many seconds; one that is in the spool stays there, and the next run goes on with it
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    to: To,
    /// How often
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// Pause between two, in milliseconds
    #[arg(long, value_name = "MS", default_value = "100")]
    pause: u64,
}

#[derive(Args)]
pub(crate) struct Peers {
    #[command(flatten)]
    to: To,
    /// Print what it counts, as Prometheus reads it
    #[arg(long)]
    metrics: bool,
}

pub(crate) fn run(cx: &Context, args: Wire) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(strongroom_wire::threads::be_quick)
        .build()
        .map_err(|e| Failure::io("threads", &e))?;
    let answer = match args {
        Wire::Listen(args) => runtime.block_on(listen(cx, args)),
        Wire::Send(args) => runtime.block_on(send(cx, args)),
        Wire::Ping(args) => runtime.block_on(ping(cx, args)),
        Wire::Peers(args) => runtime.block_on(peers(cx, args)),
        Wire::Bench(args) => bench::run(cx, args, &runtime),
    };
    // Handlers may be waiting for what will not come.
    runtime.shutdown_background();
    answer
}

async fn listen(cx: &Context, args: Listen) -> Result<Answer, Failure> {
    let Listen { me, address, admit, join, count, spool } = args;
    let anybody = admit.is_empty();
    let admit = Arc::new(move |id: &NodeId| anybody || admit.contains(id));
    let node = start(me.key()?, Settings { admit, ..Settings::default() })?;
    let (lines, mut taken) = mpsc::channel(LINES_MAX);
    let number = |bytes: &[u8]| match bytes.first_chunk::<NUMBER_BYTES>() {
        Some(number) => Ok(u64::from_le_bytes(*number)),
        None => Err(Refusal::new("a message without a number")),
    };
    let tell = async |lines: mpsc::Sender<Row>, row| {
        lines.send(row).await.map_err(|_| Refusal::new("nobody takes messages any more"))
    };
    let small = lines.clone();
    let _message = node
        .register(MESSAGE, move |handling: Handling, bytes: bytes::Bytes| {
            let lines = small.clone();
            async move {
                let (number, rest) = (number(&bytes)?, &bytes[NUMBER_BYTES..]);
                let mut hasher = Hasher::new(Algorithm::Sha256);
                hasher.update(rest);
                let (mut json, mut line) = row(number, rest.len() as u64, hasher, handling.from);
                json["redelivered"] = handling.redelivered.into();
                if handling.redelivered {
                    line.push_str("  redelivered");
                }
                tell(lines, (json, line)).await
            }
        })
        .map_err(Failure::internal)?;
    let _blob = node
        .register_blobs(BLOB, move |handling: Handling, mut incoming: Incoming| {
            let lines = lines.clone();
            async move {
                let number = number(&incoming.about)?;
                let mut hasher = Hasher::new(Algorithm::Sha256);
                while let Some(piece) = incoming.next().await? {
                    hasher.update(&piece);
                }
                tell(lines, row(number, incoming.length, hasher, handling.from)).await
            }
        })
        .map_err(Failure::internal)?;
    let _peers = node
        .register(PEERS, |handling: Handling, (): ()| async move {
            Ok(peers_json(&handling.node).to_string())
        })
        .map_err(|e| Failure::internal(&e))?;
    let _metrics = node
        .register(METRICS, |handling: Handling, (): ()| async move {
            Ok(strongroom_wire::metrics::text(&handling.node))
        })
        .map_err(|e| Failure::internal(&e))?;
    spool.open(&node)?;
    let at = node.listen(&address).await.map_err(|e| Failure::io(&address, &e))?;
    node.take_part(&[at.to_string()], membership::Settings::default())
        .map_err(Failure::internal)?;
    for (other, address) in join {
        node.add_peer(other, vec![address]);
        node.join(other);
    }
    eprintln!("Listening. Elsewhere, run: strongroom wire send {}@{at} FILE...", node.id());
    let mut list = cx.out.list();
    let (mut left, mut interrupt) = (count, Box::pin(tokio::signal::ctrl_c()));
    while left != Some(0) {
        let (json, line) = tokio::select! {
            line = taken.recv() => match line {
                Some(line) => line,
                None => break,
            },
            _ = &mut interrupt => break,
        };
        list.row(&json, line)?;
        left = left.map(|left| left - 1);
    }
    list.end()?;
    // The last replies are on their way.
    node.settled(LAST_REPLIES).await;
    node.close();
    Ok(Answer::Yes)
}

async fn send(cx: &Context, args: Send) -> Result<Answer, Failure> {
    let Send { to, files, generate, size, spool, timeout } = args;
    let (node, peer) = to.connect()?;
    let spooled = spool.open(&node)?;
    let before = node.spooled(peer).0;
    if files.is_empty() && generate.is_none() && before == 0 {
        return Err(Failure::usage("there is nothing to send")
            .hint("Name files, or say --generate with a number."));
    }
    let timeout = Duration::from_secs(timeout);
    let mut under_way = VecDeque::<(JoinHandle<Result<(), CallError>>, _)>::new();
    let mut list = cx.out.list();
    let mut draw = Chance::default();
    let total = generate.unwrap_or(files.len() as u64);
    let mut failed = 0;
    for number in 0..total {
        let (node, about) = (node.clone(), bytes::Bytes::copy_from_slice(&number.to_le_bytes()));
        let mut hasher = Hasher::new(Algorithm::Sha256);
        under_way.push_back(match files.get(usize::try_from(number).unwrap_or(usize::MAX)) {
            Some(path) if spooled => {
                let (file, length) =
                    hash_file(path, &mut hasher).map_err(|e| Failure::io(path.display(), &e))?;
                let message = read_message(file, length, &about)
                    .map_err(|e| Failure::io(path.display(), &e))?;
                (
                    tokio::spawn(send_spooled(node, peer, message, timeout)),
                    row(number, length, hasher, peer),
                )
            }
            // A file may be of any size, and is read as it is taken.
            Some(path) => {
                let (file, length) =
                    hash_file(path, &mut hasher).map_err(|e| Failure::io(path.display(), &e))?;
                let sent = async move { node.stream(peer, BLOB, about, file, timeout).await };
                (tokio::spawn(sent), row(number, length, hasher, peer))
            }
            None => {
                let bytes = draw.bytes(draw.clone().between(size));
                hasher.update(&bytes);
                let line = row(number, bytes.len() as u64, hasher, peer);
                let message = bytes::Bytes::from([&about[..], &bytes].concat());
                let sent = async move {
                    match spooled {
                        true => send_spooled(node, peer, message, timeout).await,
                        false => node.call(peer, MESSAGE, message, timeout).await,
                    }
                };
                (tokio::spawn(sent), line)
            }
        });
        while under_way.len() >= UNDER_WAY || (number + 1 == total && !under_way.is_empty()) {
            let Some((sent, (mut json, line))) = under_way.pop_front() else { break };
            let sent = sent.await.map_err(|e| Failure::internal(&e))?;
            json["handled"] = sent.is_ok().into();
            match sent {
                Ok(()) => list.row(&json, line)?,
                Err(error) => {
                    failed += 1;
                    json["error"] = error.to_string().into();
                    list.row(&json, format_args!("{line}  NOT HANDLED: {error}"))?;
                }
            }
        }
    }
    list.end()?;
    if spooled {
        failed += finish_spooled(&node, peer, timeout).await;
    }
    node.close();
    Ok(Answer::of(failed == 0))
}

/// A file's bytes behind its number, as one message.
fn read_message(
    mut file: std::fs::File,
    length: u64,
    about: &[u8],
) -> std::io::Result<bytes::Bytes> {
    use std::io::{Read as _, Seek as _};
    if length > SPOOLED_BYTES_MAX {
        let why = format!("it has {length} bytes; {SPOOLED_BYTES_MAX} are the most with --spool");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    let mut bytes = about.to_vec();
    file.rewind()?;
    file.take(SPOOLED_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

async fn send_spooled(
    node: Node,
    peer: NodeId,
    message: bytes::Bytes,
    timeout: Duration,
) -> Result<(), CallError> {
    let kept = node.send_spooled(peer, MESSAGE, message).await;
    let receipt = kept.map_err(|error| CallError::Failed(error.to_string()))?;
    tokio::time::timeout(timeout, receipt.handled()).await.unwrap_or(Err(CallError::Deadline))
}

/// Waits for what earlier runs left. Returns how many are left even then.
async fn finish_spooled(node: &Node, peer: NodeId, timeout: Duration) -> usize {
    let delivered = async {
        while node.spooled(peer).0 > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(timeout, delivered).await;
    let left = node.spooled(peer).0;
    if left > 0 {
        eprintln!(
            "{left} messages are kept for {peer}; run this again, without files too, to go on."
        );
    }
    left
}

async fn ping(cx: &Context, args: Ping) -> Result<Answer, Failure> {
    let (node, peer) = args.to.connect()?;
    let mut list = cx.out.list();
    let mut trips = Vec::new();
    for number in 0..args.count {
        let trip = node.ping(peer, Duration::from_secs(10)).await.map_err(unreachable_peer)?;
        let micros = trip.as_micros() as u64;
        trips.push(micros);
        let json = json!({ "number": number, "microseconds": micros });
        list.row(&json, format_args!("{:.3} ms", trip.as_secs_f64() * 1e3))?;
        if number + 1 < args.count {
            tokio::time::sleep(Duration::from_millis(args.pause)).await;
        }
    }
    list.end()?;
    trips.sort_unstable();
    eprintln!("half of them in {:.3} ms", trips[trips.len() / 2] as f64 / 1e3);
    Ok(Answer::Yes)
}

async fn peers(cx: &Context, args: Peers) -> Result<Answer, Failure> {
    let (node, peer) = args.to.connect()?;
    let name = if args.metrics { METRICS } else { PEERS };
    let told: String =
        node.call(peer, name, (), Duration::from_secs(10)).await.map_err(unreachable_peer)?;
    if args.metrics {
        cx.out.line(told.trim_end())?;
        return Ok(Answer::Yes);
    }
    let peers: Value = serde_json::from_str(&told).map_err(|e| Failure::internal(&e))?;
    if cx.out.is_json() {
        cx.out.line(format_args!("{peers:#}"))?;
        return Ok(Answer::Yes);
    }
    let mut rows = Vec::new();
    for peer in peers.as_array().into_iter().flatten() {
        for lane in peer["lanes"].as_array().into_iter().flatten() {
            let connections = peer["connections"].as_array().map_or(0, Vec::len);
            let cells = [
                &lane["queued_messages"],
                &lane["queued_bytes"],
                &lane["held_bytes"],
                &lane["resumes"],
            ];
            let mut row = vec![
                output::short(peer["node"].as_str().unwrap_or_default()),
                connections.to_string(),
                peer["member"].as_str().unwrap_or("-").to_owned(),
                peer["round_trip_microseconds"].to_string(),
                lane["name"].as_str().unwrap_or_default().to_owned(),
            ];
            row.extend(cells.map(ToString::to_string));
            row.push(lane["duplicates"].to_string());
            rows.push(row);
        }
    }
    let head = [
        "node",
        "connections",
        "member",
        "us",
        "lane",
        "messages",
        "bytes",
        "held",
        "resumed",
        "duplicates",
    ];
    cx.out.columns(&head, &rows)?;
    Ok(Answer::Yes)
}

fn peers_json(node: &Node) -> Value {
    let members = node.members();
    let state = |id: NodeId| {
        let member = members.iter().find(|member| member.record.node == id)?;
        Some(match member.record.state {
            membership::State::Alive => "alive",
            membership::State::Suspect { .. } => "suspect",
            membership::State::Dead => "dead",
            membership::State::Left => "left",
        })
    };
    let peers = node.peers().into_iter().map(|peer| {
        let connections = peer.connections.iter().map(|(place, kind, dialled, since)| {
            json!({
                "place": format!("{place:?}"), "kind": kind.to_string(), "dialled": dialled,
                "seconds": since.as_secs(),
            })
        });
        let lanes = peer.lanes.iter().map(|(name, lane)| {
            json!({
                "name": name, "queued_messages": lane.queued.0, "queued_bytes": lane.queued.1,
                "held_bytes": lane.held, "credit_bytes": lane.credit, "duplicates": lane.duplicates, "resumes": lane.resumes,
                "connections": lane.connections,
            })
        });
        json!({
            "node": peer.id.to_string(), "addresses": peer.addresses, "member": state(peer.id),
            "phi": peer.phi,
            "round_trip_microseconds": peer.round_trip.map(|trip| trip.as_micros() as u64),
            "connections": connections.collect::<Vec<_>>(), "lanes": lanes.collect::<Vec<_>>(),
        })
    });
    peers.collect()
}

/// A message as both outputs have it.
type Row = (Value, String);

/// Number, size and digest of a message.
fn row(number: u64, size: u64, hasher: Hasher, peer: NodeId) -> Row {
    let sha256 = hasher.finish().to_string();
    let line = format!("{number:>8}  {size:>12}  {sha256}");
    (json!({ "id": number, "size": size, "sha256": sha256, "peer": peer.to_string() }), line)
}

/// Opens a file, and hashes all of it. Returns it, and how many bytes it has.
fn hash_file(path: &Path, hasher: &mut Hasher) -> std::io::Result<(std::fs::File, u64)> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let (mut piece, mut length) = (vec![0; PIECE_BYTES_MAX], 0);
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok((file, length));
        }
        hasher.update(&piece[..n]);
        length += n as u64;
    }
}

impl Me {
    fn key(&self) -> Result<NodeKey, Failure> {
        let seed = match &self.key {
            Some(path) => kept_seed(path)?,
            None => drawn_seed()?,
        };
        NodeKey::from_seed(&seed).map_err(|e| Failure::internal(&e))
    }
}

fn drawn_seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(Failure::internal)?;
    Ok(seed)
}

/// The seed in a file, as 64 hexadecimal digits; drawn where there is none.
fn kept_seed(path: &Path) -> Result<[u8; 32], Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let wrong = || {
        Failure::usage(format_args!("{} holds no key of a node", path.display())).hint(
            "It should be 64 hexadecimal digits; name a file that is not there to have one drawn.",
        )
    };
    match std::fs::read_to_string(path) {
        // Digits as a node's name has them.
        Ok(text) => text.trim().parse::<NodeId>().map(|id| id.0).map_err(|_| wrong()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = drawn_seed()?;
            let file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let write = file.and_then(|mut file| writeln!(file, "{}", NodeId(seed)));
            write.map_err(|e| Failure::io(path.display(), &e))?;
            Ok(seed)
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(wrong()),
        Err(error) => Err(Failure::io(path.display(), &error)),
    }
}

impl To {
    fn connect(&self) -> Result<(Node, NodeId), Failure> {
        let (peer, address) = self.peer.clone();
        let node = start(self.me.key()?, Settings::default())?;
        node.add_peer(peer, vec![address]);
        Ok((node, peer))
    }
}

fn start(key: NodeKey, settings: Settings) -> Result<Node, Failure> {
    Node::start(key, Tcp, settings).map_err(|e| Failure::internal(&e))
}

fn unreachable_peer(error: CallError) -> Failure {
    Failure::undecided(format_args!("the node cannot be asked: {error}"))
        .hint("Is `strongroom wire listen` running there, with this key and address?")
}

/// `NODE@HOST:PORT`.
fn peer(text: &str) -> Result<(NodeId, String), String> {
    let (node, address) = text.split_once('@').ok_or("this should be NODE@HOST:PORT")?;
    Ok((node.parse().map_err(|e: strongroom_wire::NotANode| e.to_string())?, address.to_owned()))
}

/// One size, or two: `64`, `1KiB-10MiB`.
fn sizes(text: &str) -> Result<(u64, u64), String> {
    let size = |text: &str| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" | "B" => 1u64,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => return Err(format!("{other:?} is no unit: B, KiB, MiB or GiB")),
        };
        let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no size"))?;
        number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (size(from)?, size(to)?);
    match from <= to {
        true => Ok((from, to)),
        false => Err("the first size should be the smaller".into()),
    }
}

/// Bytes that do not compress, the same in every run (SplitMix64, as in `java.util.SplittableRandom`).
#[derive(Clone, Default)]
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        // The span may be all of 64 bits.
        from + self.draw() % (to - from).saturating_add(1)
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let drawn = self.draw().to_le_bytes();
            bytes.extend_from_slice(&drawn[..drawn.len().min(length - bytes.len())]);
        }
        bytes
    }
}

/// Counts what handlers did.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
