//! Spooled messages: over ends of either side, cuts of the power, handlers that fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use strongroom_spool::testing::{Cut, MemDisk};
use strongroom_testkit::Random;
use strongroom_wire::path::Tcp;
use strongroom_wire::spooled::SpoolError;
use strongroom_wire::{CallError, Context, Failure, Node, Registration, Settings};

use super::node::PATIENCE;
use super::*;

const DIR: &str = "spool";
const BYTES_MAX: u64 = 64 << 20;

/// A node on a disk.
async fn start(seed: u8, disk: &MemDisk) -> Node {
    use strongroom_spool::Disk as _;
    let settings = Settings { admit: Arc::new(|_| true), ..Settings::default() };
    let node = Node::start(key(seed), Tcp, settings).unwrap();
    disk.create_dir(Path::new(DIR)).ok();
    let opened = async {
        // Whoever had it before may not be quite gone.
        while let Err(error) = node.open_spool(Arc::new(disk.clone()), Path::new(DIR), BYTES_MAX) {
            assert!(matches!(error, SpoolError::InUse(_)), "{error}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap();
    node
}

/// What handlers did with each message.
#[derive(Default)]
struct Seen {
    /// How often one began, and whether it was told that another had.
    begun: Vec<bool>,
    done: u32,
}

type All = Arc<Mutex<BTreeMap<u64, Seen>>>;

/// Handlers that take their time, and of which some never end in the life in which they begin first.
fn handle(node: &Node, all: &All) -> Registration {
    let all = all.clone();
    let handler = move |context: Context, bytes: Bytes| {
        let all = all.clone();
        async move {
            let number = u64::from_le_bytes(*bytes.first_chunk().unwrap());
            assert!(bytes[8..].iter().all(|byte| *byte == number as u8), "its bytes");
            let first = {
                let mut all = all.lock().unwrap();
                let seen = all.entry(number).or_default();
                seen.begun.push(context.redelivered);
                seen.begun.len() == 1
            };
            tokio::time::sleep(Duration::from_micros(number * 37 % 3000)).await;
            if first && number % 7 == 0 {
                std::future::pending::<()>().await;
            }
            all.lock().unwrap().get_mut(&number).unwrap().done += 1;
            Ok::<_, Failure>(())
        }
    };
    node.register("spooled", handler).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_handled_over_ends_of_both_sides() {
    const MESSAGES: u64 = 150;
    let (mut again, mut ends, mut told_first) = (0, 0, 0);
    for seed in 1..6 {
        let mut chance = Random(seed);
        let (here, there) = (MemDisk::default(), MemDisk::default());
        let all = All::default();
        let mut sender = start(1, &here).await;
        let mut receiver = start(2, &there).await;
        let to = receiver.id();
        let mut _handling = handle(&receiver, &all);
        let meet = async |sender: &Node, receiver: &Node| {
            let address = receiver.listen("127.0.0.1:0").await.unwrap();
            sender.add_peer(receiver.id(), vec![address.to_string()]);
        };
        meet(&sender, &receiver).await;
        let mut sent = 0;
        // Faults end, so that everything must come to its end.
        for step in 0.. {
            if sent < MESSAGES && chance.below(3) > 0 {
                let length = [10, 1000, 100_000][chance.below(3) as usize];
                let mut bytes = sent.to_le_bytes().to_vec();
                bytes.resize(8 + length, sent as u8);
                sender.send_spooled(to, "spooled", Bytes::from(bytes)).await.unwrap();
                sent += 1;
            }
            if chance.below(12) == 0 {
                tokio::time::sleep(Duration::from_millis(chance.below(20))).await;
            }
            let cut = [Cut::Lose, Cut::Tear, Cut::Reorder][chance.below(3) as usize];
            match chance.below(16) {
                0 if step < 400 => {
                    sender.close();
                    here.power_cut(cut, chance.draw());
                    sender = start(1, &here).await;
                    meet(&sender, &receiver).await;
                    ends += 1;
                }
                1 if step < 400 => {
                    receiver.close();
                    there.power_cut(cut, chance.draw());
                    receiver = start(2, &there).await;
                    _handling = handle(&receiver, &all);
                    meet(&sender, &receiver).await;
                    ends += 1;
                }
                _ => {}
            }
            if step >= 400 && sent == MESSAGES {
                break;
            }
        }
        // The last end frees the handlers that hang.
        tokio::time::sleep(Duration::from_millis(300)).await;
        receiver.close();
        there.power_cut(Cut::Lose, 1);
        receiver = start(2, &there).await;
        _handling = handle(&receiver, &all);
        meet(&sender, &receiver).await;
        let settled = async {
            while sender.spooled(to).0 > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        let all = all.lock().unwrap();
        let open: Vec<u64> = (0..sent).filter(|n| all.get(n).is_none_or(|s| s.done == 0)).collect();
        assert!(settled.is_ok() && open.is_empty(), "seed {seed}: not handled: {open:?}");
        for (number, seen) in &*all {
            // Between the mark and the handler a node may end too.
            told_first += usize::from(seen.begun[0]);
            let told = seen.begun[1..].iter().all(|redelivered| *redelivered);
            assert!(told, "seed {seed}: {number} came again without a word: {:?}", seen.begun);
            again += seen.begun.len() - 1;
        }
    }
    assert!(again > 50 && ends > 100, "{again} redeliveries in {ends} ends");
    assert!(told_first < again / 2, "{told_first} of {again} were told of a handler that was not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_an_answer_and_a_panic_is_none() {
    let (here, there) = (MemDisk::default(), MemDisk::default());
    let (sender, receiver) = (start(1, &here).await, start(2, &there).await);
    let address = receiver.listen("127.0.0.1:0").await.unwrap();
    let to = receiver.id();
    sender.add_peer(to, vec![address.to_string()]);
    let times = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let fails = {
        let times = times.clone();
        move |_: Context, (): ()| {
            times.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async { Err::<(), _>(Failure::new("no more paper")) }
        }
    };
    let _fails = receiver.register("fails", fails).unwrap();
    let failed = sender.send_spooled(to, "fails", ()).await.unwrap();
    assert_eq!(failed.number, 0);
    let failed = tokio::time::timeout(PATIENCE, failed.handled()).await.unwrap();
    assert_eq!(failed, Err(CallError::Failed("no more paper".into())));
    assert_eq!(times.load(std::sync::atomic::Ordering::SeqCst), 1);
    let panics = |context: Context, (): ()| async move {
        assert!(context.redelivered, "on purpose, the first time");
        Ok::<_, Failure>(())
    };
    let _panics = receiver.register("panics", panics).unwrap();
    let handled = sender.send_spooled(to, "panics", ()).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, handled.handled()).await.unwrap(), Ok(()));
    // A name that nobody has yet.
    let early = sender.send_spooled(to, "later", ()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let later = |context: Context, (): ()| async move {
        assert!(!context.redelivered);
        Ok::<_, Failure>(())
    };
    let _later = receiver.register("later", later).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, early.handled()).await.unwrap(), Ok(()));
    // What cannot be sent is not kept.
    let large = Bytes::from(vec![0; 33 << 20]);
    let refused = sender.send_spooled(to, "later", large).await;
    assert!(matches!(refused, Err(SpoolError::NotSent(CallError::Refused(_)))));
    assert_eq!(sender.spooled(to), (0, 0));
}
