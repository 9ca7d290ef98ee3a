//! Blobs of 10 MiB over four connections, from one node to another, beside plain TCP and tokio-rustls: wall time, and the
//! CPU time of both ends, per GB.
//!
//! ```text
//! cargo bench -p strongroom-wire --bench point_to_point -- [--blobs 200] [--rounds 5] [--only wire]
//! ```
//!
//! Rounds are in turns, and medians are printed. The kernel's congestion control counts; it is printed too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use strongroom_wire::tls::{Handshake, client_config, server_config};
use strongroom_wire::{Bounds, Lane, NodeId, NodeKey, shake};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const BLOB_BYTES: usize = 10 << 20;
const CONNECTIONS: usize = 4;

fn main() {
    let (mut blobs, mut rounds, mut only) = (200, 5, String::new());
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        match arg.as_str() {
            "--blobs" => blobs = value().parse().unwrap(),
            "--rounds" => rounds = value().parse().unwrap(),
            // One peer alone, to be looked at with a profiler.
            "--only" => only = value(),
            "--bench" => {}
            other => panic!("unknown option {other}; see the top of benches/point_to_point.rs"),
        }
    }
    let runtime = Runtime::new().unwrap();
    let blob = Bytes::from((0..BLOB_BYTES).map(|i| (i * 31) as u8).collect::<Vec<_>>());
    type Peer = (&'static str, fn(&Runtime, &Bytes, usize));
    let mut peers: Vec<Peer> =
        vec![("plain TCP", plain), ("tokio-rustls", tokio_rustls_), ("strongroom wire", ours)];
    peers.retain(|(name, _)| name.contains(&only));
    let mut times = vec![Vec::new(); peers.len()];
    for round in 0..=rounds {
        for (peer, times) in peers.iter().zip(&mut times) {
            let (wall, cpu) = (Instant::now(), cpu());
            peer.1(&runtime, &blob, if round == 0 { blobs / 10 } else { blobs });
            // The first warms.
            if round > 0 {
                times.push((wall.elapsed().as_secs_f64(), (self::cpu() - cpu).as_secs_f64()));
            }
        }
    }
    let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    println!("congestion control: {}", control.unwrap_or_default().trim());
    let gb = (blobs * BLOB_BYTES) as f64 / 1e9;
    let medians: Vec<(f64, f64)> = (times.iter_mut())
        .map(|times| {
            (median(times.iter().map(|t| t.0)) / gb, median(times.iter().map(|t| t.1)) / gb)
        })
        .collect();
    println!("{:18}{:>10}{:>14}{:>24}", "", "GB/s", "CPU-s per GB", "of tokio-rustls's CPU");
    for ((name, _), (wall, cpu)) in peers.iter().zip(&medians) {
        let ratio = medians.get(1).map_or(String::new(), |peer| format!("{:.2} x", cpu / peer.1));
        println!("{name:18}{:>10.2}{cpu:>14.3}{ratio:>24}", 1.0 / wall);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// User and system time of this process, in which both ends are.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Pairs of connected streams.
async fn pairs() -> Vec<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        pairs.push((one.unwrap(), other.unwrap().0));
    }
    pairs
}

async fn send(mut stream: impl AsyncWrite + Unpin, blob: Bytes, blobs: usize) {
    for _ in 0..blobs {
        stream.write_all(&blob).await.unwrap();
    }
    stream.flush().await.unwrap();
    stream.shutdown().await.unwrap();
}

/// Each blob whole in memory, as a handler would want it.
async fn receive(mut stream: impl AsyncRead + Unpin, blobs: usize) {
    let mut blob = vec![0; BLOB_BYTES];
    for _ in 0..blobs {
        stream.read_exact(&mut blob).await.unwrap();
    }
}

fn plain(runtime: &Runtime, blob: &Bytes, blobs: usize) {
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for (one, other) in pairs().await {
            tasks.push(tokio::spawn(send(one, blob.clone(), blobs / CONNECTIONS)));
            tasks.push(tokio::spawn(receive(other, blobs / CONNECTIONS)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn keys() -> (NodeKey, NodeKey) {
    (NodeKey::from_seed(&[1; 32]).unwrap(), NodeKey::from_seed(&[2; 32]).unwrap())
}

fn tokio_rustls_(runtime: &Runtime, blob: &Bytes, blobs: usize) {
    let (a, b) = keys();
    let connector = tokio_rustls::TlsConnector::from(client_config(&a, b.id()).unwrap());
    let admit = Arc::new(|_: &NodeId| true);
    let acceptor = tokio_rustls::TlsAcceptor::from(server_config(&b, admit).unwrap());
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for (one, other) in pairs().await {
            let name = rustls::pki_types::ServerName::try_from("node.invalid").unwrap();
            let (one, other) = tokio::join!(connector.connect(name, one), acceptor.accept(other));
            tasks.push(tokio::spawn(send(one.unwrap(), blob.clone(), blobs / CONNECTIONS)));
            tasks.push(tokio::spawn(receive(other.unwrap(), blobs / CONNECTIONS)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn ours(runtime: &Runtime, blob: &Bytes, blobs: usize) {
    let (a, b) = keys();
    let client = client_config(&a, b.id()).unwrap();
    let server = server_config(&b, Arc::new(|_: &NodeId| true)).unwrap();
    let bounds = Bounds { window: 64 << 20, outgoing: 64 << 20 };
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let sending = Lane::new(bounds, Box::new(|_| {}));
    let receiving = Lane::new(bounds, Box::new(move |message| sender.send(message).unwrap()));
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for (mut one, mut other) in pairs().await {
            let (one_end, other_end) = (
                Handshake::client(client.clone()).unwrap(),
                Handshake::server(server.clone()).unwrap(),
            );
            let (c, s) = tokio::join!(shake(&mut one, one_end), shake(&mut other, other_end));
            let ((c, early), (s, also_early)) = (c.unwrap(), s.unwrap());
            let (sending, receiving) = (sending.clone(), receiving.clone());
            tasks.push(tokio::spawn(async move { sending.carry(one, c, early).await }));
            tasks.push(tokio::spawn(async move { receiving.carry(other, s, also_early).await }));
        }
        let (sending, blob) = (sending.clone(), blob.clone());
        tokio::spawn(async move {
            for _ in 0..blobs {
                sending.send([blob.clone(), Bytes::new()]).await.unwrap();
            }
        });
        for _ in 0..blobs {
            let message = received.recv().await.unwrap();
            assert_eq!(message.bytes.len(), BLOB_BYTES);
        }
        tasks.iter().for_each(|task| task.abort());
    });
}
