//! The control connection to a peer: heartbeats, cancellations, and what nodes tell each other about nodes.
//!
//! Nothing here is acknowledged or sent again: whatever it says is said anew when it matters, or has a deadline behind it.
//! Every peer's is driven by one thread that does nothing else, so that neither bulk data nor handlers delay a heartbeat.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::Ended;
use crate::buffers::{READ_BYTES_MIN, Scratch};
use crate::carry::LAST_WORDS;
use crate::frame::{FRAME_BYTES_MAX, HEADER_BYTES, NoFrame};
use crate::hello::Place;
use crate::path::Stream;
use crate::phi;
use crate::tls::{
    Opened, RECORD_BYTES_MAX, RECORD_OVERHEAD, RECORD_PLAIN_MAX, Session, UPDATE_BYTES,
    record_length,
};

/// Bytes that wait to be said to a peer at most. What is more is not said.
const QUEUE_BYTES_MAX: usize = 64 * 1024;
/// Pings of callers that are under way to a peer at most.
const PINGS_MAX: usize = 1024;
/// A heartbeat to a peer with which something is under way comes so often.
pub(crate) const HEARTBEAT_BUSY: Duration = Duration::from_secs(1);
/// The same to a quiet one; but whoever was asked need not ask.
pub(crate) const HEARTBEAT_QUIET: Duration = Duration::from_secs(15);
/// A heartbeat that is not answered for so long shows that the path is dead.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(4);

mod kind {
    pub(super) const PING: u8 = 16;
    pub(super) const PONG: u8 = 17;
    pub(super) const CANCEL: u8 = 18;
    pub(super) const WANTED: u8 = 19;
    pub(super) const WATCH: u8 = 20;
    pub(super) const GONE: u8 = 21;
    pub(super) const GOSSIP: u8 = 22;
}

/// What is said on a control connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Are you there?
    Ping(u64),
    /// Yes.
    Pong(u64),
    /// Nobody waits for this call's reply any more.
    Cancel(u64),
    /// Please dial this connection: I have no address of yours.
    Wanted(Place),
    /// Tell me when nobody has this name any more.
    Watch(String),
    /// Nobody has it.
    Gone(String),
    /// What nodes say of nodes ([`crate::membership`]).
    Gossip(Vec<u8>),
}

impl Frame {
    fn write(&self, out: &mut Vec<u8>) {
        let (kind, body): (u8, &[u8]) = match self {
            Frame::Ping(token) => (kind::PING, &token.to_le_bytes()),
            Frame::Pong(token) => (kind::PONG, &token.to_le_bytes()),
            Frame::Cancel(call) => (kind::CANCEL, &call.to_le_bytes()),
            Frame::Wanted(place) => {
                let (lane, slot) = place.to_bytes();
                (kind::WANTED, &[lane, slot, 0, 0, 0, 0, 0, 0])
            }
            Frame::Watch(name) => (kind::WATCH, name.as_bytes()),
            Frame::Gone(name) => (kind::GONE, name.as_bytes()),
            Frame::Gossip(bytes) => (kind::GOSSIP, bytes),
        };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(body);
    }

