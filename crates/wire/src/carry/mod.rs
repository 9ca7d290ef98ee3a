//! A lane, and the connections that carry it: the driver between [`lane`](crate::lane) and streams.
//!
//! Each connection is one future ([`Lane::carry`]) with two sides. The reading side takes what the system has, up to
//! 256 KiB at a time, and opens each TLS record straight into the memory of the message that it belongs to; heads of frames
//! and small messages pass through a buffer of one record. The writing side asks the outbox for what is next, seals it
//! from where it lies, and hands the system up to as much at once. So a payload's bytes are touched once in each direction,
//! by the cipher, and by the system.
//!
//! A message's memory comes from a pool that all lanes share, and goes back when the last [`Message`] of it is dropped; with that its bytes
//! are released, and its sender gets new credit. Small messages that came in one record share their memory. A connection on
//! which nothing happens holds a buffer of 4 KiB and its keys: the large ones are borrowed ([`buffers`](crate::buffers)).

mod reading;
mod writing;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};

use self::writing::Sealing;
use crate::envelope::{Envelope, Order};
use crate::frame::{Frame, NoFrame};
use crate::lane::{
    Budget, CHUNK_BYTES, Connection, Inbox, MESSAGES_AHEAD_MAX, Outbox, Refused, Ticket, Violation,
};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::tls::{self, Handshake, Progress, RECORD_BYTES_MAX, Session};

/// Answers that wait to be written on a connection: no honest peer asks of more messages than may be under way.
const ANSWERS_MAX: usize = MESSAGES_AHEAD_MAX as usize;
/// How long a peer is waited for that is to be told why its connection ends.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(100);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The peer said that it ends.
    #[error("the peer closed the connection")]
    Closed,
    /// This node ends.
    #[error("this node is closed")]
    Closing,
    /// The stream ended, and the peer had not said so.
    #[error("the connection was cut")]
    Cut,
    /// The peer's process was started anew, or forgot us; the lane goes on over other connections.
    #[error("the peer was started anew")]
    Restarted,
    /// It took too long to agree on a connection.
    #[error("the peer did not answer in time")]
    Late,
    /// No address of the peer is known.
    #[error("there is no way to the peer: no address of it is known")]
    NoWay,
    /// Another connection took its place.
    #[error("another connection took its place")]
    Replaced,
    /// The peer did not answer a heartbeat for as long as a path may be silent.
    #[error("the peer was silent for too long")]
    Silent,
    /// The peer does not want this connection.
    #[error("the peer refused the connection: {0}")]
    Refused(crate::hello::Refusal),
    /// The system's error.
    #[error("the connection failed: {0}")]
    Stream(#[from] std::io::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Frames.
    #[error(transparent)]
    NoFrame(#[from] NoFrame),
    /// The lane's protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// How a lane is bounded.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of messages that the peer may have under way to us; a message may have half of it.
    pub window: u64,
    /// Bytes of messages that may wait here for the peer.
    pub outgoing: u64,
}

/// A message that came. Its memory, and the peer's credit for it, are free when the last clone of its bytes is dropped.
#[derive(Debug, Clone)]
pub struct Message {
    /// What was sent.
    pub bytes: Bytes,
    /// In which life of the peer's process, counted from 0.
    pub life: u64,
}

/// Takes messages as they come. It must not block: what it cannot do at once it puts into a queue, which is bounded by the
/// lane's window.
pub type Deliver = dyn Fn(Message) + Send + Sync;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The peer handed it on.
    Delivered,
    /// It was under way when the peer's process ended, or this node: nobody can say whether it was handed on.
    Uncertain,
    /// It was not sent: the process of the peer that is there now takes no messages so large.
    TooLarge,
}

/// What is kept beside a message that is sent.
#[derive(Debug)]
pub(crate) enum Note {
    /// Nobody wants to know.
    None,
    /// Wants to know its fate.
    Receipt(oneshot::Sender<Fate>),
    /// The same, for one that has its place in an order, which another process of the peer would not know.
    Ordered(oneshot::Sender<Fate>, Order),
    /// The request of this call.
    Call(u64),
}

impl Note {
    pub(crate) fn tell(self, fate: Fate) {
        if let Note::Receipt(receipt) | Note::Ordered(receipt, _) = self {
            // Who does not wait any more does not care.
            let _ = receipt.send(fate);
        }
    }
}

