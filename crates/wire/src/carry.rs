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
//! which nothing happens holds a buffer of 4 KiB and its keys: the large ones are borrowed ([`buffers`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};

use crate::buffers::{self, Buffer, READ_BYTES_MIN, Scratch, WRITE_BYTES, WriteBuffer};
use crate::envelope::{Envelope, Order};
use crate::frame::{DATA_HEAD_BYTES, FRAME_BYTES_MAX, Frame, HEADER_BYTES, Head, NoFrame};
use crate::lane::{
    self, Budget, CHUNK_BYTES, Connection, Inbox, MESSAGES_AHEAD_MAX, Outbox, Place, Refused,
    Sending, Slot, Ticket, Violation, Whole, cost,
};
use crate::tls::{
    self, Handshake, Opened, Opener, Progress, RECORD_BYTES_MAX, RECORD_OVERHEAD, RECORD_PLAIN_MAX,
    Sealer, Session, record_length, sealed_bytes,
};

/// Pieces of a message that are copied to stand in one record with their head; larger ones are sealed where they lie.
const COPY_BYTES_MAX: usize = 4096;
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
        let mut sealing = Sealing { sealer: session.sealer, buffer: None, at: 0, written: 0 };
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

/// The frame of data in which the stream is.
struct Within {
    sequence: u64,
    /// `None` where its bytes are dropped.
    slot: Option<Arc<Slot>>,
    left: usize,
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

    async fn read(&self, read: impl AsyncRead, opener: Opener, early: Vec<u8>) -> Ended {
        tokio::pin!(read);
        let mut end = early.len();
        let mut there = Buffer::small(early);
        let mut stream = Stream {
            carried: self,
            opener,
            within: None,
            partial: Vec::new(),
            small: Small::default(),
            freed: Vec::new(),
        };
        loop {
            let used = match stream.records(&there.bytes()[..end]) {
                Ok(used) => used,
                Err(ended) => return ended,
            };
            let (filled, quiet) =
                (end == there.bytes().len(), used == end && end < READ_BYTES_MIN / 2);
            if used > 0 {
                // Less than a record is left.
                there.bytes().copy_within(used..end, 0);
                end -= used;
            }
            there.fit(filled, quiet, end);
            match read.read(&mut there.bytes()[end..]).await {
                Ok(0) => return Ended::Cut,
                Ok(n) => end += n,
                Err(error) => return error.into(),
            }
        }
    }

    async fn write(
        &self,
        mut write: std::pin::Pin<&mut impl AsyncWrite>,
        sealing: &mut Sealing,
    ) -> Ended {
        loop {
            let more = self.shared.write.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Err(ended) = self.fill(sealing) {
                return ended;
            }
            if sealing.at == 0 {
                sealing.buffer = None;
                more.await;
                continue;
            }
            while let rest @ [_, ..] = sealing.rest() {
                match write.write(rest).await {
                    Ok(0) => return Ended::Cut,
                    Ok(n) => sealing.written += n,
                    Err(error) => return error.into(),
                }
            }
            if let Err(error) = write.flush().await {
                return error.into();
            }
        }
    }

    /// Seals what there is to say, as much as goes out at once.
    fn fill(&self, sealing: &mut Sealing) -> Result<(), Ended> {
        (sealing.at, sealing.written) = (0, 0);
        while sealing.has_room()
            && let Some(answer) = lock(&self.answers).pop_front()
        {
            sealing.frame(&answer)?;
        }
        let (ack, credit) = {
            let mut inbox = self.inbox()?;
            (inbox.half.ack(self.connection), inbox.half.credit())
        };
        for frame in [ack, credit].into_iter().flatten() {
            sealing.frame(&frame)?;
        }
        while sealing.has_room() {
            let next = self.outbox()?.half.next(self.connection);
            match next {
                None => break,
                Some(Sending::Where(question, sequences)) => {
                    self.shared.resumes.fetch_add(sequences.len() as u64, Ordering::Relaxed);
                    sealing.frame(&Frame::Where { question, sequences })?;
                }
                Some(Sending::Want { least, most }) => {
                    sealing.frame(&Frame::Want { least, most })?
                }
                Some(Sending::Back(unused)) => sealing.frame(&Frame::Back { unused })?,
                Some(Sending::Data(head, parts)) => {
                    sealing.frame(&Frame::Data(head))?;
                    for part in &parts {
                        sealing.bytes(part)?;
                    }
                }
            }
        }
        sealing.seal()?;
        Ok(())
    }
}

