//! Sealing a segment into shards, and coding a sealed one anew.
//!
//! Plaintext is encrypted into a stage that stays in cache; whenever it holds a whole stripe, that
//! stripe is copied to the lanes of its data shards, coded, and hashed.

use crate::certificate::Writer;
use crate::header::{CodingNumber, Header, Kind, SUITE};
use crate::keys::{self, RECOVERY_GENERATION, SealingPublic, SegmentKey};
use crate::layout::ciphertext_bytes;
use crate::open::nonce;
use crate::proof::Proof;
use crate::trailer::{Claims, Origin, Trailer, with_index};
use crate::tree::Tree;
use crate::{BLOCK, CHUNK, Code, Error, Random, SEGMENT_BYTES_MAX, TAG};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};

/// What is to be sealed, and how it is to be coded.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What the segment holds.
    pub kind: Kind,
    /// Whose it is.
    pub institution: [u8; 16],
    /// The generation of the sealing key.
    pub generation: u32,
    /// The segment's random id.
    pub segment: [u8; 16],
    /// The number of this coding.
    pub coding: CodingNumber,
    /// Shards needed.
    pub k: u8,
    /// Shards made.
    pub n: u8,
}

/// What stands when a segment's last byte is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The trailer of each lane's shard.
    pub trailers: Vec<Vec<u8>>,
    /// The BLAKE3 of each lane's blocks.
    pub roots: Vec<[u8; 32]>,
    /// Bytes of plaintext.
    pub plaintext_bytes: u64,
    /// Bytes of ciphertext.
    pub ciphertext_bytes: u64,
    /// Bytes of each shard: header, blocks, trailer.
    pub shard_bytes: u64,
}

/// Seals one segment, as a stream: plaintext in, blocks of shards out.
///
/// The caller owns a `Vec` for each lane and takes from them what has been appended whenever it
/// likes. With k = 1 all n shards are equal but for their index, and there is one lane.
pub struct Sealer {
    coder: Coder,
    header: Header,
    sealing_fingerprint: [u8; 32],
    key: LessSafeKey,
    /// Plaintext of the chunk that is not yet full, or may be the last.
    pending: Vec<u8>,
    chunks: u64,
    plaintext_bytes: u64,
}

impl Sealer {
    /// Draws the segment's key and wraps it to `seal_to`.
    pub fn new(
        spec: Spec,
        seal_to: &SealingPublic,
        random: &mut Random<'_>,
    ) -> Result<Sealer, Error> {
        let coder = Coder::new(spec.k, spec.n)?;
        if spec.generation != seal_to.generation() {
            let generation = spec.generation;
            return Err(Error::SealingKey { generation, by: "segment's description" });
        }
        let mut key = SegmentKey([0; 32]);
        random(&mut key.0);
        let mut header = Header {
            suite: SUITE,
            kind: spec.kind,
            institution: spec.institution,
            generation: spec.generation,
            segment: spec.segment,
            coding: spec.coding,
            k: spec.k,
            n: spec.n,
            index: 0,
            block: BLOCK as u32,
            chunk: CHUNK as u32,
            wrapped: Vec::new(),
            fields: Vec::new(),
        };
        header.wrapped = keys::wrap(&key, seal_to, &header, random)?;
        let key = UnboundKey::new(&AES_256_GCM, &key.0)
            .map_err(|_| Error::Crypto { what: "preparing the segment's key" })?;
        Ok(Sealer {
            coder,
            header,
            sealing_fingerprint: seal_to.fingerprint(),
            key: LessSafeKey::new(key),
            pending: Vec::with_capacity(CHUNK),
            chunks: 0,
            plaintext_bytes: 0,
        })
    }

    /// How many lanes of blocks it makes: n, or 1 where k = 1.
    pub fn lanes(&self) -> usize {
        self.coder.lanes()
    }

    /// The header of shard `index`.
    pub fn header(&self, index: u8) -> Vec<u8> {
        with_index(self.header.encode(), index)
    }

    /// Seals what comes next; appends the blocks of each finished stripe to the lanes.
    pub fn push(&mut self, mut plaintext: &[u8], lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        self.coder.check(lanes)?;
        let total = self.plaintext_bytes.saturating_add(plaintext.len() as u64);
        if total > SEGMENT_BYTES_MAX {
            return Err(Error::Full { max: SEGMENT_BYTES_MAX });
        }
        self.plaintext_bytes = total;
        while !plaintext.is_empty() {
            // A chunk is sealed only when something follows it, for the last one is marked.
            if self.pending.is_empty() && plaintext.len() > CHUNK {
                let (chunk, rest) = plaintext.split_at(CHUNK);
                self.seal(chunk, false, lanes)?;
                plaintext = rest;
            } else if self.pending.len() == CHUNK {
                self.seal_pending(false, lanes)?;
            } else {
                let len = plaintext.len().min(CHUNK - self.pending.len());
                let (now, rest) = plaintext.split_at(len);
                self.pending.extend_from_slice(now);
                plaintext = rest;
            }
        }
        Ok(())
    }

