//! What members say to each other, byte by byte (docs/wire.md, "Membership").
//!
//! Every message is whole in itself: none needs another one to be understood, and any may be lost, come late, come
//! twice, or overtake others.

use super::{Record, State};
use crate::NodeId;

/// Bytes of a message at most: it fits into one frame ([`FRAME_BYTES_MAX`](crate::frame::FRAME_BYTES_MAX)), with room for
/// the head of that.
pub const MESSAGE_BYTES_MAX: usize = 4000;
/// Addresses of a member at most.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of one address at most.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Bytes of all addresses of a member at most: so that in one message there is always room for those of the sender and
/// for one more record.
pub const ADDRESSES_BYTES_MAX: usize = 1024;
/// Bytes of the shortest record: a node, an incarnation, a state, and the count of no addresses.
const RECORD_BYTES_MIN: usize = 32 + 8 + 1 + 1;
/// Records in one message at most, which follows from their length. It only says how large a list can become.
pub const RECORDS_MAX: usize = MESSAGE_BYTES_MAX / RECORD_BYTES_MIN;

/// Where a member can be reached: texts that the overlay understands, in the order in which they are to be tried.
///
/// At most [`ADDRESSES_MAX`], each of 1 to [`ADDRESS_BYTES_MAX`] bytes, together at most [`ADDRESSES_BYTES_MAX`], and of
/// visible ASCII alone (they come from others, and are shown on consoles).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(Vec<String>);

/// Texts that cannot be a member's addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these cannot be a member's addresses: {0}")]
pub struct NoAddresses(pub &'static str);

impl Addresses {
    /// From texts.
    ///
    /// # Errors
    /// [`NoAddresses`] where they break a bound.
    pub fn new<T: Into<String>>(
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Addresses, NoAddresses> {
        let mut all = Vec::new();
        let mut bytes = 0;
        for text in texts {
            let text: String = text.into();
            if all.len() == ADDRESSES_MAX {
                return Err(NoAddresses("there are too many"));
            }
            if !(1..=ADDRESS_BYTES_MAX).contains(&text.len()) {
                return Err(NoAddresses("one is empty or too long"));
            }
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(NoAddresses("one has characters other than visible ASCII"));
            }
            bytes += text.len();
            if bytes > ADDRESSES_BYTES_MAX {
                return Err(NoAddresses("they are too long together"));
            }
            all.push(text);
        }
        Ok(Addresses(all))
    }

    /// The texts.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Both fit, by the bounds of `new`.
        out.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for text in &self.0 {
            out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend(text.as_bytes());
        }
    }
}

/// What came is no message of a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the member sent what is no gossip: {0}")]
pub struct NoGossip(pub &'static str);

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Whether the sender left.
    pub left: bool,
    /// Where the sender can be reached.
    pub addresses: Addresses,
    /// What it wants.
    pub body: Body,
    /// What it tells of others beside that.
    pub records: Vec<Record>,
}

/// What a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// An answer.
    Ping {
        /// Comes back with the answer.
        number: u64,
    },
    /// That the receiver pings another one in the sender's place.
    PingRequest {
        /// Comes back with the answer.
        number: u64,
        /// That one.
        target: NodeId,
    },
    /// Nothing: it answers.
    Ack {
        /// The number of what it answers.
        number: u64,
    },
    /// Nothing: the receiver was asked to ping another one, and that did not answer until now.
    Nack {
        /// The number of what it answers.
        number: u64,
    },
    /// That its records are merged into the receiver's: a piece of all that the sender knows.
    Sync {
        /// Whether all that the receiver knows is wanted in return.
        wanted: bool,
    },
}

mod kind {
    pub(super) const PING: u8 = 1;
    pub(super) const PING_REQUEST: u8 = 2;
    pub(super) const ACK: u8 = 3;
    pub(super) const NACK: u8 = 4;
    pub(super) const SYNC: u8 = 5;
}

mod state {
    pub(super) const ALIVE: u8 = 0;
    pub(super) const SUSPECT: u8 = 1;
    pub(super) const DEAD: u8 = 2;
    pub(super) const LEFT: u8 = 3;
}

impl Message {
    /// Its bytes. Records that do not fit into [`MESSAGE_BYTES_MAX`] are left out.
    pub fn write(&self) -> Vec<u8> {
        let mut draft = Draft::new(self.incarnation, self.left, &self.addresses, self.body);
        for record in &self.records {
            draft.add(record);
        }
        draft.finish()
    }

