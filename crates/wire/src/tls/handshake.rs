//! The handshake, by rustls, without I/O.

use std::fmt;
use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage, UnbufferedServerConnection,
};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme, version,
};

use super::record::{self, Kernel, RECORD_BYTES_MAX};
use super::whole::Connection;
use super::{Error, HANDSHAKE_BYTES_MAX, Records, Session, alert};
use crate::{NodeId, NodeKey};

/// What both sides say they speak (ALPN, RFC 7301), so that nothing else is taken for it.
const PROTOCOL: &[u8] = b"strongroom-wire/1";

/// Whether a node may connect at all.
pub type Admit = dyn Fn(&NodeId) -> bool + Send + Sync;

/// How `key` dials the node `peer`, and nobody else.
///
/// # Errors
/// [`Error::Handshake`] where rustls has not what it needs.
pub fn client_config(key: &NodeKey, peer: NodeId) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Peers::only(provider, peer)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            key.certified(),
        )));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// How `key` is dialled, by the nodes that `admit` lets in.
///
/// # Errors
/// As [`client_config`].
pub fn server_config(key: &NodeKey, admit: Arc<Admit>) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(Peers { provider, admit }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified())));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// TLS 1.3 with 256-bit ciphers, and keys agreed on by X25519 and ML-KEM-768 together, since what is
/// recorded today may be kept until a quantum computer can open it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    })
}

/// Checks that the peer holds the key that it shows, and that this key is wanted.
struct Peers {
    provider: Arc<CryptoProvider>,
    admit: Arc<Admit>,
}

impl Peers {
    fn only(provider: Arc<CryptoProvider>, peer: NodeId) -> Peers {
        Peers { provider, admit: Arc::new(move |id| *id == peer) }
    }

