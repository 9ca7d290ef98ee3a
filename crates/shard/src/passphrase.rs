//! Locking bytes under a passphrase: Argon2id (RFC 9106) and AES-256-GCM.

use crate::bytes::Reader;
use crate::{Error, Random, TAG};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

/// What locked bytes begin with.
pub const LOCKED_MAGIC: &[u8; 8] = b"SR-LOCKD";
const WHAT: &str = "what is locked under a passphrase";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 8 + 2 + 12 + 16 + 12;
/// The second recommended option of RFC 9106, section 4: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// What is spent at most on bytes that come from elsewhere.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 64;

/// Locks bytes; the cost is stored with them.
pub fn lock(plaintext: &[u8], passphrase: &str, random: &mut Random<'_>) -> Result<Vec<u8>, Error> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    random(&mut salt);
    random(&mut nonce);
    let mut out = LOCKED_MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    for number in [MEMORY_KIB, PASSES, LANES] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&salt);
    out.extend_from_slice(&nonce);
    let key = key(passphrase, &salt, MEMORY_KIB, PASSES, LANES)?;
    let mut sealed = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    (key.seal_in_place_append_tag(nonce, Aad::from(&out), &mut sealed))
        .map_err(|_| Error::Crypto { what: "locking under a passphrase" })?;
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// What was locked. [`Error::Passphrase`] where the passphrase is another, or a byte was changed.
pub fn unlock(bytes: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.begin(LOCKED_MAGIC, VERSION)?;
    let (memory, passes, lanes) = (reader.u32()?, reader.u32()?, reader.u32()?);
    if memory > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(reader.malformed("it asks for more memory or time than any writer does"));
    }
    let salt: [u8; 16] = reader.array()?;
    let nonce = Nonce::assume_unique_for_key(reader.array()?);
    let mut sealed = Zeroizing::new(bytes[HEAD_BYTES..].to_vec());
    if sealed.len() < TAG {
        return Err(reader.malformed("it ends before its tag"));
    }
    let key = key(passphrase, &salt, memory, passes, lanes)?;
    let opened = key.open_in_place(nonce, Aad::from(&bytes[..HEAD_BYTES]), &mut sealed);
    let len = opened.map_err(|_| Error::Passphrase)?.len();
    sealed.truncate(len);
    Ok(sealed)
}

fn key(
    passphrase: &str,
    salt: &[u8; 16],
    memory: u32,
    passes: u32,
    lanes: u32,
) -> Result<LessSafeKey, Error> {
    let refused = |_| Error::Malformed { what: WHAT, why: "its cost is none that Argon2 has" };
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(refused)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .map_err(refused)?;
    let bound = UnboundKey::new(&AES_256_GCM, &key).map(LessSafeKey::new);
    key.zeroize();
    bound.map_err(|_| Error::Crypto { what: "preparing a passphrase's key" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_what_it_locked() {
        let locked = lock(b"seeds", "correct horse", &mut |b: &mut [u8]| b.fill(3)).unwrap();
        assert_eq!(*unlock(&locked, "correct horse").unwrap(), b"seeds");
        assert_eq!(unlock(&locked, "correct house").unwrap_err(), Error::Passphrase);
        // Every part counts, and no cost from outside is paid blindly.
        for at in [23, 40, 50, locked.len() - 1] {
            let mut flipped = locked.clone();
            flipped[at] ^= 1;
            assert_eq!(unlock(&flipped, "correct horse").unwrap_err(), Error::Passphrase, "{at}");
        }
        for at in [13, 17, 21] {
            let mut costly = locked.clone();
            costly[at] = 255;
            assert!(matches!(unlock(&costly, "x"), Err(Error::Malformed { .. })));
        }
        for len in [0, 9, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + TAG - 1] {
            assert!(unlock(&locked[..len], "correct horse").is_err());
        }
    }

    #[test]
    fn argon2id_gives_the_vector_of_rfc_9106() {
        // Section 5.3, but for its secret and associated data, is what `key` calls; those two are
        // given to the same function here.
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let argon =
            Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut tag = [0; 32];
        argon.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
        let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
        assert_eq!(tag.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }
}
