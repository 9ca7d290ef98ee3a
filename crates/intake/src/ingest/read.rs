//! The first stages of the pipeline: one thread reads, two hash, in batches over bounded channels. Files
//! that lie in a batch whole are hashed many at a time, which is several times as fast for small ones.

use super::plan::{Plan, Unseen, Way};
use crate::runner::Job;
use crate::source::{Entry, Kind, Position, Stream};
use crate::{Error, Progress};
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use strongroom_digest::{Algorithm, Digest, MultiHasher, Pages, Set, hash_many};
use strongroom_record::VersionId;

/// Bytes that one batch holds at most.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Entries that one batch holds at most.
pub(crate) const BATCH_PARTS: usize = 256;
/// Batches between two stages at most.
pub(crate) const QUEUE_BATCHES: usize = 6;

/// A run of the source, as the stages share it.
pub(crate) struct Batch {
    /// As long as a batch can be; filled up to `len`.
    bytes: Pages,
    len: usize,
    pub(crate) parts: Vec<Part>,
    /// Takes the memory back from whoever is the last to need it: fresh memory is dear.
    back: Sender<Pages>,
}

/// A file, or a piece of one, in a batch.
pub(crate) struct Part {
    /// Where its bytes lie in the batch.
    pub(crate) range: Range<usize>,
    /// Whether it begins the file, or the run begins in it.
    pub(crate) begins: bool,
    /// Whether it ends the file.
    pub(crate) ends: bool,
}

/// What only the packer needs to know of a batch.
pub(crate) struct Packed {
    pub(crate) batch: Arc<Batch>,
    /// Of each part that begins a file: its entry and its place in the bag.
    pub(crate) begin: Vec<(Entry, Vec<u8>)>,
    /// Where the source stands after it.
    pub(crate) after: After,
}

impl Batch {
    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    pub(crate) fn bytes_of(&self, part: &Part) -> &[u8] {
        self.bytes(part.range.clone())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // The reader may have ended.
        let _ = self.back.send(std::mem::take(&mut self.bytes));
    }
}

/// Where the reader sends what it has read.
pub(crate) struct Out {
    pub(crate) hashers: Vec<SyncSender<Arc<Batch>>>,
    pub(crate) packer: SyncSender<Packed>,
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
    out: &Out,
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
        let same = |before: String| identity.is_some_and(|now| now.to_string() == before);
        if skip > 0 && begun.identity.take().is_some_and(|before| !same(before)) {
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
            let identity = identity.map(|i| i.to_string());
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
    bytes: Pages,
    len: usize,
    parts: Vec<Part>,
    begin: Vec<(Entry, Vec<u8>)>,
    /// Memory of batches that nobody needs any more; there are never more than fit the queues.
    free: Receiver<Pages>,
    back: Sender<Pages>,
    progress: &'a dyn Progress,
}

impl Filling<'_> {
    fn new(progress: &dyn Progress) -> Filling<'_> {
        let (back, free) = channel();
        let (bytes, parts, begin) = (Pages::new(BATCH_BYTES), Vec::new(), Vec::new());
        Filling { bytes, len: 0, parts, begin, free, back, progress }
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
        self.parts.push(Part { range: self.len - len..self.len, begins: begin.is_some(), ends });
        self.begin.extend(begin);
        self.progress.done(u64::from(ends), len as u64);
    }

    fn flush_if_full(&mut self, position: &Position, out: &Out) -> Result<(), Error> {
        match self.room() == 0 || self.parts.len() >= BATCH_PARTS {
            true => self.flush(After { position: position.clone(), ..After::default() }, out),
            false => Ok(()),
        }
    }

    fn flush(&mut self, after: After, out: &Out) -> Result<(), Error> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let fresh = self.free.try_recv().unwrap_or_else(|_| Pages::new(BATCH_BYTES));
        let batch = Arc::new(Batch {
            bytes: std::mem::replace(&mut self.bytes, fresh),
            len: std::mem::take(&mut self.len),
            parts: std::mem::take(&mut self.parts),
            back: self.back.clone(),
        });
        // A stage that is gone has said why itself.
        for hasher in &out.hashers {
            hasher.send(batch.clone()).map_err(|_| Error::Interrupted)?;
        }
        let packed = Packed { batch, begin: std::mem::take(&mut self.begin), after };
        out.packer.send(packed).map_err(|_| Error::Interrupted)
    }
}

