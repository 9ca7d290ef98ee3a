//! Records by rustls: the fallback, for whoever trusts nobody else with them, at twice the cost. Both directions share one connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::{Error, Opened, RECORD_OVERHEAD, RECORD_PLAIN_MAX, UPDATE_BYTES, alert};

/// A connection of rustls's whose handshake is done.
pub(super) enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

struct Shared {
    connection: Connection,
    /// What rustls wants to say by itself: it goes before the next record.
    outgoing: Vec<u8>,
}

/// The two directions.
pub(super) fn directions(connection: Connection) -> (Sealer, Opener) {
    let shared = Arc::new(Mutex::new(Shared { connection, outgoing: Vec::new() }));
    (Sealer { shared: shared.clone(), closed: false }, Opener { shared, over: false })
}

pub(super) struct Sealer {
    shared: Arc<Mutex<Shared>>,
    closed: bool,
}

pub(super) struct Opener {
    shared: Arc<Mutex<Shared>>,
    over: bool,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be done once rustls has nothing to say by itself.
enum Then<'a> {
    Seal(&'a [u8], &'a mut [u8]),
    Close(&'a mut [u8]),
    /// Takes what came, to the beginning of this.
    Open(&'a mut [u8]),
}

/// What rustls came to.
enum Step {
    /// It has more to do.
    Again,
    Written(usize),
    Read(usize),
    /// All that came was taken.
    Nothing,
    PeerClosed,
}

impl Shared {
    /// Lets rustls work through `incoming`, and then do what is to be done. Returns what that came to.
    fn run(&mut self, incoming: &mut Vec<u8>, mut then: Then<'_>) -> Result<Step, Error> {
        loop {
            let outgoing = &mut self.outgoing;
            let (discard, done) = match &mut self.connection {
                Connection::Client(c) => step(c.process_tls_records(incoming), outgoing, &mut then),
                Connection::Server(s) => step(s.process_tls_records(incoming), outgoing, &mut then),
            };
            incoming.drain(..discard);
            match done? {
                Step::Again => {}
                done => return Ok(done),
            }
        }
    }

    /// What rustls said by itself goes first.
    fn first(&mut self, out: &mut [u8], needed: usize) -> Result<usize, Error> {
        let have = out.len();
        let needed = needed + self.outgoing.len();
        if have < needed {
            return Err(Error::Room { have, needed });
        }
        let first = std::mem::take(&mut self.outgoing);
        out[..first.len()].copy_from_slice(&first);
        Ok(first.len())
    }
}

fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    outgoing: &mut Vec<u8>,
    then: &mut Then<'_>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => match (traffic.next_record(), then) {
            (None, _) => Ok(Step::Again),
            (Some(Err(error)), _) => Err(error.into()),
            (Some(Ok(record)), Then::Open(out)) => {
                discard += record.discard;
                match out.get_mut(..record.payload.len()) {
                    Some(room) => {
                        room.copy_from_slice(record.payload);
                        Ok(Step::Read(record.payload.len()))
                    }
                    None => Err(Error::Room { have: out.len(), needed: record.payload.len() }),
                }
            }
            // Each record that comes is read at once.
            (Some(Ok(_)), _) => Err(Error::Over),
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let at = outgoing.len();
            let mut encode = |room: usize| {
                outgoing.resize(at + room, 0);
                data.encode(&mut outgoing[at..])
            };
            let encoded = match encode(1024) {
                Err(EncodeError::InsufficientSize(size)) => encode(size.required_size),
                other => other,
            };
            outgoing.truncate(at + encoded.as_ref().copied().unwrap_or(0));
            encoded.map(|_| Step::Again).map_err(|_| Error::Over)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let written = match then {
                Then::Open(_) => return (discard, Ok(Step::Nothing)),
                Then::Seal(plain, out) => traffic.encrypt(plain, out),
                Then::Close(out) => traffic.queue_close_notify(out),
            };
            written.map(Step::Written).map_err(|error| match error {
                EncryptError::InsufficientSize(size) => {
                    Error::Room { have: 0, needed: size.required_size }
                }
                EncryptError::EncryptExhausted => Error::Over,
            })
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::Closed) => Err(Error::Over),
        Ok(_) => Err(Error::Broken {
            what: "a message that belongs to no established connection",
            alert: alert::UNEXPECTED_MESSAGE,
        }),
        Err(error) => Err(error.into()),
    };
    (discard, step)
}

impl Sealer {
    /// As [`super::Sealer::seal`].
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let needed = plain.len() + RECORD_OVERHEAD + UPDATE_BYTES;
        if self.closed {
            return Err(Error::Over);
        }
        if plain.len() > RECORD_PLAIN_MAX || out.len() < needed {
            return Err(Error::Room { have: out.len(), needed });
        }
        let mut shared = lock(&self.shared);
        let first = shared.first(out, needed - UPDATE_BYTES)?;
        match shared.run(&mut Vec::new(), Then::Seal(plain, &mut out[first..]))? {
            Step::Written(written) => Ok(first + written),
            _ => Err(Error::Over),
        }
    }

    /// What rustls has to say after an error: its alert.
    pub(super) fn abort(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.closed {
            return Err(Error::Over);
        }
        self.closed = true;
        let mut shared = lock(&self.shared);
        // It says it, and then that it is over.
        let _ = shared.run(&mut Vec::new(), Then::Open(&mut []));
        match shared.first(out, 0)? {
            0 => {
                drop(shared);
                self.closed = false;
                self.close(out)
            }
            alert => Ok(alert),
        }
    }

    /// Says the proper end.
    pub(super) fn close(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.closed {
            return Err(Error::Over);
        }
        let mut shared = lock(&self.shared);
        let first = shared.first(out, RECORD_OVERHEAD)?;
        let written = match shared.run(&mut Vec::new(), Then::Close(&mut out[first..]))? {
            Step::Written(written) => first + written,
            _ => return Err(Error::Over),
        };
        self.closed = true;
        Ok(written)
    }
}

impl Opener {
    /// As [`super::Opener::open`].
    pub(super) fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<Opened, Error> {
        if self.over {
            return Err(Error::Over);
        }
        let mut incoming = record.to_vec();
        let opened = match lock(&self.shared).run(&mut incoming, Then::Open(out)) {
            Ok(Step::Read(length)) => Ok(Opened::Data(length)),
            Ok(Step::Nothing) => Ok(Opened::Nothing),
            Ok(Step::PeerClosed) => Ok(Opened::End),
            Ok(Step::Again | Step::Written(_)) => Err(Error::Over),
            Err(Error::Handshake(rustls::Error::DecryptError)) => Err(Error::Broken {
                what: "a record was changed on its way",
                alert: alert::BAD_RECORD_MAC,
            }),
            Err(Error::Handshake(rustls::Error::AlertReceived(alert))) => {
                Err(Error::Alert(alert.into()))
            }
            Err(error) => Err(error),
        };
        self.over = matches!(opened, Err(_) | Ok(Opened::End));
        opened
    }
}
