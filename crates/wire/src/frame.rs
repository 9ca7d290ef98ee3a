//! What stands in the stream, once TLS is taken off: frames (docs/wire.md, "Frames").
//!
//! Every frame begins with eight bytes: its kind, three zeros, and how many bytes follow. All numbers are
//! little-endian. Of a frame of data only the head is parsed here: its bytes are opened from the TLS
//! record into the message's own memory, and pass through no buffer of frames.

/// Bytes with which every frame begins.
pub const HEADER_BYTES: usize = 8;
/// Bytes of the head of a frame of data, the header too.
pub const DATA_HEAD_BYTES: usize = HEADER_BYTES + 24;
/// Bytes of a message that stand in one frame at most.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Bytes of any other frame at most, the header too.
pub const FRAME_BYTES_MAX: usize = 4096;
/// Sequence numbers in one frame at most.
pub const SEQUENCES_MAX: usize = 256;

/// A frame; of one with data, its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a message, which follow.
    Data(Head),
    /// Messages that were handed on: all below `below`, and those of `also`. They need not be kept.
    Ack {
        /// All sequence numbers below this one.
        below: u64,
        /// Others, ascending.
        also: Vec<u64>,
    },
    /// How many bytes of messages may be begun on the lane, since its beginning.
    Credit {
        /// That many.
        limit: u64,
    },
    /// So much credit is wanted, for what waits. Both on the scale of `limit`.
    Want {
        /// Below this nothing more can be begun.
        least: u64,
        /// With this, all could.
        most: u64,
    },
    /// So many bytes of credit were never used, since the lane's beginning, and count as if they had been begun.
    Back {
        /// That many.
        unused: u64,
    },
    /// How much of these messages is there? The connection on which they were sent is gone, and nothing more of
    /// what it brings of them is to be taken.
    Where {
        /// Numbers the questions of a lane, upwards, for they too may be overtaken by a later one on another
        /// connection.
        question: u64,
        /// Which, ascending.
        sequences: Vec<u64>,
    },
    /// The answer for one of them.
    At {
        /// Which.
        sequence: u64,
        /// Bytes that are there; `None` where the message was handed on.
        offset: Option<u64>,
    },
}

/// Which bytes of which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The message's number on its lane, from 0, without gaps.
    pub sequence: u64,
    /// Where in the message the bytes stand.
    pub offset: u64,
    /// Bytes of the whole message.
    pub total: u64,
    /// Bytes that follow in this frame.
    pub length: u32,
}