/// One lane to one peer, both directions. A clone is the same lane.
#[derive(Clone)]
pub struct Lane(Arc<Shared>);

struct Shared {
    outbox: Mutex<Life<Outbox<Note>>>,
    inbox: Mutex<Life<Inbox>>,
    deliver: Box<Deliver>,
    /// There may be something to write.
    write: Notify,
    /// There may be room in the outbox.
    room: Notify,
    /// The life is over in which connections began.
    over: Notify,
    connections: AtomicU64,
    resumes: AtomicU64,
    /// Messages that were handed on, here or there.
    done: AtomicU64,
    /// Messages that are not yet handed on by the peer, to be read without the outbox.
    queued: AtomicUsize,
}

/// The half of a lane in one life of the peer's process. A connection of an earlier one has no part in it.
struct Life<T> {
    number: u64,
    half: T,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane as it is now, to be shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct LaneState {
    /// Messages that are not yet handed on by the peer, and what they count in bytes.
    pub queued: (usize, u64),
    /// Bytes of messages that may be begun now.
    pub credit: u64,
    /// What messages count in bytes that came and are still held.
    pub held: u64,
    /// Messages that came again after they had been handed on.
    pub duplicates: u64,
    /// Messages that were asked for after their connection had gone.
    pub resumes: u64,
    /// Connections that the lane has had.
    pub connections: u64,
}

impl Lane {
    /// A lane with nothing under way, and memory of its own.
    pub fn new(bounds: Bounds, deliver: Box<Deliver>) -> Lane {
        Lane::within(&Budget::new(0), bounds.window, bounds, deliver)
    }

    /// A lane with nothing under way; what its peer may have under way beyond `own` bytes comes out of the budget.
    pub fn within(budget: &Arc<Budget>, own: u64, bounds: Bounds, deliver: Box<Deliver>) -> Lane {
        let outbox = Outbox::new(bounds.outgoing, bounds.window / 2, CHUNK_BYTES);
        Lane(Arc::new_cyclic(|me: &Weak<Shared>| {
            let me = me.clone();
            let wake = move || {
                if let Some(shared) = me.upgrade() {
                    shared.write.notify_waiters();
                }
            };
            let inbox = Inbox::new(bounds.window, own, budget.account(Arc::new(wake)));
            Shared {
                outbox: Mutex::new(Life { number: 0, half: outbox }),
                inbox: Mutex::new(Life { number: 0, half: inbox }),
                deliver,
                write: Notify::new(),
                room: Notify::new(),
                over: Notify::new(),
                connections: AtomicU64::new(0),
                resumes: AtomicU64::new(0),
                done: AtomicU64::new(0),
                queued: AtomicUsize::new(0),
            }
        }))
    }

    /// To be called now and then: credit of the peer's that nobody uses is given back.
    pub(crate) fn rest(&self) {
        if lock(&self.0.outbox).half.rest() {
            self.0.write.notify_waiters();
        }
    }

    /// Gives a message to the lane, in two pieces that follow one another; waits while there is no room.
    ///
    /// # Errors
    /// [`Refused`], but never that the lane is full.
    pub async fn send(&self, parts: [Bytes; 2]) -> Result<(), Refused> {
        self.post(parts, Note::None).await.map(drop)
    }

    /// The same, at once or not at all.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn try_send(&self, parts: [Bytes; 2]) -> Result<(), Refused> {
        self.try_post(parts, Note::None).map(drop).map_err(|(refused, _)| refused)
    }