    /// Seals the last chunk, appends the blocks of the last stripe to the lanes, and signs.
    pub fn finish(mut self, writer: &Writer, lanes: &mut [Vec<u8>]) -> Result<Sealed, Error> {
        self.coder.check(lanes)?;
        let generation = self.header.generation;
        let certified = writer.certificate().sealing_fingerprint() == self.sealing_fingerprint;
        if generation != RECOVERY_GENERATION && !certified {
            return Err(Error::SealingKey { generation, by: "writer's certificate" });
        }
        check_writer(writer, &self.header)?;
        self.seal_pending(true, lanes)?;
        self.coder.finish(&self.header, self.plaintext_bytes, None, writer, lanes)
    }

    fn seal_pending(&mut self, last: bool, lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        let mut chunk = std::mem::take(&mut self.pending);
        self.seal(&chunk, last, lanes)?;
        chunk.clear();
        self.pending = chunk;
        Ok(())
    }

    fn seal(&mut self, chunk: &[u8], last: bool, lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        let (ciphertext, tag) = self.coder.room(chunk.len() + TAG).split_at_mut(chunk.len());
        let nonce = nonce(self.chunks, last);
        self.key
            .seal_out_of_place_scatter(nonce, Aad::empty(), chunk, ciphertext, &[], tag)
            .map_err(|_| Error::Crypto { what: "sealing a chunk" })?;
        self.chunks += 1;
        self.coder.filled(chunk.len() + TAG, lanes)
    }
}

/// Codes a segment's ciphertext anew under another k and n; needs no key but a writer's.
///
/// What it makes carries the signed fields of the first coding, so the segment's origin outlives
/// whoever coded it anew.
pub struct Recoder {
    coder: Coder,
    header: Header,
    plaintext_bytes: u64,
    ciphertext_bytes: u64,
    origin: Origin,
}

impl Recoder {
    /// Begins another coding of the segment of `proof`; its number must be higher.
    pub fn new(proof: &Proof, coding: CodingNumber, k: u8, n: u8) -> Result<Recoder, Error> {
        if coding <= proof.header().coding {
            return Err(Error::Origin { field: "coding number" });
        }
        Ok(Recoder {
            coder: Coder::new(k, n)?,
            header: Header { coding, k, n, index: 0, ..proof.header().clone() },
            plaintext_bytes: proof.plaintext_bytes(),
            ciphertext_bytes: proof.ciphertext_bytes(),
            origin: proof.as_origin(),
        })
    }

    /// How many lanes of blocks it makes: n, or 1 where k = 1.
    pub fn lanes(&self) -> usize {
        self.coder.lanes()
    }

    /// The header of shard `index`.
    pub fn header(&self, index: u8) -> Vec<u8> {
        with_index(self.header.encode(), index)
    }

    /// Codes the ciphertext that comes next (of checked blocks, without their padding).
    pub fn push(&mut self, ciphertext: &[u8], lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        self.coder.check(lanes)?;
        for piece in ciphertext.chunks(CHUNK) {
            self.coder.room(piece.len()).copy_from_slice(piece);
            self.coder.filled(piece.len(), lanes)?;
        }
        Ok(())
    }

    /// Appends the blocks of the last stripe to the lanes, and signs.
    pub fn finish(self, writer: &Writer, lanes: &mut [Vec<u8>]) -> Result<Sealed, Error> {
        self.coder.check(lanes)?;
        check_writer(writer, &self.header)?;
        if self.coder.ciphertext_bytes != self.ciphertext_bytes {
            let (found, expected) = (self.coder.ciphertext_bytes, self.ciphertext_bytes);
            return Err(Error::Length { found, expected });
        }
        let origin = Some(self.origin);
        self.coder.finish(&self.header, self.plaintext_bytes, origin, writer, lanes)
    }
}

/// Refuses early what every reader would refuse.
fn check_writer(writer: &Writer, header: &Header) -> Result<(), Error> {
    let certificate = writer.certificate();
    if certificate.institution() != header.institution {
        return Err(Error::Institution {
            what: "the writer's certificate",
            found: certificate.institution(),
            expected: header.institution,
        });
    }
    if !certificate.allows(header.kind) {
        return Err(Error::KindNotCertified { kind: header.kind });
    }
    Ok(())
}

