//! Ways to a peer: streams, what kind they are, and who opens them.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::NodeId;

/// Data that the peer's system does not acknowledge for so long end a TCP connection (RFC 5482).
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a stream comes to the peer. The lesser is the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// To an address of the peer.
    Direct,
    /// Through address translators that both sides opened for each other.
    Punched,
    /// Through this node.
    Relayed(NodeId),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Direct => f.write_str("direct"),
            Kind::Punched => f.write_str("punched"),
            Kind::Relayed(through) => write!(f, "relayed through {through}"),
        }
    }
}

/// A stream to a peer, which may be moved to another runtime. It ends with an error where what was written goes unacknowledged for long,
/// as TCP's do: heartbeats watch the control connection alone.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Lets the runtime in which this is called drive it from now on.
    ///
    /// # Errors
    /// The system's.
    fn rehome(self: Box<Self>) -> io::Result<Box<dyn Stream>>;
}

/// A pipe within the process is driven by whoever holds it.
impl Stream for DuplexStream {
    fn rehome(self: Box<Self>) -> io::Result<Box<dyn Stream>> {
        Ok(self)
    }
}

/// A stream to a peer, and what kind it is.
pub struct Path {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// How they come there.
    pub kind: Kind,
}

/// Opens streams to peers.
pub trait Dial: Send + Sync + 'static {
    /// A stream to one address of a peer. That it really is the peer is found out later.
    fn dial<'a>(&'a self, peer: &'a NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Path>>;
}

/// TCP: addresses are `host:port`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, _: &'a NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Path>> {
        Box::pin(async move { Tcp::path(TcpStream::connect(address).await?) })
    }
}

impl Tcp {
    /// A connection that stands, dialled or accepted.
    ///
    /// # Errors
    /// The system's, where it cannot be set up as it must.
    pub fn path(stream: TcpStream) -> io::Result<Path> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(Path { stream: Box::new(TcpPath(stream)), kind: Kind::Direct })
    }
}

struct TcpPath(TcpStream);

impl Stream for TcpPath {
    fn rehome(self: Box<Self>) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpPath(TcpStream::from_std(self.0.into_std()?)?)))
    }
}

impl AsyncRead for TcpPath {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TcpPath {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