    /// The message that these bytes are.
    ///
    /// # Errors
    /// [`NoGossip`] where they are none.
    pub fn parse(bytes: &[u8]) -> Result<Message, NoGossip> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(NoGossip("a message that is too long"));
        }
        let mut input = Reader(bytes);
        let kind = input.byte()?;
        let body = match kind {
            kind::PING => Body::Ping { number: input.number()? },
            kind::PING_REQUEST => {
                Body::PingRequest { number: input.number()?, target: input.node()? }
            }
            kind::ACK => Body::Ack { number: input.number()? },
            kind::NACK => Body::Nack { number: input.number()? },
            kind::SYNC => Body::Sync { wanted: input.flag()? },
            _ => return Err(NoGossip("a kind that does not exist")),
        };
        let incarnation = input.number()?;
        let left = input.flag()?;
        let addresses = input.addresses()?;
        let mut records = Vec::new();
        // The rest is records: so nothing can stand behind them.
        while !input.0.is_empty() {
            records.push(input.record()?);
        }
        Ok(Message { incarnation, left, addresses, body, records })
    }
}

/// A message that is being written.
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// One without records.
    pub(super) fn new(incarnation: u64, left: bool, addresses: &Addresses, body: Body) -> Draft {
        let mut out = Vec::with_capacity(256);
        let mut begin = |kind: u8, number: u64| {
            out.push(kind);
            out.extend(number.to_le_bytes());
        };
        match body {
            Body::Ping { number } => begin(kind::PING, number),
            Body::PingRequest { number, target } => {
                begin(kind::PING_REQUEST, number);
                out.extend(target.0);
            }
            Body::Ack { number } => begin(kind::ACK, number),
            Body::Nack { number } => begin(kind::NACK, number),
            Body::Sync { wanted } => out.extend([kind::SYNC, u8::from(wanted)]),
        }
        out.extend(incarnation.to_le_bytes());
        out.push(u8::from(left));
        addresses.write(&mut out);
        Draft(out)
    }

    /// Appends a record. `false` where there is no room for it.
    pub(super) fn add(&mut self, record: &Record) -> bool {
        let before = self.0.len();
        let out = &mut self.0;
        out.extend(record.node.0);
        out.extend(record.incarnation.to_le_bytes());
        match record.state {
            State::Alive => out.push(state::ALIVE),
            State::Suspect { by } => {
                out.push(state::SUSPECT);
                out.extend(by.0);
            }
            State::Dead => out.push(state::DEAD),
            State::Left => out.push(state::LEFT),
        }
        record.addresses.write(out);
        let fits = out.len() <= MESSAGE_BYTES_MAX;
        if !fits {
            out.truncate(before);
        }
        fits
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], NoGossip> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(NoGossip("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, NoGossip> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, NoGossip> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(NoGossip("a flag that is neither 0 nor 1")),
        }
    }

    fn number(&mut self) -> Result<u64, NoGossip> {
        self.take().map(u64::from_le_bytes)
    }

    fn node(&mut self) -> Result<NodeId, NoGossip> {
        self.take().map(NodeId)
    }

    fn addresses(&mut self) -> Result<Addresses, NoGossip> {
        let count = self.byte()?;
        if usize::from(count) > ADDRESSES_MAX {
            return Err(NoGossip("too many addresses"));
        }
        let mut texts = Vec::with_capacity(count.into());
        for _ in 0..count {
            let length = usize::from(u16::from_le_bytes(self.take()?));
            let (text, rest) =
                self.0.split_at_checked(length).ok_or(NoGossip("it ends too early"))?;
            self.0 = rest;
            texts.push(str::from_utf8(text).map_err(|_| NoGossip("an address that is no text"))?);
        }
        Addresses::new(texts).map_err(|NoAddresses(why)| NoGossip(why))
    }

    fn record(&mut self) -> Result<Record, NoGossip> {
        let (node, incarnation) = (self.node()?, self.number()?);
        let state = match self.byte()? {
            state::ALIVE => State::Alive,
            state::SUSPECT => State::Suspect { by: self.node()? },
            state::DEAD => State::Dead,
            state::LEFT => State::Left,
            _ => return Err(NoGossip("a state that does not exist")),
        };
        Ok(Record { node, incarnation, state, addresses: self.addresses()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn any_node() -> impl Strategy<Value = NodeId> {
        any::<[u8; 32]>().prop_map(NodeId)
    }

    fn any_addresses() -> impl Strategy<Value = Addresses> {
        vec("[!-~]{1,100}", 0..=ADDRESSES_MAX).prop_map(|texts| Addresses::new(texts).unwrap())
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let state = prop_oneof![
            Just(State::Alive),
            any_node().prop_map(|by| State::Suspect { by }),
            Just(State::Dead),
            Just(State::Left),
        ];
        (any_node(), any::<u64>(), state, any_addresses()).prop_map(
            |(node, incarnation, state, addresses)| Record { node, incarnation, state, addresses },
        )
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let body = prop_oneof![
            any::<u64>().prop_map(|number| Body::Ping { number }),
            (any::<u64>(), any_node())
                .prop_map(|(number, target)| Body::PingRequest { number, target }),
            any::<u64>().prop_map(|number| Body::Ack { number }),
            any::<u64>().prop_map(|number| Body::Nack { number }),
            any::<bool>().prop_map(|wanted| Body::Sync { wanted }),
        ];
        (any::<u64>(), any::<bool>(), any_addresses(), body, vec(any_record(), 0..3)).prop_map(
            |(incarnation, left, addresses, body, records)| Message {
                incarnation,
                left,
                addresses,
                body,
                records,
            },
        )
    }

    proptest! {
        #[test]
        fn messages_read_back_as_written(message in any_message(), behind in any::<u8>()) {
            let bytes = message.write();
            prop_assert!(bytes.len() <= MESSAGE_BYTES_MAX);
            prop_assert_eq!(Message::parse(&bytes), Ok(message.clone()));
            for cut in 0..bytes.len() {
                // Cut between two records it is a message with fewer of them.
                if let Ok(cut) = Message::parse(&bytes[..cut]) {
                    prop_assert!(cut.records.len() < message.records.len());
                }
            }
            let longer = [&bytes[..], &[behind]].concat();
            prop_assert!(Message::parse(&longer).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn harmed_messages_do_not_panic(
            message in any_message(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut bytes = message.write();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(parsed) = Message::parse(&bytes) {
                // There is one way to write a message.
                prop_assert_eq!(parsed.write(), bytes);
            }
        }
    }

    #[test]
    fn a_record_fits_beside_any_sender() {
        let long = || Addresses::new(vec!["a".repeat(256); 4]).unwrap();
        let record = |n| Record {
            node: NodeId([n; 32]),
            incarnation: u64::MAX,
            state: State::Suspect { by: NodeId([9; 32]) },
            addresses: long(),
        };
        let body = Body::PingRequest { number: 1, target: NodeId([1; 32]) };
        let records = (0..4).map(record).collect();
        let message = Message { incarnation: 1, left: false, addresses: long(), body, records };
        let parsed = Message::parse(&message.write()).unwrap();
        assert_eq!(parsed.records, message.records[..2], "two fit, and the rest is left out");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let message = Message {
            incarnation: 5,
            left: false,
            addresses: Addresses::new(["here:1"]).unwrap(),
            body: Body::Sync { wanted: true },
            records: vec![Record {
                node: NodeId([3; 32]),
                incarnation: 7,
                state: State::Alive,
                addresses: Addresses::default(),
            }],
        };
        let good = message.write();
        assert_eq!(Message::parse(&good), Ok(message));
        let harms: [fn(&mut Vec<u8>); 9] = [
            |m| m[0] = 6,
            |m| m[0] = 0,
            |m| m[1] = 2,             // a flag
            |m| m[10] = 2,            // another flag
            |m| m[11] = 9,            // nine addresses
            |m| m[12] = 0,            // an empty one
            |m| m[14] = b'\n',        // one that is not visible
            |m| m[14] = 0xff,         // one that is no text
            |m| m[12..14].fill(0xff), // one beyond the end
        ];
        for harm in harms {
            let mut harmed = good.clone();
            harm(&mut harmed);
            assert!(Message::parse(&harmed).is_err(), "{harmed:?}");
        }
        let state_at = good.len() - 2;
        let mut harmed = good.clone();
        harmed[state_at] = 4;
        assert!(Message::parse(&harmed).is_err(), "a state that does not exist");
        assert!(Message::parse(&vec![0; MESSAGE_BYTES_MAX + 1]).is_err());
        let none: [&str; 0] = [];
        assert!(Addresses::new(none).is_ok());
        assert!(Addresses::new([""]).is_err());
        assert!(Addresses::new(["a b"]).is_err());
        assert!(Addresses::new(["a".repeat(257)]).is_err());
        assert!(Addresses::new(vec!["a".repeat(256); 5]).is_err());
        assert!(Addresses::new(vec!["a"; 9]).is_err());
    }
}
