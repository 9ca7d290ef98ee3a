//! What stands before a message's payload (docs/wire.md, "Envelopes"): whom it is for, and what is expected.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes that are always there.
const HEAD_BYTES: usize = 16;
const TRACE_BYTES: usize = 24;
const ORDER_BYTES: usize = 8;

mod kind {
    pub(super) const SEND: u8 = 1;
    pub(super) const CALL: u8 = 2;
    pub(super) const REPLY: u8 = 3;
    pub(super) const FAILURE: u8 = 4;
}

mod flag {
    pub(super) const TRACE: u8 = 1;
    pub(super) const ORDER: u8 = 2;
}

/// By which a call is followed across nodes, as W3C Trace Context has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    /// The same for all that follows from one cause.
    pub trace: [u8; 16],
    /// The step that caused this one.
    pub span: [u8; 8],
}

/// A message's place in an order: its number among those of one strand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) strand: u8,
    /// From 0, without gaps, below 2^56.
    pub(crate) number: u64,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing comes back.
    Send,
    /// A reply or a failure with this number comes back.
    Call(u64),
    /// To the call of this number.
    Reply(u64),
    /// The same; the payload says why ([`crate::CallError`]).
    Failure(u64),
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) kind: Kind,
    /// Whom it is for; empty in replies.
    pub(crate) name: &'a str,
    /// After this the sender does not care any more, counted from when it was sent.
    pub(crate) deadline: Option<Duration>,
    pub(crate) trace: Option<Trace>,
    pub(crate) order: Option<Order>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn of(kind: Kind) -> Envelope<'a> {
        Envelope { kind, name: "", deadline: None, trace: None, order: None }
    }

    /// Takes a number in an order, and says nothing: nobody has a name of no bytes.
    pub(crate) fn of_nothing(order: Order) -> Envelope<'a> {
        Envelope { order: Some(order), ..Envelope::of(Kind::Send) }
    }

    /// As it is sent. A name longer than [`NAME_BYTES_MAX`] has been refused before.
    pub(crate) fn to_bytes(self) -> Bytes {
        let most = HEAD_BYTES + TRACE_BYTES + ORDER_BYTES + self.name.len();
        let mut out = BytesMut::with_capacity(most);
        let (kind, call) = match self.kind {
            Kind::Send => (kind::SEND, 0),
            Kind::Call(call) => (kind::CALL, call),
            Kind::Reply(call) => (kind::REPLY, call),
            Kind::Failure(call) => (kind::FAILURE, call),
        };
        out.put_u8(kind);
        let traced = if self.trace.is_some() { flag::TRACE } else { 0 };
        out.put_u8(traced | if self.order.is_some() { flag::ORDER } else { 0 });
        out.put_u8(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        out.put_u8(0);
        // At least a millisecond, since 0 says that there is none.
        let millis = self.deadline.map_or(0, |d| d.as_millis().clamp(1, u32::MAX.into()));
        out.put_u32_le(u32::try_from(millis).unwrap_or(u32::MAX));
        out.put_u64_le(call);
        if let Some(trace) = self.trace {
            out.put_slice(&trace.trace);
            out.put_slice(&trace.span);
        }
        if let Some(order) = self.order {
            out.put_u64_le(order.number << 8 | u64::from(order.strand));
        }
        out.put_slice(self.name.as_bytes());
        out.freeze()
    }

    /// The envelope with which `message` begins, and the bytes that it has; `None` for what is none.
    pub(crate) fn parse(message: &'a [u8]) -> Option<(Envelope<'a>, usize)> {
        let (&[kind, flags, name, zero, a, b, c, d, ref call @ ..], rest) =
            message.split_first_chunk::<HEAD_BYTES>()?;
        let call = u64::from_le_bytes(*call);
        let kind = match kind {
            kind::SEND if call == 0 => Kind::Send,
            kind::CALL => Kind::Call(call),
            kind::REPLY => Kind::Reply(call),
            kind::FAILURE => Kind::Failure(call),
            _ => return None,
        };
        if flags & !(flag::TRACE | flag::ORDER) != 0 || zero != 0 {
            return None;
        }
        let (trace, rest) = match flags & flag::TRACE {
            0 => (None, rest),
            _ => {
                let (trace, rest) = rest.split_first_chunk::<16>()?;
                let (span, rest) = rest.split_first_chunk::<8>()?;
                (Some(Trace { trace: *trace, span: *span }), rest)
            }
        };
        let (order, rest) = match flags & flag::ORDER {
            0 => (None, rest),
            _ => {
                let (order, rest) = rest.split_first_chunk::<8>()?;
                let [strand, ..] = *order;
                (Some(Order { strand, number: u64::from_le_bytes(*order) >> 8 }), rest)
            }
        };
        let (name, rest) = rest.split_at_checked(name.into())?;
        let name = std::str::from_utf8(name).ok()?;
        let deadline = match u32::from_le_bytes([a, b, c, d]) {
            0 => None,
            millis => Some(Duration::from_millis(millis.into())),
        };
        Some((Envelope { kind, name, deadline, trace, order }, message.len() - rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn envelopes_read_back_as_written(
            which in 0..4,
            call in any::<u64>(),
            name in "\\PC{0,60}",
            millis in 0..u32::MAX,
            trace in proptest::option::of(any::<([u8; 16], [u8; 8])>()),
            order in proptest::option::of((any::<u8>(), 0..1u64 << 56)),
            payload in any::<[u8; 5]>(),
        ) {
            let kind = match which {
                0 => Kind::Send,
                1 => Kind::Call(call),
                2 => Kind::Reply(call),
                _ => Kind::Failure(call),
            };
            let deadline = (millis > 0).then(|| Duration::from_millis(millis.into()));
            let trace = trace.map(|(trace, span)| Trace { trace, span });
            let order = order.map(|(strand, number)| Order { strand, number });
            let envelope = Envelope { kind, name: &name, deadline, trace, order };
            let bytes = envelope.to_bytes();
            let message = [&bytes[..], &payload].concat();
            prop_assert_eq!(Envelope::parse(&message), Some((envelope, bytes.len())));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Envelope::parse(&bytes[..cut]), None, "cut at {}", cut);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Envelope::parse(&bytes);
        }
    }
}
