//! Files to hash, handed from one thread that finds them to several that read them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use strongroom_digest::{Digest, Pages, Set, hash_many};

use super::hash::{SPLIT_BYTES_MIN, split, together};
use crate::problem::Problem;
use crate::tar::State;
use crate::{Error, Progress};

/// A batch is handed on when it holds so many files,
const BATCH_FILES_MAX: usize = 64;

/// or so many bytes.
const BATCH_BYTES_MAX: u64 = 1024 * 1024;

/// Batches that wait, at most, on either side.
const BATCHES_MAX: usize = 16;

/// A file smaller than this is read by one call, and hashed together with others. In bytes.
const SMALL_BYTES: u64 = 256 * 1024;
/// Multiples at which files begin in memory: none lies a few bytes from its place in a page (see [`Pages`]).
const APART_BYTES: usize = 64;

/// As many threads as the machine has processors, or as were asked for.
pub(crate) fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// A file to hash.
pub(crate) struct Job {
    pub(crate) path: Vec<u8>,
    pub(crate) place: Place,
    pub(crate) size: u64,
    pub(crate) wanted: Set,
}

/// Where its bytes are.
pub(crate) enum Place {
    /// In a folder, under its path; a link may be followed as long as it stays inside.
    Open { link: bool },
    /// In a tar, from this byte.
    Range(u64),
    /// In a tar, with holes: a reader must begin at its header.
    Sparse(State),
    /// In memory, from this byte.
    Memory(Arc<Vec<u8>>, usize),
}

/// A file that is done.
pub(crate) struct Done {
    pub(crate) path: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) outcome: Outcome,
}

/// What came of it.
pub(crate) enum Outcome {
    /// Its digests.
    Hashed(Vec<Digest>),
    /// It is there, and this is wrong with it; it could not be read if the flag says so.
    Wrong(Problem, bool),
    /// This is to be told; the file itself does not count.
    Noted(Problem, bool),
}

/// Reads a file's bytes from where they are.
pub(crate) trait Open: Sync {
    /// Something that reads the job's bytes; it may read beyond their end, which is then a change.
    fn open<'a>(&'a self, job: &'a Job) -> io::Result<Box<dyn io::Read + 'a>>;
}

/// The finder's end of the line.
pub(crate) struct Finder<'a> {
    jobs: SyncSender<Vec<Job>>,
    results: SyncSender<Vec<Done>>,
    stop: &'a AtomicBool,
    batch: Vec<Job>,
    batch_bytes: u64,
}

impl Finder<'_> {
    /// Adds a file. `false` when nobody wants more.
    pub(crate) fn push(&mut self, job: Job) -> bool {
        self.batch_bytes += job.size;
        self.batch.push(job);
        if self.batch.len() >= BATCH_FILES_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
            return self.flush();
        }
        !self.stopped()
    }

    /// Hands on what is gathered.
    pub(crate) fn flush(&mut self) -> bool {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        (batch.is_empty() || self.jobs.send(batch).is_ok()) && !self.stopped()
    }

    /// Tells of a file that needs no reading, or was read already.
    pub(crate) fn tell(&self, done: Done) -> bool {
        self.results.send(vec![done]).is_ok() && !self.stopped()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs a finder and hashing threads, and gives what they find to `each`, until that says no.
///
/// # Errors
/// The finder's.
pub(crate) fn run<O: Open>(
    place: &O,
    threads: usize,
    progress: &dyn Progress,
    find: impl FnOnce(&mut Finder<'_>) -> Result<(), Error> + Send,
    mut each: impl FnMut(Done) -> bool,
) -> Result<(), Error> {
    let (job_sender, job_receiver) = sync_channel(BATCHES_MAX);
    let (result_sender, results) = sync_channel::<Vec<Done>>(BATCHES_MAX);
    let job_receiver = Mutex::new(job_receiver);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (results, jobs, stop) = (result_sender.clone(), &job_receiver, &stop);
            scope.spawn(move || worker(jobs, &results, stop, place, progress));
        }
        let stop = &stop;
        let finder = scope.spawn(move || {
            let mut finder = Finder {
                jobs: job_sender,
                results: result_sender,
                stop,
                batch: Vec::new(),
                batch_bytes: 0,
            };
            let outcome = find(&mut finder);
            finder.flush();
            outcome
        });
        // After a no, the rest is taken and thrown away, so that nobody waits for room.
        for done in results.iter().flatten() {
            if !stop.load(Ordering::Relaxed) && !each(done) {
                stop.store(true, Ordering::Relaxed);
            }
        }
        finder.join().expect("finding does not panic")
    })
}

fn worker(
    jobs: &Mutex<Receiver<Vec<Job>>>,
    results: &SyncSender<Vec<Done>>,
    stop: &AtomicBool,
    place: &impl Open,
    progress: &dyn Progress,
) {
    let mut buffer = Pages::default();
    loop {
        let batch = jobs.lock().expect("no thread panics with the lock").recv();
        let Ok(batch) = batch else { return };
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        let files = batch.len() as u64;
        let done = do_batch(batch, place, &mut buffer, progress);
        progress.files(files);
        if results.send(done).is_err() {
            return;
        }
    }
}