/// What came is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent what is no frame: {0}")]
pub struct NoFrame(pub &'static str);

mod kind {
    pub(super) const DATA: u8 = 1;
    pub(super) const ACK: u8 = 2;
    pub(super) const CREDIT: u8 = 3;
    pub(super) const WHERE: u8 = 4;
    pub(super) const AT: u8 = 5;
    // 6 and 7 are first frames.
    pub(super) const WANT: u8 = 8;
    pub(super) const BACK: u8 = 9;
}

/// Stands for "handed on" where an offset is asked for.
const HANDED_ON: u64 = u64::MAX;

impl Frame {
    /// Appends the frame; of one with data, its head.
    pub fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let mut number = |n: u64| out.extend_from_slice(&n.to_le_bytes());
        let mut follows = 0;
        let kind = match self {
            Frame::Data(head) => {
                [head.sequence, head.offset, head.total].into_iter().for_each(number);
                follows = head.length;
                kind::DATA
            }
            Frame::Ack { below, also } => {
                number(*below);
                also.iter().copied().for_each(number);
                kind::ACK
            }
            Frame::Credit { limit } => {
                number(*limit);
                kind::CREDIT
            }
            Frame::Want { least, most } => {
                [*least, *most].into_iter().for_each(number);
                kind::WANT
            }
            Frame::Back { unused } => {
                number(*unused);
                kind::BACK
            }
            Frame::Where { question, sequences } => {
                number(*question);
                sequences.iter().copied().for_each(number);
                kind::WHERE
            }
            Frame::At { sequence, offset } => {
                number(*sequence);
                number(offset.unwrap_or(HANDED_ON));
                kind::AT
            }
        };
        let length = u32::try_from(out.len() - begin - HEADER_BYTES).unwrap_or(u32::MAX) + follows;
        out[begin] = kind;
        out[begin + 4..begin + HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    /// The frame that `input` begins with, and its bytes; of one with data, those of its head. `None` where more is
    /// needed to tell.
    ///
    /// # Errors
    /// [`NoFrame`], after which nothing of the stream makes sense.
    pub fn parse(input: &[u8]) -> Result<Option<(Frame, usize)>, NoFrame> {
        let Some((&[kind, zero, z, zz, a, b, c, d], rest)) = input.split_first_chunk() else {
            return Ok(None);
        };
        if [zero, z, zz] != [0; 3] {
            return Err(NoFrame("reserved bytes that are not zero"));
        }
        let length = u32::from_le_bytes([a, b, c, d]);
        if kind == kind::DATA {
            let bytes = length.checked_sub(24).ok_or(NoFrame("data without a head"))?;
            if !(1..=CHUNK_BYTES_MAX).contains(&bytes) {
                return Err(NoFrame("data of a length that is not allowed"));
            }
            let Some(head) = rest.get(..24) else { return Ok(None) };
            let mut numbers = numbers(head);
            let mut next = || numbers.next().unwrap_or_default();
            let (sequence, offset, total) = (next(), next(), next());
            if offset.checked_add(bytes.into()).is_none_or(|end| end > total) {
                return Err(NoFrame("data beyond the end of their message"));
            }
            let head = Head { sequence, offset, total, length: bytes };
            return Ok(Some((Frame::Data(head), DATA_HEAD_BYTES)));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX - HEADER_BYTES || length % 8 != 0 {
            return Err(NoFrame("a length that is not allowed"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let mut numbers = numbers(body);
        let frame = match (kind, numbers.len()) {
            (kind::ACK, 1..) => {
                let below = numbers.next().unwrap_or_default();
                Frame::Ack { below, also: ascending(numbers)? }
            }
            (kind::CREDIT, 1) => Frame::Credit { limit: numbers.next().unwrap_or_default() },
            (kind::WANT, 2) => {
                let least = numbers.next().unwrap_or_default();
                Frame::Want { least, most: numbers.next().unwrap_or_default() }
            }
            (kind::BACK, 1) => Frame::Back { unused: numbers.next().unwrap_or_default() },
            (kind::WHERE, 2..) => {
                let question = numbers.next().unwrap_or_default();
                Frame::Where { question, sequences: ascending(numbers)? }
            }
            (kind::AT, 2) => {
                let sequence = numbers.next().unwrap_or_default();
                let offset = numbers.next().filter(|n| *n != HANDED_ON);
                Frame::At { sequence, offset }
            }
            _ => return Err(NoFrame("a kind or a length that does not exist")),
        };
        Ok(Some((frame, HEADER_BYTES + length)))
    }
}

fn numbers(bytes: &[u8]) -> impl ExactSizeIterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

fn ascending(numbers: impl ExactSizeIterator<Item = u64>) -> Result<Vec<u64>, NoFrame> {
    if numbers.len() > SEQUENCES_MAX {
        return Err(NoFrame("too many sequence numbers"));
    }
    let all: Vec<u64> = numbers.collect();
    match all.is_sorted_by(|a, b| a < b) {
        true => Ok(all),
        false => Err(NoFrame("sequence numbers that do not ascend")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let ascending = |from| {
            proptest::collection::btree_set(any::<u64>(), from..SEQUENCES_MAX)
                .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        };
        prop_oneof![
            (any::<u64>(), 0..1u64 << 40, 1..=CHUNK_BYTES_MAX, 0..1u64 << 40).prop_map(
                |(sequence, offset, length, more)| Frame::Data(Head {
                    sequence,
                    offset,
                    total: offset + u64::from(length) + more,
                    length,
                })
            ),
            (any::<u64>(), ascending(0)).prop_map(|(below, also)| Frame::Ack { below, also }),
            any::<u64>().prop_map(|limit| Frame::Credit { limit }),
            any::<(u64, u64)>().prop_map(|(least, most)| Frame::Want { least, most }),
            any::<u64>().prop_map(|unused| Frame::Back { unused }),
            (any::<u64>(), ascending(1))
                .prop_map(|(question, sequences)| Frame::Where { question, sequences }),
            (any::<u64>(), proptest::option::of(0..u64::MAX))
                .prop_map(|(sequence, offset)| Frame::At { sequence, offset }),
        ]
    }

    proptest! {
        #[test]
        fn frames_read_back_as_written(frame in any_frame(), behind in any::<[u8; 3]>()) {
            let mut bytes = Vec::new();
            frame.write(&mut bytes);
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(Frame::parse(&bytes[..cut]), Ok(None), "cut at {}", cut);
            }
            bytes.extend(behind);
            prop_assert_eq!(Frame::parse(&bytes), Ok(Some((frame, length))));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frame::parse(&bytes);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut data = Vec::new();
        Frame::Data(Head { sequence: 1, offset: 5, total: 8, length: 3 }).write(&mut data);
        let harms: [fn(&mut Vec<u8>); 6] = [
            |d| d[0] = 99,
            |d| d[1] = 1,
            |d| d[4] = 24,            // no byte
            |d| d[4] = 28,            // one beyond the end
            |d| d[7] = 1,             // 16 MiB
            |d| d[16..24].fill(0xff), // an offset that overflows
        ];
        for harm in harms {
            let mut harmed = data.clone();
            harm(&mut harmed);
            assert!(Frame::parse(&harmed).is_err(), "{harmed:?}");
        }
        let mut ack = Vec::new();
        Frame::Ack { below: 1, also: vec![3, 5] }.write(&mut ack);
        ack[24] = 3;
        assert!(Frame::parse(&ack).is_err(), "twice the same");
        ack[4] = 23;
        assert!(Frame::parse(&ack).is_err(), "no whole numbers");
    }
}
