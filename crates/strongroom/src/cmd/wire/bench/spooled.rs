//! `wire bench spooled`: a sender and a receiver of messages that are kept on disk, either of which is killed again and again. Both
//! write down what they do; at the end that is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};
use strongroom_spool::OsDisk;
use strongroom_wire::{Context as Handling, Failure as Refusal, Node, NodeId};
use tokio::runtime::Runtime;

use super::super::Chance;
use super::process::Process;
use crate::errors::Failure;

/// The name that messages have here.
const NAME: &str = "spooled";
/// Bytes that a node keeps on disk at most.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of a message at most.
const MESSAGE_BYTES_MAX: u64 = 256 * 1024;
/// All is waited for so long after the last kill.
const PATIENCE: Duration = Duration::from_secs(120);
/// One message in so many takes long to handle, so that a kill can hit its handler whatever else the machine does.
const LONG_ONE_IN: u64 = 8;
/// How long these take.
const LONG: Duration = Duration::from_millis(20);
/// So long one is waited for before the receiver is killed anyway.
const LONG_WAIT: Duration = Duration::from_secs(2);
/// The seeds of the two processes' keys.
const SENDER: u32 = 21;
const RECEIVER: u32 = 22;

#[derive(Args)]
pub(crate) struct Spooled {
    #[arg(long, default_value = "3000")]
    messages: u64,
    #[arg(long, default_value = "100")]
    kills: u64,
    /// The same number gives the same kills, as far as the machine allows
    #[arg(long, default_value = "1")]
    seed: u64,
    /// A bug that must be found: "forgets" (the sender says that it keeps what it does not), "hides" (the receiver does not
    /// say that a handler had begun)
    #[arg(long, value_parser = ["forgets", "hides"])]
    plant: Option<String>,
}

/// What a line says that a process wrote down, and of which message.
const TRIED: &str = "tried";
const KEPT: &str = "kept";
const BEGUN: &str = "begun";
const AGAIN: &str = "again";
const DONE: &str = "done";
/// The receiver was started.
const LIFE: &str = "life";

/// Obeys an order of the one that runs the campaign.
pub(super) fn obey(runtime: &Runtime, node: &Node, words: &[&str]) -> Result<String, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let number = |word: &str| word.parse::<u64>().map_err(|e| text(&e));
    match words {
        ["open", folder] => {
            std::fs::create_dir_all(folder).map_err(|e| text(&e))?;
            let disk = Arc::new(OsDisk);
            node.open_spool(disk, Path::new(folder), BYTES_MAX).map_err(|e| text(&e))?;
            Ok("ready".into())
        }
        ["peer", peer, address] => {
            node.add_peer(peer.parse().map_err(|e| text(&e))?, vec![(*address).to_owned()]);
            Ok("ready".into())
        }
        ["handle", diary, plant] => {
            let diary = Diary::open(diary).map_err(|e| text(&e))?;
            diary.write(LIFE, 0).map_err(|e| text(&e))?;
            let hides = *plant == "hides";
            let handler = move |handling: Handling, bytes: Bytes| {
                let (diary, told) = (diary.clone(), handling.redelivered && !hides);
                async move {
                    let number = bytes.first_chunk().map_or(u64::MAX, |n| u64::from_le_bytes(*n));
                    let begun = if told { AGAIN } else { BEGUN };
                    diary.write(begun, number).map_err(Refusal::new)?;
                    tokio::time::sleep(match number % LONG_ONE_IN {
                        0 => LONG,
                        _ => Duration::from_micros(number * 7919 % 4000),
                    })
                    .await;
                    if bytes[8..] != Chance(number).bytes(bytes.len() as u64 - 8)[..] {
                        return Err(Refusal::new("other bytes"));
                    }
                    diary.write(DONE, number).map_err(Refusal::new)
                }
            };
            // As long as the process.
            std::mem::forget(node.register(NAME, handler).map_err(|e| text(&e))?);
            Ok("ready".into())
        }
        ["send", peer, from, to, diary, plant] => {
            let peer: NodeId = peer.parse().map_err(|e| text(&e))?;
            let (from, to, forgets) = (number(from)?, number(to)?, *plant == "forgets");
            let (diary, node) = (Diary::open(diary).map_err(|e| text(&e))?, node.clone());
            runtime.spawn(async move {
                for number in from..to {
                    let length = Chance(number ^ 0x5eed).between((8, MESSAGE_BYTES_MAX));
                    let message =
                        [&number.to_le_bytes()[..], &Chance(number).bytes(length - 8)].concat();
                    let kept = async {
                        diary.write(TRIED, number).ok()?;
                        if !(forgets && number % 50 == 7) {
                            node.send_spooled(peer, NAME, Bytes::from(message)).await.ok()?;
                        }
                        diary.write(KEPT, number).ok()
                    };
                    if kept.await.is_none() {
                        return;
                    }
                }
            });
            Ok("ready".into())
        }
        ["left", peer] => {
            Ok(node.spooled(peer.parse::<NodeId>().map_err(|e| text(&e))?).0.to_string())
        }
        other => Err(format!("{other:?} is no order")),
    }
}

