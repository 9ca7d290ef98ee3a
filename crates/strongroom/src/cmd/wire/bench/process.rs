//! Processes of a benchmark: each a node that is told what to do by lines, and answers each with a line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use strongroom_wire::{Context as Handling, Failure as Refusal, Node, NodeId};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::super::{Count, start};
use super::{
    PATIENCE, SMALL_BYTES, clock, cpu, key, noise, rss, settings, settings_of_ring, spooled,
};
use crate::errors::Failure;

/// A process that was started.
pub(super) struct Process {
    pub(super) child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(super) id: NodeId,
    pub(super) address: String,
}

impl Process {
    pub(super) fn start(seed: u32) -> Result<Process, Failure> {
        let io = |e: std::io::Error| Failure::io("a process of the benchmark", &e);
        let program = std::env::current_exe().map_err(io)?;
        let mut child = Command::new(program)
            .args(["wire", "bench", "process", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let gone = || Failure::internal("a process of the benchmark has no pipes");
        let orders = child.stdin.take().ok_or_else(gone)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let id = key(seed)?.id();
        let mut process = Process { child, orders, answers, id, address: String::new() };
        process.address = process.answer()?;
        Ok(process)
    }

    pub(super) fn order(&mut self, order: &str) -> Result<(), Failure> {
        writeln!(self.orders, "{order}").map_err(|e| Failure::io("a process", &e))
    }

    pub(super) fn answer(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| Failure::io("a process", &e))?;
        match line.strip_suffix('\n') {
            Some(line) if !line.starts_with("failed") => Ok(line.to_owned()),
            Some(line) => {
                Err(Failure::undecided(format_args!("a process of the benchmark {line}")))
            }
            None => Err(Failure::undecided("a process of the benchmark ended")),
        }
    }

    pub(super) fn ask(&mut self, order: &str) -> Result<String, Failure> {
        self.order(order)?;
        self.answer()
    }

    pub(super) fn number(&mut self, order: &str) -> Result<u64, Failure> {
        let answer = self.ask(order)?;
        answer.parse().map_err(|_| Failure::internal(format_args!("{order} was answered {answer}")))
    }

    /// Kills it, and waits until it is gone.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|e| Failure::io("a process of the benchmark", &e))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process knows.
#[derive(Default)]
struct State {
    /// In a ring: the members in order, and which one this is.
    ring: Mutex<(Vec<NodeId>, usize)>,
    /// What its workers send.
    blobs: Mutex<Vec<Bytes>>,
    acknowledged: AtomicU64,
    acknowledgement: Notify,
    bytes: Count,
    messages: Count,
    /// Numbers of messages that came, and those that were wrong or came twice.
    seen: Mutex<std::collections::HashSet<u64>>,
    wrong: Count,
}

/// Runs a node as another process asks, until its orders end.
pub(super) fn run(runtime: &Runtime, seed: u32) -> std::io::Result<()> {
    let other = |e: &dyn std::fmt::Display| std::io::Error::other(e.to_string());
    let state = Arc::new(State::default());
    let _inside = runtime.enter();
    let key = key(seed).map_err(|f| other(&f.message))?;
    let node = start(key, settings_of_ring()).map_err(|f| other(&f.message))?;
    let _registered = handlers(&node, &state).map_err(|e| other(&e))?;
    let address = runtime.block_on(node.listen("127.0.0.1:0"))?;
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    // More nodes, with which nothing happens.
    let mut others = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match obey(runtime, &node, &state, &words, &mut others) {
            Ok(answer) => answer,
            Err(why) => format!("failed: {line}: {why}"),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn obey(
    runtime: &Runtime,
    node: &Node,
    state: &Arc<State>,
    words: &[&str],
    others: &mut Vec<Node>,
) -> Result<String, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let id = |word: &str| word.parse::<NodeId>().map_err(|e| text(&e));
    match words {
        ["peer", peer, address] => {
            let peer = id(peer)?;
            node.add_peer(peer, vec![(*address).to_owned()]);
            runtime.block_on(node.prime(peer, PATIENCE)).map_err(|e| text(&e))?;
            Ok("ready".into())
        }
        ["ring", mine, members @ ..] => {
            let members = members.iter().map(|m| id(m)).collect::<Result<Vec<_>, _>>()?;
            let mine = mine.parse::<usize>().map_err(|e| text(&e))?;
            *state.ring.lock().unwrap_or_else(PoisonError::into_inner) = (members, mine);
            Ok("ready".into())
        }
        ["prepare", workers] => {
            let workers = workers.parse::<u64>().map_err(|e| text(&e))?;
            let mine = state.ring.lock().unwrap_or_else(PoisonError::into_inner).1;
            // Each worker has bytes of its own.
            let blob = || {
                let mut blob = noise().to_vec();
                blob[0] = mine as u8;
                Bytes::from(blob)
            };
            *state.blobs.lock().unwrap_or_else(PoisonError::into_inner) =
                (0..workers).map(|_| blob()).collect();
            Ok("ready".into())
        }
        ["go"] => {
            let (members, mine) = state.ring.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let next = members[(mine + 1) % members.len()];
            state.acknowledged.store(0, Ordering::SeqCst);
            let blobs = state.blobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let workers = blobs.len() as u64;
            let begun = clock();
            runtime.block_on(async {
                for blob in blobs {
                    let node = node.clone();
                    tokio::spawn(async move { drop(node.send(next, "ring", blob).await) });
                }
                loop {
                    let more = state.acknowledgement.notified();
                    tokio::pin!(more);
                    more.as_mut().enable();
                    if state.acknowledged.load(Ordering::SeqCst) >= workers {
                        break;
                    }
                    more.await;
                }
            });
            Ok(format!("{begun} {}", clock()))
        }
        ["cpu"] => Ok(cpu().to_string()),
        ["rss"] => Ok(rss("self").to_string()),
        ["tcp"] => plain_echo().map(|address| address.to_string()).map_err(|e| text(&e)),
        ["bytes"] => Ok(state.bytes.get().to_string()),
        ["messages"] => Ok(state.messages.get().to_string()),
        ["wrong"] => Ok(state.wrong.get().to_string()),
        ["others", count, peer, address] => {
            let (count, peer) = (count.parse::<u32>().map_err(|e| text(&e))?, id(peer)?);
            for seed in 0..count {
                let key = key(1_000_000 + seed).map_err(|f| f.message)?;
                let other = start(key, settings()).map_err(|f| f.message)?;
                other.add_peer(peer, vec![(*address).to_owned()]);
                runtime.block_on(other.ping(peer, PATIENCE)).map_err(|e| text(&e))?;
                others.push(other);
            }
            Ok("ready".into())
        }
        ["spooled", rest @ ..] => spooled::obey(runtime, node, rest),
        other => Err(format!("{other:?} is no order")),
    }
}

fn handlers(
    node: &Node,
    state: &Arc<State>,
) -> Result<Vec<strongroom_wire::Registration>, strongroom_wire::NotAName> {
    let echo = |_: Handling, bytes: Bytes| async move { Ok::<_, Refusal>(bytes) };
    let ring = state.clone();
    let pass_on = move |handling: Handling, blob: Bytes| {
        let state = ring.clone();
        async move {
            let (next, origin) = {
                let ring = state.ring.lock().unwrap_or_else(PoisonError::into_inner);
                let (members, mine) = &*ring;
                let origin = usize::from(blob.first().copied().unwrap_or(0)) % members.len().max(1);
                let last = (origin + members.len() - 1) % members.len() == *mine;
                let next = members[(mine + 1) % members.len()];
                ((!last).then_some(next), members[origin])
            };
            let sent = match next {
                Some(next) => handling.node.send(next, "ring", blob).await.map(drop),
                None => handling.node.send(origin, "acknowledge", ()).await.map(drop),
            };
            sent.map_err(Refusal::new)
        }
    };
    let acknowledged = state.clone();
    let acknowledge = move |_: Handling, (): ()| {
        acknowledged.acknowledged.fetch_add(1, Ordering::SeqCst);
        acknowledged.acknowledgement.notify_waiters();
        async { Ok::<_, Refusal>(()) }
    };
    let sunk = state.clone();
    let sink = move |_: Handling, bytes: Bytes| {
        sunk.bytes.add(bytes.len() as u64);
        sunk.messages.add(1);
        async { Ok::<_, Refusal>(()) }
    };
    let (checked, whole) = (state.clone(), noise());
    let check = move |_: Handling, bytes: Bytes| {
        let number = bytes.first_chunk().map_or(u64::MAX, |n| u64::from_le_bytes(*n));
        let fresh = checked.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        let right = bytes.get(8..) == whole.get(8..bytes.len());
        if !(fresh && right) {
            checked.wrong.add(1);
        }
        checked.messages.add(1);
        async { Ok::<_, Refusal>(()) }
    };
    Ok(vec![
        node.register("echo", echo)?,
        node.register("ring", pass_on)?,
        node.register("acknowledge", acknowledge)?,
        node.register("sink", sink)?,
        node.register("check", check)?,
    ])
}

/// A blocking echo of small messages over plain TCP, in a thread of its own.
fn plain_echo() -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let _ = stream.set_nodelay(true);
        let mut bytes = [0; SMALL_BYTES];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
    });
    Ok(address)
}
