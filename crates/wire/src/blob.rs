//! Blobs of any size between nodes, by reference: who has one offers it with a call, and whoever takes it asks for its pieces,
//! from whatever byte it wants, several at a time. So a blob needs no more memory than the pieces that are under way, goes
//! on where it was broken off, and its taker sets the pace. At the end both compare a BLAKE3 of all of it.
//!
//! All of that are calls: what happens to connections is the lanes' business.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::service::{CallError, Context, Failure, NotAName, Payload, Registration};
use crate::{Node, NodeId};

/// Bytes of a piece at most: enough that a call for each costs little, and few enough that others get their turn.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Pieces that a taker asks for ahead.
const AHEAD: usize = 8;
/// Pieces of a blob that are read at the same time at most; who asks for more waits.
const READS_MAX: usize = 16;
/// How long a piece is waited for.
const PIECE_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of a blob that its owner hashes in a second at least; its digest is waited for accordingly.
const HASHED_MIN: u64 = 50_000_000;
/// What a taker asks for, by name.
const READ: &str = "wire.blob.read";
const DIGEST: &str = "wire.blob.digest";
/// Bytes of an offer before what its sender says of the blob: number and length.
const OFFER_BYTES: usize = 16;

/// Bytes that can be read from anywhere, again and again. Reads may block: they are made where that disturbs nobody.
pub trait Source: Send + Sync + 'static {
    /// How many bytes it has; that must not change.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// `length` bytes from `offset` on; all of them are there.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes>;
}

impl Source for Bytes {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = begin.checked_add(length).filter(|end| *end <= self.len());
        end.map(|end| self.slice(begin..end)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Source for std::fs::File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        std::os::unix::fs::FileExt::read_exact_at(self, &mut bytes, offset)?;
        Ok(bytes.into())
    }
}

/// The blobs that this node offers.
#[derive(Default)]
pub(crate) struct Blobs {
    next: AtomicU64,
    offered: Mutex<HashMap<u64, Arc<Offered>>>,
}

struct Offered {
    to: NodeId,
    source: Box<dyn Source>,
    length: u64,
    reads: Semaphore,
    /// The hash of the beginning, and how long that is.
    hashed: Mutex<(blake3::Hasher, u64)>,
}

impl Blobs {
    fn get(&self, number: u64, to: NodeId) -> Result<Arc<Offered>, Failure> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody learns of blobs that are for others.
        let found = offered.get(&number).filter(|blob| blob.to == to);
        found.cloned().ok_or_else(|| Failure::new("there is no such blob, or no more"))
    }
}

impl Offered {
    /// Hashes up to `end`, what was not hashed yet.
    fn hash_to(&self, end: u64) -> io::Result<blake3::Hash> {
        let mut hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        let (hasher, at) = &mut *hashed;
        while *at < end {
            let length = (end - *at).min(PIECE_BYTES_MAX as u64);
            let bytes =
                self.source.read(*at, usize::try_from(length).unwrap_or(PIECE_BYTES_MAX))?;
            hasher.update(&bytes);
            *at += length;
        }
        Ok(hasher.finalize())
    }

    fn piece(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let bytes = self.source.read(offset, length)?;
        // Most takers ask for everything in order: then it need not be read again for the hash.
        if let Ok(mut hashed) = self.hashed.try_lock()
            && hashed.1 == offset
        {
            hashed.0.update(&bytes);
            hashed.1 += length as u64;
        }
        Ok(bytes)
    }
}

/// A blob that somebody offers.
pub struct Incoming {
    node: Node,
    from: NodeId,
    number: u64,
    /// Bytes of all of it.
    pub length: u64,
    /// What its sender says of it.
    pub about: Bytes,
    /// From where it is taken, and what was hashed before that.
    offset: u64,
    hasher: blake3::Hasher,
    /// Pieces that were asked for, in order, and how far.
    ahead: VecDeque<JoinHandle<Result<Bytes, CallError>>>,
    asked: u64,
}

/// A blob could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// A piece did not come; what came before it is good.
    #[error("the blob was broken off at byte {at}: {why}")]
    BrokenOff {
        /// Where.
        at: u64,
        /// Why.
        why: CallError,
    },
    /// All came, and it is not what was offered.
    #[error("the blob is not what was offered: its BLAKE3 is {here} here and {there} there")]
    Other {
        /// In hexadecimal digits.
        here: String,
        /// The same.
        there: String,
    },
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Failure {
        Failure::new(error)
    }
}

impl Incoming {
    /// Takes it from this byte on, since what is before is here already: `hasher` has hashed that. To be called before the
    /// first piece is taken.
    pub fn go_on_from(&mut self, offset: u64, hasher: blake3::Hasher) {
        self.ahead.clear();
        (self.offset, self.asked, self.hasher) =
            (offset.min(self.length), offset.min(self.length), hasher);
    }

