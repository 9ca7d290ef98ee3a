//! The reading side of a connection.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{ANSWERS_MAX, Carried, Ended, Fate, Message, Note, Shared, lock};
use crate::buffers::{self, Buffer, READ_BYTES_MIN, Scratch};
use crate::frame::{DATA_HEAD_BYTES, FRAME_BYTES_MAX, Frame, HEADER_BYTES, Head, NoFrame};
use crate::lane::{self, Place, Slot, Violation, Whole, cost};
use crate::sync::atomic::Ordering;
use crate::tls::{Opened, Opener, RECORD_OVERHEAD, RECORD_PLAIN_MAX, record_length};

/// The frame of data in which the stream is.
struct Within {
    sequence: u64,
    /// `None` where its bytes are dropped.
    slot: Option<Arc<Slot>>,
    left: usize,
}

impl Carried<'_> {
    pub(super) async fn read(&self, read: impl AsyncRead, opener: Opener, early: Vec<u8>) -> Ended {
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
