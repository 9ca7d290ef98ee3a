//! TLS 1.3 between nodes: the handshake by rustls, the records after it by ourselves.
//!
//! rustls copies what it seals and opens, into buffers of its own and in small pieces. Bulk data need
//! better: a record is sealed from where the payload lies into the buffer that the system sends, and
//! opened from what the system received into the message's own memory. So [`Handshake`] lets rustls come
//! to its end, takes the traffic keys as for kernel TLS, and gives them to a [`Sealer`] and an [`Opener`],
//! one for each direction, which may live on different threads. What RFC 8446 asks of records is then ours: key
//! updates (4.6.3), limits of the ciphers (5.5), alerts and the end (6), truncation, bounds (5.1, 5.2).
//!
//! Or all of it is left to rustls ([`Records::Rustls`]).
//!
//! No I/O happens here, and no clock is read.
//!
//! | what fails | what follows |
//! |---|---|
//! | the peer is not whom we dialled, or is not admitted | the handshake ends with an alert; nothing was sent that it may not see |
//! | a record was changed, dropped, repeated, or moved | [`Error::Broken`] with `bad_record_mac`; the connection is over |
//! | the stream ends without close_notify | the owner of the stream says so: nothing here takes an end for a proper one |
//! | a peer sends empty records or key updates without end | [`Error::Broken`] after [`IDLE_RECORDS_MAX`] of them |

mod aead;
mod handshake;
mod record;
mod session;
mod whole;

pub use handshake::{Admit, Handshake, Progress, client_config, server_config};
pub use record::{
    RECORD_BYTES_MAX, RECORD_OVERHEAD, RECORD_PLAIN_MAX, UPDATE_BYTES, record_length, sealed_bytes,
};
pub use session::{Opened, Opener, Records, Sealer, Session};

/// Records without data that are taken one after another, before the peer counts as hostile; as rustls has it.
pub const IDLE_RECORDS_MAX: u32 = 32;

/// Records sealed under one key before the next is used. AES-GCM allows 2^24.5 of full size (RFC 8446,
/// 5.5); this is 128 GiB.
pub const RECORDS_PER_KEY: u64 = 1 << 23;

/// Bytes that a peer may send before the handshake is done.
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// Why a connection cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node's key that is none.
    #[error("the node's private key cannot be used; it should be 32 bytes of Ed25519")]
    Key,
    /// The handshake failed, on either side.
    #[error("no TLS connection could be agreed on: {0}")]
    Handshake(#[from] rustls::Error),
    /// The peer sent more than any handshake needs.
    #[error("the peer sent {HANDSHAKE_BYTES_MAX} bytes without coming to the end of the handshake")]
    HandshakeTooLong,
    /// The peer ended the connection with an alert.
    #[error("the peer ended the connection with TLS alert {0} (RFC 8446, section 6)")]
    Alert(u8),
    /// What came is not what an honest peer over an honest network sends.
    #[error("the peer, or somebody between, broke TLS: {what}")]
    Broken {
        /// What was wrong.
        what: &'static str,
        /// The alert that tells the peer so.
        alert: u8,
    },
    /// A buffer is too small for the record; nothing was taken or written.
    #[error("a buffer of {have} bytes, where a record needs {needed}")]
    Room {
        /// Bytes of the buffer.
        have: usize,
        /// Bytes that are needed.
        needed: usize,
    },
    /// It was closed, or broke before.
    #[error("the connection is closed")]
    Over,
}

/// The alert for what TLS carried, and what is above it cannot take.
pub(crate) const ILLEGAL_PARAMETER: u8 = alert::ILLEGAL_PARAMETER;

/// Alerts (RFC 8446, section 6).
mod alert {
    pub(super) const CLOSE_NOTIFY: u8 = 0;
    pub(super) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(super) const BAD_RECORD_MAC: u8 = 20;
    pub(super) const RECORD_OVERFLOW: u8 = 22;
    pub(super) const ILLEGAL_PARAMETER: u8 = 47;
    pub(super) const DECODE_ERROR: u8 = 50;
    pub(super) const USER_CANCELED: u8 = 90;
}
