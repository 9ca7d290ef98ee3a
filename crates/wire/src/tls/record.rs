//! The records of an established connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ConnectionTrafficSecrets;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use super::aead::{self, Algorithm, Key, NONCE_BYTES, TAG_BYTES};
use super::{Error, IDLE_RECORDS_MAX, Opened, RECORDS_PER_KEY, alert};

/// Plaintext of a record at most (RFC 8446, 5.1).
pub const RECORD_PLAIN_MAX: usize = 1 << 14;
/// A whole record at most, its header too (RFC 8446, 5.2).
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + RECORD_PLAIN_MAX + 256;
/// What a record of ours has beyond its plaintext: header, content type, tag.
pub const RECORD_OVERHEAD: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// What a key update adds, which may go before any record.
pub const UPDATE_BYTES: usize = UPDATE.len() + RECORD_OVERHEAD;

/// Bytes of so many bytes of plaintext, sealed, and a key update among them.
pub const fn sealed_bytes(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD_PLAIN_MAX) * RECORD_OVERHEAD + UPDATE_BYTES
}

const HEADER_BYTES: usize = 5;
/// KeyUpdate (RFC 8446, 4.6.3): type, length, "not requested".
const UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// What a peer may send of a message after the handshake; only session tickets are long, and we ask for none.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Content types (RFC 8446, B.1).
mod content {
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

/// What derives the next keys.
pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Kernel {
    fn next(&mut self, sending: bool) -> Result<Direction, Error> {
        let (_, secrets) = match (self, sending) {
            (Kernel::Client(c), true) => c.update_tx_secret()?,
            (Kernel::Client(c), false) => c.update_rx_secret()?,
            (Kernel::Server(s), true) => s.update_tx_secret()?,
            (Kernel::Server(s), false) => s.update_rx_secret()?,
        };
        Direction::new(0, &secrets)
    }
}

/// What both directions of a connection know.
struct Shared {
    kernel: Mutex<Kernel>,
    /// The peer asked us to use a new key.
    update_wanted: AtomicBool,
}

impl Shared {
    fn next(&self, sending: bool) -> Result<Direction, Error> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner).next(sending)
    }
}

/// Keys of one direction, and how many records they have seen.
struct Direction {
    key: Key,
    iv: [u8; NONCE_BYTES],
    sequence: u64,
}

impl Direction {
    fn new(sequence: u64, secrets: &ConnectionTrafficSecrets) -> Result<Direction, Error> {
        use ConnectionTrafficSecrets as Of;
        let (algorithm, key, iv) = match secrets {
            Of::Aes128Gcm { key, iv } => (Algorithm::Aes128Gcm, key, iv),
            Of::Aes256Gcm { key, iv } => (Algorithm::Aes256Gcm, key, iv),
            Of::Chacha20Poly1305 { key, iv } => (Algorithm::Chacha20Poly1305, key, iv),
            _ => return Err(Error::Key),
        };
        let key = Key::new(algorithm, key.as_ref()).ok_or(Error::Key)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::Key)?;
        Ok(Direction { key, iv, sequence })
    }

    /// RFC 8446, 5.3.
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }
}

/// The two directions of a connection whose handshake is done.
pub(super) fn directions(
    secrets: &rustls::ExtractedSecrets,
    kernel: Kernel,
) -> Result<(Sealer, Opener), Error> {
    let shared = Shared { kernel: Mutex::new(kernel), update_wanted: AtomicBool::new(false) };
    let shared = Arc::new(shared);
    let sealer = Sealer {
        direction: Direction::new(secrets.tx.0, &secrets.tx.1)?,
        shared: shared.clone(),
        records_per_key: RECORDS_PER_KEY,
        closed: false,
    };
    let opener = Opener {
        direction: Direction::new(secrets.rx.0, &secrets.rx.1)?,
        shared,
        message: Vec::new(),
        idle: 0,
        over: false,
    };
    Ok((sealer, opener))
}

/// Seals what goes out.
pub(super) struct Sealer {
    direction: Direction,
    shared: Arc<Shared>,
    records_per_key: u64,
    closed: bool,
}

impl Sealer {
    /// As [`super::Sealer::seal`].
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        if self.closed {
            return Err(Error::Over);
        }
        let needed = plain.len() + RECORD_OVERHEAD + UPDATE_BYTES;
        if plain.len() > RECORD_PLAIN_MAX || out.len() < needed {
            return Err(Error::Room { have: out.len(), needed });
        }
        let mut written = 0;
        let wanted = self.shared.update_wanted.load(Ordering::Relaxed)
            && self.shared.update_wanted.swap(false, Ordering::AcqRel);
        if wanted || self.direction.sequence >= self.records_per_key {
            written = self.record(content::HANDSHAKE, &UPDATE, out)?;
            self.direction = self.shared.next(true)?;
        }
        Ok(written + self.record(content::APPLICATION_DATA, plain, &mut out[written..])?)
    }

    /// Says this alert, and nothing after it.
    pub(super) fn end(&mut self, description: u8, out: &mut [u8]) -> Result<usize, Error> {
        if self.closed {
            return Err(Error::Over);
        }
        let level = if description == alert::CLOSE_NOTIFY { 1 } else { 2 };
        let written = self.record(content::ALERT, &[level, description], out)?;
        self.closed = true;
        Ok(written)
    }

    pub(super) fn set_records_per_key(&mut self, records: u64) {
        self.records_per_key = records.min(RECORDS_PER_KEY);
    }

    fn record(&mut self, kind: u8, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let length = plain.len() + RECORD_OVERHEAD;
        let have = out.len();
        let out = out.get_mut(..length).ok_or(Error::Room { have, needed: length })?;
        let (header, sealed) = out.split_at_mut(HEADER_BYTES);
        let [high, low] = u16::try_from(sealed.len()).unwrap_or(u16::MAX).to_be_bytes();
        header.copy_from_slice(&[content::APPLICATION_DATA, 3, 3, high, low]);
        let nonce = self.direction.nonce();
        self.direction.key.seal(&nonce, header, plain, kind, sealed).map_err(|_| Error::Over)?;
        self.direction.sequence += 1;
        Ok(length)
    }
}

