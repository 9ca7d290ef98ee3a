//! The bytes of a log: its header, the head of a frame, its name. Specified in docs/format/spool.md.

use std::fmt;

/// Bytes of a frame's key.
pub const KEY_BYTES: usize = 40;
/// What a frame is found by. The spool never looks into it.
pub type Key = [u8; KEY_BYTES];

/// The version of the format that is written here, and the newest that is understood.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a log's header; the first frame begins there.
pub const HEADER_BYTES: usize = 256;
/// Bytes of a frame's head; the payload begins after it.
pub const HEAD_BYTES: usize = 96;
/// Frames begin at multiples of this, in bytes.
pub const ALIGN_BYTES: u64 = 8;
/// The longest payload that the format allows, in bytes; a head that says more is none.
pub const FRAME_BYTES_LIMIT: u32 = 64 << 20;
/// The longest text that says who made a log, in bytes.
pub const CREATED_BY_BYTES_MAX: usize = 188;

/// The high bit and the line ends show a file that was taken for text on its way.
const LOG_MAGIC: [u8; 8] = *b"\x89SRlog\r\n";
const FRAME_MAGIC: [u8; 4] = *b"\xF5SRf";
const NAME_END: &str = ".log";

/// A log's random id: in its name, in its header, and in the head of each of its frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The log.
    pub log: LogId,
    /// Where the frame's head begins in it, in bytes.
    pub offset: u64,
    /// Bytes of the payload.
    pub len: u32,
}

impl Location {
    /// Bytes that the whole frame takes in its log: head, payload and padding.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.len)
    }
}

/// What a log's file name says: `EPOCH-TOKEN-COUNTER-ID.log`, all in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogName {
    pub(crate) epoch: u64,
    pub(crate) token: [u8; 16],
    pub(crate) counter: u64,
    pub(crate) id: LogId,
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = u128::from_be_bytes(self.token);
        write!(f, "{:016x}-{token:032x}-{:016x}-{}{NAME_END}", self.epoch, self.counter, self.id)
    }
}

