//! What a peer may send: bytes of a handshake, and frames under a handshake that was honest.

use std::sync::Arc;

use strongroom_wire::frame::{Frame, Head};
use strongroom_wire::tls::{Handshake, Progress, client_config, server_config};
use strongroom_wire::{Bounds, Lane, NodeId, NodeKey, shake};
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
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
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
