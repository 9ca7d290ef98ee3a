//! A lane, and the connections that carry it: the driver between [`lane`](crate::lane) and streams.
//!
//! Each connection is one future ([`Lane::carry`]) with two sides. The reading side takes what the system has, up to
//! 256 KiB at a time, and opens each TLS record straight into the memory of the message that it belongs to; heads of frames
//! and small messages pass through a buffer of one record. The writing side asks the outbox for what is next, seals it
//! from where it lies, and hands the system up to as much at once. So a payload's bytes are touched once in each direction,
//! by the cipher, and by the system.
//!
//! A message's memory comes from a pool and goes back when the last [`Message`] of it is dropped; with that its bytes
//! are released, and its sender gets new credit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::frame::{DATA_HEAD_BYTES, FRAME_BYTES_MAX, Frame, HEADER_BYTES, NoFrame};
use crate::lane::{
    CHUNK_BYTES, Connection, Inbox, MESSAGES_AHEAD_MAX, Outbox, Place, Refused, Sending, Slot,
    Violation, Whole,
};
use crate::tls::{
    self, Handshake, Opened, Opener, Progress, RECORD_BYTES_MAX, RECORD_OVERHEAD, RECORD_PLAIN_MAX,
    Sealer, Session, UPDATE_BYTES, record_length,
};

/// Bytes that are asked of the system at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes that are sealed and handed to the system at once: a chunk with its records' overhead, and as much of small
/// messages beside it.
const WRITE_BYTES: usize = sealed_bytes(CHUNK_BYTES as usize) + 4 * RECORD_BYTES_MAX;
/// Pieces of a message that are copied to stand in one record with their head; larger ones are sealed where they lie.
const COPY_BYTES_MAX: usize = 4096;
/// Memory that a lane keeps for messages to come.
const POOL_BYTES_MAX: usize = 64 << 20;
/// Answers that wait to be written on a connection: no honest peer asks of more messages than may be under way.
const ANSWERS_MAX: usize = MESSAGES_AHEAD_MAX as usize;
/// Messages below this take memory from the allocator.
const POOLED_BYTES_MIN: usize = 64 * 1024;

/// Bytes of so many bytes of plaintext, sealed.
const fn sealed_bytes(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD_PLAIN_MAX) * RECORD_OVERHEAD + UPDATE_BYTES
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The peer said that it ends.
    #[error("the peer closed the connection")]
    Closed,
    /// The stream ended, and the peer had not said so.
    #[error("the connection was cut")]
    Cut,
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

/// How a lane is bounded: on both sides the same.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Whether messages are handed on in the order in which they were sent.
    pub ordered: bool,
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
}

/// Takes messages as they come. It must not block: what it cannot do at once it puts into a queue, which is bounded by the
/// lane's window.
pub type Deliver = dyn Fn(Message) + Send + Sync;

/// One lane to one peer, both directions. A clone is the same lane.
#[derive(Clone)]
pub struct Lane(Arc<Shared>);

struct Shared {
    outbox: Mutex<Outbox>,
    inbox: Mutex<Inbox>,
    deliver: Box<Deliver>,
    /// There may be something to write.
    write: Notify,
    /// There may be room in the outbox.
    room: Notify,
    pool: Mutex<VecDeque<Vec<u8>>>,
    connections: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// A lane with nothing under way.
    pub fn new(bounds: Bounds, deliver: Box<Deliver>) -> Lane {
        Lane(Arc::new(Shared {
            outbox: Mutex::new(Outbox::new(bounds.outgoing, bounds.window / 2, CHUNK_BYTES)),
            inbox: Mutex::new(Inbox::new(bounds.ordered, bounds.window)),
            deliver,
            write: Notify::new(),
            room: Notify::new(),
            pool: Mutex::new(VecDeque::new()),
            connections: AtomicU64::new(0),
        }))
    }

    /// Gives a message to the lane, in two pieces that follow one another; waits while there is no room.
    ///
    /// # Errors
    /// [`Refused`], but never that the lane is full.
    pub async fn send(&self, parts: [Bytes; 2]) -> Result<(), Refused> {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.try_send(parts.clone()) {
                Err(Refused::Full { .. }) => room.await,
                done => return done,
            }
        }
    }

    /// The same, at once or not at all.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn try_send(&self, parts: [Bytes; 2]) -> Result<(), Refused> {
        lock(&self.0.outbox).push(parts)?;
        self.0.write.notify_waiters();
        Ok(())
    }

    /// Waits until the peer has handed on all that was sent.
    pub async fn flushed(&self) {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if lock(&self.0.outbox).is_empty() {
                return;
            }
            room.await;
        }
    }

    /// Messages that came again after they had been handed on.
    pub fn duplicates(&self) -> u64 {
        lock(&self.0.inbox).duplicates()
    }

    /// Carries the lane over a connection until that ends; `early` is what its handshake left over. What was under way on it
    /// goes on over another.
    pub async fn carry<S>(&self, stream: S, session: Session, early: Vec<u8>) -> Ended
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let connection = Connection(self.0.connections.fetch_add(1, Ordering::Relaxed));
        let carried = Carried { shared: &self.0, connection, answers: Mutex::new(VecDeque::new()) };
        lock(&self.0.outbox).join(connection);
        lock(&self.0.inbox).join(connection);
        // However this ends, dropped in the middle too.
        let _gone = Gone { shared: &self.0, connection };
        let (read, write) = tokio::io::split(stream);
        tokio::select! {
            ended = carried.read(read, session.opener, early) => ended,
            ended = carried.write(write, session.sealer) => ended,
        }
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
    connection: Connection,
    /// What the reading side has to say.
    answers: Mutex<VecDeque<Frame>>,
}