impl LogName {
    /// `None` for a name that is not exactly what a writer would have chosen.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut fields = name.strip_suffix(NAME_END)?.split('-');
        let mut number = || u128::from_str_radix(fields.next()?, 16).ok();
        let parsed = LogName {
            epoch: u64::try_from(number()?).ok()?,
            token: number()?.to_be_bytes(),
            counter: u64::try_from(number()?).ok()?,
            id: LogId(number()?.to_be_bytes()),
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

/// Why bytes are not a header or a head that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Damaged, or never one.
    Damaged,
    /// Whole, of a newer version of the format.
    Newer(u32),
}

/// The header of a log. It helps people and recovery; to read a frame its name is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) log: LogId,
    pub(crate) epoch: u64,
    pub(crate) token: [u8; 16],
    pub(crate) created_by: String,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let text = &self.created_by[..self.created_by.floor_char_boundary(CREATED_BY_BYTES_MAX)];
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&LOG_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log.0);
        bytes[32..40].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.token);
        bytes[64..64 + text.len()].copy_from_slice(text.as_bytes());
        let crc = crc32c::crc32c(&bytes[..252]);
        bytes[252..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Fault> {
        if bytes[..8] != LOG_MAGIC || u32_at(bytes, 252) != crc32c::crc32c(&bytes[..252]) {
            return Err(Fault::Damaged);
        }
        match u32_at(bytes, 8) {
            FORMAT_VERSION if u32_at(bytes, 12) == HEADER_BYTES as u32 => {}
            newer if newer > FORMAT_VERSION => return Err(Fault::Newer(newer)),
            _ => return Err(Fault::Damaged),
        }
        let text = bytes[64..252].split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Header {
            log: LogId(array_at(bytes, 16)),
            epoch: u64_at(bytes, 32),
            token: array_at(bytes, 40),
            created_by: String::from_utf8_lossy(text).into_owned(),
        })
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) log: LogId,
    pub(crate) key: Key,
    pub(crate) first: u64,
    pub(crate) len: u32,
    pub(crate) payload_crc: u32,
    /// Where the frame lies in its log: a head that was written, or copied, elsewhere is none.
    pub(crate) offset: u64,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..6].copy_from_slice(&(FORMAT_VERSION as u16).to_le_bytes());
        bytes[6..8].copy_from_slice(&(HEAD_BYTES as u16).to_le_bytes());
        bytes[8..24].copy_from_slice(&self.log.0);
        bytes[24..64].copy_from_slice(&self.key);
        bytes[64..72].copy_from_slice(&self.first.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.len.to_le_bytes());
        bytes[76..80].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[80..88].copy_from_slice(&self.offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..92]);
        bytes[92..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head at `offset` of `log`. Cheap to refuse: a scan asks this of every eighth byte.
    pub(crate) fn decode(bytes: &[u8], log: LogId, offset: u64) -> Result<Self, Fault> {
        let Some((bytes, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(Fault::Damaged);
        };
        if bytes[..4] != FRAME_MAGIC
            || bytes[8..24] != log.0
            || u32_at(bytes, 92) != crc32c::crc32c(&bytes[..92])
        {
            return Err(Fault::Damaged);
        }
        let version = u32::from(u16::from_le_bytes(array_at(bytes, 4)));
        if version > FORMAT_VERSION {
            return Err(Fault::Newer(version));
        }
        let head = Head {
            log,
            key: array_at(bytes, 24),
            first: u64_at(bytes, 64),
            len: u32_at(bytes, 72),
            payload_crc: u32_at(bytes, 76),
            offset: u64_at(bytes, 80),
        };
        let sound = version == FORMAT_VERSION
            && u16::from_le_bytes(array_at(bytes, 6)) == HEAD_BYTES as u16
            && head.offset == offset
            && head.len <= FRAME_BYTES_LIMIT;
        if sound { Ok(head) } else { Err(Fault::Damaged) }
    }
}

/// Bytes that a frame of this payload takes: head, payload and padding.
pub(crate) fn frame_bytes(len: u32) -> u64 {
    (HEAD_BYTES as u64 + u64::from(len)).next_multiple_of(ALIGN_BYTES)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes as version 1 wrote them, kept for good.
    #[test]
    fn the_first_version_is_encoded_as_it_always_was() {
        let head = Head {
            log: LogId([7; 16]),
            key: [9; KEY_BYTES],
            first: 0x0102_0304,
            len: 5,
            payload_crc: 0xAABB_CCDD,
            offset: 256,
        };
        let mut expected = b"\xF5SRf\x01\0\x60\0".to_vec();
        expected.extend([7; 16]);
        expected.extend([9; 40]);
        expected.extend(b"\x04\x03\x02\x01\0\0\0\0\x05\0\0\0\xDD\xCC\xBB\xAA\0\x01\0\0\0\0\0\0");
        expected.extend([0; 4]);
        expected.extend(crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(head.encode().as_slice(), expected);
        assert_eq!(Head::decode(&expected, LogId([7; 16]), 256), Ok(head));
        assert_eq!(Head::decode(&expected, LogId([7; 16]), 264), Err(Fault::Damaged));
        assert_eq!(Head::decode(&expected, LogId([8; 16]), 256), Err(Fault::Damaged));
        assert_eq!(Head::decode(&expected[..95], LogId([7; 16]), 256), Err(Fault::Damaged));
    }

    #[test]
    fn a_header_keeps_what_it_says_and_cuts_long_text_between_characters() {
        let mut header =
            Header { log: LogId([1; 16]), epoch: 3, token: [4; 16], created_by: "é".repeat(120) };
        let bytes = header.encode();
        header.created_by = "é".repeat(94);
        assert_eq!(Header::decode(&bytes), Ok(header));
    }

    #[test]
    fn a_newer_version_is_known_as_such_only_when_it_is_whole() {
        let header =
            Header { log: LogId([1; 16]), epoch: 3, token: [4; 16], created_by: String::new() };
        let mut bytes = header.encode();
        bytes[8] = 2;
        assert_eq!(Header::decode(&bytes), Err(Fault::Damaged));
        let crc = crc32c::crc32c(&bytes[..252]);
        bytes[252..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(Fault::Newer(2)));
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        let name =
            LogName { epoch: 1, token: [2; 16], counter: 3, id: LogId([0xAB; 16]) }.to_string();
        assert_eq!(LogName::parse(&name).map(|name| name.to_string()), Some(name.clone()));
        for other in
            ["", ".log", "a-b-c-d.log", &name[1..], &name.to_uppercase(), &format!("+{name}")]
        {
            assert_eq!(LogName::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Head::decode(&bytes, LogId([0; 16]), 0);
            if let Some((header, _)) = bytes.split_first_chunk() {
                let _ = Header::decode(header);
            }
            let _ = LogName::parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
