//! The keys of an institution, and the wrapping of a segment's key to them.

use crate::certificate::{Certificate, Grant, SigningChain};
use crate::header::{Header, SUITE};
use crate::{Error, Random};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use std::collections::BTreeMap;
use std::convert::Infallible;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The generation under which an institution's recovery key stands, which does not rotate.
/// Others begin at 1.
pub const RECOVERY_GENERATION: u32 = 0;
/// Bytes of an HPKE encapsulation by X-Wing.
pub(crate) const ENCAPSULATION_BYTES: usize = 1120;
/// Bytes of a wrapped segment key: the encapsulation, then the sealed key with its tag.
pub(crate) const WRAPPED_BYTES: usize = ENCAPSULATION_BYTES + 32 + crate::TAG;

const SEALING_LABEL: &[u8] = b"strongroom seed to sealing key 1";
const SIGNING_LABEL: &[u8] = b"strongroom seed to signing key 1";
const WRAP_LABEL: &[u8] = b"strongroom segment key 1";

type XWingPublic = <XWing as Kem>::PublicKey;

/// The secret from which all keys of one generation of an institution are derived.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// The seed of these bytes.
    pub fn new(bytes: [u8; 32]) -> Seed {
        Seed(bytes)
    }

    /// A new seed.
    pub fn random(random: &mut Random<'_>) -> Seed {
        let mut seed = Seed([0; 32]);
        random(&mut seed.0);
        seed
    }

    /// The secret itself, to be kept in a key file or split among trustees.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key that segments of this generation are sealed to.
    pub fn sealing_public(&self, generation: u32) -> SealingPublic {
        let key = XWing::sk_to_pk(&self.sealing_secret());
        SealingPublic { generation, key }
    }

    /// The public Ed25519 key that this seed signs with.
    pub fn signing_public(&self) -> [u8; 32] {
        public_of(&self.signing_pair())
    }

    pub(crate) fn signing_pair(&self) -> Ed25519KeyPair {
        let mut seed = self.derive(SIGNING_LABEL);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
        seed.zeroize();
        pair
    }

    fn sealing_secret(&self) -> <XWing as Kem>::PrivateKey {
        let mut seed = self.derive(SEALING_LABEL);
        let key = <XWing as Kem>::PrivateKey::from_bytes(&seed).expect("any 32 bytes are a key");
        seed.zeroize();
        key
    }

    /// HKDF-SHA256 without salt (RFC 5869): the seed is uniformly random already.
    fn derive(&self, label: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(&[label], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes is a length that HKDF gives");
        key
    }
}

/// What everybody may know of an institution: its id, and the signing keys it has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Institution {
    chain: SigningChain,
}

impl Institution {
    /// The institution whose first generation's seed this is.
    pub fn new(seed: &Seed) -> Institution {
        Institution { chain: SigningChain::first(seed.signing_public()) }
    }

    /// The institution with these signing keys, after checking that each vouches for the next.
    pub fn from_chain(chain: SigningChain) -> Result<Institution, Error> {
        chain.verify()?;
        Ok(Institution { chain })
    }

    /// The first 128 bits of the SHA-256 of its first signing key.
    pub fn id(&self) -> [u8; 16] {
        self.chain.institution()
    }

    /// Its present generation, from 1.
    pub fn generation(&self) -> u32 {
        self.chain.generation()
    }

    /// Its signing keys so far.
    pub fn chain(&self) -> &SigningChain {
        &self.chain
    }

    /// The institution with a further generation, vouched for by the present one.
    pub fn rotate(&self, present: &Seed, next: &Seed) -> Result<Institution, Error> {
        let pair = self.present_pair(present)?;
        Ok(Institution { chain: self.chain.extend(&pair, next.signing_public())? })
    }

    /// The public sealing key of the present generation.
    pub fn sealing(&self, present: &Seed) -> Result<SealingPublic, Error> {
        self.present_pair(present)?;
        Ok(present.sealing_public(self.generation()))
    }

    /// Certifies a writer.
    pub fn certify(&self, present: &Seed, grant: Grant) -> Result<Certificate, Error> {
        let pair = self.present_pair(present)?;
        let sealing = present.sealing_public(self.generation()).fingerprint();
        Certificate::sign(self.chain.clone(), sealing, grant, &pair)
    }

    fn present_pair(&self, seed: &Seed) -> Result<Ed25519KeyPair, Error> {
        let pair = seed.signing_pair();
        if public_of(&pair) != self.chain.last() {
            return Err(Error::WrongKey { generation: self.generation() });
        }
        Ok(pair)
    }
}

/// A public X-Wing key, and the generation that it is.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingPublic {
    generation: u32,
    key: XWingPublic,
}

impl std::fmt::Debug for SealingPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fingerprint = self.fingerprint();
        write!(f, "SealingPublic({}, {:02x?})", self.generation, &fingerprint[..8])
    }
}

impl SealingPublic {
    /// The key of these 1,216 bytes (ML-KEM-768, then X25519).
    pub fn from_bytes(generation: u32, bytes: &[u8]) -> Result<SealingPublic, Error> {
        let why = "these are not the bytes of an X-Wing key";
        let key = XWingPublic::from_bytes(bytes)
            .map_err(|_| Error::Malformed { what: "a sealing key", why })?;
        Ok(SealingPublic { generation, key })
    }

