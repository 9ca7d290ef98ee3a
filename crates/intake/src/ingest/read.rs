//! The first stages of the pipeline: one thread reads, two hash, in batches over bounded channels.

use super::plan::{Plan, Unseen, Way};
use crate::runner::Job;
use crate::source::{Entry, Kind, Position, Stream};
use crate::{Error, Progress};
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use strongroom_digest::{Algorithm, Digest, MultiHasher};
use strongroom_record::VersionId;

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
#[derive(Clone, Debug, Default)]
pub(crate) struct After {
    /// Between entries: before the next; inside one: before that one.
    pub(crate) position: Position,
    /// Bytes of the entry that are read; `None` between entries.
    pub(crate) inside: Option<u64>,
    /// What tells that entry's file from another one, where it is a file of its own.
    pub(crate) identity: Option<String>,
}

/// Where an earlier run left off.
pub(crate) struct Begun<'a> {
    pub(crate) version: VersionId,
    /// Entries of a source that is read in one pass that are durable.
    pub(crate) entries: u64,
    /// Bytes of the file after them that are.
    pub(crate) inside: u64,
    /// What told it from another one.
    pub(crate) identity: Option<String>,
    /// The state of their SHA-256.
    pub(crate) state: Option<&'a [u8]>,
}

/// Reads `stream` to its end. Of a source that is read in one pass, which begins anew after a crash,
/// what is durable is compared and passed over; the plan follows at its end.
pub(crate) fn read(
    job: &Job<'_>,
    mut stream: Stream,
    way: Way<'_>,
    mut begun: Begun<'_>,
    out: &[SyncSender<Arc<Batch>>],
) -> Result<Option<Plan>, Error> {
    let mut batch = Filling::new(job.progress);
    let mut unseen = match way {
        Way::OnePass(source) => Some(Unseen::new(job, source)),
        Way::Planned(_) | Way::Made => None,
    };
    loop {
        job.stop.check()?;
        let before = stream.position();
        let Some(entry) = stream.next()? else { break };
        let mut tag = match &mut unseen {
            Some(unseen) => unseen.see(&entry)?,
            None => None,
        };
        let Some(place) = way.place(&entry) else { continue };
        let durable = unseen.is_some() && before.entries < begun.entries;
        if entry.kind != Kind::File {
            if !durable {
                batch.part(Some((entry, place)), 0, true);
                batch.flush_if_full(&stream.position(), out)?;
            }
            continue;
        }
        if durable {
            compare(job, &mut stream, &entry, &place, begun.version, tag)?;
            continue;
        }
        if begun.inside > entry.size {
            return Err(changed(&entry.path, "it is shorter than when the work was begun"));
        }
        let skip = std::mem::take(&mut begun.inside);
        match unseen {
            Some(_) => {
                stream.open(&entry, 0)?;
                let mut hasher = MultiHasher::new(&[Algorithm::Sha256]);
                pass(&mut stream, skip, &mut hasher, tag.as_mut())?;
                if skip > 0 && begun.state.is_some_and(|state| state != hasher.save()) {
                    return Err(changed(&entry.path, "its bytes are not those that were stored"));
                }
            }
            None => stream.open(&entry, skip)?,
        }
        let identity = stream.identity();
        if skip > 0 && begun.identity.take().is_some_and(|before| Some(before) != identity) {
            return Err(changed(&entry.path, "it is another file than when the work was begun"));
        }
        let size = entry.size;
        // A file that fits in what is left of no batch begins a new one: small files stay whole.
        if size - skip > batch.room() as u64 && batch.len > 0 {
            batch.flush(After { position: before.clone(), ..After::default() }, out)?;
        }
        let path = entry.path.clone();
        let mut begin = Some((entry, place));
        let mut at = skip;
        loop {
            let want = batch.room().min(usize::try_from(size - at).unwrap_or(usize::MAX));
            let got = batch.fill(want, &mut stream)?;
            if let Some(tag) = &mut tag {
                keep(tag, &batch.bytes[batch.len - got..batch.len])?;
            }
            if got < want {
                return Err(changed(&path, "it is shorter than it was"));
            }
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
            let identity = identity.clone();
            let after = After { position: before.clone(), inside: Some(at), identity };
            batch.flush(after, out)?;
            job.stop.check()?;
        }
        batch.flush_if_full(&stream.position(), out)?;
    }
    let mut position = stream.position();
    let plan = match unseen {
        None => None,
        Some(unseen) => {
            let (plan, folders) = unseen.end()?;
            for folder in folders {
                position.entries += 1;
                if position.entries > begun.entries {
                    let place = way.place_path(&folder.path);
                    batch.part(Some((folder, place)), 0, true);
                    batch.flush_if_full(&position, out)?;
                }
            }
            Some(plan)
        }
    };
    batch.flush(After { position, ..After::default() }, out)?;
    Ok(plan)
}