    /// The next piece; `None` at the end, where the hash of everything has been compared.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let broken_off = |at| move |why| BlobError::BrokenOff { at, why };
        while self.ahead.len() < AHEAD && self.asked < self.length {
            let length = (self.length - self.asked).min(PIECE_BYTES_MAX as u64);
            let ask = [self.number, self.asked, length].map(u64::to_le_bytes).concat();
            let (node, from) = (self.node.clone(), self.from);
            let call = async move { node.call(from, READ, Bytes::from(ask), PIECE_WITHIN).await };
            self.ahead.push_back(tokio::spawn(call));
            self.asked += length;
        }
        let Some(piece) = self.ahead.front_mut() else {
            let asked = Bytes::copy_from_slice(&self.number.to_le_bytes());
            let within = PIECE_WITHIN + Duration::from_secs(self.length / HASHED_MIN);
            let there: Bytes = (self.node.call(self.from, DIGEST, asked, within).await)
                .map_err(broken_off(self.offset))?;
            let here = self.hasher.finalize();
            if *here.as_bytes() == there[..] {
                return Ok(None);
            }
            let there = there.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
            return Err(BlobError::Other { here: here.to_string(), there });
        };
        let came = piece.await.unwrap_or(Err(CallError::Closed));
        self.ahead.pop_front();
        let bytes = came.map_err(broken_off(self.offset))?;
        let wanted = (self.length - self.offset).min(PIECE_BYTES_MAX as u64);
        if bytes.len() as u64 != wanted {
            let why = CallError::Nonsense(format!("{} bytes instead of {wanted}", bytes.len()));
            return Err(broken_off(self.offset)(why));
        }
        self.hasher.update(&bytes);
        self.offset += wanted;
        Ok(Some(bytes))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.ahead.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    /// Offers a blob to a name at a peer, with something about it, and waits until that has taken what it wants of it and
    /// says so. The bytes are read when they are asked for. Tried again after a failure, it goes on where its taker wants.
    ///
    /// # Errors
    /// [`CallError`]; that the source cannot be read is [`CallError::Failed`].
    pub async fn stream<A: Payload>(
        &self,
        to: NodeId,
        name: &str,
        about: impl Payload,
        source: impl Source,
        deadline: Duration,
    ) -> Result<A, CallError> {
        let length = source.length().map_err(|e| CallError::Failed(e.to_string()))?;
        let blobs = self.blobs();
        let number = blobs.next.fetch_add(1, Ordering::Relaxed);
        let offered = Offered {
            to,
            source: Box::new(source),
            length,
            reads: Semaphore::new(READS_MAX),
            hashed: Mutex::new((blake3::Hasher::new(), 0)),
        };
        blobs
            .offered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, Arc::new(offered));
        // However this ends, dropped in the middle too.
        struct Offer<'a>(&'a Blobs, u64);
        impl Drop for Offer<'_> {
            fn drop(&mut self) {
                self.0.offered.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
            }
        }
        let _offer = Offer(blobs, number);
        let offer =
            [&number.to_le_bytes()[..], &length.to_le_bytes(), &about.into_bytes()].concat();
        self.call(to, name, Bytes::from(offer), deadline).await
    }

    /// Lets `handler` take the blobs that are offered to a name, until what is returned is dropped.
    ///
    /// # Errors
    /// [`NotAName`].
    pub fn register_blobs<A, F>(
        &self,
        name: &str,
        handler: impl Fn(Context, Incoming) -> F + Send + Sync + 'static,
    ) -> Result<Registration, NotAName>
    where
        A: Payload,
        F: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register(name, move |context: Context, offer: Bytes| {
            let handler = handler.clone();
            async move {
                let (blob, rest) = number(&offer)?;
                let (length, _) = number(rest)?;
                let incoming = Incoming {
                    node: context.node.clone(),
                    from: context.from,
                    number: blob,
                    length,
                    about: offer.slice(OFFER_BYTES..),
                    offset: 0,
                    hasher: blake3::Hasher::new(),
                    ahead: VecDeque::new(),
                    asked: 0,
                };
                handler(context, incoming).await
            }
        })
    }

    /// Answers those who take what this node offers.
    pub(crate) fn serve_blobs(&self) -> Result<[Registration; 2], NotAName> {
        let read = |context: Context, asked: Bytes| async move {
            let (blob, rest) = number(&asked)?;
            let (offset, rest) = number(rest)?;
            let (length, _) = number(rest)?;
            let blob = context.node.blobs().get(blob, context.from)?;
            let end = offset.checked_add(length).filter(|end| *end <= blob.length);
            let length = usize::try_from(length).ok().filter(|n| (1..=PIECE_BYTES_MAX).contains(n));
            let (Some(_), Some(length)) = (end, length) else {
                return Err(Failure::new("the blob has no such piece"));
            };
            let _turn = blob.reads.acquire().await.map_err(Failure::new)?;
            // Not before the last ones have found room: a taker that does not listen costs no memory.
            context.node.room_for_bulk(context.from).await;
            let blob = blob.clone();
            let piece = tokio::task::spawn_blocking(move || blob.piece(offset, length));
            piece.await.map_err(Failure::new)?.map_err(Failure::new)
        };
        let digest = |context: Context, asked: Bytes| async move {
            let (blob, _) = number(&asked)?;
            let blob = context.node.blobs().get(blob, context.from)?;
            // One at a time, and no piece meanwhile.
            let _turns = blob.reads.acquire_many(READS_MAX as u32).await.map_err(Failure::new)?;
            let blob = blob.clone();
            let hash = tokio::task::spawn_blocking(move || blob.hash_to(blob.length));
            let hash = hash.await.map_err(Failure::new)?.map_err(Failure::new)?;
            Ok(Bytes::copy_from_slice(hash.as_bytes()))
        };
        Ok([self.register(READ, read)?, self.register(DIGEST, digest)?])
    }
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), Failure> {
    let (number, rest) =
        bytes.split_first_chunk().ok_or_else(|| Failure::new("a number is missing"))?;
    Ok((u64::from_le_bytes(*number), rest))
}
