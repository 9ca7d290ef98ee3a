//! A shard as frames of a shelf's logs: written run by run, read by range.

use crate::Shelf;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use strongroom_record::{CodingNumber, Placement, SegmentId};
use strongroom_spool::{Key, Location, LogId, PageBuf};

/// Bytes of a frame that a shard is written in. Large enough that a 64 MiB segment takes few, small
/// enough that n lanes of them fit in memory.
pub(crate) const FRAME_BYTES: usize = 1 << 20;

/// Who wants so many bytes of a frame at once reads on: the frame is read whole, around the system's
/// cache.
const HELD_FROM_BYTES: usize = 16 << 10;

/// The parts of a frame's key, in order, with their bytes (docs/format.md, "Frames of shards").
pub const SHARD_KEY_PARTS: [(&str, usize); 5] =
    [("segment", 16), ("coding epoch", 4), ("coding number", 4), ("index", 1), ("zeros", 15)];

/// The key under which a shard's frames stand in a log.
pub(crate) fn frame_key(segment: SegmentId, coding: CodingNumber, index: u8) -> Key {
    let mut key = [0; 40];
    key[..16].copy_from_slice(&segment.0);
    key[16..20].copy_from_slice(&coding.epoch.to_le_bytes());
    key[20..24].copy_from_slice(&coding.number.to_le_bytes());
    key[24] = index;
    key
}

/// Which shard a key names; `None` where it is none of a shard.
pub(crate) fn shard_of_key(key: &Key) -> Option<(SegmentId, CodingNumber, u8)> {
    let (segment, rest) = key.split_first_chunk::<16>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (index, zeros) = rest.split_first()?;
    let (epoch, number) = (u32::from_le_bytes(*epoch), u32::from_le_bytes(*number));
    let whole = zeros.iter().all(|byte| *byte == 0);
    whole.then_some((SegmentId(*segment), CodingNumber { epoch, number }, *index))
}

/// Frames of a shard, as a placement keeps them: runs within one log, each its id, the count of its
/// frames, and for each frame its offset (the difference to the one before) and its length, numbers
/// as LEB128. A shard has a second run where its log was full.
pub(crate) fn encode_frames(frames: &[Location]) -> Vec<u8> {
    let mut out = Vec::with_capacity(20 + frames.len() * 6);
    for run in frames.chunk_by(|a, b| a.log == b.log) {
        out.extend_from_slice(&run[0].log.0);
        put_number(&mut out, run.len() as u64);
        let mut before = 0;
        for frame in run {
            put_number(&mut out, frame.offset.wrapping_sub(before));
            put_number(&mut out, u64::from(frame.len));
            before = frame.offset;
        }
    }
    out
}

/// What [`encode_frames`] wrote; `None` where it is not that.
pub(crate) fn decode_frames(mut bytes: &[u8]) -> Option<Vec<Location>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_at_checked(16)?;
        bytes = rest;
        let log = LogId(id.try_into().ok()?);
        let count = take_number(&mut bytes)?;
        if count == 0 || count > bytes.len() as u64 {
            return None; // a frame takes at least two bytes
        }
        let mut offset = 0u64;
        for _ in 0..count {
            offset = offset.wrapping_add(take_number(&mut bytes)?);
            let len = u32::try_from(take_number(&mut bytes)?).ok()?;
            frames.push(Location { log, offset, len });
        }
    }
    Some(frames)
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

/// A shard on a shelf, read by range. Offsets are within the shard: header, blocks, trailer.
///
/// Shards are mostly read from begin to end, once: frame by frame, each whole, around the system's
/// cache.
#[derive(Debug)]
pub(crate) struct ShardFile {
    shelf: Arc<Shelf>,
    key: Key,
    frames: Vec<Location>,
    bytes: u64,
    /// The frame that is held whole, as reading goes through it.
    held: RefCell<Held>,
}

#[derive(Debug, Default)]
struct Held {
    frame: Option<usize>,
    payload: Range<usize>,
    buf: PageBuf,
}

impl ShardFile {
    /// The shard that `placement` tells of; `None` where its frames make no sense.
    pub(crate) fn new(shelf: Arc<Shelf>, placement: &Placement) -> Option<ShardFile> {
        let frames = decode_frames(&placement.frames)?;
        let bytes = frames.iter().map(|f| u64::from(f.len)).sum();
        let key = frame_key(placement.segment, placement.coding, placement.index);
        let held = RefCell::default();
        (bytes == placement.bytes).then_some(ShardFile { shelf, key, frames, bytes, held })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills `buf` from byte `offset` of the shard.
    pub(crate) fn read_at(&self, mut offset: u64, buf: &mut [u8]) -> Result<(), String> {
        let mut rest = buf;
        let mut start = 0u64;
        for (i, frame) in self.frames.iter().enumerate() {
            let end = start + u64::from(frame.len);
            if offset < end && !rest.is_empty() {
                let skip = offset - start;
                let take = rest.len().min((end - offset) as usize);
                let (now, later) = rest.split_at_mut(take);
                self.read_frame(i, skip as usize, now)?;
                rest = later;
                offset += take as u64;
            }
            start = end;
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(format!("the shard ends at byte {}", self.bytes)),
        }
    }

    /// Fills `buf` from a frame: from the one that is held; or it is held from now on, where so much is
    /// wanted of it that the rest will be too.
    fn read_frame(&self, frame: usize, skip: usize, buf: &mut [u8]) -> Result<(), String> {
        let at = &self.frames[frame];
        let mut held = self.held.borrow_mut();
        if held.frame != Some(frame) {
            if buf.len() < HELD_FROM_BYTES {
                let read = self.shelf.spool.read(at, &self.key, skip as u32, buf);
                return read.map_err(|e| e.to_string());
            }
            held.frame = None;
            let read = self.shelf.spool.read_around(at, &self.key, &mut held.buf);
            held.payload = read.map_err(|e| e.to_string())?;
            held.frame = Some(frame);
        }
        buf.copy_from_slice(&held.buf.get(held.payload.clone())[skip..skip + buf.len()]);
        Ok(())
    }

    /// `len` bytes from byte `offset`.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, String> {
        let mut buf = vec![0; len];
        self.read_at(offset, &mut buf)?;
        Ok(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_read_back(places: Vec<(u8, u64, u32)>) {
            let frames: Vec<_> = (places.into_iter())
                .map(|(log, offset, len)| Location { log: LogId([log; 16]), offset, len })
                .collect();
            prop_assert_eq!(decode_frames(&encode_frames(&frames)), Some(frames));
        }
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode_frames(&bytes);
        }
    }

    #[test]
    fn a_key_is_laid_out_as_specified() {
        let number = CodingNumber { epoch: 3, number: 70_000 };
        let key = frame_key(SegmentId([5; 16]), number, 13);
        assert_eq!(shard_of_key(&key), Some((SegmentId([5; 16]), number, 13)));
        let mut at = 0;
        let mut part = |name: &str| {
            let (_, len) = *SHARD_KEY_PARTS.iter().find(|(part, _)| *part == name).unwrap();
            at += len;
            &key[at - len..at]
        };
        assert_eq!(part("segment"), [5; 16]);
        assert_eq!(part("coding epoch"), 3u32.to_le_bytes());
        assert_eq!(part("coding number"), 70_000u32.to_le_bytes());
        assert_eq!(part("index"), [13]);
        assert_eq!(part("zeros"), [0; 15]);
        assert_eq!(at, key.len());
    }
}
