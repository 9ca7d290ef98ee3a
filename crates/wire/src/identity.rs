//! A node is an Ed25519 key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::CertifiedKey;

use crate::tls::Error;

/// What stands before the 32 bytes of an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410, 4).
const SPKI_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// What stands before the 32 bytes of an Ed25519 private key in its PKCS #8 form (RFC 8410, 7).
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// Who a node is: its public key. In text 64 hexadecimal digits, in lower case.
///
/// Ordered by its bytes: of two nodes that dial each other at once, and of two that meet on a stream
/// which neither dialled, the lesser is the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// As it stands in a TLS Certificate message (RFC 7250).
    pub(crate) fn to_spki(self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }

    /// `None` for what is no Ed25519 key.
    pub(crate) fn from_spki(spki: &[u8]) -> Option<NodeId> {
        spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(NodeId)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node is named by 64 hexadecimal digits, its public key; this is not: {0:?}")]
pub struct NotANode(String);

impl FromStr for NodeId {
    type Err = NotANode;

    fn from_str(text: &str) -> Result<NodeId, NotANode> {
        let bad = || NotANode(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            let (high, low) = (digit(pair[0]).ok_or_else(bad)?, digit(pair[1]).ok_or_else(bad)?);
            *byte = high << 4 | low;
        }
        Ok(NodeId(id))
    }
}

/// The key that a node is.
#[derive(Clone)]
pub struct NodeKey {
    id: NodeId,
    certified: Arc<CertifiedKey>,
}

impl NodeKey {
    /// From the 32 bytes that RFC 8032 calls the private key. They are the caller's to draw and to keep.
    ///
    /// # Errors
    /// [`Error::Key`] where they cannot be used.
    pub fn from_seed(seed: &[u8; 32]) -> Result<NodeKey, Error> {
        let pkcs8 = [&PKCS8_PREFIX[..], seed].concat();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
        let key = rustls::crypto::aws_lc_rs::sign::any_eddsa_type(match &der {
            PrivateKeyDer::Pkcs8(pkcs8) => pkcs8,
            _ => return Err(Error::Key),
        })
        .map_err(|_| Error::Key)?;
        let spki: SubjectPublicKeyInfoDer<'static> =
            key.public_key().ok_or(Error::Key)?.into_owned();
        let id = NodeId::from_spki(spki.as_ref()).ok_or(Error::Key)?;
        // For raw public keys the chain holds the key's own form in place of a certificate.
        let chain = vec![id.to_spki().into()];
        Ok(NodeKey { id, certified: Arc::new(CertifiedKey::new(chain, key)) })
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 1.
    #[test]
    fn a_key_is_known_by_its_public_half() {
        let hex = |text: &str| text.parse::<NodeId>().unwrap().0;
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = NodeKey::from_seed(&seed).unwrap();
        let id = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.id().to_string(), id);
        assert_eq!(id.parse(), Ok(key.id()));
        assert_eq!(NodeId::from_spki(&key.id().to_spki()), Some(key.id()));
        assert!(!format!("{key:?}").contains("9d61"));
    }

    #[test]
    fn what_names_no_node_is_refused() {
        for bad in ["", "d7", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
        let id = NodeId([7; 32]);
        let spki = id.to_spki();
        assert_eq!(NodeId::from_spki(&spki[1..]), None);
        assert_eq!(NodeId::from_spki(&[&spki[..], &[0]].concat()), None);
    }
}
