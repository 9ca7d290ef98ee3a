//! What a peer may send: bytes of a handshake, and frames under a handshake that was honest.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use strongroom_wire::frame::{Frame, Head};
use strongroom_wire::membership::{Addresses, Body, Membership, Message, Record, Settings, State};
use strongroom_wire::path::{Kind, Path, Tcp};
use strongroom_wire::tls::{Handshake, Progress, client_config, server_config};
use strongroom_wire::{Bounds, Context, Failure, Lane, Node, NodeId, NodeKey, Registration, shake};
use tokio::io::AsyncWriteExt as _;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32]).unwrap()
}

fn server() -> Handshake {
    Handshake::server(server_config(&key(2), Arc::new(|_: &NodeId| true)).unwrap()).unwrap()
}

fn client() -> Handshake {
    Handshake::client(client_config(&key(1), key(2).id()).unwrap()).unwrap()
}

/// Both sides are given it, each as the first that it hears.
pub(super) fn handshake(input: &[u8]) -> String {
    let mut said = String::new();
    for mut side in [server(), client()] {
        let mut there = input.to_vec();
        match side.step(&mut there) {
            Ok(Progress::Done) => said.push_str("done "),
            Ok(Progress::More) => said.push_str("more "),
            Err(error) => said.push_str(&error.to_string()),
        }
        said.push_str(&format!("{} ", side.outgoing().len()));
    }
    said
}

/// What a client says first, and a server to that.
pub(super) fn first_words() -> [Vec<u8>; 2] {
    let (mut client, mut server) = (client(), server());
    client.step(&mut Vec::new()).unwrap();
    let hello = client.outgoing();
    server.step(&mut hello.clone()).unwrap();
    [hello, server.outgoing()]
}

/// The frames, in records, to a lane that has messages of its own under way.
pub(super) fn frames(input: &[u8]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bounds = Bounds { window: 1 << 20, outgoing: 1 << 20 };
        let lane = Lane::new(bounds, Box::new(drop));
        for length in [1, 5000, 300_000] {
            let _ = lane.try_send([vec![7; length].into(), Default::default()]);
        }
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let (one, other) = tokio::join!(shake(&mut near, server()), shake(&mut far, client()));
        let ((session, early), (mut peer, _)) = (one.unwrap(), other.unwrap());
        let mut out = vec![0; input.len() + 64 * 1024];
        let mut at = 0;
        // As a hostile peer would cut them.
        let sizes = input.iter().map(|byte| usize::from(*byte) * 20 + 1);
        let mut rest = input;
        for size in sizes {
            let (record, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            if record.is_empty() || out.len() - at < record.len() + 64 {
                break;
            }
            at += peer.sealer.seal(record, &mut out[at..]).unwrap();
        }
        let carried = lane.carry(near, session, early);
        let talk = async {
            let _ = far.write_all(&out[..at]).await;
            let _ = far.shutdown().await;
            // What it says is taken, so that it is never stopped by that.
            let _ = tokio::io::copy(&mut far, &mut tokio::io::sink()).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = carried => format!("{ended} {}", lane.state().duplicates),
            () = talk => unreachable!("it waits for ever"),
        }
    })
}

/// Frames as an honest peer sends them.
pub(super) fn honest_frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::Credit { limit: 1 << 20 }.write(&mut bytes);
    for (sequence, offset, total, length) in
        [(0, 0, 5, 5u32), (1, 0, 40, 30), (2, 0, 3, 3), (1, 30, 40, 10)]
    {
        Frame::Data(Head { sequence, offset, total, length }).write(&mut bytes);
        bytes.extend(std::iter::repeat_n(9, length as usize));
    }
    Frame::Where { question: 1, sequences: vec![0, 2, 5] }.write(&mut bytes);
    Frame::Ack { below: 0, also: vec![0] }.write(&mut bytes);
    Frame::At { sequence: 1, offset: Some(3) }.write(&mut bytes);
    bytes
}

/// A node that everybody may dial, and what keeps it.
fn node() -> &'static (tokio::runtime::Runtime, Node, Registration) {
    static NODE: OnceLock<(tokio::runtime::Runtime, Node, Registration)> = OnceLock::new();
    NODE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let admit: Arc<strongroom_wire::tls::Admit> = Arc::new(|_: &NodeId| true);
        let settings = strongroom_wire::Settings { admit, ..Default::default() };
        let node = Node::start(key(2), Tcp, settings).unwrap();
        let echo = |_: Context, bytes: bytes::Bytes| async move { Ok::<_, Failure>(bytes) };
        let echo = node.register("echo", echo).unwrap();
        node.take_part(&["node:1".to_owned()], Settings::default()).unwrap();
        drop(_inside);
        (runtime, node, echo)
    })
}

