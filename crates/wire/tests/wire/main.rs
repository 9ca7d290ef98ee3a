//! The handshake and the records, against themselves, rustls and OpenSSL; lanes over real connections.
#![allow(clippy::unwrap_used)]

mod carry;
mod hostile;
mod lives;
mod node;
mod openssl;
mod peers;
mod spooled;

use std::sync::Arc;

use strongroom_wire::tls::{
    Error, Handshake, Opened, Opener, Progress, RECORD_OVERHEAD, RECORD_PLAIN_MAX, Records, Sealer,
    Session, UPDATE_BYTES, client_config, record_length, server_config,
};
use strongroom_wire::{NodeId, NodeKey};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32]).unwrap()
}

fn dialling(key: &NodeKey, peer: NodeId) -> Handshake {
    Handshake::client(client_config(key, peer).unwrap()).unwrap()
}

fn dialled(key: &NodeKey, admit: impl Fn(&NodeId) -> bool + Send + Sync + 'static) -> Handshake {
    Handshake::server(server_config(key, Arc::new(admit)).unwrap()).unwrap()
}

/// One end of a handshake, and what is under way to it.
struct End {
    handshake: Option<Handshake>,
    coming: Vec<u8>,
    there: Vec<u8>,
    result: Option<Result<Session, Error>>,
}

impl End {
    fn new(handshake: Handshake) -> End {
        End { handshake: Some(handshake), coming: Vec::new(), there: Vec::new(), result: None }
    }

    /// Takes `piece` bytes of what is coming, and sends what it has to. Whether anything happened.
    fn step(&mut self, piece: usize, to: &mut Vec<u8>) -> bool {
        let Some(handshake) = &mut self.handshake else { return false };
        let piece = piece.min(self.coming.len());
        self.there.extend(self.coming.drain(..piece));
        let progress = handshake.step(&mut self.there);
        let outgoing = handshake.outgoing();
        to.extend_from_slice(&outgoing);
        match progress {
            Ok(Progress::More) => return piece > 0 || !outgoing.is_empty(),
            Ok(Progress::Done) => self.result = self.handshake.take().map(Handshake::finish),
            Err(error) => {
                self.result = Some(Err(error));
                self.handshake = None;
            }
        }
        true
    }

    /// What it came to; [`Error::Over`] where it still waits.
    fn end(self) -> Result<Session, Error> {
        self.result.unwrap_or(Err(Error::Over))
    }
}

/// Brings what each says to the other, in pieces of so many bytes, until nothing more happens.
fn shake(client: Handshake, server: Handshake, piece: usize) -> (End, End) {
    let (mut client, mut server) = (End::new(client), End::new(server));
    loop {
        let one = client.step(piece, &mut server.coming);
        let other = server.step(piece, &mut client.coming);
        if !one && !other {
            return (client, server);
        }
    }
}

/// Two nodes that are connected: who dialled first.
fn connected() -> (Session, Session) {
    let (a, b) = (key(1), key(2));
    let (client, server) = shake(dialling(&a, b.id()), dialled(&b, |_| true), usize::MAX);
    assert!(client.there.is_empty() && client.coming.is_empty() && server.coming.is_empty());
    (client.end().unwrap(), server.end().unwrap())
}

fn sealed(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; plain.len() + RECORD_OVERHEAD + UPDATE_BYTES];
    let written = sealer.seal(plain, &mut out).unwrap();
    out.truncate(written);
    out
}

/// All the data in `records`.
fn opened(opener: &mut Opener, mut records: &[u8]) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    let mut out = vec![0; RECORD_PLAIN_MAX + 256];
    while let Some(length) = record_length(records)? {
        if let Opened::Data(n) = opener.open(&records[..length], &mut out)? {
            data.extend_from_slice(&out[..n]);
        }
        records = &records[length..];
    }
    assert!(records.is_empty());
    Ok(data)
}

#[test]
fn two_nodes_know_each_other_by_their_keys() {
    let (a, b) = (key(1), key(2));
    for piece in [1, 7, 1000, usize::MAX] {
        let admitted = a.id();
        let server = dialled(&b, move |id| *id == admitted);
        let (client, server) = shake(dialling(&a, b.id()), server, piece);
        let (mut client, mut server) = (client.end().unwrap(), server.end().unwrap());
        assert_eq!((client.peer, server.peer), (Some(b.id()), Some(a.id())));
        let said = sealed(&mut client.sealer, b"hello");
        assert_eq!(opened(&mut server.opener, &said).unwrap(), b"hello");
        let said = sealed(&mut server.sealer, b"hello yourself");
        assert_eq!(opened(&mut client.opener, &said).unwrap(), b"hello yourself");
    }
}

#[test]
fn nobody_else_is_dialled_and_nobody_else_let_in() {
    let (a, b) = (key(1), key(2));
    // Another node answers.
    let (client, server) = shake(dialling(&a, key(3).id()), dialled(&b, |_| true), usize::MAX);
    assert!(matches!(client.end(), Err(Error::Handshake(_))));
    let told = server.end().err().unwrap().to_string();
    assert!(told.contains("AccessDenied"), "{told}");
    // A node dials that is not admitted: it believes to be done, and then is told.
    let (client, server) = shake(dialling(&a, b.id()), dialled(&b, |_| false), usize::MAX);
    assert!(matches!(server.end(), Err(Error::Handshake(_))));
    let alert = client.coming.clone();
    let mut client = client.end().unwrap();
    assert!(matches!(opened(&mut client.opener, &alert), Err(Error::Alert(49))), "access_denied");
    assert!(matches!(client.opener.open(&alert, &mut [0; 100]), Err(Error::Over)));
}

#[test]
fn data_of_every_size_pass_under_ever_new_keys() {
    let (mut client, mut server) = connected();
    client.sealer.set_records_per_key(3);
    let mut updates = 0;
    for length in (0..40).chain([255, 256, 1000, 16_383, 16_384]) {
        let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let records = sealed(&mut client.sealer, &plain);
        updates += usize::from(records.len() > length + RECORD_OVERHEAD);
        assert_eq!(opened(&mut server.opener, &records).unwrap(), plain);
        let records = sealed(&mut server.sealer, &plain);
        assert_eq!(opened(&mut client.opener, &records).unwrap(), plain);
    }
    assert_eq!(updates, 14, "one before each third record, not before the first");
    let mut out = [0; 100];
    let written = client.sealer.close(&mut out).unwrap();
    let mut into = [0; 100];
    assert_eq!(server.opener.open(&out[..written], &mut into).unwrap(), Opened::End);
    assert!(matches!(client.sealer.seal(b"", &mut out), Err(Error::Over)));
    assert!(matches!(client.sealer.close(&mut out), Err(Error::Over)));
    assert!(matches!(server.opener.open(&out[..written], &mut into), Err(Error::Over)));
}

#[test]
fn a_buffer_that_is_too_small_loses_nothing() {
    let (mut client, mut server) = connected();
    let mut out = vec![0; 20_000];
    assert!(matches!(client.sealer.seal(&[1; 10], &mut out[..20]), Err(Error::Room { .. })));
    assert!(matches!(client.sealer.seal(&[1; 16_385], &mut out), Err(Error::Room { .. })));
    let records = sealed(&mut client.sealer, &[1; 10]);
    let too_small = server.opener.open(&records, &mut out[..10]);
    assert!(matches!(too_small, Err(Error::Room { have: 10, needed: 11 })), "{too_small:?}");
    assert_eq!(opened(&mut server.opener, &records).unwrap(), [1; 10]);
}
