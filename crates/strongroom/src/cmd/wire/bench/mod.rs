//! `wire bench`: what messages between processes on this machine cost. Each row starts the processes that it needs.

mod process;
mod spooled;

use self::process::Process;
use super::{Chance, start};
use crate::cmd::Context;
use crate::errors::{Answer, Failure};
use crate::output;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use strongroom_wire::testing::ResettingProxy;
use strongroom_wire::{Bounds, Fate, Node, NodeId, NodeKey, Settings};
use tokio::runtime::Runtime;

/// Large messages are of this size.
const LARGE_BYTES: usize = 10 << 20;
/// Small ones of this.
const SMALL_BYTES: usize = 64;
/// How long anything is waited for that should happen at once.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    row: Row,
}

#[derive(Subcommand)]
enum Row {
    /// Six processes, each of which sends six messages of 10 MiB around the ring of all
    Ring {
        #[arg(long, default_value = "6", value_parser = clap::value_parser!(u8).range(2..=64))]
        nodes: u8,
        #[arg(long, default_value = "6", value_parser = clap::value_parser!(u8).range(1..=64))]
        workers: u8,
        #[arg(long, default_value = "5")]
        rounds: u32,
    },
    /// Small calls one after the other, beside a blocking TCP connection
    Latency {
        #[arg(long, default_value = "3")]
        seconds: u64,
    },
    /// Small calls, many at once
    Calls {
        #[arg(long, default_value = "3")]
        seconds: u64,
        #[arg(long, default_value = "256")]
        concurrency: usize,
    },
    /// Small calls and pings while large messages flow
    Ping {
        #[arg(long, default_value = "3")]
        seconds: u64,
        #[arg(long, default_value = "4")]
        loaders: usize,
        /// Milliseconds between two; without a pause they alone would take all of two cores
        #[arg(long, default_value = "1")]
        pause_ms: u64,
    },
    /// Messages of 1 KiB to 10 MiB through a proxy that resets connections
    Resets {
        #[arg(long, default_value = "10000")]
        messages: u64,
        #[arg(long, default_value = "1000")]
        resets: u64,
    },
    /// A peer that stops, and is offered 10 GB
    Stalled {
        #[arg(long, default_value = "20")]
        seconds: u64,
    },
    /// Many peers with which nothing happens
    Idle {
        #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u16).range(1..=4000))]
        peers: u16,
        #[arg(long, default_value = "30")]
        seconds: u64,
    },
    /// Messages that are kept on disk, while sender and receiver are killed again and again
    Spooled(spooled::Spooled),
    /// A process that another row starts
    #[command(hide = true)]
    Process { seed: u32 },
}

pub(crate) fn run(cx: &Context, args: Bench, runtime: &Runtime) -> Result<Answer, Failure> {
    let json = match args.row {
        Row::Process { seed } => {
            process::run(runtime, seed).map_err(|e| Failure::io("a process of a benchmark", &e))?;
            return Ok(Answer::Yes);
        }
        Row::Ring { nodes, workers, rounds } => ring(nodes, workers, rounds)?,
        Row::Latency { seconds } => latency(runtime, seconds)?,
        Row::Calls { seconds, concurrency } => calls(runtime, seconds, concurrency)?,
        Row::Ping { seconds, loaders, pause_ms } => ping(runtime, seconds, loaders, pause_ms)?,
        Row::Resets { messages, resets } => reset(runtime, messages, resets)?,
        Row::Stalled { seconds } => stalled(runtime, seconds)?,
        Row::Idle { peers, seconds } => idle(runtime, peers, seconds)?,
        Row::Spooled(args) => spooled::run(runtime, args)?,
    };
    let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    let mut json = json;
    json["congestion_control"] = control.unwrap_or_default().trim().into();
    let lines = json.as_object().into_iter().flatten();
    let lines: Vec<String> = lines.map(|(name, value)| format!("{name:<28}{value}")).collect();
    cx.out.value(&json, lines.join("\n"))?;
    Ok(Answer::of(json["held"] != false))
}

fn key(seed: u32) -> Result<NodeKey, Failure> {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    NodeKey::from_seed(&bytes).map_err(|e| Failure::internal(&e))
}

fn settings() -> Settings {
    Settings { admit: Arc::new(|_| true), ..Settings::default() }
}

/// In a ring where everybody passes on what it still holds, bounds below all that flows could make everybody wait for
/// everybody. The peers of this benchmark have none.
fn settings_of_ring() -> Settings {
    let bulk = Bounds { window: 1 << 30, outgoing: 1 << 30 };
    Settings { bulk, ..settings() }
}