    /// Its 1,216 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.key.to_bytes().to_vec()
    }

    /// The generation that it is; 0 for the recovery key.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The SHA-256 of its bytes.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.key.to_bytes())
    }
}

/// The seeds of an institution at hand, by generation: what opens its segments.
#[derive(Debug, Clone)]
pub struct SecretKeys {
    institution: [u8; 16],
    seeds: BTreeMap<u32, Seed>,
}

impl SecretKeys {
    /// No seed yet.
    pub fn new(institution: [u8; 16]) -> SecretKeys {
        SecretKeys { institution, seeds: BTreeMap::new() }
    }

    /// Adds the seed of a generation; [`RECOVERY_GENERATION`] for the recovery seed.
    pub fn with(mut self, generation: u32, seed: Seed) -> SecretKeys {
        self.insert(generation, seed);
        self
    }

    /// Adds the seed of a generation.
    pub fn insert(&mut self, generation: u32, seed: Seed) {
        self.seeds.insert(generation, seed);
    }

    /// Whose keys they are.
    pub fn institution(&self) -> [u8; 16] {
        self.institution
    }

    /// Whether the seed of a generation is at hand.
    pub fn has(&self, generation: u32) -> bool {
        self.seeds.contains_key(&generation)
    }

    /// The seed of a generation, where it is at hand.
    pub fn seed(&self, generation: u32) -> Option<&Seed> {
        self.seeds.get(&generation)
    }

    /// The generations at hand.
    pub fn generations(&self) -> impl Iterator<Item = u32> {
        self.seeds.keys().copied()
    }

    /// Unwraps the key of the segment that a header describes.
    pub fn unwrap_segment_key(&self, header: &Header) -> Result<SegmentKey, Error> {
        if header.institution != self.institution {
            return Err(Error::Institution {
                what: "the segment",
                found: header.institution,
                expected: self.institution,
            });
        }
        let generation = header.generation;
        let seed = self.seeds.get(&generation).ok_or(Error::NoKey { generation })?;
        if header.suite != SUITE {
            return Err(Error::Suite { suite: header.suite });
        }
        if header.wrapped.len() != WRAPPED_BYTES {
            let why = "it has another length than suite 1 gives it";
            return Err(Error::Malformed { what: "the wrapped key", why });
        }
        let (encapsulated, sealed) = header.wrapped.split_at(ENCAPSULATION_BYTES);
        let wrong = |_| Error::WrongKey { generation };
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(wrong)?;
        let mut opened = hpke::single_shot_open::<Aead, Kdf, XWing>(
            &OpModeR::Base,
            &seed.sealing_secret(),
            &encapsulated,
            &wrap_info(header),
            sealed,
            &[],
        )
        .map_err(wrong)?;
        let key = opened.as_slice().try_into().map(SegmentKey);
        opened.zeroize();
        key.map_err(|_| Error::WrongKey { generation })
    }
}

/// The key of one segment. It never leaves memory but wrapped.
#[derive(ZeroizeOnDrop)]
pub struct SegmentKey(pub(crate) [u8; 32]);

impl std::fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SegmentKey(..)")
    }
}

type Aead = hpke::aead::AesGcm256;
type Kdf = hpke::kdf::HkdfSha256;

/// Wraps a segment's key to `public`, bound to what `header` says of the segment.
pub(crate) fn wrap(
    key: &SegmentKey,
    public: &SealingPublic,
    header: &Header,
    random: &mut Random<'_>,
) -> Result<Vec<u8>, Error> {
    let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<Aead, Kdf, XWing>(
        &OpModeS::Base,
        &public.key,
        &wrap_info(header),
        &key.0,
        &[],
        &mut Source(random),
    )
    .map_err(|_| Error::Crypto { what: "wrapping the segment's key" })?;
    let mut wrapped = encapsulated.to_bytes().to_vec();
    wrapped.extend_from_slice(&sealed);
    debug_assert_eq!(wrapped.len(), WRAPPED_BYTES);
    Ok(wrapped)
}

/// What a wrapped key is bound to: it does not open in another place than it was made for.
fn wrap_info(header: &Header) -> Vec<u8> {
    let mut info = WRAP_LABEL.to_vec();
    info.extend_from_slice(&header.suite.to_le_bytes());
    info.push(header.kind.number());
    info.extend_from_slice(&header.institution);
    info.extend_from_slice(&header.generation.to_le_bytes());
    info.extend_from_slice(&header.segment);
    info
}

/// The caller's random source in the form that hpke asks for.
struct Source<'a, 'b>(&'a mut Random<'b>);

impl rand_core::TryRng for Source<'_, '_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        (self.0)(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        (self.0)(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        (self.0)(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Source<'_, '_> {}

pub(crate) fn public_of(pair: &Ed25519KeyPair) -> [u8; 32] {
    let mut public = [0; 32];
    public.copy_from_slice(pair.public_key().as_ref());
    public
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
