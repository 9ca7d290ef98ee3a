//! Who may write: an institution's chain of signing keys, and the certificates that it gives.

use crate::bytes::Reader;
use crate::keys::{public_of, sha256};
use crate::{Error, Kind, Random};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use zeroize::Zeroize;

const MAGIC: &[u8; 8] = b"SR-CERTI";
const WHAT: &str = "a writer's certificate";
const VERSION: u16 = 1;
/// Ed25519 (RFC 8032), the only algorithm so far.
const ALGORITHM: u16 = 1;
/// The longest certificate, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 16384;
/// The most signing keys that an institution can have had.
const GENERATIONS_MAX: u16 = 128;
const CERTIFICATE_LABEL: &[u8] = b"strongroom certificate 1";
const SIGNING_KEY_LABEL: &[u8] = b"strongroom signing key 1";

/// An institution's signing keys, each vouched for by the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningChain {
    first: [u8; 32],
    later: Vec<([u8; 32], [u8; 64])>,
}

impl SigningChain {
    /// The chain of an institution whose key was never rotated.
    pub fn first(key: [u8; 32]) -> SigningChain {
        SigningChain { first: key, later: Vec::new() }
    }

    /// The id of the institution whose chain this is.
    pub fn institution(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&sha256(&self.first)[..16]);
        id
    }

    /// The generation of its last key, from 1.
    pub fn generation(&self) -> u32 {
        self.later.len() as u32 + 1
    }

    /// Its last key.
    pub fn last(&self) -> [u8; 32] {
        self.later.last().map_or(self.first, |(key, _)| *key)
    }

    /// The key of a generation, from 1.
    pub fn key(&self, generation: u32) -> Option<[u8; 32]> {
        match generation.checked_sub(2) {
            None if generation == 1 => Some(self.first),
            None => None,
            Some(i) => self.later.get(i as usize).map(|(key, _)| *key),
        }
    }

    /// The chain with one key more, signed by the present last one.
    pub(crate) fn extend(&self, last: &Ed25519KeyPair, next: [u8; 32]) -> Result<Self, Error> {
        if self.generation() >= u32::from(GENERATIONS_MAX) {
            let (bytes, max) = (u64::from(self.generation()) + 1, u64::from(GENERATIONS_MAX));
            return Err(Error::TooLarge { what: "the chain of signing keys", bytes, max });
        }
        let message = link_message(&self.institution(), self.generation() + 1, &next);
        let mut chain = self.clone();
        chain.later.push((next, sign(last, &message)));
        Ok(chain)
    }

    /// Checks that each key is signed by the one before.
    pub fn verify(&self) -> Result<(), Error> {
        let institution = self.institution();
        let mut signer = self.first;
        for (generation, (key, signature)) in (2..).zip(&self.later) {
            if !is_signed(&signer, &link_message(&institution, generation, key), signature) {
                return Err(Error::Chain { generation });
            }
            signer = *key;
        }
        Ok(())
    }

    /// Its bytes: the number of keys, the first key, then each later key and the signature on it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = (self.generation() as u16).to_le_bytes().to_vec();
        out.extend_from_slice(&self.first);
        for (key, signature) in &self.later {
            out.extend_from_slice(key);
            out.extend_from_slice(signature);
        }
        out
    }

    /// Reads a chain, without checking its signatures: see [`SigningChain::verify`].
    pub fn parse(bytes: &[u8]) -> Result<SigningChain, Error> {
        let mut reader = Reader::new("a chain of signing keys", bytes);
        let chain = SigningChain::read(&mut reader)?;
        reader.end()?;
        Ok(chain)
    }

    fn read(reader: &mut Reader<'_>) -> Result<SigningChain, Error> {
        let count = reader.u16()?;
        if count == 0 || count > GENERATIONS_MAX {
            return Err(reader.malformed("there are 1 to 128 signing keys"));
        }
        let first = reader.array()?;
        let mut later = Vec::with_capacity(usize::from(count) - 1);
        for _ in 1..count {
            later.push((reader.array()?, reader.array()?));
        }
        Ok(SigningChain { first, later })
    }
}

fn link_message(institution: &[u8; 16], generation: u32, key: &[u8; 32]) -> Vec<u8> {
    [SIGNING_KEY_LABEL, institution, &generation.to_le_bytes(), key].concat()
}

/// What an institution grants a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The certificate's serial, by which it can be revoked: random, so that none is given twice.
    pub serial: [u8; 16],
    /// The writer's public Ed25519 key.
    pub writer: [u8; 32],
    /// What it may write; sorted and without doubles in the certificate.
    pub kinds: Vec<Kind>,
    /// From when, UTC in microseconds since 1970.
    pub from_micros: u64,
    /// Until when; the certificate is no longer valid at this time.
    pub until_micros: u64,
}

/// An institution's word that a key may write segments of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    chain: SigningChain,
    sealing: [u8; 32],
    grant: Grant,
    signature: [u8; 64],
}

impl Certificate {
    pub(crate) fn sign(
        chain: SigningChain,
        sealing: [u8; 32],
        mut grant: Grant,
        signer: &Ed25519KeyPair,
    ) -> Result<Certificate, Error> {
        grant.kinds.sort_by_key(|kind| kind.number());
        grant.kinds.dedup_by_key(|kind| kind.number());
        let mut certificate = Certificate { chain, sealing, grant, signature: [0; 64] };
        certificate.signature = sign(signer, &certificate.message());
        Ok(certificate)
    }

