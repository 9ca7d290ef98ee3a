//! The first frame on a connection (docs/wire.md, "The first frame"): what it is for, and in whose life.
//!
//! The side that is TLS's client speaks first and says what it wants; the other answers in the same form, or with a
//! refusal and the end. Each stands in a record of its own, so that what follows it is the lane's.

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::Ended;
use crate::frame::{HEADER_BYTES, NoFrame};
use crate::tls::{
    Opened, Opener, RECORD_BYTES_MAX, RECORD_OVERHEAD, Sealer, UPDATE_BYTES, record_length,
};

/// The versions of the protocol that are spoken here, the least and the greatest.
pub const VERSIONS: (u16, u16) = (1, 1);
/// What else is spoken here, a bit each; none is defined yet.
pub const FEATURES: u64 = 0;

/// The last epoch: there is always one after the time of day, in nanoseconds.
pub const EPOCH_MAX: u64 = u64::MAX >> 1;

/// Bytes that follow the header.
const HELLO_BYTES: usize = 40;
const REFUSAL_BYTES: usize = 16;

mod kind {
    pub(super) const HELLO: u8 = 6;
    pub(super) const REFUSAL: u8 = 7;
}

/// Which connection to a peer one is: there is at most one at each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Heartbeats, membership, cancellation.
    Control,
    /// Small messages: there are [`CALLS_MAX`] of them.
    Calls(u8),
    /// Large messages: there are up to [`BULK_MAX`].
    Bulk(u8),
}

impl Place {
    /// Lane and slot.
    pub(crate) fn to_bytes(self) -> (u8, u8) {
        match self {
            Place::Control => (0, 0),
            Place::Calls(slot) => (1, slot),
            Place::Bulk(slot) => (2, slot),
        }
    }

    /// `None` for a place that does not exist.
    pub(crate) fn from_bytes(lane: u8, slot: u8) -> Option<Place> {
        match (lane, slot) {
            (0, 0) => Some(Place::Control),
            (1, slot) if slot < CALLS_MAX => Some(Place::Calls(slot)),
            (2, slot) if slot < BULK_MAX => Some(Place::Bulk(slot)),
            _ => None,
        }
    }
}

/// Connections for small messages.
pub const CALLS_MAX: u8 = 2;
/// Connections for large messages at most.
pub const BULK_MAX: u8 = 6;

/// What a side says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The least and the greatest version that it speaks; in an answer both are the one that is spoken.
    pub versions: (u16, u16),
    /// What the connection is for; the same in an answer.
    pub place: Place,
    /// What it can do beside; in an answer, what both can.
    pub features: u64,
    /// The number of the life in which it knows the peer, from 1 to [`EPOCH_MAX`]. A later life has a greater one.
    pub epoch: u64,
    /// The peer's, as far as it knows; or 0.
    pub known: u64,
    /// Bytes that a message to it may have on this lane; 0 for control.
    pub message_max: u64,
}

/// Why a connection is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No version is spoken by both.
    Version,
    /// Another connection has the place, or is about to.
    Place,
    /// A life speaks that was followed by another, with this epoch.
    Epoch(u64),
    /// The node is about to end.
    Closing,
    /// What this version does not know.
    Other(u64),
}

impl Refusal {
    /// The reason, and what there is to say to it.
    fn to_numbers(self) -> [u64; 2] {
        match self {
            Refusal::Version => [1, 0],
            Refusal::Place => [2, 0],
            Refusal::Epoch(known) => [3, known],
            Refusal::Closing => [4, 0],
            Refusal::Other(reason) => [reason, 0],
        }
    }

    fn from_numbers(reason: u64, more: u64) -> Refusal {
        match reason {
            1 => Refusal::Version,
            2 => Refusal::Place,
            3 => Refusal::Epoch(more.min(EPOCH_MAX)),
            4 => Refusal::Closing,
            other => Refusal::Other(other),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Version => f.write_str("it speaks no version of the protocol that we speak"),
            Refusal::Place => f.write_str("another connection serves the same purpose"),
            Refusal::Epoch(_) => f.write_str("it knows a later process of this node"),
            Refusal::Closing => f.write_str("it is about to end"),
            Refusal::Other(number) => write!(f, "reason {number}"),
        }
    }
}

/// What a first frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Hello(Hello),
    Refusal(Refusal),
}

