//! Messages that outlive processes: kept on the sender's disk until the receiver has handled them, and marked on the receiver's disk
//! before a handler begins with them and when it was done.
//!
//! Each has a number among those of its spool and peer, and keeps it for good; the spool's *epoch* tells it from one that is begun
//! anew in its place. The sender calls [`NAME`] at the peer, up to [`UNDER_WAY_MAX`] messages at a time, again and again until it hears
//! that the message was handled. The receiver knows by number what was handled, and what a handler had only begun with: that is
//! handed to a handler again, and [`Context::redelivered`] says so. A handler that fails was done; one that panicked was not.
//!
//! | what fails | what follows |
//! |---|---|
//! | the sender's process | what was kept is delivered by the next one |
//! | the receiver's process, before it made its mark | the message is handled by the next one |
//! | the same, in the middle of a handler | it is handled again, and the handler is told |
//! | the same, between a handler's end and its mark | likewise: a handler that must not do its work twice looks whether it did |
//! | the answer to the sender | it asks again, and hears that the message was handled |
//! | the peer has no such name, or no spool | it is asked again, with pauses of up to 30 s |
//! | a disk | nothing more is taken in; what was acknowledged stays acknowledged |

mod store;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use strongroom_spool::Disk;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use self::store::{Begin, Bounds, Store};
use crate::connect::Pauses;
use crate::envelope::{Envelope, Kind, NAME_BYTES_MAX};
use crate::node::{Inner, closed, random};
use crate::service::{CallError, Context, Failure, Payload, Registration};
use crate::{Node, NodeId};

/// The name that spooled messages are brought to.
pub const NAME: &str = "wire.spooled";
/// Messages to one peer that are brought at the same time.
pub const UNDER_WAY_MAX: usize = 64;
/// Bytes of a frame in the spool: a message with its name.
const MESSAGE_BYTES_MAX: u32 = 33 << 20;
/// Bytes that stand before a message when it is brought, beside its name.
const HEAD_BYTES: usize = 25;
/// Bytes of a log in the spool, after which another is begun.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Memory for messages that are being brought, of all peers, in KiB.
const LOADED_KIB_MAX: u32 = 64 << 10;
/// So long an answer is waited for; then it is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);

mod answer {
    /// It was handled.
    pub(super) const HANDLED: u8 = 0;
    /// The handler said that it cannot do it; it was done.
    pub(super) const FAILED: u8 = 1;
    /// Not now.
    pub(super) const LATER: u8 = 2;
}

/// Why a message cannot be kept, or a spool not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] strongroom_spool::Error),
    /// Another process has it.
    #[error("{} is the spool of a live process", .0.display())]
    InUse(PathBuf),
    /// Too much waits to be delivered.
    #[error("{bytes} bytes wait to be delivered, and no more than {max} may")]
    Full {
        /// Bytes that wait.
        bytes: u64,
        /// Bytes that may.
        max: u64,
    },
    /// The message cannot be sent at all.
    #[error(transparent)]
    NotSent(#[from] CallError),
    /// The node has no spool.
    #[error("this node has no spool; open one first")]
    NoSpool,
    /// The node has one already.
    #[error("this node has a spool already")]
    Opened,
    /// A sender is ahead of what it says that it knows.
    #[error("message {0} is too far ahead of those that its sender knows to be handled")]
    TooFarAhead(u64),
}

/// The spool of a node.
pub(crate) struct Spooled {
    store: Arc<Store>,
    loaded: Semaphore,
    /// Peers to whom something is being brought, and what tells of more.
    bringing: Mutex<HashMap<NodeId, Arc<Notify>>>,
    /// Whoever waits to hear that a message was handled.
    waiting: Mutex<HashMap<(NodeId, u64), oneshot::Sender<Outcome>>>,
    /// Messages that came and are being handled.
    handling: Mutex<HashMap<Came, watch::Receiver<Option<Bytes>>>>,
}

/// What came of a message.
type Outcome = Result<(), CallError>;

/// A message that came: from whom, the epoch of its spool, its number.
type Came = (NodeId, u64, u64);

/// What becomes of a message that is kept.
pub struct SpoolReceipt {
    /// Its number, for good.
    pub number: u64,
    handled: oneshot::Receiver<Outcome>,
}

