//! Hashing one file by several algorithms.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};

use strongroom_digest::{Digest, Hasher, MultiHasher, Pages, Set};

/// A file up to this size is hashed where it was read; a larger one by a thread for each algorithm.
pub(super) const SPLIT_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// What a large file is read by, in bytes.
const CHUNK_BYTES: usize = 512 * 1024;

/// So many chunks of a large file are in memory at a time.
const CHUNKS_MAX: usize = 8;

/// Hashes what `read` gives until it gives nothing, chunk by chunk through `buffer`.
pub(super) fn together(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    wanted: Set,
    buffer: &mut [u8],
    mut progress: impl FnMut(u64),
) -> io::Result<(u64, Vec<Digest>)> {
    let mut hashers: MultiHasher = wanted.iter().collect();
    let mut size = 0;
    loop {
        match read(buffer)? {
            0 => return Ok((size, hashers.finish())),
            n => {
                hashers.update(&buffer[..n]);
                size += n as u64;
                progress(n as u64);
            }
        }
    }
}

/// The same with a thread for each algorithm.
pub(super) fn split(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    wanted: Set,
    mut progress: impl FnMut(u64),
) -> io::Result<(u64, Vec<Digest>)> {
    let (back, pool) = channel();
    for _ in 0..CHUNKS_MAX {
        back.send(Pages::new(CHUNK_BYTES)).expect("the receiver is held");
    }
    std::thread::scope(|scope| {
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for algorithm in wanted.iter() {
            let (lane, chunks) = sync_channel::<Arc<Chunk>>(CHUNKS_MAX);
            lanes.push(lane);
            threads.push(scope.spawn(move || {
                let mut hasher = Hasher::new(algorithm);
                chunks.iter().for_each(|chunk| hasher.update(&chunk.bytes[..chunk.length]));
                hasher.finish()
            }));
        }
        let mut size = 0;
        loop {
            let mut bytes = pool.recv().expect("a sender is held");
            let length = read(&mut bytes)?;
            if length == 0 {
                break;
            }
            size += length as u64;
            progress(length as u64);
            let chunk = Arc::new(Chunk { bytes, length, back: back.clone() });
            for lane in &lanes {
                lane.send(chunk.clone()).expect("a lane ends only after its sender");
            }
        }
        drop(lanes);
        let digests = threads
            .into_iter()
            .map(|thread| thread.join().expect("hashing does not panic"))
            .collect();
        Ok((size, digests))
    })
}

/// A piece of a file that several threads read; the last one gives its memory back.
struct Chunk {
    bytes: Pages,
    length: usize,
    back: Sender<Pages>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // Nobody takes it back at the end, which is no failure.
        let _ = self.back.send(std::mem::take(&mut self.bytes));
    }
}
