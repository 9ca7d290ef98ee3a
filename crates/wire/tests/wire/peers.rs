//! rustls, with its own records, as the peer.

use std::io::{Read as _, Write as _};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::*;

/// A connection of rustls, client or server.
type Peer = rustls::Connection;

/// Brings a handshake of ours and one of rustls to their end.
fn shake(mut ours: Handshake, peer: &mut Peer) -> Session {
    let mut there = Vec::new();
    loop {
        let progress = ours.step(&mut there).unwrap();
        tell(peer, &ours.outgoing());
        there.extend(said(peer));
        if progress == Progress::Done && !peer.is_handshaking() {
            assert!(there.is_empty());
            return ours.finish().unwrap();
        }
    }
}

fn tell(peer: &mut Peer, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        peer.read_tls(&mut bytes).unwrap();
        peer.process_new_packets().unwrap();
    }
}

fn said(peer: &mut Peer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Each side once by us, our records by ourselves and by rustls too.
fn all() -> impl Iterator<Item = (Records, Session, Peer)> {
    [Records::Own, Records::Rustls]
        .into_iter()
        .flat_map(|records| both(records).map(|(session, peer)| (records, session, peer)))
}

fn both(records: Records) -> [(Session, Peer); 2] {
    let (a, b) = (key(1), key(2));
    let config = server_config(&b, Arc::new(|_: &NodeId| true)).unwrap();
    let mut server = Peer::Server(ServerConnection::new(config).unwrap());
    let ours = shake(dialling(&a, b.id()).with_records(records), &mut server);
    let name = ServerName::try_from("node.invalid").unwrap();
    let config = client_config(&b, a.id()).unwrap();
    let mut client = Peer::Client(ClientConnection::new(config, name).unwrap());
    let as_server = shake(dialled(&a, |_| true).with_records(records), &mut client);
    assert_eq!((ours.peer, as_server.peer), (Some(b.id()), Some(b.id())));
    [(ours, server), (as_server, client)]
}

#[test]
fn rustls_understands_us_and_we_it() {
    for (_, mut ours, mut peer) in all() {
        for round in 0..20usize {
            let length = [0, 1, 100, 16_384, 50_000][round % 5];
            let plain: Vec<u8> = (0..length).map(|i| (i + round) as u8).collect();
            // Key updates, ours and theirs; rustls's ask for one of ours.
            ours.sealer.set_records_per_key(if round % 3 == 0 { 0 } else { 100 });
            if round % 4 == 1 {
                peer.refresh_traffic_keys().unwrap();
            }
            let (mut read, mut heard) = (vec![0; plain.len()], Vec::new());
            for (part, into) in
                plain.chunks(RECORD_PLAIN_MAX).zip(read.chunks_mut(RECORD_PLAIN_MAX))
            {
                tell(&mut peer, &sealed(&mut ours.sealer, part));
                peer.reader().read_exact(into).unwrap();
                peer.writer().write_all(into).unwrap();
                heard.extend(opened(&mut ours.opener, &said(&mut peer)).unwrap());
            }
            assert!(read == plain && heard == plain, "round {round}");
        }
    }
}

#[test]
fn the_end_is_told_from_a_cut_on_both_sides() {
    for (_, mut ours, mut peer) in all() {
        peer.send_close_notify();
        let records = said(&mut peer);
        assert_eq!(ours.opener.open(&records, &mut [0; 100]).unwrap(), Opened::End);
        let mut out = [0; 100];
        let written = ours.sealer.close(&mut out).unwrap();
        tell(&mut peer, &out[..written]);
        assert_eq!(peer.reader().read(&mut [0; 10]).unwrap(), 0, "a proper end");
    }
    for (records, mut ours, mut peer) in all() {
        let mut out = [0; 100];
        if records == Records::Rustls {
            // It knows of its own what there is to say.
            peer.writer().write_all(b"data").unwrap();
            let mut changed = said(&mut peer);
            changed[10] ^= 1;
            let broken = ours.opener.open(&changed, &mut out);
            assert!(matches!(broken, Err(Error::Broken { alert: 20, .. })), "{broken:?}");
        }
        let written = ours.sealer.abort(20, &mut out).unwrap();
        peer.read_tls(&mut &out[..written]).unwrap();
        let told = peer.process_new_packets().unwrap_err();
        assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    }
}
