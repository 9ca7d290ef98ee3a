//! Nodes that talk: calls, messages, failures, restarts, dials at the same time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use strongroom_wire::hello::Place;
use strongroom_wire::path::{Kind, Path, Tcp};
use strongroom_wire::{CallError, Context, Failure, Fate, Gone, Node, Registration, Settings};

use super::*;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn node(seed: u8) -> Node {
    Node::start(key(seed), Tcp, Settings { admit: Arc::new(|_| true), ..Settings::default() })
        .unwrap()
}

/// Two nodes; the first knows where the second listens.
pub(crate) async fn two() -> (Node, Node, NodeId) {
    let (one, other) = (node(1), node(2));
    let address = other.listen("127.0.0.1:0").await.unwrap();
    one.add_peer(other.id(), vec![address.to_string()]);
    let to = other.id();
    (one, other, to)
}

pub(crate) fn echo(node: &Node) -> Registration {
    node.register("echo", |_: Context, bytes: Bytes| async move { Ok::<_, Failure>(bytes) })
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_any_size_is_answered() {
    let (one, other, to) = two().await;
    let _echo = echo(&other);
    for length in [0, 1, 100, 5000, 70_000, 10 << 20] {
        let bytes = Bytes::from((0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        let reply: Bytes = one.call(to, "echo", bytes.clone(), PATIENCE).await.unwrap();
        assert!(reply == bytes, "{length} bytes");
    }
    // And back, though the other has no address of the first.
    let _back = echo(&one);
    let reply: String = other.call(one.id(), "echo", "there".to_owned(), PATIENCE).await.unwrap();
    assert_eq!(reply, "there");
    let large = Bytes::from(vec![3; 1 << 20]);
    let reply: Bytes = other.call(one.id(), "echo", large.clone(), PATIENCE).await.unwrap();
    assert_eq!(reply, large);
    assert!(one.ping(to, PATIENCE).await.unwrap() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_by_rustls_are_as_good() {
    use strongroom_wire::tls::Records;
    for [one, other] in [[Records::Rustls, Records::Own], [Records::Rustls, Records::Rustls]] {
        let start = |seed, records| {
            let admit: Arc<strongroom_wire::tls::Admit> = Arc::new(|_| true);
            Node::start(key(seed), Tcp, Settings { admit, records, ..Settings::default() }).unwrap()
        };
        let (one, other) = (start(1, one), start(2, other));
        let _echo = echo(&other);
        let address = other.listen("127.0.0.1:0").await.unwrap();
        one.add_peer(other.id(), vec![address.to_string()]);
        let calls = (0..40usize).map(|n| {
            let (one, to) = (one.clone(), other.id());
            let bytes = Bytes::from(vec![n as u8; [0, 10, 100_000, 5 << 20][n % 4]]);
            tokio::spawn(async move {
                let reply: Bytes = one.call(to, "echo", bytes.clone(), PATIENCE).await.unwrap();
                assert!(reply == bytes);
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        other.close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_hears_what_went_wrong() {
    let (one, other, to) = two().await;
    let fails = |_: Context, (): ()| async { Err::<(), _>(Failure::new("no more paper")) };
    let _fails = other.register("fails", fails).unwrap();
    let panics = |_: Context, (): ()| async { if true { panic!("on purpose") } else { Ok(()) } };
    let _panics = other.register("panics", panics).unwrap();
    let at_once =
        |_: Context, (): ()| -> std::future::Ready<Result<(), Failure>> { panic!("at once") };
    let _at_once = other.register("at once", at_once).unwrap();
    let later = |_: Context, (): ()| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if true { panic!("later") } else { Ok(()) }
    };
    let _later = other.register("later", later).unwrap();
    let call = |name: &'static str| one.call::<()>(to, name, (), PATIENCE);
    assert_eq!(call("fails").await, Err(CallError::Failed("no more paper".into())));
    for name in ["panics", "at once", "later"] {
        assert_eq!(call(name).await, Err(CallError::Panicked(name.into())));
    }
    assert_eq!(call("nobody").await, Err(CallError::NoSuchName("nobody".into())));
    let said = one.call::<()>(to, "fails", "something".to_owned(), PATIENCE).await;
    assert!(
        matches!(&said, Err(CallError::Failed(why)) if why.contains("nothing was expected")),
        "{said:?}"
    );
    let unknown = one.call::<()>(key(9).id(), "fails", (), PATIENCE).await;
    assert_eq!(unknown, Err(CallError::UnknownPeer(key(9).id())));
    assert!(other.register("fails", fails).is_err(), "a name is had once");
    drop(_fails);
    assert_eq!(call("fails").await, Err(CallError::NoSuchName("fails".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_waits_for_is_cancelled() {
    struct Dropped(Arc<AtomicU64>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (one, other, to) = two().await;
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = dropped.clone();
    let _never = other
        .register("never", move |_: Context, (): ()| {
            let counter = Dropped(counter.clone());
            async move {
                std::future::pending::<()>().await;
                drop(counter);
                Ok::<_, Failure>(())
            }
        })
        .unwrap();
    // By its deadline.
    let called = one.call::<()>(to, "never", (), Duration::from_millis(300)).await;
    assert_eq!(called, Err(CallError::Deadline));
    // And by its caller.
    let call = one.call::<()>(to, "never", (), PATIENCE);
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
    let begun = Instant::now();
    while dropped.load(Ordering::SeqCst) < 2 {
        assert!(begun.elapsed() < PATIENCE, "handlers go on for nobody");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_and_receipts_say_so() {
    let (one, other, to) = two().await;
    let (sender, mut came) = tokio::sync::mpsc::unbounded_channel();
    let note = move |context: Context, bytes: Bytes| {
        sender.send((context.from, bytes)).unwrap();
        async { Ok::<_, Failure>(()) }
    };
    let _note = other.register("note", note).unwrap();
    let receipt = one.send(to, "note", Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(receipt.fate().await, Fate::Delivered);
    assert_eq!(came.recv().await.unwrap(), (one.id(), Bytes::from_static(b"first")));
    // Small ones to one name come in order while a connection lasts.
    for number in 0..1000u32 {
        one.send(to, "note", Bytes::from(number.to_le_bytes().to_vec())).await.unwrap();
    }
    for number in 0..1000u32 {
        assert_eq!(came.recv().await.unwrap().1, number.to_le_bytes()[..]);
    }
    one.cast(to, "note", Bytes::from_static(b"cast")).unwrap();
    assert_eq!(came.recv().await.unwrap().1, "cast");
    assert!(one.broadcast("note", &"all".to_owned()).is_empty());
    assert_eq!(came.recv().await.unwrap().1, "all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_started_anew_is_another() {
    let (one, other, to) = two().await;
    let address = one.peers()[0].addresses[0].clone();
    let never = |_: Context, (): ()| async { std::future::pending::<Result<(), Failure>>().await };
    let _never = other.register("never", never).unwrap();
    let _echo = echo(&other);
    let reply: Bytes = one.call(to, "echo", Bytes::from_static(b"x"), PATIENCE).await.unwrap();
    assert_eq!(reply, "x");
    let gone = one.monitor(to, None).unwrap();
    let waiting = {
        let one = one.clone();
        tokio::spawn(async move { one.call::<()>(to, "never", (), PATIENCE).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    other.close();
    drop((_never, _echo, other));
    assert_eq!(tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap(), Gone::Peer);
    let again = node(2);
    let _echo = echo(&again);
    let begun = Instant::now();
    while let Err(error) = again.listen(&address).await {
        assert!(begun.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What was under way is not tried again; what comes now reaches the new one, but for what was still given to the old.
    let reply = loop {
        match one.call::<Bytes>(to, "echo", Bytes::from_static(b"y"), PATIENCE).await {
            Err(CallError::Restarted) => assert!(begun.elapsed() < PATIENCE),
            reply => break reply,
        }
    };
    assert_eq!(reply, Ok(Bytes::from_static(b"y")));
    assert_eq!(waiting.await.unwrap(), Err(CallError::Restarted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_hears_that_a_name_is_gone() {
    let (one, other, to) = two().await;
    let registration = echo(&other);
    let gone = one.monitor(to, Some("echo")).unwrap();
    let _: Bytes = one.call(to, "echo", Bytes::new(), PATIENCE).await.unwrap();
    one.ping(to, PATIENCE).await.unwrap();
    drop(registration);
    assert_eq!(tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap(), Gone::Name);
    // One that nobody ever had is gone too.
    let gone = one.monitor(to, Some("nobody")).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap(), Gone::Name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_dial_each_other_at_once_settle() {
    for _ in 0..5 {
        let (one, other) = (node(1), node(2));
        let _echoes = (echo(&one), echo(&other));
        let (at_one, at_other) =
            (one.listen("127.0.0.1:0").await.unwrap(), other.listen("127.0.0.1:0").await.unwrap());
        one.add_peer(other.id(), vec![at_other.to_string()]);
        other.add_peer(one.id(), vec![at_one.to_string()]);
        let (there, back) = (one.prime(other.id(), PATIENCE), other.prime(one.id(), PATIENCE));
        let (there, back) = tokio::join!(there, back);
        there.unwrap();
        back.unwrap();
        for _ in 0..50 {
            let there = one.call::<Bytes>(other.id(), "echo", Bytes::from_static(b"1"), PATIENCE);
            let back = other.call::<Bytes>(one.id(), "echo", Bytes::from_static(b"2"), PATIENCE);
            let (there, back) = tokio::join!(there, back);
            assert_eq!((there.unwrap(), back.unwrap()), ("1".into(), "2".into()));
        }
        // In the end both know the same connections, each once.
        let begun = Instant::now();
        loop {
            let connections = |node: &Node| node.peers().remove(0).connections;
            let (mine, theirs) = (connections(&one), connections(&other));
            let agree = mine.len() == 7
                && (mine.iter().zip(&theirs)).all(|(m, t)| m.0 == t.0 && m.2 != t.2);
            if agree {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{mine:?} {theirs:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_dialled_carries_any_lane() {
    let (one, other) = (node(1), node(2));
    let _echo = echo(&other);
    let (relay, to) = (key(7).id(), other.id());
    // Both know each other, and neither has an address.
    one.add_peer(to, vec![]);
    other.add_peer(one.id(), vec![]);
    for place in [Place::Control, Place::Calls(0), Place::Calls(1), Place::Bulk(0)] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let kind = Kind::Relayed(relay);
        let (near, far) =
            (Path { stream: Box::new(near), kind }, Path { stream: Box::new(far), kind });
        let (a, b) = tokio::join!(one.attach(near, to, place), other.attach(far, one.id(), place));
        a.unwrap();
        b.unwrap();
    }
    let large = Bytes::from(vec![9; 3 << 20]);
    for bytes in [Bytes::from_static(b"small"), large] {
        let reply: Bytes = one.call(to, "echo", bytes.clone(), PATIENCE).await.unwrap();
        assert!(reply == bytes);
    }
    assert!(one.ping(to, PATIENCE).await.is_ok());
    let connections = &one.peers()[0].connections;
    assert!(connections.len() == 4 && connections.iter().all(|c| c.1 == Kind::Relayed(relay)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_admitted_or_not_who_was_dialled_gets_nowhere() {
    let (one, closed) = (node(1), Node::start(key(2), Tcp, Settings::default()).unwrap());
    let _echo = echo(&closed);
    let address = closed.listen("127.0.0.1:0").await.unwrap().to_string();
    one.add_peer(closed.id(), vec![address.clone()]);
    one.add_peer(key(3).id(), vec![address]);
    let wait = Duration::from_millis(500);
    for to in [closed.id(), key(3).id()] {
        let called = one.call::<Bytes>(to, "echo", Bytes::new(), wait).await;
        assert_eq!(called, Err(CallError::Deadline));
    }
    // Once it is known, it may.
    closed.add_peer(one.id(), vec![]);
    let called = one.call::<Bytes>(closed.id(), "echo", Bytes::new(), PATIENCE).await;
    assert_eq!(called, Ok(Bytes::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_too_much_waits_or_hears_that_the_peer_is_busy() {
    let (one, other, to) = two().await;
    let (open, opened) = tokio::sync::watch::channel(false);
    let handled = Arc::new(AtomicU64::new(0));
    let counter = handled.clone();
    let _slow = other
        .register("slow", move |_: Context, _: Bytes| {
            let (mut opened, counter) = (opened.clone(), counter.clone());
            async move {
                let _ = opened.wait_for(|open| *open).await;
                counter.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Failure>(())
            }
        })
        .unwrap();
    let part = Bytes::from(vec![1; 40_000]);
    let mut cast = 0u64;
    let begun = Instant::now();
    let refused = loop {
        match one.cast(to, "slow", part.clone()) {
            Ok(()) => cast += 1,
            Err(refused) if begun.elapsed() > Duration::from_millis(500) => break refused,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert!(matches!(refused, CallError::Refused(strongroom_wire::lane::Refused::Full { .. })));
    // What may wait here, and the window there.
    assert!(cast * 40_000 <= 8 << 20, "{cast} were taken");
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    open.send_replace(true);
    let last = one.send(to, "slow", part).await.unwrap();
    assert_eq!(last.fate().await, Fate::Delivered);
    let begun = Instant::now();
    while handled.load(Ordering::SeqCst) < cast + 1 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_find_each_other_and_notice_who_is_gone() {
    use strongroom_wire::membership::{Event, Settings, State};
    let quick = || Settings {
        period: Duration::from_millis(100),
        answer_within: Duration::from_millis(30),
        ..Settings::default()
    };
    let nodes: Vec<Node> = (1..=4).map(node).collect();
    let mut events = nodes[0].member_events();
    assert!(!nodes[0].join(nodes[1].id()), "it takes no part yet");
    for node in &nodes {
        let address = node.listen("127.0.0.1:0").await.unwrap().to_string();
        node.take_part(&[address], quick()).unwrap();
        // All know the first alone.
        if node.id() != nodes[0].id() {
            let first = nodes[0].listen("127.0.0.1:0").await.unwrap().to_string();
            node.add_peer(nodes[0].id(), vec![first]);
            assert!(node.join(nodes[0].id()));
        }
    }
    let alive = |node: &Node| {
        let members = node.members();
        members.iter().filter(|member| member.record.state == State::Alive).count()
    };
    let wait = async |what: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !what() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?}",
                nodes.iter().map(|n| n.members()).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait(&|| nodes.iter().all(|node| alive(node) == 3)).await;
    // They learnt each other's addresses, and can call each other.
    let _echo = echo(&nodes[3]);
    let reply = nodes[2].call::<String>(nodes[3].id(), "echo", "there".to_owned(), PATIENCE).await;
    assert_eq!(reply, Ok("there".to_owned()));
    assert!(nodes[2].peers().iter().all(|peer| peer.phi.is_finite()));
    // One goes and says so, another is gone.
    nodes[1].leave().await;
    let gone = |id: NodeId, state: State| {
        let members = nodes[0].members();
        members.iter().any(|m| m.record.node == id && m.record.state == state)
    };
    wait(&|| gone(nodes[1].id(), State::Left)).await;
    nodes[2].close();
    wait(&|| gone(nodes[2].id(), State::Dead)).await;
    assert_eq!(alive(&nodes[0]), 1);
    let mut heard = Vec::new();
    while let Ok(event) = events.try_recv() {
        heard.push(event);
    }
    assert!(heard.contains(&(Event::Left, nodes[1].id())), "{heard:?}");
    assert!(heard.contains(&(Event::Dead, nodes[2].id())), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_key_are_handled_in_order_whatever_their_size() {
    let (one, other, to) = two().await;
    let (sender, mut came) = tokio::sync::mpsc::unbounded_channel();
    let note = move |_: Context, bytes: Bytes| {
        sender.send((bytes[0], u32::from_le_bytes(bytes[1..5].try_into().unwrap()))).unwrap();
        async {
            // It goes on later, when others have begun.
            tokio::task::yield_now().await;
            Ok::<_, Failure>(())
        }
    };
    let _note = other.register("note", note).unwrap();
    const KEYS: u8 = 5;
    const MESSAGES: u32 = 120;
    let senders: Vec<_> = (0..KEYS)
        .map(|key| {
            let one = one.clone();
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    // Every third goes on the lane for large ones, and takes longer.
                    let more = if number % 3 == 0 { 400_000 } else { 10 };
                    let mut bytes = vec![key];
                    bytes.extend(number.to_le_bytes());
                    bytes.resize(5 + more, 0);
                    one.send_in_order(to, "note", &[key], Bytes::from(bytes)).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; KEYS as usize];
    for _ in 0..u32::from(KEYS) * MESSAGES {
        let came = tokio::time::timeout(PATIENCE, came.recv()).await;
        let (key, number) = came.expect("a message").unwrap();
        assert_eq!(number, next[usize::from(key)], "key {key}");
        next[usize::from(key)] += 1;
    }
    for sender in senders {
        sender.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_taken_piece_by_piece_and_goes_on_where_it_was_broken_off() {
    use std::io::Write as _;
    use strongroom_wire::blob::Incoming;
    let (one, other, to) = two().await;
    // What the taker has of it so far; it breaks off after 5 MB the first time.
    let kept = Arc::new(std::sync::Mutex::new(Vec::<u8>::new()));
    let (taking, times) = (kept.clone(), Arc::new(AtomicU64::new(0)));
    let take = move |_: Context, mut incoming: Incoming| {
        let (kept, time) = (taking.clone(), times.fetch_add(1, Ordering::SeqCst));
        async move {
            assert_eq!(incoming.about, "a blob");
            let have = kept.lock().unwrap().clone();
            incoming.go_on_from(have.len() as u64, blake3::Hasher::new().update(&have).clone());
            let mut came = 0;
            while let Some(piece) = incoming.next().await? {
                came += piece.len();
                kept.lock().unwrap().extend_from_slice(&piece);
                if time == 0 && came > 5_000_000 {
                    return Err(Failure::new("broken off"));
                }
            }
            Ok(came.to_string())
        }
    };
    let _take = other.register_blobs("take", take).unwrap();
    let bytes: Vec<u8> = (0..20_000_003u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let offer = |file: std::fs::File| {
        let one = one.clone();
        async move { one.stream::<String>(to, "take", "a blob".to_owned(), file, PATIENCE).await }
    };
    let first = offer(file.try_clone().unwrap()).await;
    assert_eq!(first, Err(CallError::Failed("broken off".into())));
    let had = kept.lock().unwrap().len();
    let rest = offer(file.try_clone().unwrap()).await.unwrap();
    assert_eq!(rest, (bytes.len() - had).to_string(), "what was there was not sent again");
    assert!(*kept.lock().unwrap() == bytes);
    // What is here does not go with what is there.
    kept.lock().unwrap().truncate(3_000_000);
    kept.lock().unwrap()[7] ^= 1;
    let other_bytes = offer(file).await;
    assert!(
        matches!(&other_bytes, Err(CallError::Failed(why)) if why.contains("not what was offered"))
    );
    // And bytes in memory, none of them.
    kept.lock().unwrap().clear();
    let none = one.stream::<String>(to, "take", "a blob".to_owned(), Bytes::new(), PATIENCE).await;
    assert_eq!(none, Ok("0".into()));
    // A blob is for one node alone, and as long as it is offered.
    let asked = Bytes::from([0u64, 0, 5].map(u64::to_le_bytes).concat());
    let read = other.call::<Bytes>(one.id(), "wire.blob.read", asked, PATIENCE).await;
    assert!(matches!(read, Err(CallError::Failed(why)) if why.contains("no such blob")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_much_and_takes_nothing_gets_no_more() {
    // The asker holds what it is given, and so gives no credit for more.
    let (one, other, to) = two().await;
    let large = |_: Context, (): ()| async { Ok::<_, Failure>(Bytes::from(vec![7; 8 << 20])) };
    let _large = other.register("large", large).unwrap();
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let one = one.clone();
            let wait = Duration::from_secs(3);
            tokio::spawn(async move { one.call::<Bytes>(to, "large", (), wait).await })
        })
        .collect();
    // Window, outbox and those that wait: far fewer than 60 of 8 MiB.
    let mut held = Vec::new();
    let mut refused = 0;
    for call in calls {
        match tokio::time::timeout(PATIENCE * 2, call).await.unwrap().unwrap() {
            Ok(bytes) => held.push(bytes),
            Err(CallError::Failed(why)) if why.contains("replies wait") => refused += 1,
            // Its reply is there and waits for credit.
            Err(CallError::Deadline) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 20, "only {refused} of 60 were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_peers_share_one_bound_of_memory() {
    const SENDERS: u8 = 8;
    const MESSAGES: usize = 12;
    let bulk = strongroom_wire::Bounds { window: 8 << 20, outgoing: 8 << 20 };
    let admit: Arc<strongroom_wire::tls::Admit> = Arc::new(|_| true);
    // Room for three messages of the largest size, where each of eight senders could have two under way.
    let settings = Settings { admit, bulk, memory: 16 << 20, ..Settings::default() };
    let receiver = Node::start(key(100), Tcp, settings.clone()).unwrap();
    let address = receiver.listen("127.0.0.1:0").await.unwrap().to_string();
    let to = receiver.id();
    let held = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (now, max) = (held.clone(), most.clone());
    let _slow = receiver
        .register("slow", move |_: Context, bytes: Bytes| {
            let (now, max) = (now.clone(), max.clone());
            async move {
                let length = bytes.len() as u64;
                max.fetch_max(now.fetch_add(length, Ordering::SeqCst) + length, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(3)).await;
                now.fetch_sub(length, Ordering::SeqCst);
                Ok::<_, Failure>(())
            }
        })
        .unwrap();
    let sending: Vec<_> = (1..=SENDERS)
        .map(|seed| {
            let sender = Node::start(key(seed), Tcp, settings.clone()).unwrap();
            sender.add_peer(to, vec![address.clone()]);
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    let length = [3 << 20, 100_000, 1 << 20, 2000][number % 4];
                    let message = Bytes::from(vec![seed; length]);
                    sender.call::<()>(to, "slow", message, PATIENCE).await.unwrap();
                }
            })
        })
        .collect();
    let mut promised_most = 0;
    while !sending.iter().all(tokio::task::JoinHandle::is_finished) {
        for (promised, max) in receiver.memory() {
            assert!(promised <= max, "{promised} bytes are promised, of {max}");
            promised_most = promised_most.max(promised);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for sender in sending {
        sender.await.unwrap();
    }
    assert!(promised_most > 4 << 20, "{promised_most}");
    assert!(most.load(Ordering::SeqCst) <= 12 << 20, "what handlers have counts too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_echo_each_other_do_not_wait_for_each_other() {
    let (one, other, to) = two().await;
    let _echoes = (echo(&one), echo(&other));
    let _: Bytes = one.call(to, "echo", Bytes::new(), PATIENCE).await.unwrap();
    // More on each side than a window holds.
    let part = Bytes::from(vec![4; 60_000]);
    let calls: Vec<_> = (0..400)
        .map(|number| {
            let (node, to) =
                if number % 2 == 0 { (one.clone(), to) } else { (other.clone(), one.id()) };
            let part = part.clone();
            tokio::spawn(async move {
                // A reply is let go of at once: whoever keeps it keeps its credit too.
                node.call::<Bytes>(to, "echo", part, PATIENCE).await.map(|reply| reply.len())
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(part.len()));
    }
}