impl SpoolReceipt {
    /// Waits until the message was handled, however long that takes.
    ///
    /// # Errors
    /// [`CallError::Failed`] where its handler said that it cannot do it, in its words; [`CallError::Closed`] where this node
    /// ended before: the next process with this spool goes on with it.
    pub async fn handled(self) -> Result<(), CallError> {
        self.handled.await.unwrap_or(Err(CallError::Closed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Opens the node's spool in a folder, which must exist, and goes on with what is in it; up to `bytes_max` bytes of messages
    /// are kept there. Spooled messages that come are handled from now on. Reads the whole folder, and blocks meanwhile.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open_spool(
        &self,
        disk: Arc<dyn Disk>,
        dir: &Path,
        bytes_max: u64,
    ) -> Result<(), SpoolError> {
        let inner = self.inner();
        if inner.spooled.get().is_some() {
            return Err(SpoolError::Opened);
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        let bytes = || {
            let [a, b] = [random(), random()].map(u64::to_le_bytes);
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&a);
            bytes[8..].copy_from_slice(&b);
            bytes
        };
        let bounds = Bounds { bytes: bytes_max, log_bytes: LOG_BYTES_MAX };
        let store = Store::open(disk, dir, bounds, now, bytes)?;
        let spooled = Arc::new(Spooled {
            store: Arc::new(store),
            loaded: Semaphore::new(LOADED_KIB_MAX as usize),
            bringing: Mutex::default(),
            waiting: Mutex::default(),
            handling: Mutex::default(),
        });
        let taking = self.take_spooled(spooled.clone())?;
        let peers = spooled.store.peers();
        inner.spooled.set((spooled.clone(), taking)).map_err(|_| SpoolError::Opened)?;
        peers.into_iter().for_each(|peer| spooled.bring(inner, peer));
        Ok(())
    }

    /// Keeps a message on disk until a handler of this name at the peer was done with it, over restarts of either side. It is
    /// kept when this returns; what becomes of it, the receipt tells. Spooled messages have no order.
    ///
    /// # Errors
    /// [`SpoolError`], where it is not kept.
    pub async fn send_spooled(
        &self,
        to: NodeId,
        name: &str,
        message: impl Payload,
    ) -> Result<SpoolReceipt, SpoolError> {
        let inner = self.inner();
        let (spooled, _) = inner.spooled.get().ok_or(SpoolError::NoSpool)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(CallError::Name(name.len()).into());
        }
        let message = message.into_bytes();
        let most = (inner.settings.bulk.window / 2).min(MESSAGE_BYTES_MAX.into());
        let max = most.saturating_sub(2 * (HEAD_BYTES + NAME_BYTES_MAX) as u64);
        if message.len() as u64 > max {
            let bytes = message.len() as u64;
            return Err(CallError::from(crate::lane::Refused::TooLarge { bytes, max }).into());
        }
        let (keeping, name) = (spooled.clone(), name.to_owned());
        let (sender, handled) = oneshot::channel();
        let put = move || {
            let known_as = |number| drop(lock(&keeping.waiting).insert((to, number), sender));
            keeping.store.put(&to, &name, &message, known_as)
        };
        let number = blocking(put).await??;
        spooled.bring(inner, to);
        Ok(SpoolReceipt { number, handled })
    }

    /// What is kept for a peer: messages, and their bytes.
    pub fn spooled(&self, to: NodeId) -> (usize, u64) {
        self.inner().spooled.get().map_or((0, 0), |(spooled, _)| spooled.store.waiting(&to))
    }

    /// Handles what comes to [`NAME`].
    fn take_spooled(&self, spooled: Arc<Spooled>) -> Result<Registration, SpoolError> {
        let spooled = Arc::downgrade(&spooled);
        let take = move |context: Context, bytes: Bytes| {
            let spooled = spooled.upgrade();
            async move {
                let spooled = spooled.ok_or_else(|| Failure::new("this node ends"))?;
                let brought = Brought::parse(&bytes)?;
                let mut done = spooled.handle(context, brought);
                let done = done.wait_for(Option::is_some).await;
                let later = || answered(answer::LATER, "this node ends");
                Ok::<_, Failure>(done.ok().and_then(|done| done.clone()).unwrap_or_else(later))
            }
        };
        let taken = self.register(NAME, take);
        taken.map_err(|_| SpoolError::Opened)
    }
}

fn answered(kind: u8, text: &str) -> Bytes {
    Bytes::from([&[kind], text.as_bytes()].concat())
}

async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    tokio::task::spawn_blocking(what).await.map_err(|_| CallError::Closed)
}