    /// Waits until the peer has handed on all that was sent.
    pub async fn flushed(&self) {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if lock(&self.0.outbox).half.is_empty() {
                return;
            }
            room.await;
        }
    }

    /// How it is now.
    pub fn state(&self) -> LaneState {
        let (queued, credit) = {
            let outbox = lock(&self.0.outbox);
            ((outbox.half.len(), outbox.half.bytes()), outbox.half.credit_left())
        };
        let inbox = lock(&self.0.inbox);
        LaneState {
            queued,
            credit,
            held: inbox.half.held(),
            duplicates: inbox.half.duplicates(),
            resumes: self.0.resumes.load(Ordering::Relaxed),
            connections: self.0.connections.load(Ordering::Relaxed),
        }
    }

    /// Messages that were handed on, here or there.
    pub(crate) fn progress(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Whether anything is not yet handed on by the peer. Waits for nobody.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.queued.load(Ordering::Relaxed) == 0
    }

    /// [`Lane::send`], with a note.
    pub(crate) async fn post(&self, parts: [Bytes; 2], note: Note) -> Result<Ticket, Refused> {
        let mut note = Some(note);
        self.once_there_is_room(|| match self.try_post(parts.clone(), note.take()?) {
            Err((Refused::Full { .. }, back)) => {
                note = Some(back);
                None
            }
            done => Some(done.map_err(|(refused, _)| refused)),
        })
        .await
    }

    /// Waits until what waits counts no more than half of `bytes_max`.
    pub(crate) async fn half_free(&self, bytes_max: u64) {
        let free = || (lock(&self.0.outbox).half.bytes() <= bytes_max / 2).then_some(());
        self.once_there_is_room(free).await;
    }

    /// Tries until something comes of it, again whenever there may be room.
    pub(crate) async fn once_there_is_room<T>(&self, mut tried: impl FnMut() -> Option<T>) -> T {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(done) = tried() {
                return done;
            }
            room.await;
        }
    }

    /// [`Lane::try_send`], with a note, which comes back where the message is refused.
    pub(crate) fn try_post(
        &self,
        parts: [Bytes; 2],
        note: Note,
    ) -> Result<Ticket, (Refused, Note)> {
        let ticket = {
            let mut outbox = lock(&self.0.outbox);
            let ticket = outbox.half.push(parts, note)?;
            self.0.count(&outbox);
            ticket
        };
        self.0.write.notify_waiters();
        Ok(ticket)
    }

    /// Takes a message back, if nothing of it was sent.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> bool {
        let withdrawn = {
            let mut outbox = lock(&self.0.outbox);
            let withdrawn = outbox.half.withdraw(ticket).is_some();
            self.0.count(&outbox);
            withdrawn
        };
        if withdrawn {
            self.0.room.notify_waiters();
            // What was behind it may be small enough for the credit that is there.
            self.0.write.notify_waiters();
        }
        withdrawn
    }

    /// The peer takes messages of so many bytes. Returns the calls, with their bytes, that wait and have more, and will
    /// never be sent.
    pub(crate) fn set_message_max(&self, message_max: u64) -> Vec<(u64, u64)> {
        let (mut calls, mut told) = (Vec::new(), Vec::new());
        let mut outbox = lock(&self.0.outbox);
        outbox.half.set_message_max(message_max, |note, bytes| {
            let mut instead = None;
            match note {
                Note::Call(call) => calls.push((call, bytes)),
                // Those behind it wait for its number.
                Note::Ordered(_, order) => {
                    instead =
                        Some(([Envelope::of_nothing(order).to_bytes(), Bytes::new()], Note::None));
                    told.push(note);
                }
                Note::Receipt(_) | Note::None => told.push(note),
            }
            instead
        });
        self.0.count(&outbox);
        drop(outbox);
        told.into_iter().for_each(|note| note.tell(Fate::TooLarge));
        self.0.room.notify_waiters();
        calls
    }

    /// Takes nothing any more; what was under way is uncertain, and connections end, with a word to the peer.
    pub(crate) fn close(&self) {
        let uncertain = {
            let mut outbox = lock(&self.0.outbox);
            outbox.number += 1;
            let uncertain = outbox.half.close();
            self.0.count(&outbox);
            uncertain
        };
        uncertain.into_iter().for_each(|note| note.tell(Fate::Uncertain));
        self.0.over.notify_waiters();
        self.0.room.notify_waiters();
    }

    /// The peer's process was started anew, or knows us in another life: connections of the earlier one end, what was under way
    /// is uncertain, what was not begun waits on. `kept` hears of the calls that do.
    pub(crate) fn restart(&self, kept: &mut impl FnMut(u64)) {
        let uncertain = {
            let mut outbox = lock(&self.0.outbox);
            outbox.number += 1;
            outbox.half.waiting().for_each(|note| {
                if let Note::Call(call) = note {
                    kept(*call);
                }
            });
            let uncertain = outbox.half.restart(|note| !matches!(note, Note::Ordered(..)));
            self.0.count(&outbox);
            uncertain
        };
        {
            let mut inbox = lock(&self.0.inbox);
            inbox.number += 1;
            inbox.half.restart();
        }
        uncertain.into_iter().for_each(|note| note.tell(Fate::Uncertain));
        self.0.over.notify_waiters();
        self.0.room.notify_waiters();
    }

    /// Carries the lane over a connection until that ends; `early` is what its handshake left over. What was under way on it
    /// goes on over another.
    pub async fn carry<S>(&self, stream: S, session: Session, early: Vec<u8>) -> Ended
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let life = lock(&self.0.outbox).number;
        self.carry_in(life, stream, session, early, std::future::pending()).await
    }

    /// The same, for a connection of this life of the peer, until `end` says that it is to end.
    pub(crate) async fn carry_in<S>(
        &self,
        life: u64,
        stream: S,
        session: Session,
        early: Vec<u8>,
        end: impl Future<Output = Ended>,
    ) -> Ended
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let over = self.0.over.notified();
        tokio::pin!(over);
        over.as_mut().enable();
        let connection = Connection(self.0.connections.fetch_add(1, Ordering::Relaxed));
        let carried =
            Carried { shared: &self.0, life, connection, answers: Mutex::new(VecDeque::new()) };
        // However this ends, dropped in the middle too.
        let _gone = Gone(&carried);
        match (carried.outbox(), carried.inbox()) {
            (Ok(mut outbox), Ok(mut inbox)) => {
                outbox.half.join(connection);
                inbox.half.join(connection);
            }
            (Err(ended), _) | (_, Err(ended)) => return ended,
        }
        let (read, write) = tokio::io::split(stream);
        tokio::pin!(write);
        let mut sealing = Sealing::new(session.sealer);
        let ended = tokio::select! {
            ended = carried.read(read, session.opener, early) => ended,
            ended = carried.write(write.as_mut(), &mut sealing) => ended,
            () = over => carried.outbox().err().unwrap_or(Ended::Restarted),
            ended = end => ended,
        };
        let last_words = sealing.last_words(&ended);
        if !last_words.is_empty() {
            let tell = async {
                write.write_all(&last_words).await?;
                write.flush().await
            };
            let _ = tokio::time::timeout(LAST_WORDS, tell).await;
        }
        ended
    }
}

