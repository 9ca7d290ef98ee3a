//! OpenSSL's `s_client` and `s_server` as peers, with every suite. They know no raw public keys before OpenSSL 3.2,
//! so here they show a certificate, and rustls's side is told to take it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, version};

use super::*;

const SUITES: [(&str, rustls::CipherSuite); 3] = [
    ("TLS_AES_128_GCM_SHA256", rustls::CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", rustls::CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
];
/// Nothing here takes long; what takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.2 is not offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn provider(suite: rustls::CipherSuite) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|s| s.suite() == suite);
    Arc::new(provider)
}

/// A program under way: what it prints comes through a channel, so that nobody waits for ever.
struct Openssl {
    child: Child,
    printed: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Openssl {
    fn start(folder: &Path, args: &[&str]) -> Openssl {
        let mut child = Command::new("openssl")
            .current_dir(folder)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, printed) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 65_536];
            while let Ok(n @ 1..) = stdout.read(&mut part) {
                if sender.send(part[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Openssl { child, printed, seen: Vec::new() }
    }

    fn type_line(&mut self, line: &str) {
        // A line that is a command is one only where it is read alone.
        std::thread::sleep(Duration::from_millis(50));
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits until it has printed this, and returns what stands behind it on its line.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let seen = String::from_utf8_lossy(&self.seen);
            if let Some(rest) = seen.find(text).map(|at| &seen[at + text.len()..])
                && let Some(end) = rest.find('\n')
            {
                return rest[..end].trim().to_owned();
            }
            match self.printed.recv_timeout(PATIENCE) {
                Ok(part) => self.seen.extend(part),
                Err(why) => panic!("openssl does not print {text:?} ({why}), but {seen}"),
            }
        }
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection of ours with what it has received.
struct Ours {
    stream: TcpStream,
    session: Session,
    received: Vec<u8>,
}

impl Ours {
    fn shake(mut stream: TcpStream, mut handshake: Handshake) -> Ours {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = Vec::new();
        loop {
            let progress = handshake.step(&mut received).unwrap();
            stream.write_all(&handshake.outgoing()).unwrap();
            if progress == Progress::Done {
                return Ours { stream, session: handshake.finish().unwrap(), received };
            }
            read(&mut stream, &mut received);
        }
    }

    /// Whether a key update went before it.
    fn say(&mut self, text: &[u8]) -> bool {
        let records = sealed(&mut self.session.sealer, text);
        self.stream.write_all(&records).unwrap();
        records.len() > text.len() + RECORD_OVERHEAD
    }

    /// The next data; `None` at the proper end.
    fn hear(&mut self) -> Option<Vec<u8>> {
        let mut out = vec![0; RECORD_PLAIN_MAX + 256];
        loop {
            while let Some(length) = record_length(&self.received).unwrap()
                && self.received.len() >= length
            {
                let opened = self.session.opener.open(&self.received[..length], &mut out).unwrap();
                self.received.drain(..length);
                match opened {
                    Opened::Data(n) => return Some(out[..n].to_vec()),
                    Opened::Nothing => {}
                    Opened::End => return None,
                }
            }
            read(&mut self.stream, &mut self.received);
        }
    }

    fn hear_line(&mut self, line: &str) {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\n") {
            heard.extend(self.hear().unwrap());
        }
        assert_eq!(String::from_utf8_lossy(&heard).trim_end(), line);
    }
}

fn read(stream: &mut TcpStream, into: &mut Vec<u8>) {
    let mut part = [0; 65_536];
    let n = stream.read(&mut part).unwrap();
    assert!(n > 0, "cut without a proper end");
    into.extend_from_slice(&part[..n]);
}

/// Both talk, and both change keys: openssl at the command `K`, which asks for the same of us.
fn talk(ours: &mut Ours, openssl: &mut Openssl) {
    assert!(!ours.say(b"first from ours\n"));
    openssl.wait_for("first from ours");
    openssl.type_line("first from openssl");
    ours.hear_line("first from openssl");
    openssl.type_line("K");
    openssl.type_line("second from openssl");
    ours.hear_line("second from openssl");
    assert!(ours.say(b"second from ours\n"), "a key update was asked for");
    openssl.wait_for("second from ours");
    ours.session.sealer.set_records_per_key(2);
    for i in 0..40 {
        let mut line = vec![b'x'; 16_000];
        line.extend(format!(" line {i} from ours\n").bytes());
        ours.say(&line);
    }
    openssl.wait_for("line 39 from ours");
    openssl.type_line("third from openssl");
    ours.hear_line("third from openssl");
}

/// The folder with a key and a certificate; `None` where there is no openssl.
fn prepared() -> Option<tempfile::TempDir> {
    let run = |folder: &Path, args: &[&str]| {
        Command::new("openssl")
            .current_dir(folder)
            .args(args)
            .output()
            .ok()
            .filter(|o| o.status.success())
    };
    let folder = tempfile::tempdir().unwrap();
    if run(folder.path(), &["version"]).is_none() {
        return strongroom_testkit::lacking("the program openssl");
    }
    let key = ["genpkey", "-algorithm", "ed25519", "-outform", "DER", "-out", "key"];
    run(folder.path(), &key).unwrap();
    let certificate = [
        "req",
        "-x509",
        "-key",
        "key",
        "-keyform",
        "DER",
        "-outform",
        "DER",
        "-out",
        "certificate",
        "-days",
        "2",
        "-subj",
        "/CN=node",
    ];
    run(folder.path(), &certificate).unwrap();
    Some(folder)
}

#[test]
fn openssl_serves_us() {
    let Some(folder) = prepared() else { return };
    for (name, suite) in SUITES {
        let mut openssl = Openssl::start(
            folder.path(),
            &[
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-key",
                "key",
                "-keyform",
                "DER",
                "-cert",
                "certificate",
                "-certform",
                "DER",
                "-tls1_3",
                "-naccept",
                "1",
            ],
        );
        let address = openssl.wait_for("ACCEPT ");
        let provider = provider(suite);
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let handshake = Handshake::client(Arc::new(config)).unwrap();
        let mut ours = Ours::shake(TcpStream::connect(address).unwrap(), handshake);
        talk(&mut ours, &mut openssl);
        openssl.wait_for(name);
        // Ours is the end that it is told, and answers.
        let mut out = [0; 100];
        let written = ours.session.sealer.close(&mut out).unwrap();
        ours.stream.write_all(&out[..written]).unwrap();
        assert_eq!(ours.hear(), None, "a proper end");
    }
}

#[test]
fn openssl_dials_us() {
    let Some(folder) = prepared() else { return };
    let file = |name| std::fs::read(folder.path().join(name)).unwrap();
    for (name, suite) in SUITES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut openssl =
            Openssl::start(folder.path(), &["s_client", "-connect", &address, "-tls1_3"]);
        let mut config = ServerConfig::builder_with_provider(provider(suite))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![file("certificate").into()],
                PrivatePkcs8KeyDer::from(file("key")).into(),
            )
            .unwrap();
        config.send_tls13_tickets = 0;
        config.enable_secret_extraction = true;
        let handshake = Handshake::server(Arc::new(config)).unwrap();
        let mut ours = Ours::shake(listener.accept().unwrap().0, handshake);
        talk(&mut ours, &mut openssl);
        openssl.wait_for(name);
        openssl.type_line("Q");
        assert_eq!(ours.hear(), None, "a proper end");
    }
}