/// Bytes of the record that `input` begins with, its header too; `None` where the header is not whole yet.
///
/// # Errors
/// [`Error::Broken`] for what is no record after a handshake.
pub fn record_length(input: &[u8]) -> Result<Option<usize>, Error> {
    let Some((header, _)) = input.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    // The version is to be ignored (RFC 8446, 5.1).
    let [kind, _, _, high, low] = *header;
    if kind != content::APPLICATION_DATA {
        return Err(broken("a record that is not sealed", alert::UNEXPECTED_MESSAGE));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > RECORD_PLAIN_MAX + 256 {
        return Err(broken("a record that is too long", alert::RECORD_OVERFLOW));
    }
    Ok(Some(HEADER_BYTES + length))
}

/// Opens what comes in.
pub(super) struct Opener {
    direction: Direction,
    shared: Arc<Shared>,
    /// The beginning of a handshake message that is not whole yet.
    message: Vec<u8>,
    /// Records without data, one after another.
    idle: u32,
    over: bool,
}

impl Opener {
    /// As [`super::Opener::open`].
    pub(super) fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<Opened, Error> {
        if self.over {
            return Err(Error::Over);
        }
        let needed = record.len().saturating_sub(HEADER_BYTES + TAG_BYTES);
        if out.len() < needed {
            return Err(Error::Room { have: out.len(), needed });
        }
        let opened = self.opened(record, out);
        self.over = matches!(opened, Err(_) | Ok(Opened::End));
        opened
    }

    fn opened(&mut self, record: &[u8], out: &mut [u8]) -> Result<Opened, Error> {
        if record_length(record)? != Some(record.len()) {
            return Err(broken("a record that is not whole", alert::DECODE_ERROR));
        }
        let (header, sealed) = record.split_at(HEADER_BYTES);
        let nonce = self.direction.nonce();
        let length =
            (self.direction.key.open(&nonce, header, sealed, out)).map_err(|aead::Refused| {
                broken("a record was changed on its way", alert::BAD_RECORD_MAC)
            })?;
        self.direction.sequence += 1;
        // After the content stands its type, and then zeros as padding (RFC 8446, 5.2).
        let Some(at) = out[..length].iter().rposition(|byte| *byte != 0) else {
            return Err(broken("a record of padding alone", alert::UNEXPECTED_MESSAGE));
        };
        let (kind, content) = (out[at], &out[..at]);
        if content.len() > RECORD_PLAIN_MAX {
            return Err(broken("a record that is too long", alert::RECORD_OVERFLOW));
        }
        if kind != content::HANDSHAKE && !self.message.is_empty() {
            return Err(broken("a message was broken off", alert::UNEXPECTED_MESSAGE));
        }
        if kind == content::APPLICATION_DATA && at > 0 {
            self.idle = 0;
            return Ok(Opened::Data(at));
        }
        self.idle += 1;
        if self.idle > IDLE_RECORDS_MAX {
            return Err(broken("records without data, again and again", alert::UNEXPECTED_MESSAGE));
        }
        match kind {
            content::APPLICATION_DATA => Ok(Opened::Nothing),
            content::ALERT => match *content {
                [_, alert::CLOSE_NOTIFY] => Ok(Opened::End),
                [_, alert::USER_CANCELED] => Ok(Opened::Nothing),
                [_, description] => Err(Error::Alert(description)),
                _ => Err(broken("an alert that is none", alert::DECODE_ERROR)),
            },
            content::HANDSHAKE if at > 0 => {
                if self.message.len() + content.len() > MESSAGE_BYTES_MAX {
                    return Err(broken("a message that is too long", alert::DECODE_ERROR));
                }
                self.message.extend_from_slice(content);
                self.messages()?;
                Ok(Opened::Nothing)
            }
            _ => Err(broken("a record of no known kind", alert::UNEXPECTED_MESSAGE)),
        }
    }

    /// Does what the whole messages say (RFC 8446, 4.6).
    fn messages(&mut self) -> Result<(), Error> {
        while let Some((&[kind, a, b, c], rest)) = self.message.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            if length > MESSAGE_BYTES_MAX {
                return Err(broken("a message that is too long", alert::DECODE_ERROR));
            }
            let Some(body) = rest.get(..length) else { break };
            match (kind, body) {
                // NewSessionTicket: we never resume.
                (4, _) => {}
                (24, [asked @ (0 | 1)]) => {
                    // Whatever comes next is under the new key, so nothing may stand behind it here.
                    if rest.len() > length {
                        let what = "a message behind a key update, under the old key";
                        return Err(broken(what, alert::UNEXPECTED_MESSAGE));
                    }
                    if *asked == 1 {
                        self.shared.update_wanted.store(true, Ordering::Release);
                    }
                    self.direction = self.shared.next(false)?;
                }
                (24, _) => return Err(broken("a key update that is none", alert::DECODE_ERROR)),
                _ => {
                    let what = "a message that nobody asked for";
                    return Err(broken(what, alert::UNEXPECTED_MESSAGE));
                }
            }
            self.message.drain(..4 + length);
        }
        Ok(())
    }
}

fn broken(what: &'static str, alert: u8) -> Error {
    Error::Broken { what, alert }
}