/// A message as it is brought.
struct Brought {
    epoch: u64,
    number: u64,
    /// All of the sender's below were handled.
    below: u64,
    name: String,
    message: Bytes,
}

impl Brought {
    fn to_bytes(epoch: u64, number: u64, below: u64, named: &[u8]) -> Bytes {
        let head = [epoch, number, below].map(u64::to_le_bytes);
        Bytes::from([&head.concat(), named].concat())
    }

    fn parse(bytes: &Bytes) -> Result<Brought, Failure> {
        let parsed = || {
            let (epoch, rest) = bytes.split_first_chunk()?;
            let (number, rest) = rest.split_first_chunk()?;
            let (below, rest) = rest.split_first_chunk()?;
            let (name_bytes, rest) = rest.split_first()?;
            let (name, message) = rest.split_at_checked(usize::from(*name_bytes))?;
            let [epoch, number, below] = [epoch, number, below].map(|n| u64::from_le_bytes(*n));
            let name = String::from_utf8(name.to_vec()).ok().filter(|name| !name.is_empty())?;
            // So that no sum of them is too large.
            let good = epoch.max(number).max(below) >> 56 == 0 && below <= number;
            let message = bytes.slice_ref(message);
            good.then_some(Brought { epoch, number, below, name, message })
        };
        parsed().ok_or_else(|| Failure::new("a spooled message that is none"))
    }
}

impl Spooled {
    // What goes out.

    /// Sees to it that what waits for the peer is brought to it.
    fn bring(self: &Arc<Self>, node: &Arc<Inner>, to: NodeId) {
        let mut bringing = lock(&self.bringing);
        if let Some(more) = bringing.get(&to) {
            more.notify_one();
            return;
        }
        let more = Arc::new(Notify::new());
        bringing.insert(to, more.clone());
        let (weak, spooled, mut closing) =
            (Arc::downgrade(node), self.clone(), node.closing.subscribe());
        node.main.spawn(async move {
            tokio::select! {
                () = spooled.bring_all(weak, to, &more) => {}
                () = closed(&mut closing) => {}
            }
            // Nobody hears any more.
            lock(&spooled.waiting).retain(|(peer, _), _| *peer != to);
        });
    }

    async fn bring_all(&self, node: Weak<Inner>, to: NodeId, more: &Notify) {
        let (mut under_way, mut numbers) = (FuturesUnordered::new(), BTreeSet::new());
        let mut from = 0;
        loop {
            while under_way.len() < UNDER_WAY_MAX
                && let Some(number) = self.store.next(&to, from)
            {
                from = number + 1;
                if numbers.insert(number) {
                    let brought = self.bring_one(node.clone(), to, number);
                    under_way.push(async move {
                        brought.await;
                        number
                    });
                }
            }
            tokio::select! {
                Some(number) = under_way.next(), if !under_way.is_empty() => {
                    numbers.remove(&number);
                }
                // Of two that are kept at the same time the later may be durable first.
                () = more.notified(), if under_way.len() < UNDER_WAY_MAX => from = 0,
            }
        }
    }

    /// Brings a message until it was handled.
    async fn bring_one(&self, node: Weak<Inner>, to: NodeId, number: u64) {
        let mut pauses = Pauses::default();
        loop {
            let done = match self.try_one(&node, to, number).await {
                Ok(done) => done,
                Err(why) => {
                    tracing::debug!(peer = %to, number, "a spooled message waits: {why}");
                    let random = node.upgrade().map_or(0, |node| node.random());
                    tokio::time::sleep(pauses.next(random)).await;
                    continue;
                }
            };
            if let Err(why) = &done {
                tracing::warn!(peer = %to, number, "a spooled message was not done: {why}");
            }
            let store = self.store.clone();
            if let Ok(Err(error)) = blocking(move || store.sent(&to, number)).await {
                tracing::warn!("a spool cannot be written: {error}");
            }
            if let Some(waiting) = lock(&self.waiting).remove(&(to, number)) {
                let _ = waiting.send(done);
            }
            return;
        }
    }