/// What a process writes down as it happens. A line is one write, which the system keeps when the process is killed.
#[derive(Clone)]
struct Diary(Arc<File>);

impl Diary {
    fn open(path: &str) -> std::io::Result<Diary> {
        Ok(Diary(Arc::new(OpenOptions::new().append(true).create(true).open(path)?)))
    }

    fn write(&self, what: &str, number: u64) -> std::io::Result<()> {
        (&*self.0).write_all(format!("{what} {number}\n").as_bytes())
    }

    fn read(path: &Path) -> Result<Vec<(String, u64)>, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::io(path.display(), &e))?;
        let entry = |line: &str| {
            let (what, number) = line.split_once(' ')?;
            Some((what.to_owned(), number.parse().ok()?))
        };
        Ok(text.lines().filter_map(entry).collect())
    }
}

/// The two processes, and where they keep what.
struct Campaign {
    folder: PathBuf,
    plant: String,
    messages: u64,
    sender: Process,
    receiver: Process,
}

impl Campaign {
    fn diary(folder: &Path, whose: &str) -> PathBuf {
        folder.join(format!("{whose}.diary"))
    }

    fn start_receiver(folder: &Path, plant: &str) -> Result<Process, Failure> {
        let mut receiver = Process::start(RECEIVER)?;
        // Handlers first: what comes finds them.
        let diary = Campaign::diary(folder, "receiver");
        receiver.ask(&format!("spooled handle {} {plant}", diary.display()))?;
        receiver.ask(&format!("spooled open {}", folder.join("receiver").display()))?;
        Ok(receiver)
    }

    fn start_sender(folder: &Path) -> Result<Process, Failure> {
        let mut sender = Process::start(SENDER)?;
        sender.ask(&format!("spooled open {}", folder.join("sender").display()))?;
        Ok(sender)
    }

    /// The sender is told where the receiver is.
    fn meet(&mut self) -> Result<(), Failure> {
        let Process { id, address, .. } = &self.receiver;
        let order = format!("spooled peer {id} {address}");
        self.sender.ask(&order).map(drop)
    }

    /// The sender goes on with the message after the last that it tried. Of that nobody can say whether it was kept.
    fn send(&mut self) -> Result<(), Failure> {
        let diary = Campaign::diary(&self.folder, "sender");
        let from = match diary.exists() {
            true => Diary::read(&diary)?.iter().map(|(_, number)| number + 1).max().unwrap_or(0),
            false => 0,
        };
        let (id, to) = (self.receiver.id, self.messages);
        let order = format!("spooled send {id} {from} {to} {} {}", diary.display(), self.plant);
        self.sender.ask(&order).map(drop)
    }