/// What is sealed to be written at once.
struct Sealing {
    sealer: Sealer,
    /// `None` while nothing is to be said.
    buffer: Option<WriteBuffer>,
    /// Bytes of the buffer that are sealed, and those of them that were written.
    at: usize,
    written: usize,
}

impl Sealing {
    /// Whether any chunk, with its head and what waits, would fit.
    fn has_room(&self) -> bool {
        WRITE_BYTES - self.at >= sealed_bytes(CHUNK_BYTES as usize) + 2 * RECORD_BYTES_MAX
    }

    fn rest(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer.out[self.written..self.at],
            None => &[],
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), tls::Error> {
        if self.buffer().plain.len() + FRAME_BYTES_MAX > RECORD_PLAIN_MAX {
            self.seal()?;
        }
        frame.write(&mut self.buffer().plain);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), tls::Error> {
        if bytes.len() <= COPY_BYTES_MAX {
            if self.buffer().plain.len() + bytes.len() > RECORD_PLAIN_MAX {
                self.seal()?;
            }
            self.buffer().plain.extend_from_slice(bytes);
            return Ok(());
        }
        self.seal()?;
        let buffer = self.buffer.get_or_insert_with(WriteBuffer::take);
        for record in bytes.chunks(RECORD_PLAIN_MAX) {
            self.at += self.sealer.seal(record, &mut buffer.out[self.at..])?;
        }
        Ok(())
    }

    /// Seals what waits.
    fn seal(&mut self) -> Result<(), tls::Error> {
        if let Some(buffer) = &mut self.buffer
            && !buffer.plain.is_empty()
        {
            self.at += self.sealer.seal(&buffer.plain, &mut buffer.out[self.at..])?;
            buffer.plain.clear();
        }
        Ok(())
    }

    fn buffer(&mut self) -> &mut WriteBuffer {
        self.buffer.get_or_insert_with(WriteBuffer::take)
    }

    /// What the peer is told at the end, behind what was begun; nothing where it knows, or cannot be told.
    fn last_words(&mut self, ended: &Ended) -> Vec<u8> {
        let mut alert = vec![0; 2 * RECORD_OVERHEAD];
        let written = match ended {
            Ended::Tls(tls::Error::Broken { alert: why, .. }) => {
                self.sealer.abort(*why, &mut alert)
            }
            Ended::NoFrame(_) | Ended::Violation(_) => {
                self.sealer.abort(tls::ILLEGAL_PARAMETER, &mut alert)
            }
            Ended::Restarted | Ended::Closing | Ended::Replaced => self.sealer.close(&mut alert),
            _ => return Vec::new(),
        };
        match written {
            Ok(written) => [self.rest(), &alert[..written]].concat(),
            Err(_) => Vec::new(),
        }
    }
}

/// The reading side's knowledge of its stream.
struct Stream<'a> {
    carried: &'a Carried<'a>,
    opener: Opener,
    within: Option<Within>,
    /// The beginning of a frame that is not whole.
    partial: Vec<u8>,
    small: Small,
    /// Memory for what is let go of, empty between frames.
    freed: Vec<[Bytes; 2]>,
}

/// Small messages of one record, whole, which are handed on together.
#[derive(Default)]
struct Small {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Stream<'_> {
    /// Takes all whole records. Returns how many bytes they are.
    fn records(&mut self, there: &[u8]) -> Result<usize, Ended> {
        let mut used = 0;
        while let Some(length) = record_length(&there[used..])?
            && let Some(record) = there[used..].get(..length)
        {
            self.record(record)?;
            used += length;
        }
        Ok(used)
    }