/// Brings a handshake to its end over a stream. Returns the connection, and what came behind the handshake.
///
/// # Errors
/// [`Ended`]; the peer was told why, if it was at fault.
pub async fn shake<S>(stream: &mut S, mut handshake: Handshake) -> Result<(Session, Vec<u8>), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut there = Vec::new();
    loop {
        let progress = handshake.step(&mut there);
        stream.write_all(&handshake.outgoing()).await?;
        stream.flush().await?;
        if progress? == Progress::Done {
            return Ok((handshake.finish()?, there));
        }
        there.reserve(RECORD_BYTES_MAX);
        if stream.read_buf(&mut there).await? == 0 {
            return Err(Ended::Cut);
        }
    }
}

/// A lane's part in one connection.
struct Carried<'a> {
    shared: &'a Arc<Shared>,
    /// The life of the peer in which it is.
    life: u64,
    connection: Connection,
    /// What the reading side has to say.
    answers: Mutex<VecDeque<Frame>>,
}

struct Gone<'a>(&'a Carried<'a>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let Gone(carried) = self;
        if let Ok(mut outbox) = carried.outbox() {
            outbox.half.lost(carried.connection);
        }
        if let Ok(mut inbox) = carried.inbox() {
            inbox.half.lost(carried.connection);
        }
        // The others have something to ask and to tell.
        carried.shared.write.notify_waiters();
    }
}

impl Carried<'_> {
    fn outbox(&self) -> Result<MutexGuard<'_, Life<Outbox<Note>>>, Ended> {
        let outbox = lock(&self.shared.outbox);
        match outbox.number == self.life {
            true => Ok(outbox),
            false if outbox.half.is_closed() => Err(Ended::Closing),
            false => Err(Ended::Restarted),
        }
    }

    fn inbox(&self) -> Result<MutexGuard<'_, Life<Inbox>>, Ended> {
        let inbox = lock(&self.shared.inbox);
        if inbox.number == self.life { Ok(inbox) } else { Err(Ended::Restarted) }
    }
}

impl Shared {
    /// To be read without the outbox.
    fn count(&self, outbox: &Life<Outbox<Note>>) {
        self.queued.store(outbox.half.len(), Ordering::Relaxed);
    }
}