/// Cuts ciphertext into stripes, and codes and hashes each while it is in cache.
struct Coder {
    code: Code,
    /// Room for a stripe and one chunk more; `len` bytes of it are ciphertext not yet coded.
    stage: Box<[u8]>,
    len: usize,
    trees: Vec<Tree>,
    ciphertext_bytes: u64,
}

impl Coder {
    fn new(k: u8, n: u8) -> Result<Coder, Error> {
        let code = Code::new(k, n)?;
        let lanes = if k == 1 { 1 } else { usize::from(n) };
        let stage = vec![0; usize::from(k) * BLOCK + CHUNK + TAG].into_boxed_slice();
        Ok(Coder { code, stage, len: 0, trees: vec![Tree::new(); lanes], ciphertext_bytes: 0 })
    }

    fn lanes(&self) -> usize {
        self.trees.len()
    }

    fn check(&self, lanes: &[Vec<u8>]) -> Result<(), Error> {
        if lanes.len() == self.lanes() {
            return Ok(());
        }
        Err(Error::Blocks { why: "a Vec is asked for each lane" })
    }

    /// Where the next bytes of ciphertext go, at most a sealed chunk of them.
    fn room(&mut self, len: usize) -> &mut [u8] {
        &mut self.stage[self.len..self.len + len]
    }

    /// Takes what was written to the room, and codes whole stripes.
    fn filled(&mut self, len: usize, lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        self.len += len;
        self.ciphertext_bytes += len as u64;
        let stripe = usize::from(self.code.k()) * BLOCK;
        let mut done = 0;
        while self.len - done >= stripe {
            self.code_stripe(done, BLOCK, lanes)?;
            done += stripe;
        }
        if done > 0 {
            self.stage.copy_within(done..self.len, 0);
            self.len -= done;
        }
        Ok(())
    }

    /// Codes the stripe that begins at `at` in the stage.
    fn code_stripe(&mut self, at: usize, block: usize, lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        let k = usize::from(self.code.k());
        let data: Vec<&[u8]> = self.stage[at..at + k * block].chunks_exact(block).collect();
        let (data_lanes, parity_lanes) = lanes.split_at_mut(k);
        let (data_trees, parity_trees) = self.trees.split_at_mut(k);
        for ((lane, tree), data) in data_lanes.iter_mut().zip(data_trees).zip(&data) {
            lane.extend_from_slice(data);
            tree.push(data);
        }
        if parity_lanes.is_empty() {
            return Ok(());
        }
        let mut parity: Vec<&mut [u8]> = parity_lanes
            .iter_mut()
            .map(|lane| {
                let end = lane.len();
                lane.resize(end + block, 0);
                &mut lane[end..]
            })
            .collect();
        self.code.encode(&data, &mut parity)?;
        for (tree, parity) in parity_trees.iter_mut().zip(parity) {
            tree.push(parity);
        }
        Ok(())
    }

    fn finish(
        mut self,
        header: &Header,
        plaintext_bytes: u64,
        origin: Option<Origin>,
        writer: &Writer,
        lanes: &mut [Vec<u8>],
    ) -> Result<Sealed, Error> {
        debug_assert_eq!(ciphertext_bytes(plaintext_bytes), Ok(self.ciphertext_bytes));
        if self.len > 0 {
            let k = usize::from(self.code.k());
            let block = self.len.div_ceil(k);
            self.stage[self.len..k * block].fill(0);
            self.code_stripe(0, block, lanes)?;
        }
        let trees = std::mem::take(&mut self.trees).into_iter().map(Tree::finish);
        let (trees, roots): (Vec<_>, Vec<_>) = trees.unzip();
        let layout = crate::Layout { k: header.k, ciphertext_bytes: self.ciphertext_bytes };
        let claims = Claims {
            plaintext_bytes,
            ciphertext_bytes: self.ciphertext_bytes,
            blocks_bytes: layout.blocks_bytes(),
            roots: roots.clone(),
            certificate: writer.certificate().clone(),
        };
        let header_len = header.encode().len();
        let mut trailer = Trailer::sign(header, Vec::new(), claims, origin, writer);
        let encode = |tree| {
            trailer.tree = tree;
            trailer.encode(header_len)
        };
        let trailers: Vec<Vec<u8>> = trees.into_iter().map(encode).collect();
        let shard_bytes = (header_len + trailers[0].len()) as u64 + layout.blocks_bytes();
        let ciphertext_bytes = self.ciphertext_bytes;
        Ok(Sealed { trailers, roots, plaintext_bytes, ciphertext_bytes, shard_bytes })
    }
}