struct Gone<'a> {
    shared: &'a Shared,
    connection: Connection,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        lock(&self.shared.outbox).lost(self.connection);
        lock(&self.shared.inbox).lost(self.connection);
        // The others have something to ask and to tell.
        self.shared.write.notify_waiters();
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
    async fn read(&self, read: impl AsyncRead, opener: Opener, mut early: Vec<u8>) -> Ended {
        tokio::pin!(read);
        let mut end = early.len();
        early.resize(end.max(READ_BYTES), 0);
        let mut there = early;
        let mut stream = Stream {
            carried: self,
            opener,
            within: None,
            partial: Vec::new(),
            scratch: Vec::new(),
        };
        stream.scratch.resize(RECORD_BYTES_MAX, 0);
        loop {
            let used = match stream.records(&there[..end]) {
                Ok(used) => used,
                Err(ended) => return ended,
            };
            // Less than a record is left.
            there.copy_within(used..end, 0);
            end -= used;
            match read.read(&mut there[end..]).await {
                Ok(0) => return Ended::Cut,
                Ok(n) => end += n,
                Err(error) => return error.into(),
            }
        }
    }

    async fn write(&self, write: impl AsyncWrite, sealer: Sealer) -> Ended {
        tokio::pin!(write);
        let mut sealing = Sealing {
            sealer,
            out: vec![0; WRITE_BYTES],
            at: 0,
            plain: Vec::with_capacity(RECORD_PLAIN_MAX),
        };
        loop {
            let more = self.shared.write.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Err(error) = self.fill(&mut sealing) {
                return error.into();
            }
            if sealing.at == 0 {
                more.await;
                continue;
            }
            let sealed = &sealing.out[..sealing.at];
            if let Err(error) = write.write_all(sealed).await {
                return error.into();
            }
            if let Err(error) = write.flush().await {
                return error.into();
            }
        }
    }

    /// Seals what there is to say, as much as goes out at once.
    fn fill(&self, sealing: &mut Sealing) -> Result<(), tls::Error> {
        sealing.at = 0;
        while sealing.has_room()
            && let Some(answer) = lock(&self.answers).pop_front()
        {
            sealing.frame(&answer)?;
        }
        let (ack, credit) = {
            let mut inbox = lock(&self.shared.inbox);
            (inbox.ack(self.connection), inbox.credit())
        };
        for frame in [ack, credit].into_iter().flatten() {
            sealing.frame(&frame)?;
        }
        while sealing.has_room() {
            let next = lock(&self.shared.outbox).next(self.connection);
            match next {
                None => break,
                Some(Sending::Where(question, sequences)) => {
                    sealing.frame(&Frame::Where { question, sequences })?;
                }
                Some(Sending::Data(head, parts)) => {
                    sealing.frame(&Frame::Data(head))?;
                    parts.iter().try_for_each(|part| sealing.bytes(part))?;
                }
            }
        }
        sealing.seal()
    }
}

/// What is sealed to be written at once.
struct Sealing {
    sealer: Sealer,
    out: Vec<u8>,
    /// Bytes of `out` that are sealed.
    at: usize,
    /// What waits to fill a record.
    plain: Vec<u8>,
}

impl Sealing {
    /// Whether any chunk, with its head and what waits, would fit.
    fn has_room(&self) -> bool {
        let more = sealed_bytes(CHUNK_BYTES as usize) + 2 * RECORD_BYTES_MAX + UPDATE_BYTES;
        self.out.len() - self.at >= more
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), tls::Error> {
        if self.plain.len() + FRAME_BYTES_MAX > RECORD_PLAIN_MAX {
            self.seal()?;
        }
        frame.write(&mut self.plain);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), tls::Error> {
        if bytes.len() <= COPY_BYTES_MAX {
            if self.plain.len() + bytes.len() > RECORD_PLAIN_MAX {
                self.seal()?;
            }
            self.plain.extend_from_slice(bytes);
            return Ok(());
        }
        self.seal()?;
        for record in bytes.chunks(RECORD_PLAIN_MAX) {
            self.at += self.sealer.seal(record, &mut self.out[self.at..])?;
        }
        Ok(())
    }

