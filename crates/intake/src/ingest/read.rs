//! The first stages of the pipeline: one thread reads, two hash, in batches over bounded channels.

use super::plan::Plan;
use crate::runner::Job;
use crate::source::{Entry, Kind, Position, Stream};
use crate::{Error, Progress};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use strongroom_digest::{Algorithm, Digest, MultiHasher};

/// Bytes that one batch holds at most.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Entries that one batch holds at most.
pub(crate) const BATCH_PARTS: usize = 256;
/// Batches between two stages at most.
pub(crate) const QUEUE_BATCHES: usize = 6;

/// A run of the source.
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parts: Vec<Part>,
    /// Where the source stands after it.
    pub(crate) after: After,
}

/// A file, or a piece of one, in a batch.
pub(crate) struct Part {
    /// The entry and its place in the bag, where the part begins it (or the run begins in it).
    pub(crate) begin: Option<(Entry, Vec<u8>)>,
    pub(crate) range: Range<usize>,
    /// Whether it ends the file.
    pub(crate) ends: bool,
}

/// Where to go on after a batch.
#[derive(Clone, Debug)]
pub(crate) struct After {
    /// Between entries: before the next; inside one: before that one.
    pub(crate) position: Position,
    /// Bytes of the entry that are read; `None` between entries.
    pub(crate) inside: Option<u64>,
}

/// Reads `stream` to its end; `inside` tells how much of its first file is done.
pub(crate) fn read(
    job: &Job<'_>,
    mut stream: Stream,
    plan: Option<&Plan>,
    mut inside: u64,
    out: &[SyncSender<Arc<Batch>>],
) -> Result<(), Error> {
    let mut batch = Filling::new(job.progress);
    loop {
        job.stop.check()?;
        let before = stream.position();
        let Some(entry) = stream.next()? else { break };
        let place = match plan {
            Some(plan) => plan.place(&entry),
            None => Some(entry.path.clone()),
        };
        let Some(place) = place else { continue };
        if entry.kind != Kind::File {
            batch.part(Some((entry, place)), 0, true);
            batch.flush_if_full(&stream.position(), out)?;
            continue;
        }
        if inside > entry.size {
            let what = "it is shorter than when the work was begun".into();
            let path = String::from_utf8_lossy(&entry.path).into_owned().into();
            return Err(Error::Changed { path, what });
        }
        let skip = std::mem::take(&mut inside);
        stream.open(&entry, skip)?;
        let size = entry.size;
        // A file that fits in what is left of no batch begins a new one: small files stay whole.
        if size - skip > (BATCH_BYTES - batch.bytes.len()) as u64 && !batch.bytes.is_empty() {
            batch.flush(After { position: before.clone(), inside: None }, out)?;
        }
        let mut begin = Some((entry, place));
        let mut at = skip;
        loop {
            let room = BATCH_BYTES - batch.bytes.len();
            let got = batch.fill(room, &mut stream)?;
            at += got as u64;
            let ends = at >= size;
            batch.part(begin.take(), got, ends);
            if ends {
                // The end is read too, for there a file that changed is found.
                if stream.read(&mut [0; 1])? != 0 {
                    return Err(Error::Internal("a file is longer than it said".into()));
                }
                break;
            }
            let after = After { position: before.clone(), inside: Some(at) };
            batch.flush(after, out)?;
            job.stop.check()?;
        }
        batch.flush_if_full(&stream.position(), out)?;
    }
    batch.flush(After { position: stream.position(), inside: None }, out)
}

struct Filling<'a> {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    progress: &'a dyn Progress,
}

impl Filling<'_> {
    fn new(progress: &dyn Progress) -> Filling<'_> {
        Filling { bytes: Vec::with_capacity(BATCH_BYTES), parts: Vec::new(), progress }
    }

    fn fill(&mut self, room: usize, stream: &mut Stream) -> Result<usize, Error> {
        let start = self.bytes.len();
        self.bytes.resize(start + room, 0);
        let mut got = 0;
        while got < room {
            match stream.read(&mut self.bytes[start + got..])? {
                0 => break,
                n => got += n,
            }
        }
        self.bytes.truncate(start + got);
        Ok(got)
    }

    fn part(&mut self, begin: Option<(Entry, Vec<u8>)>, len: usize, ends: bool) {
        let end = self.bytes.len();
        self.parts.push(Part { begin, range: end - len..end, ends });
        self.progress.done(u64::from(ends), len as u64);
    }

    fn flush_if_full(
        &mut self,
        position: &Position,
        out: &[SyncSender<Arc<Batch>>],
    ) -> Result<(), Error> {
        match self.bytes.len() == BATCH_BYTES || self.parts.len() >= BATCH_PARTS {
            true => self.flush(After { position: position.clone(), inside: None }, out),
            false => Ok(()),
        }
    }

    fn flush(&mut self, after: After, out: &[SyncSender<Arc<Batch>>]) -> Result<(), Error> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(BATCH_BYTES));
        let batch = Arc::new(Batch { bytes, parts: std::mem::take(&mut self.parts), after });
        for sender in out {
            // A stage that is gone has said why itself.
            sender.send(batch.clone()).map_err(|_| Error::Interrupted)?;
        }
        Ok(())
    }
}

/// What hashing says of a batch: digests of each file that ends in it, and the state of one that
/// does not.
pub(crate) struct Hashed {
    pub(crate) digests: Vec<Vec<Digest>>,
    pub(crate) state: Option<Vec<u8>>,
}

/// Hashes batch after batch by `algorithms`; `state` goes on with a file that was begun before.
pub(crate) fn hash(
    algorithms: &[Algorithm],
    state: Option<&[u8]>,
    batches: Receiver<Arc<Batch>>,
    out: SyncSender<Hashed>,
) -> Result<(), Error> {
    let bad = |e: strongroom_digest::Error| Error::Internal(format!("a digest's state: {e}"));
    let mut open = state.map(MultiHasher::restore).transpose().map_err(bad)?;
    for batch in batches {
        let mut digests = Vec::with_capacity(batch.parts.len());
        for part in &batch.parts {
            let mut hasher = open.take().unwrap_or_else(|| MultiHasher::new(algorithms));
            hasher.update(&batch.bytes[part.range.clone()]);
            match part.ends {
                true => digests.push(hasher.finish()),
                false => open = Some(hasher),
            }
        }
        let state = open.as_ref().map(MultiHasher::save);
        if out.send(Hashed { digests, state }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