    /// Waits until a handler of the receiver is at work that takes long.
    fn wait_for_handler(&self) {
        let (diary, begun) = (Campaign::diary(&self.folder, "receiver"), Instant::now());
        while !Diary::read(&diary).is_ok_and(|diary| is_handling_long(&diary))
            && begun.elapsed() < LONG_WAIT
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn left(&mut self) -> Result<u64, Failure> {
        let order = format!("spooled left {}", self.receiver.id);
        self.sender.number(&order)
    }
}

pub(super) fn run(_: &Runtime, args: Spooled) -> Result<Value, Failure> {
    let Spooled { messages, kills, seed, plant } = args;
    let plant = plant.unwrap_or_else(|| "nothing".into());
    let temporary = tempfile::tempdir().map_err(|e| Failure::io("a temporary folder", &e))?;
    let folder = temporary.path().to_path_buf();
    let receiver = Campaign::start_receiver(&folder, &plant)?;
    let sender = Campaign::start_sender(&folder)?;
    let mut campaign = Campaign { folder: folder.clone(), plant, messages, sender, receiver };
    campaign.meet()?;
    campaign.send()?;
    let begun = Instant::now();
    let mut chance = Chance(seed);
    let (mut senders, mut receivers) = (0, 0);
    let sender_diary = Campaign::diary(&folder, "sender");
    for kill in 0..kills {
        // Spread over all that is sent.
        let until = messages * (kill + 1) / (kills + 1);
        while Diary::read(&sender_diary).is_ok_and(|d| d.last().is_none_or(|l| l.1 < until)) {
            if begun.elapsed() > PATIENCE * 5 {
                return Err(Failure::undecided("the sender does not go on"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(chance.between((0, 20_000))));
        let which = chance.between((0, 4));
        // What the old processes have on disk is free only when they are gone, which dropping them waits for.
        if which != 1 {
            receivers += 1;
            // By turns at any moment and in a handler.
            if receivers % 2 == 0 {
                campaign.wait_for_handler();
            }
            campaign.receiver.kill()?;
            campaign.receiver = Campaign::start_receiver(&folder, &campaign.plant)?;
        }
        if which <= 1 {
            senders += 1;
            campaign.sender.kill()?;
            campaign.sender = Campaign::start_sender(&folder)?;
        }
        campaign.meet()?;
        if which <= 1 {
            campaign.send()?;
        }
    }
    let calm = Instant::now();
    let last = |diary: &[(String, u64)]| diary.iter().map(|(_, n)| n + 1).max().unwrap_or(0);
    while last(&Diary::read(&sender_diary)?) < messages || campaign.left()? > 0 {
        if calm.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = campaign.left()?;
    let found =
        compare(&Diary::read(&sender_diary)?, &Diary::read(&Campaign::diary(&folder, "receiver"))?);
    let Found { kept, lost, in_keeping, redelivered, unflagged, in_handler } = found;
    Ok(json!({
        "benchmark": "spooled", "messages": messages, "kept": kept, "seconds": begun.elapsed().as_secs_f64(),
        "killed_senders": senders, "killed_receivers": receivers,
        "cut_off_while_keeping": in_keeping, "cut_off_in_a_handler": in_handler,
        "redelivered_and_told": redelivered, "lost": lost, "redelivered_without_a_word": unflagged, "left": left,
        "held": lost == 0 && unflagged == 0 && left == 0,
    }))
}

/// Whether the receiver, since it was started last, has begun with a message that takes long, and has not done with it.
fn is_handling_long(receiver: &[(String, u64)]) -> bool {
    let life = receiver.rsplit(|(what, _)| what == LIFE).next().unwrap_or_default();
    let mut open = BTreeSet::new();
    for (what, number) in life.iter().filter(|(_, number)| number % LONG_ONE_IN == 0) {
        match what.as_str() {
            DONE => open.remove(number),
            _ => open.insert(*number),
        };
    }
    !open.is_empty()
}

#[derive(Default)]
struct Found {
    kept: u64,
    /// Kept, and never handled to the end.
    lost: u64,
    /// Messages of which the sender cannot say whether they were kept.
    in_keeping: u64,
    redelivered: u64,
    /// Handlers that began with a message that another had begun with, and were not told.
    unflagged: u64,
    /// Handlers that never came to their end.
    in_handler: u64,
}

/// Compares what was kept with what was handled.
fn compare(sender: &[(String, u64)], receiver: &[(String, u64)]) -> Found {
    let mut found = Found::default();
    // How often a handler began with each, and came to its end.
    let mut handled = BTreeMap::<u64, (u64, u64)>::new();
    for (what, number) in receiver.iter().filter(|(what, _)| what != LIFE) {
        let (begun, done) = handled.entry(*number).or_default();
        match what.as_str() {
            DONE => *done += 1,
            what => {
                found.redelivered += u64::from(what == AGAIN);
                found.unflagged += u64::from(what == BEGUN && *begun > 0);
                *begun += 1;
            }
        }
    }
    found.in_handler = handled.values().map(|(begun, done)| begun.saturating_sub(*done)).sum();
    let mut tried = 0;
    for (what, number) in sender {
        if what == TRIED {
            tried += 1;
        } else {
            found.kept += 1;
            found.lost += u64::from(handled.get(number).is_none_or(|(_, done)| *done == 0));
        }
    }
    found.in_keeping = tried - found.kept;
    found
}
