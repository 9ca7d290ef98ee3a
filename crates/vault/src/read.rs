//! Reading ranges of a segment's plaintext.

use crate::check::{lost, proof_of};
use crate::keys::SecretKeys;
use crate::store::ShardFile;
use crate::{Error, Vault};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;
use strongroom_record::{Placement, SegmentId};
use strongroom_shard::{CHUNK, Code, Layout, Opener, Proof};

/// A shard that was wrong or gone when it was read; repair mends it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which.
    pub placement: Placement,
    /// What was wrong, for a person.
    pub why: String,
}

/// Chunks that are read and opened at once: 1 MiB of plaintext.
const CHUNKS: u64 = 16;

/// The ciphertext of a segment, by the placements of one of its codings.
pub(crate) struct Cipher {
    segment: SegmentId,
    pub(crate) proof: Proof,
    layout: Layout,
    shards: BTreeMap<u8, Lane>,
    faults: Vec<Fault>,
}

/// A shard that is read from.
struct Lane {
    placement: Placement,
    file: ShardFile,
    /// Its own header and trailer, verified when one of its blocks is first to be proven.
    proof: OnceCell<Proof>,
}

/// An open segment. What was opened last is held, for the next range is mostly beside it.
///
/// Its ciphertext is authenticated chunk by chunk with the segment's own key, so a
/// wrong byte is found without reading more; only then are blocks checked one by one and made from
/// others.
pub struct SegmentReader {
    cipher: Cipher,
    opener: Opener,
    held: Held,
}

/// Chunks in a row that are open.
#[derive(Default)]
struct Held {
    buf: Vec<u8>,
    first: u64,
    /// Where the plaintext of each lies in `buf`.
    places: Vec<Range<usize>>,
}

impl Held {
    fn chunks(&self) -> Range<u64> {
        self.first..self.first + self.places.len() as u64
    }
}

impl Vault {
    /// Opens a segment by the placements of one of its codings.
    pub fn reader(
        &self,
        segment: SegmentId,
        placements: &[Placement],
        keys: &SecretKeys,
    ) -> Result<SegmentReader, Error> {
        let cipher = Cipher::open(self, segment, placements)?;
        let opener =
            Opener::new(&cipher.proof, keys).map_err(|source| Error::Shard { segment, source })?;
        Ok(SegmentReader { cipher, opener, held: Held::default() })
    }
}

impl SegmentReader {
    /// Shards that were found wrong or gone so far.
    pub fn faults(&self) -> &[Fault] {
        &self.cipher.faults
    }

    /// Gives the plaintext bytes of `range` to `sink`, in order, in pieces.
    pub fn read<E: From<Error>>(
        &mut self,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = range.end.min(self.cipher.proof.plaintext_bytes());
        let mut at = range.start;
        while at < end {
            let chunk = at / CHUNK as u64;
            if !self.held.chunks().contains(&chunk) {
                self.hold(chunk, (end - 1) / CHUNK as u64)?;
            }
            let place = &self.held.places[(chunk - self.held.first) as usize];
            let begin = chunk * CHUNK as u64;
            let from = (at - begin).min(place.len() as u64) as usize;
            let to = (end - begin).min(place.len() as u64) as usize;
            sink(&self.held.buf[place.clone()][from..to])?;
            at = begin + CHUNK as u64;
        }
        Ok(())
    }

    /// Opens the chunks from `first` on: those that are wanted, and where reading goes on from what
    /// was held before, as many as are opened at once.
    fn hold(&mut self, first: u64, wanted: u64) -> Result<(), Error> {
        let goes_on = self.held.places.is_empty() || self.held.chunks().end == first;
        let last_of_all = self.cipher.proof.plaintext_bytes().saturating_sub(1) / CHUNK as u64;
        let last = if goes_on { last_of_all } else { wanted }.min(first + CHUNKS - 1);
        let mut buf = std::mem::take(&mut self.held.buf);
        self.held.places.clear();
        let cipher = self.opener.cipher_range(first).start..self.opener.cipher_range(last).end;
        buf.resize((cipher.end - cipher.start) as usize, 0);
        let places = self.open(first, last, &cipher, &mut buf)?;
        self.held = Held { buf, first, places };
        Ok(())
    }

    /// Fills `buf` with ciphertext and opens it in place; where each chunk's plaintext lies.
    fn open(
        &mut self,
        first: u64,
        last: u64,
        cipher: &Range<u64>,
        buf: &mut [u8],
    ) -> Result<Vec<Range<usize>>, Error> {
        if self.cipher.fill(cipher, buf).is_ok()
            && let Ok(places) = self.open_chunks(first, last, cipher, buf)
        {
            return Ok(places);
        }
        self.cipher.fill_proven(cipher, buf)?;
        let segment = self.cipher.segment;
        (self.open_chunks(first, last, cipher, buf))
            .map_err(|source| Error::Shard { segment, source })
    }

    fn open_chunks(
        &self,
        first: u64,
        last: u64,
        cipher: &Range<u64>,
        buf: &mut [u8],
    ) -> Result<Vec<Range<usize>>, strongroom_shard::Error> {
        (first..=last)
            .map(|chunk| {
                let range = self.opener.cipher_range(chunk);
                let start = (range.start - cipher.start) as usize;
                let end = (range.end - cipher.start) as usize;
                let plain = self.opener.open_chunk(chunk, &mut buf[start..end])?.len();
                Ok(start..start + plain)
            })
            .collect()
    }
}

