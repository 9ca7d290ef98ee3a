//! `bench`: what this machine can do at most; figures mean something only beside these.

use super::Context;
use crate::errors::{Answer, Failure};
use clap::{Args, Subcommand};
use serde_json::json;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use strongroom_digest::limits;
use strongroom_shard::{BLOCK, Code};
use strongroom_spool::{Disk as _, OsDisk, PageBuf};

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Measure what one core does at most: hashing, coding, copying
    Limits(Limits),
}

#[derive(Args)]
pub(crate) struct Limits {
    /// How long each is measured, in milliseconds
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    each_ms: u64,
    /// Measure the disk under this folder too: 3 GiB are written there, and removed
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(cx: &Context, args: Bench) -> Result<Answer, Failure> {
    let Bench::Limits(args) = args;
    let begun = Instant::now();
    let each = Duration::from_millis(args.each_ms);
    let mut limits: Vec<_> = (limits::measure(&|| begun.elapsed(), each).into_iter())
        .map(|limit| (limit.name, limit.bytes_per_second))
        .collect();
    limits.push(("coding 10+4", coding(each)?));
    if let Some(folder) = &args.folder {
        let io = |e| Failure::io(folder.display(), &e);
        limits.extend(disk(folder).map_err(io)?);
    }
    let row = |(name, rate): (&str, f64)| {
        let cells = vec![name.to_string(), format!("{:.2} GB/s", rate / 1e9)];
        (json!({ "name": name, "bytes_per_second": rate.round() }), cells)
    };
    cx.out.table(&["on one core", "rate"], limits.into_iter().map(row))?;
    Ok(Answer::Yes)
}

/// Bytes of each file that the disk is measured with, and of the pieces that it is written in.
const DISK_BYTES: u64 = 1 << 30;
const PIECE_BYTES: u64 = 1 << 20;
/// A shelf is synced about so often, in bytes.
const SYNCED_BYTES: u64 = 64 << 20;

/// Bytes per second written to the disk and synced: as shelves are, their cached pages let go after each
/// sync; or all at once through the system's cache, as copying programs do. And read and written at
/// once, around the cache: of each as many.
fn disk(folder: &Path) -> std::io::Result<[(&'static str, f64); 3]> {
    let place = tempfile::tempdir_in(folder)?;
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|i| ((i * i) >> 7) as u8).collect();
    let write = |name: &str, as_shelves: bool| {
        let file = OsDisk.create(&place.path().join(name))?;
        for at in (0..DISK_BYTES).step_by(PIECE_BYTES as usize) {
            file.write_at(at, &[&piece])?;
            let written = at + PIECE_BYTES;
            if as_shelves && written.is_multiple_of(SYNCED_BYTES) {
                file.sync()?;
                file.forget(0, written);
            }
        }
        file.sync()
    };
    let read = |name: &str| {
        let (file, mut buf) = (OsDisk.open(&place.path().join(name))?, PageBuf::default());
        for at in (0..DISK_BYTES).step_by(PIECE_BYTES as usize) {
            file.read_around(at, PIECE_BYTES as usize, &mut buf)?;
        }
        Ok::<_, std::io::Error>(())
    };
    let rate = |begun: Instant| DISK_BYTES as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    write("shelf", true)?;
    let shelves = rate(begun);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| read("shelf"));
        let written = write("copy", true);
        let gone = || std::io::Error::other("the reader panicked");
        written.and(reading.join().unwrap_or_else(|_| Err(gone())))
    })?;
    let both = rate(begun);
    let begun = Instant::now();
    write("cached", false)?;
    Ok([
        ("disk, as shelves", shelves),
        ("disk, read + write", both),
        ("disk, as cp; sync", rate(begun)),
    ])
}

/// Bytes of data coded per second at 10+4, in blocks as segments have them, in cache.
fn coding(each: Duration) -> Result<f64, Failure> {
    const DATA: usize = 10;
    const PARITY: usize = 4;
    let code = Code::new(DATA as u8, (DATA + PARITY) as u8)
        .map_err(|e| Failure::internal(format_args!("coding: {e}")))?;
    let blocks: Vec<_> = (0..DATA).map(|i| vec![i as u8 + 1; BLOCK]).collect();
    let data: Vec<_> = blocks.iter().map(Vec::as_slice).collect();
    let mut parity = vec![vec![0; BLOCK]; PARITY];
    let mut parity: Vec<_> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    let (begun, mut rounds) = (Instant::now(), 0u64);
    while begun.elapsed() < each {
        code.encode(black_box(&data), black_box(&mut parity))
            .map_err(|e| Failure::internal(format_args!("coding: {e}")))?;
        rounds += 1;
    }
    Ok((rounds * (DATA * BLOCK) as u64) as f64 / begun.elapsed().as_secs_f64())
}