    /// The frame that `input` begins with, and its bytes; `None` where more is needed to tell. Kinds that are not known are
    /// `None` in the pair: a later version may have them, and they can be passed over.
    fn parse(input: &[u8]) -> Result<Option<(Option<Frame>, usize)>, NoFrame> {
        let Some((&[kind, zero, z, zz, a, b, c, d], rest)) = input.split_first_chunk() else {
            return Ok(None);
        };
        if [zero, z, zz] != [0; 3] {
            return Err(NoFrame("reserved bytes that are not zero"));
        }
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX - HEADER_BYTES {
            return Err(NoFrame("a length that is not allowed"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let number = || match body.first_chunk() {
            Some(number) if body.len() == 8 => Ok(u64::from_le_bytes(*number)),
            _ => Err(NoFrame("a number that is none")),
        };
        let name = || match std::str::from_utf8(body) {
            Ok(name) if body.len() <= crate::envelope::NAME_BYTES_MAX => Ok(name.to_owned()),
            _ => Err(NoFrame("a name that is none")),
        };
        let frame = match kind {
            kind::PING => Frame::Ping(number()?),
            kind::PONG => Frame::Pong(number()?),
            kind::CANCEL => Frame::Cancel(number()?),
            kind::WANTED => match *body {
                [lane, slot, 0, 0, 0, 0, 0, 0] => Frame::Wanted(
                    Place::from_bytes(lane, slot).ok_or(NoFrame("a lane that does not exist"))?,
                ),
                _ => return Err(NoFrame("a lane that is none")),
            },
            kind::WATCH => Frame::Watch(name()?),
            kind::GONE => Frame::Gone(name()?),
            kind::GOSSIP => Frame::Gossip(body.to_vec()),
            _ => return Ok(Some((None, HEADER_BYTES + length))),
        };
        Ok(Some((Some(frame), HEADER_BYTES + length)))
    }
}

/// What is to be said to a peer, and what is known of the way to it.
pub(crate) struct Control {
    /// Frames that wait.
    queue: Mutex<Vec<u8>>,
    more: Notify,
    pings: Mutex<BTreeMap<u64, (Instant, oneshot::Sender<Duration>)>>,
    pinging: Semaphore,
    next_token: AtomicU64,
    /// The smoothed round trip, in microseconds; 0 while unknown.
    round_trip: AtomicU64,
    /// Heartbeats that were heard.
    heard: AtomicU64,
    /// Something is under way, since it was last looked.
    stirred: AtomicBool,
    /// How suspicious the silence of the peer is.
    suspicion: Mutex<phi::Detector>,
    begun: Instant,
}

struct Ping<'a>(&'a Control, u64);

impl Drop for Ping<'_> {
    fn drop(&mut self) {
        lock(&self.0.pings).remove(&self.1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub(crate) fn new() -> Control {
        Control {
            queue: Mutex::default(),
            more: Notify::new(),
            pings: Mutex::default(),
            pinging: Semaphore::new(PINGS_MAX),
            next_token: AtomicU64::new(1),
            round_trip: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            stirred: AtomicBool::new(false),
            // Heartbeats come each second or each 15, as it is: silence means something when one is late that
            // was to come after the longest pause.
            suspicion: Mutex::new(phi::Detector::new(phi::Settings {
                first_interval: HEARTBEAT_BUSY,
                pause: HEARTBEAT_QUIET + SILENCE_MAX,
                interval_max: 2 * (HEARTBEAT_QUIET + SILENCE_MAX),
                ..phi::Settings::default()
            })),
            begun: Instant::now(),
        }
    }

    /// Says it as soon as there is a connection, if not too much waits.
    pub(crate) fn say(&self, frame: &Frame) {
        let bytes_max = match frame {
            // What is old of it is of little use, and leaves room for what is said once.
            Frame::Gossip(_) => QUEUE_BYTES_MAX / 2,
            _ => QUEUE_BYTES_MAX,
        };
        let mut queue = lock(&self.queue);
        if queue.len() + FRAME_BYTES_MAX <= bytes_max {
            frame.write(&mut queue);
        }
        drop(queue);
        self.more.notify_one();
    }

    /// Something is under way with the peer: heartbeats are to come more often.
    pub(crate) fn stir(&self) {
        if !self.stirred.load(Ordering::Relaxed) && !self.stirred.swap(true, Ordering::Relaxed) {
            self.more.notify_one();
        }
    }

    /// The time that a word there and back takes; `None` where the connection was lost meanwhile. Waits while 1,024
    /// others are under way.
    pub(crate) async fn ping(&self) -> Option<Duration> {
        let _turn = self.pinging.acquire().await.ok()?;
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        // However this ends.
        let waiting = Ping(self, token);
        let (sender, answer) = oneshot::channel();
        lock(&self.pings).insert(token, (Instant::now(), sender));
        self.say(&Frame::Ping(token));
        let answer = answer.await.ok();
        drop(waiting);
        answer
    }

    /// The round trip, smoothed as RFC 6298 has it.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        match self.round_trip.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// How suspicious the peer's silence is, as the phi detector has it, from its heartbeats.
    pub(crate) fn phi(&self) -> f64 {
        lock(&self.suspicion).phi(self.begun.elapsed())
    }

    /// Heartbeats that were heard, and answers to ours.
    pub(crate) fn heard_count(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        lock(&self.suspicion).heard(self.begun.elapsed());
    }

    fn answered(&self, token: u64) {
        if let Some((begun, sender)) = lock(&self.pings).remove(&token) {
            let trip = begun.elapsed();
            self.measured(trip);
            let _ = sender.send(trip);
        }
    }

    fn measured(&self, trip: Duration) {
        let micros = u64::try_from(trip.as_micros()).unwrap_or(u64::MAX).max(1);
        let smoothed = match self.round_trip.load(Ordering::Relaxed) {
            0 => micros,
            before => before - before / 8 + micros / 8,
        };
        self.round_trip.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Drives a connection until it ends, or `end` says so. `busy` says whether something is under way with the peer, `hear`
    /// takes what is not about the connection itself.
    pub(crate) async fn carry(
        &self,
        stream: Box<dyn Stream>,
        session: Session,
        early: Vec<u8>,
        busy: impl Fn() -> bool,
        hear: impl Fn(Frame),
        end: impl Future<Output = Ended>,
    ) -> Ended {
        // Pings of callers end with the connection, however that ends.
        struct Pings<'a>(&'a Control);
        impl Drop for Pings<'_> {
            fn drop(&mut self) {
                lock(&self.0.pings).clear();
            }
        }
        let _pings = Pings(self);
        self.drive(stream, session, early, busy, hear, end).await
    }

    async fn drive(
        &self,
        stream: Box<dyn Stream>,
        session: Session,
        mut early: Vec<u8>,
        busy: impl Fn() -> bool,
        hear: impl Fn(Frame),
        end: impl Future<Output = Ended>,
    ) -> Ended {
        tokio::pin!(end);
        let Session { mut sealer, mut opener, .. } = session;
        let (mut read, mut write) = tokio::io::split(stream);
        let mut plain: Vec<u8> = Vec::new();
        // The heartbeat that waits for its answer, and when the last was answered.
        let mut heartbeat: Option<(u64, Instant)> = None;
        let mut heard = Instant::now();
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            // What came.
            let mut used = 0;
            loop {
                let length = match record_length(&early[used..]) {
                    Ok(Some(length)) if early.len() - used >= length => length,
                    Ok(_) => break,
                    Err(error) => return error.into(),
                };
                let mut scratch = Scratch::take();
                match opener.open(&early[used..used + length], scratch.bytes()) {
                    Ok(Opened::Data(n)) => plain.extend_from_slice(&scratch.bytes()[..n]),
                    Ok(Opened::Nothing) => {}
                    Ok(Opened::End) => return Ended::Closed,
                    Err(error) => return error.into(),
                }
                used += length;
                let mut done = 0;
                loop {
                    match Frame::parse(&plain[done..]) {
                        Ok(None) => break,
                        Ok(Some((frame, length))) => {
                            done += length;
                            match frame {
                                Some(Frame::Ping(token)) => {
                                    // It would have given the path up, had it not heard our last answer.
                                    heard = Instant::now();
                                    self.heard();
                                    self.say(&Frame::Pong(token));
                                }
                                Some(Frame::Pong(token)) => match heartbeat {
                                    Some((of, begun)) if of == token => {
                                        self.measured(begun.elapsed());
                                        (heartbeat, heard) = (None, Instant::now());
                                        self.heard();
                                    }
                                    _ => self.answered(token),
                                },
                                Some(other) => hear(other),
                                None => {}
                            }
                        }
                        Err(error) => return error.into(),
                    }
                }
                plain.drain(..done);
            }
            early.drain(..used);
            if early.is_empty() && early.capacity() > READ_BYTES_MIN {
                early = Vec::new();
            }
            if plain.is_empty() && plain.capacity() > READ_BYTES_MIN {
                plain = Vec::new();
            }
            // What is due.
            let pause = match busy() {
                true => HEARTBEAT_BUSY,
                false => {
                    self.stirred.store(false, Ordering::Relaxed);
                    HEARTBEAT_QUIET
                }
            };
            let due = match heartbeat {
                Some((_, begun)) if begun.elapsed() >= SILENCE_MAX => return Ended::Silent,
                Some((_, begun)) => begun + SILENCE_MAX,
                None if heard.elapsed() >= pause => {
                    let token = self.next_token.fetch_add(1, Ordering::Relaxed);
                    heartbeat = Some((token, Instant::now()));
                    self.say(&Frame::Ping(token));
                    Instant::now() + SILENCE_MAX
                }
                None => heard + pause,
            };
            // What is to be said.
            if at == out.len() {
                out.clear();
                at = 0;
                let said = std::mem::take(&mut *lock(&self.queue));
                for record in said.chunks(RECORD_PLAIN_MAX) {
                    let begin = out.len();
                    out.resize(begin + record.len() + RECORD_OVERHEAD + UPDATE_BYTES, 0);
                    match sealer.seal(record, &mut out[begin..]) {
                        Ok(written) => out.truncate(begin + written),
                        Err(error) => return error.into(),
                    }
                }
                if out.is_empty() && out.capacity() > READ_BYTES_MIN {
                    out = Vec::new();
                }
            }
            if early.capacity() - early.len() < READ_BYTES_MIN / 2 {
                early.reserve(if early.is_empty() { READ_BYTES_MIN / 2 } else { RECORD_BYTES_MAX });
            }
            let writing = at < out.len();
            tokio::select! {
                biased;
                ended = &mut end => {
                    // What was begun is finished, so that the word is understood; a peer that takes nothing is not waited for.
                    let begin = out.len();
                    out.resize(begin + 2 * RECORD_OVERHEAD, 0);
                    if let Ok(written) = sealer.close(&mut out[begin..]) {
                        let _ = tokio::time::timeout(
                            LAST_WORDS,
                            write.write_all(&out[at..begin + written]),
                        )
                        .await;
                    }
                    return ended;
                }
                written = write.write(&out[at..]), if writing => match written {
                    Ok(0) => return Ended::Cut,
                    Ok(n) => at += n,
                    Err(error) => return error.into(),
                },
                came = read.read_buf(&mut early) => match came {
                    Ok(0) => return Ended::Cut,
                    Ok(_) => {}
                    Err(error) => return error.into(),
                },
                () = self.more.notified(), if !writing => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    }
}