    fn record(&mut self, record: &[u8]) -> Result<(), Ended> {
        // Straight to where it belongs, if it cannot hold more than the rest of its frame.
        if let Some(within) = &mut self.within
            && let Some(slot) = &within.slot
            && record.len().saturating_sub(RECORD_OVERHEAD) <= within.left
        {
            let opened = slot.write(self.carried.connection, |room| {
                // One byte more than the message has is there for the content type.
                match self.opener.open(record, room) {
                    Ok(Opened::Data(n)) => Ok(n),
                    Ok(Opened::Nothing) => Ok(0),
                    Ok(Opened::End) => Err(Ended::Closed),
                    Err(error) => Err(error.into()),
                }
            });
            if let Some(opened) = opened {
                // How much came is what the slot grew by.
                let n = opened?;
                within.left -= n;
                return self.arrived();
            }
            within.slot = None;
        }
        let mut scratch = Scratch::take();
        match self.opener.open(record, scratch.bytes()) {
            Ok(Opened::Data(n)) => {
                let fed = self.feed(&scratch.bytes()[..n]);
                self.hand_on_small();
                fed
            }
            Ok(Opened::Nothing) => Ok(()),
            Ok(Opened::End) => Err(Ended::Closed),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes plaintext that lies in a buffer.
    fn feed(&mut self, mut data: &[u8]) -> Result<(), Ended> {
        while !data.is_empty() {
            if let Some(within) = &mut self.within {
                let (now, later) = data.split_at(data.len().min(within.left));
                data = later;
                within.left -= now.len();
                if let Some(slot) = &within.slot {
                    let put = |room: &mut [u8]| {
                        room[..now.len()].copy_from_slice(now);
                        Ok::<_, std::convert::Infallible>(now.len())
                    };
                    if slot.write(self.carried.connection, put).is_none() {
                        within.slot = None;
                    }
                }
                self.arrived()?;
                continue;
            }
            let before = self.partial.len();
            if before == 0 {
                data = self.take_small(data)?;
                if data.is_empty() {
                    return Ok(());
                }
            }
            let parsed = match before {
                0 => Frame::parse(data)?,
                _ => {
                    let most = data.len().min(FRAME_BYTES_MAX - before);
                    self.partial.extend_from_slice(&data[..most]);
                    Frame::parse(&self.partial)?
                }
            };
            match parsed {
                Some((frame, length)) => {
                    self.partial.clear();
                    data = &data[length - before..];
                    self.frame(frame)?;
                }
                None => {
                    // Frames are shorter than what is gathered of them, so all of the data is there now.
                    if before == 0 {
                        self.partial.extend_from_slice(data);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes the messages that stand whole at the beginning of `data`, each in one frame. Returns what is behind.
    fn take_small<'b>(&mut self, mut data: &'b [u8]) -> Result<&'b [u8], Ended> {
        let Some((mut head, mut bytes)) = whole_message(data)? else { return Ok(data) };
        let mut inbox = self.carried.inbox()?;
        loop {
            match inbox.half.small(self.carried.connection, &head)? {
                lane::Small::HandOn => {
                    self.small.bytes.extend_from_slice(bytes);
                    self.small.lengths.push(bytes.len());
                }
                lane::Small::Skip => {}
                lane::Small::Known => return Ok(data),
            }
            data = &data[DATA_HEAD_BYTES + bytes.len()..];
            match whole_message(data)? {
                Some(next) => (head, bytes) = next,
                None => return Ok(data),
            }
        }
    }

    /// Hands on the small messages that were taken.
    fn hand_on_small(&mut self) {
        if self.small.lengths.is_empty() {
            return;
        }
        let Small { bytes, lengths } = std::mem::take(&mut self.small);
        let shared = self.carried.shared;
        let cost = lengths.iter().map(|length| cost(*length as u64)).sum();
        let held = Held { shared: shared.clone(), length: bytes.len(), buffer: bytes, cost };
        let mut rest = Bytes::from_owner(held);
        for length in &lengths {
            (shared.deliver)(Message { bytes: rest.split_to(*length), life: self.carried.life });
        }
        shared.done.fetch_add(lengths.len() as u64, Ordering::Relaxed);
        // Their acknowledgement.
        shared.write.notify_waiters();
        // Room for the next, which most often are as many.
        (self.small.lengths, self.small.bytes) = (lengths, Vec::new());
        self.small.lengths.clear();
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Ended> {
        let carried = self.carried;
        let (shared, connection) = (carried.shared, carried.connection);
        // What was acknowledged is let go of without the lock, for that may take long.
        let mut freed = std::mem::take(&mut self.freed);
        let mut tell = |note: Note, parts| {
            note.tell(Fate::Delivered);
            freed.push(parts);
        };
        match frame {
            Frame::Data(head) => {
                let place = carried.inbox()?.half.data(connection, &head, buffers::of_message)?;
                let slot = match place {
                    Place::Into(slot) => Some(slot),
                    Place::Skip => None,
                };
                let left = usize::try_from(head.length).unwrap_or(usize::MAX);
                self.within = Some(Within { sequence: head.sequence, slot, left });
            }
            Frame::Ack { below, also } => {
                let mut outbox = carried.outbox()?;
                let acked = outbox.half.ack(below, &also, &mut tell);
                shared.count(&outbox);
                drop(outbox);
                acked?;
                shared.room.notify_waiters();
                // One that was too far ahead may be begun now.
                shared.write.notify_waiters();
            }
            Frame::Credit { limit } => {
                carried.outbox()?.half.credit(limit);
                shared.write.notify_waiters();
            }
            Frame::Want { least, most } => {
                carried.inbox()?.half.want(least, most);
                shared.write.notify_waiters();
            }
            Frame::Back { unused } => {
                carried.inbox()?.half.back(unused)?;
                shared.write.notify_waiters();
            }
            Frame::Where { question, sequences } => {
                let told = carried.inbox()?.half.where_is(connection, question, &sequences)?;
                let mut answers = lock(&carried.answers);
                answers.extend(told);
                if answers.len() > ANSWERS_MAX {
                    return Err(Violation("asks, and does not listen").into());
                }
                drop(answers);
                shared.write.notify_waiters();
            }
            Frame::At { sequence, offset } => {
                let mut outbox = carried.outbox()?;
                let told = outbox.half.at(connection, sequence, offset, &mut tell);
                shared.count(&outbox);
                drop(outbox);
                told?;
                shared.write.notify_waiters();
                shared.room.notify_waiters();
            }
        }
        shared.done.fetch_add(freed.len() as u64, Ordering::Relaxed);
        freed.clear();
        self.freed = freed;
        Ok(())
    }

    /// Hands on what is whole, at the end of a frame.
    fn arrived(&mut self) -> Result<(), Ended> {
        let Some(within) = self.within.take_if(|within| within.left == 0) else { return Ok(()) };
        if within.slot.is_none() {
            return Ok(());
        }
        let (carried, shared) = (self.carried, self.carried.shared);
        let Some(whole) = carried.inbox()?.half.arrived(within.sequence) else { return Ok(()) };
        let Whole { sequence, buffer, length } = whole;
        let held = Held { shared: shared.clone(), buffer, length, cost: cost(length as u64) };
        (shared.deliver)(Message { bytes: Bytes::from_owner(held), life: carried.life });
        carried.inbox()?.half.handed_on(sequence);
        shared.done.fetch_add(1, Ordering::Relaxed);
        shared.write.notify_waiters();
        Ok(())
    }
}

/// The message that `data` begins with, if it stands there whole in one frame.
fn whole_message(data: &[u8]) -> Result<Option<(Head, &[u8])>, NoFrame> {
    match Frame::parse(data)? {
        Some((Frame::Data(head), begin)) if head.total == u64::from(head.length) => {
            let length = usize::try_from(head.length).unwrap_or(usize::MAX);
            Ok(data[begin..].get(..length).map(|bytes| (head, bytes)))
        }
        _ => Ok(None),
    }
}

impl Shared {
    /// To be read without the outbox.
    fn count(&self, outbox: &Life<Outbox<Note>>) {
        self.queued.store(outbox.half.len(), Ordering::Relaxed);
    }
}

/// The memory of a message that came, or of several small ones.
struct Held {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    length: usize,
    /// What they count.
    cost: u64,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        buffers::recycle(std::mem::take(&mut self.buffer));
        let mut inbox = lock(&self.shared.inbox);
        inbox.half.release(self.cost);
        let due = inbox.half.credit_is_due();
        drop(inbox);
        if due {
            self.shared.write.notify_waiters();
        }
    }
}

const _: () = assert!(DATA_HEAD_BYTES > HEADER_BYTES && FRAME_BYTES_MAX < RECORD_PLAIN_MAX);