/// What hashing says of a batch.
pub(crate) struct Hashed {
    /// For each algorithm, in their order, the digests of the files that end in the batch.
    pub(crate) digests: Vec<Vec<Digest>>,
    /// The state of a file that does not.
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
    let algorithms: Set = algorithms.iter().copied().collect();
    for batch in batches {
        let mut digests: Vec<Vec<Digest>> = vec![Vec::new(); algorithms.len()];
        let mut whole: Vec<&[u8]> = Vec::with_capacity(batch.parts.len());
        for part in &batch.parts {
            let bytes = batch.bytes_of(part);
            if part.begins && part.ends && open.is_none() {
                whole.push(bytes);
                continue;
            }
            hash_whole(algorithms, &mut whole, &mut digests);
            let mut hasher = open.take().unwrap_or_else(|| algorithms.iter().collect());
            hasher.update(bytes);
            match part.ends {
                true => digests.iter_mut().zip(hasher.finish()).for_each(|(all, d)| all.push(d)),
                false => open = Some(hasher),
            }
        }
        hash_whole(algorithms, &mut whole, &mut digests);
        // Given back before the packer waits for more.
        drop(whole);
        drop(batch);
        let state = open.as_ref().map(MultiHasher::save);
        if out.send(Hashed { digests, state }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Hashes files that lie in memory whole, many at a time.
fn hash_whole(algorithms: Set, whole: &mut Vec<&[u8]>, digests: &mut [Vec<Digest>]) {
    for (algorithm, digests) in algorithms.iter().zip(digests) {
        hash_many(algorithm, whole, digests);
    }
    whole.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;
    use strongroom_digest as digest;

    fn pages(bytes: &[u8]) -> Pages {
        let mut pages = Pages::new(bytes.len());
        pages.copy_from_slice(bytes);
        pages
    }

    /// Files of these lengths in batches of `batch_bytes`, as the reader cuts them.
    fn batches(files: &[Vec<u8>], batch_bytes: usize, back: &Sender<Pages>) -> Vec<Arc<Batch>> {
        let mut all = Vec::new();
        let (mut bytes, mut parts) = (Vec::new(), Vec::new());
        let mut end = |bytes: &mut Vec<u8>, parts: &mut Vec<Part>| {
            let (bytes, parts) = (std::mem::take(bytes), std::mem::take(parts));
            let (len, bytes) = (bytes.len(), pages(&bytes));
            all.push(Arc::new(Batch { len, bytes, parts, back: back.clone() }));
        };
        for file in files {
            let mut at = 0;
            loop {
                let now = (file.len() - at).min(batch_bytes - bytes.len());
                let start = bytes.len();
                bytes.extend_from_slice(&file[at..at + now]);
                let begins = at == 0;
                at += now;
                let ends = at == file.len();
                parts.push(Part { range: start..bytes.len(), begins, ends });
                if bytes.len() == batch_bytes {
                    end(&mut bytes, &mut parts);
                }
                if ends {
                    break;
                }
            }
        }
        end(&mut bytes, &mut parts);
        all
    }

    /// The same batch as that of a run which begins with it: also in the middle of a file.
    fn begun_in(batch: &Batch) -> Batch {
        let part = |(i, part): (usize, &Part)| Part {
            range: part.range.clone(),
            begins: part.begins || i == 0,
            ends: part.ends,
        };
        Batch {
            bytes: pages(&batch.bytes),
            len: batch.len,
            parts: batch.parts.iter().enumerate().map(part).collect(),
            back: batch.back.clone(),
        }
    }

    /// Hashes the batches from `from` on; returns digests file by file, and the state after each batch.
    fn hashed(
        algorithms: &[Algorithm],
        state: Option<&[u8]>,
        batches: &[Arc<Batch>],
    ) -> (Vec<Vec<Digest>>, Vec<Option<Vec<u8>>>) {
        let (to, from) = sync_channel(batches.len());
        batches.iter().for_each(|batch| to.send(batch.clone()).unwrap());
        drop(to);
        let (out, results) = sync_channel(batches.len());
        hash(algorithms, state, from, out).unwrap();
        let (mut files, mut states) = (Vec::new(), Vec::new());
        for Hashed { digests, state } in results {
            files.extend((0..digests[0].len()).map(|i| digests.iter().map(|d| d[i]).collect()));
            states.push(state);
        }
        (files, states)
    }

    #[test]
    fn files_in_batches_hash_as_each_alone_and_from_any_state() {
        let lengths =
            [0, 1, 20_480, 63, 64, 65, 5_000, 100_000, 0, 3, 250_000, 7, 7, 7, 40_000, 12];
        let files: Vec<Vec<u8>> = (lengths.iter().zip(1u8..))
            .map(|(len, seed)| (0..*len).map(|i| (i / 3) as u8 ^ seed).collect())
            .collect();
        let (back, free) = channel();
        for algorithms in [
            &[Algorithm::Sha256][..],
            &[Algorithm::Md5],
            &[Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha512],
        ] {
            let of = |file: &Vec<u8>| {
                algorithms.iter().map(|a| digest::hash(*a, file)).collect::<Vec<_>>()
            };
            let expected: Vec<_> = files.iter().map(of).collect();
            for batch_bytes in [50, 4_096, 65_536, 1 << 20] {
                let all = batches(&files, batch_bytes, &back);
                let (found, states) = hashed(algorithms, None, &all);
                assert_eq!(found, expected, "{algorithms:?} in batches of {batch_bytes}");
                // A run that died after any batch goes on from the state then.
                for (at, state) in states.iter().enumerate().step_by(all.len().div_ceil(20)) {
                    let mut left = all[at + 1..].to_vec();
                    if let Some(first) = left.first_mut() {
                        *first = Arc::new(begun_in(first));
                    }
                    let (rest, _) = hashed(algorithms, state.as_deref(), &left);
                    let done = expected.len() - rest.len();
                    assert_eq!(rest, expected[done..], "after batch {at} of {batch_bytes} bytes");
                }
            }
        }
        drop(back);
        assert!(free.iter().any(|bytes| !bytes.is_empty()), "memory was given back");
    }
}