/// All that a peer says after the handshake: a first frame in a record of its own, and what belongs to the lane that it
/// names.
pub(super) fn words(input: &[u8]) -> String {
    let (runtime, node, _) = node();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let path = Path { stream: Box::new(near), kind: Kind::Direct };
        let accepted = tokio::spawn(async move { node.accept(path).await });
        let (mut session, _) = shake(&mut far, client()).await.unwrap();
        let first = match input {
            [_, _, _, _, length, ..] => usize::from(*length) + 8,
            short => short.len(),
        };
        let (first, rest) = input.split_at(first.min(input.len()));
        let mut out = vec![0; input.len() + 64 * 1024];
        let mut at = 0;
        for record in [first].into_iter().chain(rest.chunks(300)).filter(|r| !r.is_empty()) {
            at += session.sealer.seal(record, &mut out[at..]).unwrap();
        }
        at += session.sealer.close(&mut out[at..]).unwrap();
        let _ = far.write_all(&out[..at]).await;
        // Until it has let go of the connection.
        let _ = tokio::io::copy(&mut far, &mut tokio::io::sink()).await;
        match accepted.await.unwrap() {
            Ok(()) => "it had its place".into(),
            Err(ended) => ended.to_string(),
        }
    })
}

/// First frames for each lane, and what an honest peer says on it.
pub(super) fn honest_words() -> [(&'static str, Vec<u8>); 2] {
    let hello = |lane: u8| {
        let mut hello = vec![6, 0, 0, 0, 40, 0, 0, 0, 1, 0, 1, 0, lane, 0, 0, 0];
        for number in [0u64, 77, 0, 1 << 20] {
            hello.extend(number.to_le_bytes());
        }
        hello
    };
    let mut control = hello(0);
    for (kind, body) in [
        (16, &7u64.to_le_bytes()[..]),
        (17, &[0; 8]),
        (18, &[1; 8]),
        (19, &[1, 1, 0, 0, 0, 0, 0, 0]),
        (20, b"echo"),
        (21, b"gone"),
        (22, &honest_gossip()),
    ] {
        control.extend([kind, 0, 0, 0]);
        control.extend((body.len() as u32).to_le_bytes());
        control.extend(body);
    }
    let mut calls = hello(1);
    let mut message = vec![2, 3, 4, 0, 50, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    message.extend([5; 24]);
    message.extend([0; 8]);
    message.extend(b"echo and what it is to say");
    let length = message.len() as u32;
    let head = Head { sequence: 0, offset: 0, total: length.into(), length };
    Frame::Credit { limit: 1 << 20 }.write(&mut calls);
    Frame::Data(head).write(&mut calls);
    calls.extend(message);
    [("control", control), ("calls", calls)]
}

/// What a member says of members.
pub(super) fn gossip(input: &[u8]) -> String {
    let addresses = Addresses::new(["me:1"]).unwrap();
    let now = Duration::from_secs(5);
    let (me, other) = (NodeId([1; 32]), NodeId([2; 32]));
    let began = 1_790_000_000_000;
    let mut members = Membership::new(me, addresses, began, now, Settings::default(), 3);
    members.join(other, now);
    let _ = members.tick(now);
    let said = match members.received(other, input, now + Duration::from_millis(10)) {
        Ok(actions) => format!("{} actions", actions.len()),
        Err(error) => error.to_string(),
    };
    for second in 6..12 {
        let _ = members.tick(Duration::from_secs(second));
    }
    format!("{said} {}", members.members().count())
}

/// A message with a bit of everything.
pub(super) fn honest_gossip() -> Vec<u8> {
    let record = |n: u8, state| Record {
        node: NodeId([n; 32]),
        incarnation: 1_790_000_000_000 + u64::from(n),
        state,
        addresses: Addresses::new(["node:1", "other.example:2"]).unwrap(),
    };
    let message = Message {
        incarnation: 1_790_000_000_100,
        left: false,
        addresses: Addresses::new(["here:3"]).unwrap(),
        body: Body::Ping { number: 5 },
        records: vec![
            record(1, State::Suspect { by: NodeId([4; 32]) }),
            record(5, State::Alive),
            record(6, State::Dead),
            record(7, State::Left),
        ],
    };
    message.write()
}
