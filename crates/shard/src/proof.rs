//! Checking a shard with nothing else at hand, and remaking lost ones.

use crate::header::{Header, SUITE};
use crate::layout::{Layout, ciphertext_bytes};
use crate::trailer::{Claims, Origin, Trailer, with_index};
use crate::tree::{leaf, root_of};
use crate::{BLOCK, Certificate, Error};

/// A verified description of a segment and of one of its shards.
///
/// It is what a certified writer signed. Whether that writer is still believed (its certificate's
/// times, revocations) is for whoever rebuilds to decide, not for whoever repairs.
#[derive(Debug, Clone)]
pub struct Proof {
    header: Header,
    header_len: usize,
    trailer: Trailer,
}

/// Verifies a shard's header (the shard's start; more bytes do no harm) and its whole trailer:
/// the certificate up to the institution's id, the signature, and that the tree leads to the
/// signed root. The blocks are then checked one by one with [`Proof::check_block`].
pub fn verify(header: &[u8], trailer: &[u8]) -> Result<Proof, Error> {
    let trailer_bytes = trailer;
    let (header, header_len) = Header::parse(header)?;
    let trailer = Trailer::parse(trailer_bytes)?;
    check_claims(&header, &trailer.claims)?;
    if !trailer.is_signed(&header) {
        return Err(Error::Signature { what: "the shard" });
    }
    let why = "its lengths are not those that its blocks need";
    let malformed = Error::Malformed { what: "the trailer of a shard", why };
    if trailer.tree.len() as u64 != trailer.claims.blocks_bytes.div_ceil(BLOCK as u64) {
        return Err(malformed);
    }
    if Some(root_of(&trailer.tree)) != trailer.claims.root(header.index) {
        return Err(Error::Tree { index: header.index });
    }
    if let Some(origin) = &trailer.origin {
        check_origin(&header, &trailer.claims, origin)?;
    }
    // All that is signed is right by now, but the footer is not signed: it must be the one that
    // follows from the rest.
    if trailer.encode(header_len) != trailer_bytes {
        return Err(malformed);
    }
    Ok(Proof { header, header_len, trailer })
}

impl Proof {
    /// The header of the shard.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the header.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of plaintext in the segment.
    pub fn plaintext_bytes(&self) -> u64 {
        self.trailer.claims.plaintext_bytes
    }

    /// Bytes of ciphertext in the segment.
    pub fn ciphertext_bytes(&self) -> u64 {
        self.trailer.claims.ciphertext_bytes
    }

    /// Bytes of blocks in each shard.
    pub fn blocks_bytes(&self) -> u64 {
        self.trailer.claims.blocks_bytes
    }

    /// The BLAKE3 of a shard's blocks; `None` where the coding has no such shard.
    pub fn root(&self, index: u8) -> Option<[u8; 32]> {
        if index < self.header.n { self.trailer.claims.root(index) } else { None }
    }

    /// The roots of all n shards; one for all where k = 1.
    pub fn roots(&self) -> &[[u8; 32]] {
        &self.trailer.claims.roots
    }

    /// The leaves of this shard's tree.
    pub fn tree(&self) -> &[[u8; 32]] {
        &self.trailer.tree
    }

    /// The certificate of the writer who signed.
    pub fn certificate(&self) -> &Certificate {
        &self.trailer.claims.certificate
    }

    /// The SHA-256 of the key of the writer who signed.
    pub fn writer_fingerprint(&self) -> [u8; 32] {
        self.certificate().writer_fingerprint()
    }

    /// The serial of the writer's certificate.
    pub fn serial(&self) -> [u8; 16] {
        self.certificate().serial()
    }

    /// The first coding, where this is a later one. Coding the ciphertext anew under its k and n
    /// gives its roots again, so a doubter needs no key to check that the ciphertext is the same.
    pub fn origin(&self) -> Option<&Origin> {
        self.trailer.origin.as_ref()
    }

    /// The origin that a further coding is to carry: this one's, or this one.
    pub(crate) fn as_origin(&self) -> Origin {
        self.trailer.origin.clone().unwrap_or_else(|| Origin {
            header: Header { index: 0, ..self.header.clone() },
            claims: self.trailer.claims.clone(),
            signature: self.trailer.signature,
        })
    }

    /// Where the ciphertext lies in the shards.
    pub fn layout(&self) -> Layout {
        Layout { k: self.header.k, ciphertext_bytes: self.ciphertext_bytes() }
    }

    /// The number of blocks in the shard.
    pub fn block_count(&self) -> u64 {
        self.trailer.tree.len() as u64
    }