fn changed(path: &[u8], what: &str) -> Error {
    let path = String::from_utf8_lossy(path).into_owned().into();
    Error::Changed { path, what: what.into() }
}

fn keep(tag: &mut File, bytes: &[u8]) -> Result<(), Error> {
    let unwritable = |source| Error::Unwritable {
        path: "a copy of a tag file, in the data folder".into(),
        source,
    };
    tag.write_all(bytes).map_err(unwritable)
}

/// Reads `len` bytes that are not needed again.
fn pass(
    stream: &mut Stream,
    mut len: u64,
    hasher: &mut MultiHasher,
    mut tag: Option<&mut File>,
) -> Result<(), Error> {
    let mut buf = vec![0; BATCH_BYTES.min(len as usize)];
    while len > 0 {
        let want = buf.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        let got = stream.read(&mut buf[..want])?;
        if got == 0 {
            return Err(Error::Internal("a file is shorter than it said".into()));
        }
        hasher.update(&buf[..got]);
        if let Some(tag) = &mut tag {
            keep(tag, &buf[..got])?;
        }
        len -= got as u64;
    }
    Ok(())
}

/// Reads a file that an earlier run stored, and compares it with what was recorded.
fn compare(
    job: &Job<'_>,
    stream: &mut Stream,
    entry: &Entry,
    place: &[u8],
    version: VersionId,
    mut tag: Option<File>,
) -> Result<(), Error> {
    stream.open(entry, 0)?;
    let mut hasher = MultiHasher::new(&[Algorithm::Sha256]);
    pass(stream, entry.size, &mut hasher, tag.as_mut())?;
    let found = hasher.finish();
    let recorded = job.archive.registry().file_by_path(version, place);
    let same = job.archive.block_on(recorded)?.is_some_and(|file| {
        file.size == entry.size && found.iter().all(|d| d.as_bytes() == file.sha256.0)
    });
    match same {
        true => {
            job.progress.done(1, entry.size);
            Ok(())
        }
        false => Err(changed(&entry.path, "it is not the file that was stored")),
    }
}

struct Filling<'a> {
    /// As long as a batch can be; filled up to `len`.
    bytes: Vec<u8>,
    len: usize,
    parts: Vec<Part>,
    progress: &'a dyn Progress,
}

impl Filling<'_> {
    fn new(progress: &dyn Progress) -> Filling<'_> {
        Filling { bytes: vec![0; BATCH_BYTES], len: 0, parts: Vec::new(), progress }
    }

    fn room(&self) -> usize {
        BATCH_BYTES - self.len
    }

    /// Reads `want` bytes, or as many as there are.
    fn fill(&mut self, want: usize, stream: &mut Stream) -> Result<usize, Error> {
        let start = self.len;
        let end = start + want;
        while self.len < end {
            match stream.read(&mut self.bytes[self.len..end])? {
                0 => break,
                n => self.len += n,
            }
        }
        Ok(self.len - start)
    }

    fn part(&mut self, begin: Option<(Entry, Vec<u8>)>, len: usize, ends: bool) {
        self.parts.push(Part { begin, range: self.len - len..self.len, ends });
        self.progress.done(u64::from(ends), len as u64);
    }

    fn flush_if_full(
        &mut self,
        position: &Position,
        out: &[SyncSender<Arc<Batch>>],
    ) -> Result<(), Error> {
        match self.room() == 0 || self.parts.len() >= BATCH_PARTS {
            true => self.flush(After { position: position.clone(), ..After::default() }, out),
            false => Ok(()),
        }
    }

    fn flush(&mut self, after: After, out: &[SyncSender<Arc<Batch>>]) -> Result<(), Error> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let mut bytes = std::mem::replace(&mut self.bytes, vec![0; BATCH_BYTES]);
        bytes.truncate(std::mem::take(&mut self.len));
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