impl Cipher {
    pub(crate) fn open(
        vault: &Vault,
        segment: SegmentId,
        placements: &[Placement],
    ) -> Result<Cipher, Error> {
        let (mut shards, mut faults) = (BTreeMap::new(), Vec::new());
        let mut proof: Option<Proof> = None;
        for placement in placements {
            let fault = |why| Fault { placement: placement.clone(), why };
            let file = match vault.shard_file(placement) {
                Ok(file) => file,
                Err(why) => {
                    faults.push(fault(why));
                    continue;
                }
            };
            // One proof speaks for all shards; the others are checked when they are needed.
            if proof.is_none() {
                match proof_of(&file, placement) {
                    Ok(found) => proof = Some(found),
                    Err(why) => {
                        faults.push(fault(why));
                        continue;
                    }
                }
            }
            let lane = Lane { placement: placement.clone(), file, proof: OnceCell::new() };
            shards.insert(placement.index, lane);
        }
        let why = || faults.iter().map(fault_text).collect::<Vec<_>>();
        let proof = proof.ok_or_else(|| lost(segment, 0, 1, &why()))?;
        let k = proof.header().k;
        if shards.len() < usize::from(k) {
            return Err(lost(segment, shards.len(), k.into(), &why()));
        }
        let layout = proof.layout();
        Ok(Cipher { segment, proof, layout, shards, faults })
    }

    /// Ciphertext straight from the shards of data, unchecked.
    fn fill(&self, cipher: &Range<u64>, buf: &mut [u8]) -> Result<(), String> {
        let start = self.proof.header_len() as u64;
        if self.layout.k == 1 {
            let lane = self.shards.values().next().ok_or("no shard is there")?;
            return lane.file.read_at(start + cipher.start, buf);
        }
        let mut rest = buf;
        for piece in self.layout.pieces(cipher.clone()) {
            let (now, later) = rest.split_at_mut(piece.len);
            let lane = self.shards.get(&piece.lane).ok_or("a shard of data is gone")?;
            let (offset, _) = self.layout.stripe(piece.stripe);
            lane.file.read_at(start + offset + piece.offset as u64, now)?;
            rest = later;
        }
        Ok(())
    }

    /// Ciphertext from blocks that were each checked against the signed roots; what is wrong is made
    /// from others, and noted as a fault.
    pub(crate) fn fill_proven(&mut self, cipher: &Range<u64>, buf: &mut [u8]) -> Result<(), Error> {
        let pieces: Vec<_> = self.layout.pieces(cipher.clone()).collect();
        let mut rest = buf;
        let mut i = 0;
        while i < pieces.len() {
            let stripe = pieces[i].stripe;
            let blocks = self.stripe(stripe)?;
            while i < pieces.len() && pieces[i].stripe == stripe {
                let piece = &pieces[i];
                let (now, later) = rest.split_at_mut(piece.len);
                let block = &blocks[usize::from(piece.lane)];
                now.copy_from_slice(&block[piece.offset..piece.offset + piece.len]);
                rest = later;
                i += 1;
            }
        }
        Ok(())
    }

    /// The k blocks of data of a stripe, from any k shards whose blocks are proven.
    fn stripe(&mut self, stripe: u64) -> Result<Vec<Vec<u8>>, Error> {
        let segment = self.segment;
        let k = self.proof.header().k;
        let n = self.proof.header().n;
        let (mut have, mut faults) = (Vec::new(), Vec::new());
        for (index, lane) in &self.shards {
            if have.len() == usize::from(k) {
                break;
            }
            match self.proven_block(lane, stripe) {
                Ok(block) => have.push((*index, block)),
                Err(why) => faults.push(Fault { placement: lane.placement.clone(), why }),
            }
        }
        for fault in faults {
            self.shards.remove(&fault.placement.index);
            self.faults.push(fault);
        }
        if have.len() < usize::from(k) {
            let why: Vec<_> = self.faults.iter().map(fault_text).collect();
            return Err(lost(segment, have.len(), k.into(), &why));
        }
        if k == 1 {
            return Ok(have.into_iter().map(|(_, block)| block).collect());
        }
        let shard = |source| Error::Shard { segment, source };
        let len = have[0].1.len();
        let mut blocks = vec![vec![0; len]; usize::from(k)];
        let from: Vec<(u8, &[u8])> = have.iter().map(|(i, b)| (*i, b.as_slice())).collect();
        let want: Vec<u8> = (0..k).collect();
        let mut out: Vec<&mut [u8]> = blocks.iter_mut().map(Vec::as_mut_slice).collect();
        Code::new(k, n).and_then(|c| c.reconstruct(&from, &want, &mut out)).map_err(shard)?;
        Ok(blocks)
    }

    fn proven_block(&self, lane: &Lane, stripe: u64) -> Result<Vec<u8>, String> {
        let proof = match lane.proof.get() {
            Some(proof) => proof,
            None => {
                let proof = proof_of(&lane.file, &lane.placement)?;
                lane.proof.get_or_init(|| proof)
            }
        };
        let (offset, len) = self.layout.stripe(stripe);
        let block = lane.file.read(proof.header_len() as u64 + offset, len)?;
        match proof.check_block(stripe, &block) {
            true => Ok(block),
            false => Err(format!("block {stripe} is not what was signed")),
        }
    }
}

fn fault_text(fault: &Fault) -> String {
    format!("shard {}: {}", fault.placement.index, fault.why)
}