/// User and system time of this process, in nanoseconds.
fn cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The machine's clock, which all processes share, in nanoseconds.
fn clock() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Memory of a process that is not on disk, in bytes; 0 where it cannot be told.
fn rss(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// 10 MiB that every process knows.
fn noise() -> Bytes {
    Chance(1).bytes(LARGE_BYTES as u64).into()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which so many of a hundred lie, in microseconds.
fn percentile(sorted: &[u64], of_hundred: f64) -> f64 {
    let at = (sorted.len() as f64 * of_hundred / 100.0) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(0.0, |nanos| *nanos as f64 / 1e3)
}

fn spread(mut nanos: Vec<u64>) -> Value {
    nanos.sort_unstable();
    json!({
        "round_trips": nanos.len(), "p50_us": percentile(&nanos, 50.0),
        "p99_us": percentile(&nanos, 99.0), "max_us": percentile(&nanos, 100.0),
    })
}

// The rows.

fn ring(nodes: u8, workers: u8, rounds: u32) -> Result<Value, Failure> {
    let mut ring = (0..nodes).map(|n| Process::start(n.into())).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<String> = ring.iter().map(|process| process.id.to_string()).collect();
    let addresses: Vec<String> = ring.iter().map(|process| process.address.clone()).collect();
    let count = ring.len();
    for (at, process) in ring.iter_mut().enumerate() {
        process.ask(&format!("ring {at} {}", ids.join(" ")))?;
        // The next, and the one to which what ends here is acknowledged.
        let next = (at + 1) % count;
        process.ask(&format!("peer {} {}", ids[next], addresses[next]))?;
        process.ask(&format!("prepare {workers}"))?;
    }
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let before = ring.iter_mut().map(|p| p.number("cpu")).sum::<Result<u64, _>>()?;
        for process in &mut ring {
            process.order("go")?;
        }
        let (mut first, mut last) = (u64::MAX, 0u64);
        for process in &mut ring {
            let answer = process.answer()?;
            let (begun, ended) = answer.split_once(' ').unwrap_or_default();
            first = first.min(begun.parse().unwrap_or(u64::MAX));
            last = last.max(ended.parse().unwrap_or(0));
        }
        let after = ring.iter_mut().map(|p| p.number("cpu")).sum::<Result<u64, _>>()?;
        // The first warms.
        if round > 0 {
            walls.push(last.saturating_sub(first) as f64 / 1e9);
            cpus.push((after - before) as f64 / 1e9);
        }
    }
    let messages = u64::from(nodes) * u64::from(workers);
    Ok(json!({
        "benchmark": "ring", "nodes": nodes, "workers": workers, "bytes": LARGE_BYTES,
        "bytes_on_the_wire": messages * u64::from(nodes - 1) * LARGE_BYTES as u64,
        "wall_s": walls, "cpu_s": cpus,
        "wall_s_median": median(walls.clone()), "cpu_s_median": median(cpus.clone()),
    }))
}

/// A node here, and one in another process that it knows and is connected to.
fn pair(runtime: &Runtime) -> Result<(Node, Process), Failure> {
    let process = Process::start(1)?;
    let node = start(key(0)?, settings())?;
    node.add_peer(process.id, vec![process.address.clone()]);
    runtime.block_on(node.prime(process.id, PATIENCE)).map_err(Failure::undecided)?;
    Ok((node, process))
}

async fn round_trips(
    node: Node,
    to: NodeId,
    until: Instant,
    pause: Duration,
) -> Result<Vec<u64>, Failure> {
    let small = Bytes::from(vec![5; SMALL_BYTES]);
    let mut nanos = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        let reply: Bytes =
            node.call(to, "echo", small.clone(), PATIENCE).await.map_err(Failure::undecided)?;
        nanos.push(begun.elapsed().as_nanos() as u64);
        debug_assert_eq!(reply.len(), SMALL_BYTES);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(nanos)
}

fn latency(runtime: &Runtime, seconds: u64) -> Result<Value, Failure> {
    let _inside = runtime.enter();
    let (node, mut process) = pair(runtime)?;
    let address = process.ask("tcp")?;
    let io = |e: std::io::Error| Failure::io("plain TCP", &e);
    let mut plain = std::net::TcpStream::connect(address).map_err(io)?;
    plain.set_nodelay(true).map_err(io)?;
    let blocking = |plain: &mut std::net::TcpStream, until: Instant| {
        let (mut bytes, mut nanos) = ([5; SMALL_BYTES], Vec::new());
        while Instant::now() < until {
            let begun = Instant::now();
            plain.write_all(&bytes)?;
            plain.read_exact(&mut bytes)?;
            nanos.push(begun.elapsed().as_nanos() as u64);
        }
        Ok::<_, std::io::Error>(nanos)
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turns, so that both meet the same machine.
    for turn in 0..=seconds * 2 {
        let until = || Instant::now() + Duration::from_millis(500);
        let plain_nanos = blocking(&mut plain, until()).map_err(io)?;
        let trips = round_trips(node.clone(), process.id, until(), Duration::ZERO);
        let nanos = runtime.block_on(runtime.spawn(trips)).map_err(|e| Failure::internal(&e))??;
        if turn > 0 {
            theirs.extend(plain_nanos);
            ours.extend(nanos);
        }
    }
    let (ours, theirs) = (spread(ours), spread(theirs));
    let ratio = ours["p50_us"].as_f64().unwrap_or(0.0) / theirs["p50_us"].as_f64().unwrap_or(1.0);
    Ok(json!({ "benchmark": "latency", "call": ours, "blocking_tcp": theirs, "p50_ratio": ratio }))
}

fn calls(runtime: &Runtime, seconds: u64, concurrency: usize) -> Result<Value, Failure> {
    let _inside = runtime.enter();
    let (node, mut process) = pair(runtime)?;
    let mut before = 0;
    let mut result = Value::Null;
    for warm in [true, false] {
        if !warm {
            before = cpu() + process.number("cpu")?;
        }
        let begun = Instant::now();
        let until = begun + Duration::from_secs(if warm { 1 } else { seconds });
        let callers: Vec<_> = (0..concurrency)
            .map(|_| runtime.spawn(round_trips(node.clone(), process.id, until, Duration::ZERO)))
            .collect();
        let mut nanos = Vec::new();
        for caller in callers {
            nanos.extend(runtime.block_on(caller).map_err(|e| Failure::internal(&e))??);
        }
        let elapsed = begun.elapsed().as_secs_f64();
        if !warm {
            let spent = cpu() + process.number("cpu")? - before;
            let count = nanos.len();
            result = json!({
                "benchmark": "calls", "concurrency": concurrency, "bytes": SMALL_BYTES,
                "calls_per_s": count as f64 / elapsed,
                "cpu_us_per_call": spent as f64 / 1e3 / count.max(1) as f64, "call": spread(nanos),
            });
        }
    }
    Ok(result)
}

fn ping(runtime: &Runtime, seconds: u64, loaders: usize, pause_ms: u64) -> Result<Value, Failure> {
    let pause = Duration::from_millis(pause_ms);
    let _inside = runtime.enter();
    let (node, mut process) = pair(runtime)?;
    let to = process.id;
    let stop = Arc::new(AtomicBool::new(false));
    let blob = noise();
    let loading: Vec<_> = (0..loaders)
        .map(|_| {
            let (node, blob, stop) = (node.clone(), blob.clone(), stop.clone());
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    node.call::<()>(to, "sink", blob.clone(), PATIENCE).await?;
                }
                Ok::<_, strongroom_wire::CallError>(())
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let (begun, before) = (Instant::now(), process.number("bytes")?);
    let spent = cpu() + process.number("cpu")?;
    let until = || Instant::now() + Duration::from_secs(seconds);
    let trips = round_trips(node.clone(), to, until(), pause);
    let calls = runtime.block_on(runtime.spawn(trips)).map_err(|e| Failure::internal(&e))??;
    let pinging = {
        let (node, until) = (node.clone(), until());
        async move {
            let mut nanos = Vec::new();
            while Instant::now() < until {
                let trip = node.ping(to, PATIENCE).await.map_err(Failure::undecided)?;
                nanos.push(trip.as_nanos() as u64);
                tokio::time::sleep(pause).await;
            }
            Ok::<_, Failure>(nanos)
        }
    };
    let pings = runtime.block_on(runtime.spawn(pinging)).map_err(|e| Failure::internal(&e))??;
    let bytes = process.number("bytes")? - before;
    let spent = cpu() + process.number("cpu")? - spent;
    let gb_per_s = bytes as f64 / 1e9 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for loader in loading {
        runtime.block_on(loader).map_err(|e| Failure::internal(&e))?.map_err(Failure::undecided)?;
    }
    Ok(json!({
        "benchmark": "ping", "loaders": loaders, "pause_ms": pause_ms, "load_gb_per_s": gb_per_s,
        "cpu_s_per_gb": spent as f64 / bytes.max(1) as f64,
        "call": spread(calls), "ping": spread(pings),
    }))
}

fn reset(runtime: &Runtime, messages: u64, resets: u64) -> Result<Value, Failure> {
    let _inside = runtime.enter();
    let mut process = Process::start(1)?;
    let node = start(key(0)?, settings())?;
    // So many bytes on average between two resets that there are as many as asked for.
    let mean = messages * (LARGE_BYTES as u64 / 2) / resets.max(1);
    let proxied = ResettingProxy::start(process.address.clone(), mean, 9);
    let proxy = runtime.block_on(proxied).map_err(|e| Failure::io("the proxy", &e))?;
    node.add_peer(process.id, vec![proxy.address().to_string()]);
    let (whole, to) = (noise(), process.id);
    let mut draw = Chance(3);
    let begun = Instant::now();
    let mut receipts = Vec::new();
    for number in 0..messages {
        let length = draw.between((1024, LARGE_BYTES as u64)) as usize;
        let message = Bytes::from([&number.to_le_bytes()[..], &whole[8..length]].concat());
        let sent = node.send(to, "check", message);
        receipts.push(runtime.block_on(sent).map_err(Failure::undecided)?);
    }
    proxy.calm();
    let mut delivered = 0;
    for receipt in receipts {
        delivered += u64::from(runtime.block_on(receipt.fate()) == Fate::Delivered);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let (came, wrong) = (process.number("messages")?, process.number("wrong")?);
    let held = delivered == messages && came == messages && wrong == 0;
    Ok(json!({
        "benchmark": "resets", "messages": messages, "resets": proxy.resets(), "seconds": elapsed,
        "acknowledged": delivered, "handled": came, "wrong_or_twice": wrong, "held": held,
    }))
}

fn stalled(runtime: &Runtime, seconds: u64) -> Result<Value, Failure> {
    let _inside = runtime.enter();
    let (node, mut process) = pair(runtime)?;
    let to = process.id;
    // Something flows first, so that every buffer has been used.
    for _ in 0..20 {
        let blob = Bytes::from(noise().to_vec());
        let call = node.call::<()>(to, "sink", blob, PATIENCE);
        runtime.block_on(call).map_err(Failure::undecided)?;
    }
    let before = rss("self");
    let pid = rustix::process::Pid::from_child(&process.child);
    let signal = |signal| {
        rustix::process::kill_process(pid, signal).map_err(|e| Failure::io("a signal", &e.into()))
    };
    signal(rustix::process::Signal::STOP)?;
    let (until, mut most) = (Instant::now() + Duration::from_secs(seconds), 0);
    let (mut offered, mut taken) = (0u64, Vec::new());
    while Instant::now() < until && offered < 10_000_000_000 {
        let blob = Bytes::from(vec![offered as u8; LARGE_BYTES]);
        let sent = node.send(to, "sink", blob);
        let limited = async { tokio::time::timeout(Duration::from_millis(100), sent).await };
        offered += LARGE_BYTES as u64;
        if let Ok(sent) = runtime.block_on(limited) {
            taken.push(sent.map_err(Failure::undecided)?);
        }
        most = most.max(rss("self"));
    }
    signal(rustix::process::Signal::CONT)?;
    let count = taken.len();
    let mut delivered = 0;
    for receipt in taken {
        let fate = async { tokio::time::timeout(PATIENCE, receipt.fate()).await };
        delivered += usize::from(runtime.block_on(fate) == Ok(Fate::Delivered));
    }
    let came = process.number("messages")?;
    Ok(json!({
        "benchmark": "stalled", "offered_bytes": offered, "taken_messages": count,
        "delivered_later": delivered, "handled": came, "rss_before": output::bytes(before),
        "rss_most": output::bytes(most), "rss_grew_bytes": most.saturating_sub(before),
        "held": delivered == count && most.saturating_sub(before) <= 64 << 20,
    }))
}

fn idle(runtime: &Runtime, peers: u16, seconds: u64) -> Result<Value, Failure> {
    let _inside = runtime.enter();
    // Both processes have a socket for each, and some more.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, most);
    let node = start(key(0)?, settings())?;
    let address =
        runtime.block_on(node.listen("127.0.0.1:0")).map_err(|e| Failure::io("127.0.0.1", &e))?;
    let mut process = Process::start(1)?;
    process.ask(&format!("others 1 {} {address}", node.id()))?;
    let before = rss("self");
    drop(process);
    let mut process = Process::start(2)?;
    process.ask(&format!("others {peers} {} {address}", node.id()))?;
    // What was busy becomes quiet.
    std::thread::sleep(Duration::from_secs(2));
    let after = rss("self");
    let (begun, spent) = (Instant::now(), cpu());
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (cpu() - spent) as f64 / begun.elapsed().as_nanos() as f64;
    let connected = node.peers().iter().filter(|peer| !peer.connections.is_empty()).count();
    Ok(json!({
        "benchmark": "idle", "peers": peers, "connected": connected,
        "bytes_per_peer": after.saturating_sub(before) / u64::from(peers),
        "cpu_percent": share * 100.0, "held": connected == usize::from(peers),
    }))
}
