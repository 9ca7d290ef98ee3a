//! Lives of nodes: what becomes of what is under way when one ends, and when another begins with its key.

use std::time::Duration;

use bytes::Bytes;
use strongroom_wire::lane::Refused;
use strongroom_wire::path::Tcp;
use strongroom_wire::{Bounds, CallError, Context, Failure, Fate, Node, Settings};
use tokio::sync::mpsc;

use super::node::{PATIENCE, echo, node, two};
use super::*;

fn settings() -> Settings {
    Settings { admit: Arc::new(|_| true), ..Settings::default() }
}

/// Waits until no connection of the node stands.
async fn alone(node: &Node) {
    let gone = async {
        while node.peers().iter().any(|peer| !peer.connections.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_process_is_too_small_for_is_refused_and_blocks_nothing() {
    let (one, other, to) = two().await;
    let _echo = echo(&other);
    let _: Bytes = one.call(to, "echo", Bytes::from_static(b"first"), PATIENCE).await.unwrap();
    // To know how much it takes.
    let _: Bytes = one.call(to, "echo", Bytes::from(vec![1; 100_000]), PATIENCE).await.unwrap();
    drop(_echo);
    other.close();
    drop(other);
    alone(&one).await;
    let large = Bytes::from(vec![7; 3 << 20]);
    let small = Bytes::from_static(b"small");
    let sent = one.send(to, "name", large.clone()).await.unwrap();
    let calling = {
        let (one, large) = (one.clone(), large.clone());
        tokio::spawn(async move { one.call::<Bytes>(to, "name", large, PATIENCE).await })
    };
    // It takes 1 MiB at most where the one before took 32.
    let bulk = Bounds { window: 2 << 20, outgoing: 8 << 20 };
    let smaller = Node::start(key(2), Tcp, Settings { bulk, ..settings() }).unwrap();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let _named = smaller
        .register("name", move |_: Context, bytes: Bytes| {
            let _ = heard.send(bytes.len());
            async move { Ok::<_, Failure>(()) }
        })
        .unwrap();
    let address = smaller.listen("127.0.0.1:0").await.unwrap();
    one.add_peer(to, vec![address.to_string()]);
    let fate = tokio::time::timeout(PATIENCE, sent.fate()).await.unwrap();
    assert_eq!(fate, Fate::TooLarge);
    let called = calling.await.unwrap();
    assert!(
        matches!(called, Err(CallError::Refused(Refused::TooLarge { max: 1_048_576, .. }))),
        "{called:?}"
    );
    // What comes behind it finds its way, and the next is refused at once.
    let sent = one.send(to, "name", Bytes::from(vec![1; 500_000])).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, sent.fate()).await.unwrap(), Fate::Delivered);
    one.send(to, "name", small).await.unwrap();
    assert_eq!(hears.recv().await, Some(500_000));
    assert_eq!(hears.recv().await, Some(5));
    assert!(one.send(to, "name", large).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_on_behind_a_message_that_is_too_large() {
    // Nobody was met yet, so the sender takes its own bounds for the peer's.
    let (heard, mut hears) = mpsc::unbounded_channel();
    let bulk = Bounds { window: 2 << 20, outgoing: 8 << 20 };
    let smaller = Node::start(key(2), Tcp, Settings { bulk, ..settings() }).unwrap();
    let _named = smaller
        .register("name", move |_: Context, bytes: Bytes| {
            let _ = heard.send(bytes.len());
            async move { Ok::<_, Failure>(()) }
        })
        .unwrap();
    let address = smaller.listen("127.0.0.1:0").await.unwrap();
    let one = node(1);
    one.add_peer(smaller.id(), Vec::new());
    let mut fates = Vec::new();
    for length in [100_000, 3 << 20, 200_000, 30] {
        let bytes = Bytes::from(vec![1; length]);
        fates.push(one.send_in_order(smaller.id(), "name", b"key", bytes).await.unwrap());
    }
    one.add_peer(smaller.id(), vec![address.to_string()]);
    let mut told = Vec::new();
    for fate in fates {
        told.push(tokio::time::timeout(PATIENCE, fate.fate()).await.unwrap());
    }
    assert_eq!(told, [Fate::Delivered, Fate::TooLarge, Fate::Delivered, Fate::Delivered]);
    for length in [100_000, 200_000, 30] {
        assert_eq!(tokio::time::timeout(PATIENCE, hears.recv()).await.unwrap(), Some(length));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_hears_that_the_node_is_closed() {
    struct Dropped(mpsc::UnboundedSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (one, other, to) = two().await;
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let (begun, mut begins) = mpsc::unbounded_channel();
    let _never = one
        .register("never", move |_: Context, (): ()| {
            let _ = begun.send(());
            let guard = Dropped(dropped.clone());
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, Failure>(())
            }
        })
        .unwrap();
    one.ping(to, PATIENCE).await.unwrap();
    let back = other.clone();
    let id = one.id();
    let calling =
        tokio::spawn(
            async move { back.call::<()>(id, "never", (), Duration::from_secs(3600)).await },
        );
    begins.recv().await.unwrap();
    // To a peer that nobody finds, until nothing more is taken.
    let nobody = key(9).id();
    one.add_peer(nobody, Vec::new());
    let receipt = one.send(nobody, "name", Bytes::from(vec![1; 20 << 20])).await.unwrap();
    let waits = {
        let one = one.clone();
        tokio::spawn(async move { one.send(nobody, "name", Bytes::from(vec![1; 20 << 20])).await })
    };
    let calls = {
        let one = one.clone();
        tokio::spawn(async move { one.call::<()>(nobody, "name", (), PATIENCE).await })
    };
    let gone = other.monitor(id, None).unwrap();
    tokio::task::yield_now().await;
    one.close();
    let wait = async {
        assert_eq!(receipt.fate().await, Fate::Uncertain);
        assert!(matches!(waits.await.unwrap(), Err(CallError::Closed)));
        assert_eq!(calls.await.unwrap(), Err(CallError::Closed));
        assert!(drops.recv().await.is_some(), "its handler is dropped");
        gone.await.unwrap();
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert!(matches!(one.send(to, "name", ()).await, Err(CallError::Closed)));
    calling.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_is_not_banned_by_another_with_its_key() {
    let (one, other, to) = two().await;
    let _echo = echo(&other);
    let said = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let _: Bytes = one.call(to, "echo", said("one"), PATIENCE).await.unwrap();
    // A second process with the key of the first: it is the later, and the first is told so.
    let second = node(1);
    second.add_peer(to, one.peers()[0].addresses.clone());
    let _: Bytes = second.call(to, "echo", said("two"), PATIENCE).await.unwrap();
    second.close();
    drop(second);
    let wait = async {
        loop {
            // Its calls end with the life in which they began; it takes a later one, and is heard again.
            match one.call::<Bytes>(to, "echo", said("three"), PATIENCE).await {
                Ok(reply) => break assert_eq!(reply, "three"),
                Err(error) => assert_eq!(error, CallError::Restarted),
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_nobody_added_makes_room_for_another() {
    let full = Node::start(key(200), Tcp, Settings { peers_max: 3, ..settings() }).unwrap();
    let address = full.listen("127.0.0.1:0").await.unwrap().to_string();
    let _echo = echo(&full);
    full.add_peer(key(201).id(), Vec::new());
    full.add_peer(key(202).id(), vec!["127.0.0.1:1".into()]);
    for seed in 1..8 {
        let one = node(seed);
        one.add_peer(full.id(), vec![address.clone()]);
        let reply: String = one.call(full.id(), "echo", seed.to_string(), PATIENCE).await.unwrap();
        assert_eq!(reply, seed.to_string());
        let known = full.peers();
        assert_eq!(known.len(), 3);
        assert!(known.iter().any(|peer| peer.id == key(202).id()), "it was added");
        one.close();
        alone(&full).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moves_is_found_where_it_is() {
    // What its owner says of a peer, and what the peer says of itself, are both tried.
    let (one, other) = (node(1), node(2));
    let nowhere = "127.0.0.1:1".to_owned();
    let at = other.listen("127.0.0.1:0").await.unwrap().to_string();
    let here = one.listen("127.0.0.1:0").await.unwrap().to_string();
    let quick = strongroom_wire::membership::Settings::default();
    one.take_part(&[here], quick.clone()).unwrap();
    other.take_part(std::slice::from_ref(&at), quick).unwrap();
    one.add_peer(other.id(), vec![at.clone()]);
    assert!(one.join(other.id()));
    let known = async {
        while one.peers().iter().all(|peer| !peer.addresses.contains(&at))
            || one.members().is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.unwrap();
    let moved = other.listen("127.0.0.1:0").await.unwrap().to_string();
    other.take_part(std::slice::from_ref(&moved), Default::default()).unwrap();
    one.add_peer(other.id(), vec![nowhere.clone()]);
    let found = async {
        while !one.peers()[0].addresses.contains(&moved) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    assert_eq!(one.peers()[0].addresses, [nowhere, moved], "the old address is not kept");
}
