//! Lanes over real connections, which a proxy resets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use strongroom_wire::testing::ResettingProxy;
use strongroom_wire::{Bounds, Ended, Lane, Message, shake};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

const BOUNDS: Bounds = Bounds { window: 32 << 20, outgoing: 16 << 20 };
/// Nothing here takes long; what takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A lane whose messages come out of a queue.
fn lane(bounds: Bounds) -> (Lane, UnboundedReceiver<Message>) {
    let (sender, receiver) = unbounded_channel();
    (Lane::new(bounds, Box::new(move |message| drop(sender.send(message)))), receiver)
}

/// Accepts connections for a lane, for good. Returns where.
async fn accept(lane: Lane) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = server_config(&key(2), Arc::new(|_: &NodeId| true)).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (lane, config) = (lane.clone(), config.clone());
            tokio::spawn(async move {
                if let Ok((session, early)) =
                    shake(&mut stream, Handshake::server(config).unwrap()).await
                {
                    lane.carry(stream, session, early).await
                } else {
                    Ended::Cut
                }
            });
        }
    });
    address
}

/// Keeps so many connections of a lane up, for good.
fn dial(lane: &Lane, address: SocketAddr, connections: usize) {
    let config = client_config(&key(1), key(2).id()).unwrap();
    for _ in 0..connections {
        let (lane, config) = (lane.clone(), config.clone());
        tokio::spawn(async move {
            loop {
                if let Ok(mut stream) = TcpStream::connect(address).await
                    && let Ok((session, early)) =
                        shake(&mut stream, Handshake::client(config.clone()).unwrap()).await
                {
                    lane.carry(stream, session, early).await;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
}

/// What message `number` says: its number, and bytes that follow from it.
fn message(number: u64, length: usize) -> Bytes {
    let mut bytes = number.to_le_bytes().to_vec();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length.max(8));
    bytes.into()
}

/// Lengths from 1 KiB to `max`, most of them short.
fn length(number: u64, max: usize) -> usize {
    match number % 10 {
        0 => max,
        1..=3 => max / 10 + (number as usize * 7919) % (max / 10),
        _ => 1024 + (number as usize * 104_729) % 16_384,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_lose_nothing_and_double_nothing() {
    const MESSAGES: u64 = 300;
    const MAX: usize = 2 << 20;
    let (receiving, mut received) = lane(BOUNDS);
    let (sending, _) = lane(BOUNDS);
    let address = accept(receiving.clone()).await;
    let proxy = ResettingProxy::start(address.to_string(), 1 << 20, 7).await.unwrap();
    let address = proxy.address();
    dial(&sending, address, 3);
    let pushing = sending.clone();
    let pusher = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let bytes = message(number, length(number, MAX));
            let cut = (number as usize * 31) % bytes.len();
            pushing.send([bytes.slice(..cut), bytes.slice(cut..)]).await.unwrap();
        }
        pushing.flushed().await;
    });
    let mut seen = std::collections::HashSet::new();
    while (seen.len() as u64) < MESSAGES {
        let next = tokio::time::timeout(PATIENCE, received.recv()).await;
        let bytes = next.expect("a message").unwrap().bytes;
        let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(bytes == message(number, length(number, MAX)), "message {number} was changed");
        assert!(seen.insert(number), "message {number} came twice");
    }
    proxy.calm();
    tokio::time::timeout(PATIENCE, pusher).await.unwrap().unwrap();
    assert!(received.try_recv().is_err(), "something came twice");
    let resets = proxy.resets();
    assert!(resets >= 20, "only {resets} resets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_flow_in_both_directions_through_resets() {
    let bounds = Bounds { window: 1 << 20, outgoing: 1 << 20 };
    let ((one, mut at_one), (other, mut at_other)) = (lane(bounds), lane(bounds));
    let address = accept(other.clone()).await;
    let proxy = ResettingProxy::start(address.to_string(), 200_000, 7).await.unwrap();
    let address = proxy.address();
    dial(&one, address, 1);
    for lane in [one, other] {
        tokio::spawn(async move {
            for number in 0..2000 {
                lane.send([message(number, 20), message(number, 300)]).await.unwrap();
            }
        });
    }
    for received in [&mut at_one, &mut at_other] {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2000u64 {
            let next = tokio::time::timeout(PATIENCE, received.recv()).await;
            let bytes = next.expect("a message").unwrap().bytes;
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert_eq!(bytes, [message(number, 20), message(number, 300)].concat());
            assert!(seen.insert(number), "message {number} came twice");
        }
    }
    assert!(proxy.resets() > 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_costs_a_bounded_amount() {
    let bounds = Bounds { window: 4 << 20, outgoing: 3 << 20 };
    let ((receiving, mut received), (sending, _)) = (lane(bounds), lane(bounds));
    let address = accept(receiving).await;
    dial(&sending, address, 2);
    // It is held by whoever was given it.
    let part = Bytes::from(vec![5; 1 << 20]);
    let mut taken = 0;
    while let Ok(()) = tokio::time::timeout(Duration::from_secs(3), async {
        sending.send([part.clone(), Bytes::new()]).await.unwrap();
    })
    .await
    {
        taken += 1;
        assert!(taken <= 7, "more was taken than windows and bounds allow");
    }
    assert_eq!(taken, 7, "the window, and what may wait");
    // It goes on as soon as something is let go.
    let more = sending.send([part.clone(), Bytes::new()]);
    let (first, ()) = tokio::join!(
        async {
            let first = received.recv().await.unwrap();
            let second = received.recv().await.unwrap();
            drop((first, second));
            received.recv().await.unwrap()
        },
        async { tokio::time::timeout(PATIENCE, more).await.unwrap().unwrap() }
    );
    assert_eq!(first.bytes, part);
}

#[tokio::test]
async fn what_no_peer_would_take_is_refused_and_blocks_nothing() {
    use strongroom_wire::lane::Refused;
    let bounds = Bounds { window: 8000, outgoing: 4800 };
    let ((receiving, mut received), (sending, _)) = (lane(bounds), lane(bounds));
    let large = [Bytes::from(vec![1; 3200]), Bytes::from(vec![1; 801])];
    assert_eq!(sending.send(large).await, Err(Refused::TooLarge { bytes: 4001, max: 4000 }));
    assert_eq!(sending.send([Bytes::new(), Bytes::new()]).await, Err(Refused::Empty));
    let largest = [Bytes::from(vec![1; 3200]), Bytes::from(vec![1; 800])];
    sending.send(largest.clone()).await.unwrap();
    assert_eq!(sending.try_send(largest), Err(Refused::Full { bytes: 4000, max: 4800 }));
    dial(&sending, accept(receiving).await, 1);
    let next = tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
    assert_eq!(next.bytes.len(), 4000);
}

/// Two ends of a pipe of so many bytes, the far one with what its handshake came to.
async fn piped(
    lane: &Lane,
    bytes: usize,
) -> (tokio::io::DuplexStream, Session, tokio::task::JoinHandle<Ended>) {
    let (mut near, mut far) = tokio::io::duplex(bytes);
    let (near_end, far_end) = (dialled(&key(2), |_| true), dialling(&key(1), key(2).id()));
    let (one, other) = tokio::join!(shake(&mut near, near_end), shake(&mut far, far_end));
    let ((session, early), (far_session, _)) = (one.unwrap(), other.unwrap());
    let lane = lane.clone();
    (far, far_session, tokio::spawn(async move { lane.carry(near, session, early).await }))
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_listen_is_cut_off() {
    let (receiving, _received) = lane(BOUNDS);
    let (mut far, mut session, carried) = piped(&receiving, 64 * 1024).await;
    let mut asked = 0;
    loop {
        asked += 1;
        assert!(asked < 1000, "it asks for ever");
        let mut frame = Vec::new();
        let sequences = (0..256).collect();
        strongroom_wire::frame::Frame::Where { question: asked, sequences }.write(&mut frame);
        if far.write_all(&sealed(&mut session.sealer, &frame)).await.is_err() {
            break;
        }
    }
    let ended = carried.await.unwrap();
    assert!(matches!(ended, Ended::Violation(_)), "{ended}");
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_its_connection_and_says_why() {
    use strongroom_wire::frame::{Frame, Head};
    let data = |sequence, offset, total| Frame::Data(Head { sequence, offset, total, length: 1 });
    for (frame, why) in [
        (data(0, 5, 6), "beginning"),
        (data(0, 0, 17 << 20), "too large"),
        (data(1 << 16, 0, 1), "too far ahead"),
        (Frame::Ack { below: 1, also: vec![] }, "do not exist"),
        (Frame::At { sequence: 0, offset: None }, "does not exist"),
        (Frame::Where { question: 1, sequences: vec![1 << 20] }, "too far ahead"),
    ] {
        let (receiving, _received) = lane(BOUNDS);
        let (mut far, mut session, carried) = piped(&receiving, 64 * 1024).await;
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        bytes.push(7);
        far.write_all(&sealed(&mut session.sealer, &bytes)).await.unwrap();
        let ended = carried.await.unwrap();
        assert!(ended.to_string().contains(why), "{frame:?}: {ended}");
    }
    // And a stream that ends without a word is a cut, one that says so is not.
    let (receiving, _received) = lane(BOUNDS);
    let (far, _, carried) = piped(&receiving, 64 * 1024).await;
    drop(far);
    assert!(matches!(carried.await.unwrap(), Ended::Cut | Ended::Stream(_)));
    let (mut far, mut session, carried) = piped(&receiving, 64 * 1024).await;
    let mut out = [0; 100];
    let written = session.sealer.close(&mut out).unwrap();
    far.write_all(&out[..written]).await.unwrap();
    assert!(matches!(carried.await.unwrap(), Ended::Closed));
}