    fn check(&self, spki: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let id = NodeId::from_spki(spki).ok_or(CertificateError::BadEncoding)?;
        match (self.admit)(&id) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

/// What both verifiers of rustls ask for in the same words.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            spki: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for Peers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}

/// A handshake under way.
///
/// Its owner sends what [`Handshake::outgoing`] gives, hands [`Handshake::step`] what the peer sent, and does so
/// until it says [`Progress::Done`]; after an error it still sends what is outgoing, the alert, and drops it.
pub struct Handshake {
    side: Side,
    /// What the peer sent and rustls has not done with: whole records, and no more than those.
    taken: Vec<u8>,
    received: usize,
    outgoing: Vec<u8>,
    failed: bool,
    records: Records,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Side {
    /// Whether rustls holds something for the peer.
    fn has_outgoing(&self) -> bool {
        match self {
            Side::Client(c) => c.wants_write(),
            Side::Server(s) => s.wants_write(),
        }
    }
}

/// How far a handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It wants more from the peer.
    More,
    /// It is done; what is still outgoing goes first.
    Done,
}

impl Handshake {
    /// As the one who dials.
    ///
    /// # Errors
    /// [`Error::Handshake`] where `config` cannot be used.
    pub fn client(config: Arc<ClientConfig>) -> Result<Handshake, Error> {
        // Nobody looks at it: no name is sent, and the peer is known by its key.
        let name = ServerName::try_from("node.invalid").map_err(|_| Error::Key)?;
        Ok(Handshake::of(Side::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    /// As the one who is dialled.
    ///
    /// # Errors
    /// As [`Handshake::client`].
    pub fn server(config: Arc<ServerConfig>) -> Result<Handshake, Error> {
        Ok(Handshake::of(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    fn of(side: Side) -> Handshake {
        let (taken, outgoing) = (Vec::new(), Vec::new());
        Handshake { side, taken, received: 0, outgoing, failed: false, records: Records::Own }
    }

    /// Who seals and opens records after it.
    #[must_use]
    pub fn with_records(mut self, records: Records) -> Handshake {
        self.records = records;
        self
    }

    /// What is to be sent now; empties it.
    pub fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Takes whole records off the beginning of `incoming`, as many as the handshake wants. What is left there
    /// after [`Progress::Done`] comes after it, and is the [`Opener`]'s.
    ///
    /// # Errors
    /// [`Error::Handshake`] where the peer is not whom we want, or breaks the protocol;
    /// [`Error::HandshakeTooLong`]; after any of them [`Error::Over`].
    pub fn step(&mut self, incoming: &mut Vec<u8>) -> Result<Progress, Error> {
        if self.failed {
            return Err(Error::Over);
        }
        let progress = self.records(incoming);
        self.failed = progress.is_err();
        progress
    }

    fn records(&mut self, incoming: &mut Vec<u8>) -> Result<Progress, Error> {
        let mut used = 0;
        let progress = loop {
            match self.turn() {
                Ok(Progress::More) => {}
                other => break other,
            }
            // A record at a time: what comes behind the last one must not be opened by rustls.
            let Some(length) = handshake_record(&incoming[used..]) else {
                break Ok(Progress::More);
            };
            self.received += length;
            if self.received > HANDSHAKE_BYTES_MAX {
                break Err(Error::HandshakeTooLong);
            }
            self.taken.extend_from_slice(&incoming[used..used + length]);
            used += length;
        };
        incoming.drain(..used);
        if matches!(progress, Ok(Progress::More))
            && self.received + incoming.len() > HANDSHAKE_BYTES_MAX
        {
            return Err(Error::HandshakeTooLong);
        }
        progress
    }

    /// Lets rustls do all it can with what it has.
    fn turn(&mut self) -> Result<Progress, Error> {
        loop {
            match self.once() {
                Ok(Turn::Again) => {}
                Ok(Turn::More) => return Ok(Progress::More),
                Ok(Turn::Done) => return Ok(Progress::Done),
                Err(error) => {
                    // The alert that tells the peer why. Asked for more than that, rustls would panic.
                    while self.side.has_outgoing() && matches!(self.once(), Ok(Turn::Again)) {}
                    return Err(error);
                }
            }
        }
    }

    fn once(&mut self) -> Result<Turn, Error> {
        let (discard, turn) = match &mut self.side {
            Side::Client(c) => state(c.process_tls_records(&mut self.taken), &mut self.outgoing),
            Side::Server(s) => state(s.process_tls_records(&mut self.taken), &mut self.outgoing),
        };
        self.taken.drain(..discard);
        turn
    }

    /// The connection, once [`Handshake::step`] said that it is done.
    ///
    /// # Errors
    /// [`Error::Handshake`] before that.
    pub fn finish(self) -> Result<Session, Error> {
        let (secrets, kernel, peer) = match (self.side, self.records) {
            (Side::Client(c), Records::Rustls) => {
                return Ok(Session::rustls(peer(c.peer_certificates()), Connection::Client(c)));
            }
            (Side::Server(s), Records::Rustls) => {
                return Ok(Session::rustls(peer(s.peer_certificates()), Connection::Server(s)));
            }
            (Side::Client(c), Records::Own) => {
                let peer = peer(c.peer_certificates());
                let (secrets, kernel) = c.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel), peer)
            }
            (Side::Server(s), Records::Own) => {
                let peer = peer(s.peer_certificates());
                let (secrets, kernel) = s.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel), peer)
            }
        };
        Ok(Session::own(peer, record::directions(&secrets, kernel)?))
    }
}

fn peer(certificates: Option<&[CertificateDer<'_>]>) -> Option<NodeId> {
    NodeId::from_spki(certificates?.first()?)
}

/// Bytes of the record that `input` begins with; `None` where it is not whole. What is longer than any record may
/// be counts as whole: rustls says what is wrong with it.
fn handshake_record(input: &[u8]) -> Option<usize> {
    let (&[_, _, _, high, low], _) = input.split_first_chunk::<5>()?;
    let length = (5 + usize::from(u16::from_be_bytes([high, low]))).min(RECORD_BYTES_MAX + 1);
    (input.len() >= length).then_some(length)
}

/// What a state of rustls means.
enum Turn {
    Again,
    More,
    Done,
}

fn state<D>(
    status: UnbufferedStatus<'_, '_, D>,
    outgoing: &mut Vec<u8>,
) -> (usize, Result<Turn, Error>) {
    let turn = match status.state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let at = outgoing.len();
            let mut encode = |room: usize| {
                outgoing.resize(at + room, 0);
                data.encode(&mut outgoing[at..])
            };
            let encoded = match encode(4096) {
                Err(EncodeError::InsufficientSize(size)) => encode(size.required_size),
                other => other,
            };
            match encoded {
                Ok(written) => {
                    outgoing.truncate(at + written);
                    Ok(Turn::Again)
                }
                Err(error) => {
                    outgoing.truncate(at);
                    Err(rustls::Error::General(error.to_string()).into())
                }
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Turn::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Turn::More),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Turn::Done),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
            Err(Error::Alert(alert::CLOSE_NOTIFY))
        }
        Ok(_) => {
            Err(rustls::Error::InvalidMessage(rustls::InvalidMessage::UnexpectedMessage("data"))
                .into())
        }
        Err(error) => Err(error.into()),
    };
    (status.discard, turn)
}