    /// Brings it once. What it came to is in the result, if it is done.
    async fn try_one(
        &self,
        node: &Weak<Inner>,
        to: NodeId,
        number: u64,
    ) -> Result<Outcome, CallError> {
        let Some(length) = self.store.length(&to, number) else { return Ok(Ok(())) };
        let permits = (length / 1024 + 1).min(LOADED_KIB_MAX);
        let _room = self.loaded.acquire_many(permits).await.map_err(|_| CallError::Closed)?;
        let store = self.store.clone();
        let loaded = match blocking(move || store.load(&to, number)).await? {
            Ok(loaded) => loaded,
            // That is lost, and has to be said.
            Err(error) => return Ok(Err(CallError::Failed(error.to_string()))),
        };
        let Some((named, below)) = loaded else { return Ok(Ok(())) };
        let payload = Brought::to_bytes(self.store.epoch(), number, below, &named);
        drop(named);
        let peer = node.upgrade().and_then(|node| node.known(&to));
        let peer = peer.ok_or(CallError::UnknownPeer(to))?;
        let envelope =
            Envelope { name: NAME, deadline: Some(ANSWER_WITHIN), ..Envelope::of(Kind::Call(0)) };
        let called = peer.call(0, envelope, payload);
        let answer = tokio::time::timeout(ANSWER_WITHIN, called).await;
        let answer = answer.map_err(|_| CallError::Deadline)?;
        let answer = match answer {
            Err(CallError::Refused(why)) => return Ok(Err(CallError::Refused(why))),
            answer => answer?,
        };
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match answer.split_first() {
            Some((&answer::HANDLED, _)) => Ok(Ok(())),
            Some((&answer::FAILED, why)) => Ok(Err(CallError::Failed(text(why)))),
            Some((&answer::LATER, why)) => Err(CallError::Failed(text(why))),
            _ => Err(CallError::Nonsense("an answer of another kind".into())),
        }
    }

    // What comes in.

    /// Lets a handler have a message that came, if none has it. Returns who knows what comes of it.
    fn handle(
        self: &Arc<Self>,
        context: Context,
        brought: Brought,
    ) -> watch::Receiver<Option<Bytes>> {
        let came = (context.from, brought.epoch, brought.number);
        let mut handling = lock(&self.handling);
        if let Some(done) = handling.get(&came) {
            return done.clone();
        }
        let (tell, done) = watch::channel(None);
        handling.insert(came, done.clone());
        drop(handling);
        // Nobody who stops waiting ends it.
        let spooled = self.clone();
        let main = context.node.inner().main.clone();
        let mut closing = context.node.inner().closing.subscribe();
        main.spawn(async move {
            let answer = tokio::select! {
                answer = spooled.handle_one(context, brought) => answer,
                () = closed(&mut closing) => answered(answer::LATER, "this node ends"),
            };
            lock(&spooled.handling).remove(&came);
            tell.send_replace(Some(answer));
        });
        done
    }

    async fn handle_one(&self, mut context: Context, brought: Brought) -> Bytes {
        let Brought { epoch, number, below, name, message } = brought;
        let from = context.from;
        let node = context.node.clone();
        let names = &node.inner().names;
        let later = |why: String| answered(answer::LATER, &why);
        if !names.has(&name) {
            return later(CallError::NoSuchName(name).to_string());
        }
        let store = self.store.clone();
        let begun = blocking(move || store.begin(&from, epoch, number, below)).await;
        match begun {
            Ok(Ok(Begin::Handled)) => return answered(answer::HANDLED, ""),
            Ok(Ok(begin)) => context.redelivered = begin == Begin::Again,
            Ok(Err(error)) => return later(error.to_string()),
            Err(error) => return later(error.to_string()),
        }
        let answer = match names.handle(&name, context, message).await {
            Ok(_) => answered(answer::HANDLED, ""),
            Err(CallError::Failed(why)) => answered(answer::FAILED, &why),
            Err(error) => return later(error.to_string()),
        };
        let store = self.store.clone();
        match blocking(move || store.handled(&from, epoch, number)).await {
            Ok(Ok(())) => answer,
            Ok(Err(error)) => later(error.to_string()),
            Err(error) => later(error.to_string()),
        }
    }
}