impl First {
    fn to_bytes(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEADER_BYTES + HELLO_BYTES);
        let kind = match self {
            First::Hello(hello) => {
                body.extend_from_slice(&hello.versions.0.to_le_bytes());
                body.extend_from_slice(&hello.versions.1.to_le_bytes());
                let (lane, slot) = hello.place.to_bytes();
                body.extend_from_slice(&[lane, slot, 0, 0]);
                for number in [hello.features, hello.epoch, hello.known, hello.message_max] {
                    body.extend_from_slice(&number.to_le_bytes());
                }
                kind::HELLO
            }
            First::Refusal(refusal) => {
                for number in refusal.to_numbers() {
                    body.extend_from_slice(&number.to_le_bytes());
                }
                kind::REFUSAL
            }
        };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&[kind, 0, 0, 0], &length[..], &body].concat()
    }

    fn parse(bytes: &[u8]) -> Result<First, NoFrame> {
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(NoFrame("a first frame that is too short"));
        };
        let [kind, 0, 0, 0, length @ ..] = *header else {
            return Err(NoFrame("reserved bytes that are not zero"));
        };
        if usize::try_from(u32::from_le_bytes(length)) != Ok(body.len()) {
            return Err(NoFrame("a first frame that does not stand alone in its record"));
        }
        let number = |at: usize| {
            let bytes = body.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        match (kind, body) {
            (kind::HELLO, [a, b, c, d, lane, slot, 0, 0, ..]) if body.len() == HELLO_BYTES => {
                let place =
                    Place::from_bytes(*lane, *slot).ok_or(NoFrame("a lane that does not exist"))?;
                let versions = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
                let (features, epoch) = (number(8), number(16));
                let (known, message_max) = (number(24), number(32));
                if !(1..=EPOCH_MAX).contains(&epoch) || known > EPOCH_MAX {
                    return Err(NoFrame("an epoch that is none"));
                }
                Ok(First::Hello(Hello { versions, place, features, epoch, known, message_max }))
            }
            (kind::REFUSAL, _) if body.len() == REFUSAL_BYTES => {
                Ok(First::Refusal(Refusal::from_numbers(number(0), number(8))))
            }
            _ => Err(NoFrame("a first frame that is none")),
        }
    }
}

/// The version that both speak.
pub(crate) fn version(theirs: (u16, u16)) -> Option<u16> {
    let version = VERSIONS.1.min(theirs.1);
    (version >= VERSIONS.0 && version >= theirs.0).then_some(version)
}

/// Says `hello`.
pub(crate) async fn say<S>(stream: &mut S, sealer: &mut Sealer, hello: Hello) -> Result<(), Ended>
where
    S: AsyncWrite + Unpin,
{
    write(stream, sealer, First::Hello(hello)).await
}

/// Refuses the connection, properly.
pub(crate) async fn refuse<S>(
    stream: &mut S,
    sealer: &mut Sealer,
    refusal: Refusal,
) -> Result<(), Ended>
where
    S: AsyncWrite + Unpin,
{
    write(stream, sealer, First::Refusal(refusal)).await?;
    let mut out = [0; 2 * RECORD_OVERHEAD];
    let written = sealer.close(&mut out)?;
    stream.write_all(&out[..written]).await?;
    stream.flush().await?;
    Ok(())
}

async fn write<S>(stream: &mut S, sealer: &mut Sealer, first: First) -> Result<(), Ended>
where
    S: AsyncWrite + Unpin,
{
    let plain = first.to_bytes();
    let mut out = vec![0; plain.len() + RECORD_OVERHEAD + UPDATE_BYTES];
    let written = sealer.seal(&plain, &mut out)?;
    stream.write_all(&out[..written]).await?;
    stream.flush().await?;
    Ok(())
}

/// Hears what the other side says first. `early` holds what came already, and afterwards what came behind it.
///
/// # Errors
/// [`Ended::Refused`], and whatever ends a connection.
pub(crate) async fn hear<S>(
    stream: &mut S,
    opener: &mut Opener,
    early: &mut Vec<u8>,
) -> Result<Hello, Ended>
where
    S: AsyncRead + Unpin,
{
    loop {
        while let Some(length) = record_length(early)?
            && early.len() >= length
        {
            let mut plain = vec![0; length];
            let opened = opener.open(&early[..length], &mut plain)?;
            early.drain(..length);
            match opened {
                Opened::Data(n) => match First::parse(&plain[..n])? {
                    First::Hello(hello) => return Ok(hello),
                    First::Refusal(refusal) => return Err(Ended::Refused(refusal)),
                },
                Opened::Nothing => {}
                Opened::End => return Err(Ended::Closed),
            }
        }
        early.reserve(RECORD_BYTES_MAX.saturating_sub(early.len()));
        if stream.read_buf(early).await? == 0 {
            return Err(Ended::Cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_first() -> impl Strategy<Value = First> {
        let place = prop_oneof![
            Just(Place::Control),
            (0..CALLS_MAX).prop_map(Place::Calls),
            (0..BULK_MAX).prop_map(Place::Bulk),
        ];
        let epochs = (1..=EPOCH_MAX, 0..=EPOCH_MAX);
        let hello = (any::<(u16, u16)>(), place, any::<[u64; 2]>(), epochs).prop_map(
            |(versions, place, [features, message_max], (epoch, known))| {
                First::Hello(Hello { versions, place, features, epoch, known, message_max })
            },
        );
        let refusal = (0..8u64, 0..=EPOCH_MAX)
            .prop_map(|(n, more)| First::Refusal(Refusal::from_numbers(n, more)));
        prop_oneof![hello, refusal]
    }

    proptest! {
        #[test]
        fn first_frames_read_back_as_written(first in any_first()) {
            let mut bytes = first.to_bytes();
            prop_assert_eq!(First::parse(&bytes), Ok(first));
            for cut in 0..bytes.len() {
                prop_assert!(First::parse(&bytes[..cut]).is_err(), "cut at {}", cut);
            }
            bytes.push(0);
            prop_assert!(First::parse(&bytes).is_err(), "something behind it");
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = First::parse(&bytes);
        }
    }

    #[test]
    fn the_greatest_version_that_both_speak_is_spoken() {
        assert_eq!(version((1, 1)), Some(1));
        assert_eq!(version((0, 9)), Some(1));
        assert_eq!(version((2, 9)), None);
        assert_eq!(version((0, 0)), None);
    }
}