    /// Where block `i` begins in the shard's blocks, and its length.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn block_range(&self, i: u64) -> (u64, usize) {
        self.layout().stripe(i)
    }

    /// Whether these are the bytes of block `i`; not if there is no such block.
    pub fn check_block(&self, i: u64, block: &[u8]) -> bool {
        let tree = &self.trailer.tree;
        let Some(expected) = usize::try_from(i).ok().and_then(|i| tree.get(i)) else {
            return false;
        };
        block.len() == self.block_range(i).1 && leaf(i as usize, block, tree.len()) == *expected
    }

    /// The bytes that are equal in all n shards of the coding, for comparison.
    pub fn common(&self) -> Vec<u8> {
        [self.header.common(), self.trailer.common()].concat()
    }

    /// Remakes header and trailer of shard `index`, byte for byte, from the tree of its blocks
    /// ([`crate::Tree`]). No key is needed: the tree must lead to the root that was signed.
    pub fn make_shard_parts(
        &self,
        index: u8,
        tree: &[[u8; 32]],
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let root = self.root(index).ok_or(Error::Index { index })?;
        if tree.len() != self.trailer.tree.len() || root_of(tree) != root {
            return Err(Error::Tree { index });
        }
        let header = with_index(self.header.encode(), index);
        let trailer = Trailer { tree: tree.to_vec(), ..self.trailer.clone() };
        let trailer = trailer.encode(header.len());
        Ok((header, trailer))
    }
}

/// Checks all that a writer claims, but the signature.
fn check_claims(header: &Header, claims: &Claims) -> Result<(), Error> {
    if header.suite != SUITE {
        return Err(Error::Suite { suite: header.suite });
    }
    let ciphertext = ciphertext_bytes(claims.plaintext_bytes)?;
    let layout = Layout { k: header.k, ciphertext_bytes: ciphertext };
    let roots = if header.k == 1 { 1 } else { usize::from(header.n) };
    let fits = claims.ciphertext_bytes == ciphertext
        && claims.blocks_bytes == layout.blocks_bytes()
        && claims.roots.len() == roots;
    if !fits {
        let why = "its lengths or roots do not fit the coding";
        return Err(Error::Malformed { what: "the trailer of a shard", why });
    }
    let certificate = &claims.certificate;
    certificate.verify()?;
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

/// Checks that an origin is what its own writer signed, and of the same ciphertext.
fn check_origin(header: &Header, claims: &Claims, origin: &Origin) -> Result<(), Error> {
    let first = &origin.header;
    let same = [
        ("segment id", first.segment == header.segment),
        ("institution", first.institution == header.institution),
        ("generation", first.generation == header.generation),
        ("kind", first.kind == header.kind),
        ("suite", first.suite == header.suite),
        ("chunk size", first.chunk == header.chunk),
        ("wrapped key", first.wrapped == header.wrapped),
        ("coding number", first.coding < header.coding),
        ("plaintext length", origin.claims.plaintext_bytes == claims.plaintext_bytes),
    ];
    if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(Error::Origin { field });
    }
    check_claims(first, &origin.claims)?;
    if !origin.is_signed() {
        return Err(Error::Signature { what: "the shard's origin" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;

    /// Signs whatever it is told to, as a forger with a program of his own would.
    fn forge(institution: [u8; 16], kind: Kind, certificate: Certificate) -> Result<Proof, Error> {
        let header = Header {
            suite: SUITE,
            kind,
            institution,
            generation: 1,
            segment: [8; 16],
            coding: CodingNumber { epoch: 1, number: 1 },
            k: 1,
            n: 2,
            index: 0,
            block: BLOCK as u32,
            chunk: CHUNK as u32,
            wrapped: vec![0; 1168],
            fields: vec![Field { tag: 77, value: b"from a later version".to_vec() }],
        };
        let mut tree = Tree::new();
        tree.push(&[0; 16]);
        let (leaves, root) = tree.finish();
        let claims = Claims {
            plaintext_bytes: 0,
            ciphertext_bytes: 16,
            blocks_bytes: 16,
            roots: vec![root],
            certificate: certificate.clone(),
        };
        let writer = Writer::new(WriterKey::new(&[5; 32]), certificate).unwrap();
        let trailer = Trailer::sign(&header, leaves, claims, None, &writer);
        let header = header.encode();
        verify(&header, &trailer.encode(header.len()))
    }

    #[test]
    fn only_a_writer_certified_for_institution_and_kind_is_believed() {
        let seed = Seed::new([1; 32]);
        let ours = Institution::new(&seed);
        let grant = Grant {
            serial: [2; 16],
            writer: WriterKey::new(&[5; 32]).public(),
            kinds: vec![Kind::Record, Kind::Other(9)],
            from_micros: 0,
            until_micros: 1,
        };
        let certificate = ours.certify(&seed, grant.clone()).unwrap();
        for kind in [Kind::Record, Kind::Other(9)] {
            let proof = forge(ours.id(), kind, certificate.clone()).unwrap();
            assert_eq!(proof.header().fields[0].tag, 77);
        }
        let refused = forge(ours.id(), Kind::Keyring, certificate).unwrap_err();
        assert_eq!(refused, Error::KindNotCertified { kind: Kind::Keyring });

        let other = Seed::new([6; 32]);
        let theirs = Institution::new(&other);
        let certificate = theirs.certify(&other, grant).unwrap();
        let refused = forge(ours.id(), Kind::Record, certificate).unwrap_err();
        let (found, expected) = (theirs.id(), ours.id());
        let what = "the writer's certificate";
        assert_eq!(refused, Error::Institution { what, found, expected });
    }
}