    /// Checks the chain of signing keys, and that the last of them signed the certificate.
    pub fn verify(&self) -> Result<(), Error> {
        self.chain.verify()?;
        if !is_signed(&self.chain.last(), &self.message(), &self.signature) {
            return Err(Error::Certificate);
        }
        Ok(())
    }

    /// Whose certificate it is.
    pub fn institution(&self) -> [u8; 16] {
        self.chain.institution()
    }

    /// The institution's signing keys when it was given.
    pub fn chain(&self) -> &SigningChain {
        &self.chain
    }

    /// The fingerprint of the sealing key that the writer is to seal to.
    pub fn sealing_fingerprint(&self) -> [u8; 32] {
        self.sealing
    }

    /// Serial, writer, kinds and times.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Its serial.
    pub fn serial(&self) -> [u8; 16] {
        self.grant.serial
    }

    /// The writer's public Ed25519 key.
    pub fn writer(&self) -> [u8; 32] {
        self.grant.writer
    }

    /// The SHA-256 of the writer's key.
    pub fn writer_fingerprint(&self) -> [u8; 32] {
        sha256(&self.grant.writer)
    }

    /// Whether it allows this kind.
    pub fn allows(&self, kind: Kind) -> bool {
        self.grant.kinds.iter().any(|allowed| allowed.number() == kind.number())
    }

    /// Whether it is valid at a time, UTC in microseconds since 1970.
    pub fn valid_at(&self, micros: u64) -> bool {
        (self.grant.from_micros..self.grant.until_micros).contains(&micros)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.fields();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads a certificate, without checking its signatures: see [`Certificate::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Certificate, Error> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            let (bytes, max) = (bytes.len() as u64, CERTIFICATE_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: WHAT, bytes, max });
        }
        let mut reader = Reader::new(WHAT, bytes);
        reader.begin(MAGIC, VERSION)?;
        if reader.u16()? != ALGORITHM {
            return Err(reader.malformed("its algorithm is not Ed25519"));
        }
        let serial = reader.array()?;
        let institution: [u8; 16] = reader.array()?;
        let chain = SigningChain::read(&mut reader)?;
        if institution != chain.institution() {
            return Err(Error::Institution {
                what: "the chain of signing keys",
                found: chain.institution(),
                expected: institution,
            });
        }
        let sealing = reader.array()?;
        let writer = reader.array()?;
        let from_micros = reader.u64()?;
        let until_micros = reader.u64()?;
        let count = reader.u8()?;
        let numbers = reader.take(usize::from(count))?;
        if !numbers.is_sorted_by(|a, b| a < b) {
            return Err(reader.malformed("its kinds are not in order"));
        }
        let kinds = numbers.iter().map(|&number| Kind::from_number(number)).collect();
        let signature = reader.array()?;
        reader.end()?;
        let grant = Grant { serial, writer, kinds, from_micros, until_micros };
        Ok(Certificate { chain, sealing, grant, signature })
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&ALGORITHM.to_le_bytes());
        out.extend_from_slice(&self.grant.serial);
        out.extend_from_slice(&self.institution());
        out.extend_from_slice(&self.chain.encode());
        out.extend_from_slice(&self.sealing);
        out.extend_from_slice(&self.grant.writer);
        out.extend_from_slice(&self.grant.from_micros.to_le_bytes());
        out.extend_from_slice(&self.grant.until_micros.to_le_bytes());
        out.push(u8::try_from(self.grant.kinds.len()).unwrap_or(u8::MAX));
        out.extend(self.grant.kinds.iter().take(255).map(|kind| kind.number()));
        out
    }

    fn message(&self) -> Vec<u8> {
        [CERTIFICATE_LABEL, &self.fields()].concat()
    }
}

/// A writer's own secret: the seed of an Ed25519 key.
pub struct WriterKey(Ed25519KeyPair);

impl std::fmt::Debug for WriterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriterKey({:02x?})", &self.public()[..8])
    }
}

impl WriterKey {
    /// The key of this seed.
    pub fn new(seed: &[u8; 32]) -> WriterKey {
        WriterKey(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// A new key, of whose seed no copy is kept.
    pub fn random(random: &mut Random<'_>) -> WriterKey {
        let mut seed = [0; 32];
        random(&mut seed);
        let key = WriterKey::new(&seed);
        seed.zeroize();
        key
    }

    /// Its public part.
    pub fn public(&self) -> [u8; 32] {
        public_of(&self.0)
    }
}

/// Somebody who signs shards: a key, and the institution's certificate for it.
#[derive(Debug)]
pub struct Writer {
    key: WriterKey,
    certificate: Certificate,
}

impl Writer {
    /// Checks that the certificate is good and names this key.
    pub fn new(key: WriterKey, certificate: Certificate) -> Result<Writer, Error> {
        certificate.verify()?;
        if certificate.writer() != key.public() {
            return Err(Error::WriterKey);
        }
        Ok(Writer { key, certificate })
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        sign(&self.key.0, message)
    }
}

fn sign(key: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature.copy_from_slice(key.sign(message).as_ref());
    signature
}

pub(crate) fn is_signed(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}
