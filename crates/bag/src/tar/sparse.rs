//! Files with holes: where their pieces lie.

use super::header::{Block, Header};
use super::pax::{self, Record};
use super::{BLOCK_BYTES, Error};

/// A sparse file may be made of so many pieces.
pub const SPARSE_PIECES_MAX: usize = 1024 * 1024;

/// A sparse file may be so large, holes included: 16 TiB.
pub const SPARSE_BYTES_MAX: u64 = 1 << 44;

/// A piece that is stored: where it lies in the file, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The map of a file: its pieces in order, and its size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Map {
    pub(super) pieces: Vec<Piece>,
    pub(super) size: u64,
}

impl Map {
    /// Checks that the pieces are in order, lie in the file, and are all that is stored.
    pub(super) fn check(self, stored: u64, offset: u64) -> Result<Map, Error> {
        let wrong = |reason: String| Error::Sparse { offset, reason };
        if self.size > SPARSE_BYTES_MAX {
            let (bytes, max) = (self.size, SPARSE_BYTES_MAX);
            return Err(Error::TooLarge { offset, what: "a sparse file", bytes, max });
        }
        let mut end = 0;
        let mut total = 0u64;
        for piece in &self.pieces {
            if piece.offset < end {
                return Err(wrong(format!("the piece at {} overlaps the one before", piece.offset)));
            }
            end = piece
                .offset
                .checked_add(piece.length)
                .filter(|end| *end <= self.size)
                .ok_or_else(|| {
                    wrong(format!("the piece at {} goes past the size {}", piece.offset, self.size))
                })?;
            total += piece.length;
        }
        if total != stored {
            return Err(wrong(format!("the pieces have {total} bytes, {stored} are stored")));
        }
        Ok(self)
    }
}

fn push(pieces: &mut Vec<Piece>, piece: Piece, offset: u64) -> Result<(), Error> {
    if pieces.len() >= SPARSE_PIECES_MAX {
        let reason = format!("more than {SPARSE_PIECES_MAX} pieces");
        return Err(Error::Sparse { offset, reason });
    }
    pieces.push(piece);
    Ok(())
}

/// The map of GNU's type `S`: in the header, and in blocks that follow it.
pub(super) fn old_gnu(
    header: &Header<'_>,
    offset: u64,
    mut next_block: impl FnMut() -> Result<Block, Error>,
) -> Result<Map, Error> {
    let size = header.unsigned(483..495, "real size")?;
    let mut pieces = Vec::new();
    let take = |block: &[u8], count: usize, pieces: &mut Vec<Piece>| {
        for at in (0..count).map(|i| i * 24) {
            let number = |range: std::ops::Range<usize>| {
                let n = super::header::number(&block[range]).ok();
                n.and_then(|n| u64::try_from(n).ok())
                    .filter(|n| *n <= i64::MAX as u64)
                    .ok_or_else(|| Error::Sparse { offset, reason: "a broken number".into() })
            };
            // An empty field ends the list.
            if block[at] == 0 {
                break;
            }
            let piece = Piece { offset: number(at..at + 12)?, length: number(at + 12..at + 24)? };
            push(pieces, piece, offset)?;
        }
        Ok::<(), Error>(())
    };
    let in_header: Vec<u8> = (386..482).map(|at| header.byte(at)).collect();
    take(&in_header, 4, &mut pieces)?;
    let mut more = header.byte(482) != 0;
    while more {
        let block = next_block()?;
        take(&block, 21, &mut pieces)?;
        more = block[504] != 0;
    }
    Ok(Map { pieces, size })
}

/// The maps of PAX 0.0 (repeated records) and 0.1 (one record); `None` if there is none.
pub(super) fn pax_0(records: &[Record], offset: u64) -> Result<Option<Map>, Error> {
    let wrong = |reason: &str| Error::Sparse { offset, reason: reason.into() };
    let mut pieces = Vec::new();
    let mut begun = None;
    let mut size = None;
    let mut found = false;
    for Record { key, value } in records {
        let number = || pax::unsigned(value).ok_or_else(|| wrong("a broken number"));
        match key.as_slice() {
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => size = Some(number()?),
            b"GNU.sparse.offset" => {
                found = true;
                begun = Some(number()?);
            }
            b"GNU.sparse.numbytes" => {
                let offset_in_file = begun.take().ok_or_else(|| wrong("a length without offset"))?;
                let piece = Piece { offset: offset_in_file, length: number()? };
                push(&mut pieces, piece, offset)?;
            }
            b"GNU.sparse.numblocks" => found = true,
            b"GNU.sparse.map" => {
                found = true;
                pieces.clear();
                let mut numbers = value.split(|&b| b == b',');
                while let Some(first) = numbers.next() {
                    if first.is_empty() && value.is_empty() {
                        break;
                    }
                    let second = numbers.next().and_then(pax::unsigned);
                    let (Some(at), Some(length)) = (pax::unsigned(first), second) else {
                        return Err(wrong("the map is not a list of offsets and lengths"));
                    };
                    push(&mut pieces, Piece { offset: at, length }, offset)?;
                }
            }
            _ => {}
        }
    }
    if !found {
        return Ok(None);
    }
    Ok(Some(Map { pieces, size: size.ok_or_else(|| wrong("the size is missing"))? }))
}

/// The map of PAX 1.0, which stands before the data, and the bytes that it takes there.
pub(super) fn pax_1(
    size: u64,
    offset: u64,
    mut next_block: impl FnMut() -> Result<Block, Error>,
) -> Result<(Map, u64), Error> {
    let mut block: Block = [0; BLOCK_BYTES];
    let mut at = BLOCK_BYTES;
    let mut taken = 0;
    let mut number = || {
        let mut digits = Vec::new();
        loop {
            if at == BLOCK_BYTES {
                block = next_block()?;
                taken += BLOCK_BYTES as u64;
                at = 0;
            }
            at += 1;
            match block[at - 1] {
                b'\n' => break,
                digit if digits.len() < 20 => digits.push(digit),
                _ => break,
            }
        }
        pax::unsigned(&digits)
            .ok_or_else(|| Error::Sparse { offset, reason: "the map holds a broken number".into() })
    };
    let count = number()?;
    let mut pieces = Vec::new();
    for _ in 0..count {
        let piece = Piece { offset: number()?, length: number()? };
        push(&mut pieces, piece, offset)?;
    }
    Ok((Map { pieces, size }, taken))
}