/// What was read of a job.
enum Read<'a> {
    Bytes(&'a [u8]),
    Hashed(u64, Vec<Digest>),
    Failed(io::Error),
}

/// Reads the small files of a batch, then hashes them together: many at once are faster than one after
/// another. Larger files go their own way.
fn do_batch(
    batch: Vec<Job>,
    place: &impl Open,
    buffer: &mut Pages,
    progress: &dyn Progress,
) -> Vec<Done> {
    let is_small = |job: &Job| job.size < SMALL_BYTES;
    // One byte more for each file: who can fill it knows that the file has grown.
    let room_of = |job: &Job| (job.size as usize + 1).next_multiple_of(APART_BYTES);
    let room: usize = batch.iter().filter(|job| is_small(job)).map(room_of).sum();
    if buffer.len() < room {
        *buffer = Pages::new(room);
    }
    let mut free: &mut [u8] = buffer;
    let read: Vec<Read<'_>> = batch
        .iter()
        .map(|job| match &job.place {
            Place::Memory(bytes, from) => Read::Bytes(&bytes[*from..][..job.size as usize]),
            _ if is_small(job) => {
                let (room, rest) = std::mem::take(&mut free).split_at_mut(room_of(job));
                let room = &mut room[..job.size as usize + 1];
                free = rest;
                match read_small(job, place, room) {
                    Ok(n) => Read::Bytes(&room[..n]),
                    Err(error) => Read::Failed(error),
                }
            }
            _ => match hash_large(job, place, progress) {
                Ok((size, digests)) => Read::Hashed(size, digests),
                Err(error) => Read::Failed(error),
            },
        })
        .collect();
    let small: u64 =
        read.iter().map(|r| if let Read::Bytes(b) = r { b.len() as u64 } else { 0 }).sum();
    progress.bytes(small);

    let mut digests: Vec<Vec<Digest>> =
        batch.iter().map(|job| Vec::with_capacity(job.wanted.len())).collect();
    let wanted: Set = batch.iter().flat_map(|job| job.wanted.iter()).collect();
    for algorithm in wanted.iter() {
        let chosen: Vec<(usize, &[u8])> = read
            .iter()
            .enumerate()
            .filter(|(at, _)| batch[*at].wanted.contains(algorithm))
            .filter_map(
                |(at, read)| if let Read::Bytes(bytes) = read { Some((at, *bytes)) } else { None },
            )
            .collect();
        let inputs: Vec<&[u8]> = chosen.iter().map(|(_, bytes)| *bytes).collect();
        let mut found = Vec::with_capacity(inputs.len());
        hash_many(algorithm, &inputs, &mut found);
        for ((at, _), digest) in chosen.iter().zip(found) {
            digests[*at].push(digest);
        }
    }
    let outcomes: Vec<Outcome> = batch
        .iter()
        .zip(read)
        .zip(digests)
        .map(|((job, read), digests)| match read {
            Read::Bytes(bytes) => outcome(job, bytes.len() as u64, digests),
            Read::Hashed(size, digests) => outcome(job, size, digests),
            Read::Failed(error) => {
                let detail = format!("cannot be read: {error}");
                Outcome::Wrong(Problem::error("unreadable", job.path.clone(), detail), true)
            }
        })
        .collect();
    let done = |(job, outcome): (Job, Outcome)| Done { path: job.path, size: job.size, outcome };
    batch.into_iter().zip(outcomes).map(done).collect()
}

fn outcome(job: &Job, found: u64, digests: Vec<Digest>) -> Outcome {
    if found == job.size {
        return Outcome::Hashed(digests);
    }
    let detail = format!("changed while it was read: {} bytes, then {found}", job.size);
    Outcome::Wrong(Problem::error("changed-while-read", job.path.clone(), detail), false)
}

/// Reads a file that should fill all but the last byte of `room`.
fn read_small(job: &Job, place: &impl Open, room: &mut [u8]) -> io::Result<usize> {
    let mut input = place.open(job)?;
    let mut read = |out: &mut [u8]| crate::source::fill_once(&mut input, out);
    // A file gives all it has at once, and a short answer is its end.
    let n = read(room)?;
    if (n as u64) < job.size { Ok(n + rest(&mut read, &mut room[n..])?) } else { Ok(n) }
}

fn hash_large(
    job: &Job,
    place: &impl Open,
    progress: &dyn Progress,
) -> io::Result<(u64, Vec<Digest>)> {
    let mut input = place.open(job)?;
    let read = |out: &mut [u8]| crate::source::fill_once(&mut input, out);
    if job.size < SPLIT_BYTES_MIN {
        let mut buffer = Pages::new(SMALL_BYTES as usize);
        together(read, job.wanted, &mut buffer, |n| progress.bytes(n))
    } else {
        split(read, job.wanted, |n| progress.bytes(n))
    }
}

/// Reads on to the end, or as far as there is room.
fn rest(
    read: &mut impl FnMut(&mut [u8]) -> io::Result<usize>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..])? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
