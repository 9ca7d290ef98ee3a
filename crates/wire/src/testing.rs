//! What tests and benchmarks of connections need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Stands between TCP's two ends, and resets connections (`SO_LINGER` of 0) after a number of bytes that is drawn, in either
/// direction.
pub struct ResettingProxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    calm: AtomicBool,
    resets: AtomicU64,
}

impl ResettingProxy {
    /// Begins to pass on to `to`, and to reset connections after `mean` bytes on average.
    ///
    /// # Errors
    /// The system's.
    pub async fn start(to: String, mean: u64, seed: u64) -> std::io::Result<ResettingProxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { calm: AtomicBool::new(false), resets: AtomicU64::new(0) });
        let shared = state.clone();
        tokio::spawn(async move {
            let mut drawn = seed;
            while let Ok((one, _)) = listener.accept().await {
                let Ok(other) = TcpStream::connect(&to).await else { continue };
                // A linear congruential generator (Knuth's MMIX) is chance enough.
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let left = AtomicU64::new((drawn >> 33) % (2 * mean.max(1)) + 1);
                let state = shared.clone();
                tokio::spawn(async move {
                    // At once, without what the system still holds.
                    let hard = [&one, &other].map(|stream| {
                        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
                    });
                    if hard.iter().any(Result::is_err) {
                        return;
                    }
                    let ((a, b), (c, d)) = (one.into_split(), other.into_split());
                    let reset = tokio::select! {
                        reset = state.pass(a, d, &left) => reset,
                        reset = state.pass(c, b, &left) => reset,
                    };
                    state.resets.fetch_add(u64::from(reset), Ordering::Relaxed);
                });
            }
        });
        Ok(ResettingProxy { address, state })
    }

    /// Where it is to be dialled.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets no more.
    pub fn calm(&self) {
        self.state.calm.store(true, Ordering::Relaxed);
    }

    /// Connections that were reset so far.
    pub fn resets(&self) -> u64 {
        self.state.resets.load(Ordering::Relaxed)
    }
}

impl State {
    /// Whether it was cut here, and did not end by itself.
    async fn pass(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        left: &AtomicU64,
    ) -> bool {
        let mut part = vec![0; 64 * 1024];
        loop {
            let Ok(n @ 1..) = from.read(&mut part).await else { return false };
            let mut now = n;
            if !self.calm.load(Ordering::Relaxed) {
                let allowed = left.load(Ordering::Relaxed).min(n as u64);
                left.fetch_sub(allowed, Ordering::Relaxed);
                now = usize::try_from(allowed).unwrap_or(n);
            }
            if to.write_all(&part[..now]).await.is_err() {
                return false;
            }
            if now < n {
                return true;
            }
        }
    }
}
