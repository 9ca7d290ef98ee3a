//! Files to hash, handed from one thread that finds them to several that read them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use strongroom_digest::{Digest, Set, hash};

use super::Options;
use super::hash::{SPLIT_BYTES_MIN, split, together};
use crate::problem::Problem;
use crate::rules::{Checker, Facts};
use crate::tar::State;
use crate::{Error, Progress};

/// A batch is handed on when it holds so many files,
const BATCH_FILES_MAX: usize = 64;

/// or so many bytes.
const BATCH_BYTES_MAX: u64 = 1024 * 1024;

/// Batches that wait, at most, on either side.
const BATCHES_MAX: usize = 16;

/// What a file is read by, in bytes. A file that fits is read by one call.
const BUFFER_BYTES: usize = 256 * 1024;

/// What holds for a whole validation.
pub(super) struct Run<'a> {
    pub(super) facts: &'a Facts,
    pub(super) options: &'a Options,
    pub(super) progress: &'a dyn Progress,
    pub(super) threads: usize,
}

/// A file to hash.
pub(super) struct Job {
    pub(super) path: Vec<u8>,
    pub(super) place: Place,
    pub(super) size: u64,
    pub(super) wanted: Set,
}

/// Where its bytes are.
pub(super) enum Place {
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
pub(super) struct Done {
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    pub(super) outcome: Outcome,
}

/// What came of it.
pub(super) enum Outcome {
    /// Its digests.
    Hashed(Vec<Digest>),
    /// It is there, and this is wrong with it; it could not be read if the flag says so.
    Wrong(Problem, bool),
    /// This is to be told; the file itself does not count.
    Noted(Problem, bool),
}

/// Reads a file's bytes from where they are.
pub(super) trait Open: Sync {
    /// Something that reads the job's bytes; it may read beyond their end, which is then a change.
    fn open<'a>(&'a self, job: &'a Job) -> io::Result<Box<dyn io::Read + 'a>>;
}

/// The finder's end of the line.
pub(super) struct Finder<'a> {
    jobs: SyncSender<Vec<Job>>,
    results: SyncSender<Vec<Done>>,
    stop: &'a AtomicBool,
    batch: Vec<Job>,
    batch_bytes: u64,
}

impl Finder<'_> {
    /// Adds a file. `false` when nobody wants more.
    pub(super) fn push(&mut self, job: Job) -> bool {
        self.batch_bytes += job.size;
        self.batch.push(job);
        if self.batch.len() >= BATCH_FILES_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
            return self.flush();
        }
        !self.stopped()
    }

    /// Hands on what is gathered.
    pub(super) fn flush(&mut self) -> bool {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        (batch.is_empty() || self.jobs.send(batch).is_ok()) && !self.stopped()
    }

    /// Tells of a file that needs no reading, or was read already.
    pub(super) fn tell(&self, done: Done) -> bool {
        self.results.send(vec![done]).is_ok() && !self.stopped()
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs a finder and hashing threads, and feeds what they find to the checker (and to `also`). Says
/// whether something could not be read.
pub(super) fn run<'env, O: Open>(
    run: &Run<'env>,
    place: &O,
    checker: &mut Checker<'_>,
    find: impl FnOnce(&mut Finder<'_>) -> Result<(), Error> + Send,
    mut also: impl FnMut(&Done),
) -> Result<bool, Error> {
    let (job_sender, job_receiver) = sync_channel(BATCHES_MAX);
    let (result_sender, results) = sync_channel::<Vec<Done>>(BATCHES_MAX);
    let job_receiver = Mutex::new(job_receiver);
    let stop = AtomicBool::new(false);
    let progress = run.progress;
    std::thread::scope(|scope| {
        for _ in 0..run.threads {
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
        let mut undecided = false;
        for batch in &results {
            for done in batch {
                also(&done);
                match done.outcome {
                    Outcome::Hashed(digests) => checker.feed(&done.path, done.size, &digests),
                    Outcome::Wrong(problem, unreadable) => {
                        undecided |= unreadable;
                        checker.present(&done.path);
                        checker.note(problem);
                    }
                    Outcome::Noted(problem, unreadable) => {
                        undecided |= unreadable;
                        checker.note(problem);
                    }
                }
            }
            if !run.options.all_errors && checker.has_errors() {
                stop.store(true, Ordering::Relaxed);
            }
        }
        finder.join().expect("finding does not panic")?;
        Ok(undecided)
    })
}

fn worker(
    jobs: &Mutex<Receiver<Vec<Job>>>,
    results: &SyncSender<Vec<Done>>,
    stop: &AtomicBool,
    place: &impl Open,
    progress: &dyn Progress,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let batch = jobs.lock().expect("no thread panics with the lock").recv();
        let Ok(batch) = batch else { return };
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        let files = batch.len() as u64;
        let done = batch.into_iter().map(|job| do_job(job, place, &mut buffer, progress)).collect();
        progress.files(files);
        if results.send(done).is_err() {
            return;
        }
    }
}

fn do_job(job: Job, place: &impl Open, buffer: &mut [u8], progress: &dyn Progress) -> Done {
    let hashed = hash_job(&job, place, buffer, progress);
    let size = job.size;
    let wrong = |code, detail: String, unreadable| {
        Outcome::Wrong(Problem::error(code, job.path.clone(), detail), unreadable)
    };
    let outcome = match hashed {
        Ok((found, _)) if found != size => {
            let detail = format!("changed while it was read: {size} bytes, then {found}");
            wrong("changed-while-read", detail, false)
        }
        Ok((_, digests)) => Outcome::Hashed(digests),
        Err(error) => wrong("unreadable", format!("cannot be read: {error}"), true),
    };
    Done { path: job.path, size, outcome }
}

fn hash_job(
    job: &Job,
    place: &impl Open,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> io::Result<(u64, Vec<Digest>)> {
    if let Place::Memory(bytes, from) = &job.place {
        let bytes = &bytes[*from..][..job.size as usize];
        progress.bytes(job.size);
        return Ok((job.size, job.wanted.iter().map(|a| hash(a, bytes)).collect()));
    }
    let mut input = place.open(job)?;
    let mut read = |out: &mut [u8]| crate::source::fill_once(&mut input, out);
    if job.size < buffer.len() as u64 {
        // One byte more is asked for than there should be: a short answer is the end of the file.
        let n = read(&mut buffer[..job.size as usize + 1])?;
        let n = if (n as u64) < job.size { n + rest(&mut read, &mut buffer[n..])? } else { n };
        progress.bytes(n as u64);
        let bytes = &buffer[..n];
        return Ok((n as u64, job.wanted.iter().map(|a| hash(a, bytes)).collect()));
    }
    if job.size < SPLIT_BYTES_MIN {
        together(read, job.wanted, buffer, |n| progress.bytes(n))
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