    /// Seals what waits.
    fn seal(&mut self) -> Result<(), tls::Error> {
        if !self.plain.is_empty() {
            self.at += self.sealer.seal(&self.plain, &mut self.out[self.at..])?;
            self.plain.clear();
        }
        Ok(())
    }
}

/// The reading side's knowledge of its stream.
struct Stream<'a> {
    carried: &'a Carried<'a>,
    opener: Opener,
    within: Option<Within>,
    /// The beginning of a frame that is not whole.
    partial: Vec<u8>,
    scratch: Vec<u8>,
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
                self.arrived();
                return Ok(());
            }
            within.slot = None;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let opened = self.opener.open(record, &mut scratch);
        let done = match opened {
            Ok(Opened::Data(n)) => self.feed(&scratch[..n]),
            Ok(Opened::Nothing) => Ok(()),
            Ok(Opened::End) => Err(Ended::Closed),
            Err(error) => Err(error.into()),
        };
        self.scratch = scratch;
        done
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
                self.arrived();
                continue;
            }
            let before = self.partial.len();
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

    fn frame(&mut self, frame: Frame) -> Result<(), Ended> {
        let Carried { shared, connection, answers } = self.carried;
        match frame {
            Frame::Data(head) => {
                let place =
                    lock(&shared.inbox).data(*connection, &head, |total| shared.buffer(total))?;
                let slot = match place {
                    Place::Into(slot) => Some(slot),
                    Place::Skip => None,
                };
                let left = usize::try_from(head.length).unwrap_or(usize::MAX);
                self.within = Some(Within { sequence: head.sequence, slot, left });
            }
            Frame::Ack { below, also } => {
                if lock(&shared.outbox).ack(below, &also)? > 0 {
                    shared.room.notify_waiters();
                }
            }
            Frame::Credit { limit } => {
                lock(&shared.outbox).credit(limit);
                shared.write.notify_waiters();
            }
            Frame::Where { question, sequences } => {
                let told = lock(&shared.inbox).where_is(*connection, question, &sequences)?;
                let mut answers = lock(answers);
                answers.extend(told);
                if answers.len() > ANSWERS_MAX {
                    return Err(Violation("asks, and does not listen").into());
                }
                drop(answers);
                shared.write.notify_waiters();
            }
            Frame::At { sequence, offset } => {
                lock(&shared.outbox).at(*connection, sequence, offset)?;
                shared.write.notify_waiters();
                shared.room.notify_waiters();
            }
        }
        Ok(())
    }

    /// Hands on what is whole, at the end of a frame.
    fn arrived(&mut self) {
        let Some(within) = self.within.take_if(|within| within.left == 0) else { return };
        if within.slot.is_none() {
            return;
        }
        let shared = self.carried.shared;
        let whole = lock(&shared.inbox).arrived(within.sequence);
        if whole.is_empty() {
            return;
        }
        let sequences: Vec<u64> = whole.iter().map(|whole| whole.sequence).collect();
        for whole in whole {
            (shared.deliver)(Message { bytes: Bytes::from_owner(Held::new(shared, whole)) });
        }
        let mut inbox = lock(&shared.inbox);
        sequences.iter().for_each(|sequence| inbox.handed_on(*sequence));
        drop(inbox);
        shared.write.notify_waiters();
    }
}

impl Shared {
    /// Memory for a message, with a byte more than it has.
    fn buffer(&self, total: u64) -> Vec<u8> {
        let wanted = usize::try_from(total).unwrap_or(usize::MAX).saturating_add(1);
        if wanted >= POOLED_BYTES_MIN {
            let mut pool = lock(&self.pool);
            let fits = |buffer: &Vec<u8>| buffer.len() >= wanted && buffer.len() / 2 <= wanted;
            if let Some(buffer) = pool.iter().rposition(fits).and_then(|at| pool.remove(at)) {
                return buffer;
            }
        }
        vec![0; wanted]
    }

    fn recycle(&self, buffer: Vec<u8>) {
        if buffer.len() < POOLED_BYTES_MIN {
            return;
        }
        let mut pool = lock(&self.pool);
        pool.push_back(buffer);
        let mut bytes: usize = pool.iter().map(Vec::len).sum();
        while bytes > POOL_BYTES_MAX
            && let Some(oldest) = pool.pop_front()
        {
            bytes -= oldest.len();
        }
    }
}

/// The memory of a message that came.
struct Held {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    length: usize,
}

impl Held {
    fn new(shared: &Arc<Shared>, whole: Whole) -> Held {
        Held { shared: shared.clone(), buffer: whole.buffer, length: whole.length }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.recycle(std::mem::take(&mut self.buffer));
        let mut inbox = lock(&self.shared.inbox);
        inbox.release(self.length as u64);
        let due = inbox.credit_is_due();
        drop(inbox);
        if due {
            self.shared.write.notify_waiters();
        }
    }
}

const _: () = assert!(DATA_HEAD_BYTES > HEADER_BYTES && FRAME_BYTES_MAX < RECORD_PLAIN_MAX);
