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
use strongroom_spool::{Disk as _, OsDisk};

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
    /// Measure the disk under this folder too: 1 GiB is written there, and removed
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
        limits.push(("disk, as shelves", disk(folder, true).map_err(io)?));
        limits.push(("disk, as cp; sync", disk(folder, false).map_err(io)?));
    }
    let row = |(name, rate): (&str, f64)| {
        let cells = vec![name.to_string(), format!("{:.2} GB/s", rate / 1e9)];
        (json!({ "name": name, "bytes_per_second": rate.round() }), cells)
    };
    cx.out.table(&["on one core", "rate"], limits.into_iter().map(row))?;
    Ok(Answer::Yes)
}

/// Bytes written to the disk per second, synced: as shelves are, 64 MiB at a time, their cached pages
/// let go; or all at once through the system's cache, as copying programs do.
fn disk(folder: &Path, as_shelves: bool) -> std::io::Result<f64> {
    const PIECE: u64 = 1 << 20;
    const SYNCED: u64 = 64 << 20;
    const BYTES: u64 = 1 << 30;
    let place = tempfile::tempdir_in(folder)?;
    let file = OsDisk.create(&place.path().join("disk"))?;
    let piece: Vec<u8> = (0..PIECE).map(|i| ((i * i) >> 7) as u8).collect();
    let begun = Instant::now();
    for at in (0..BYTES).step_by(PIECE as usize) {
        file.write_at(at, &[&piece])?;
        let written = at + PIECE;
        if as_shelves && written.is_multiple_of(SYNCED) {
            file.sync()?;
            file.forget(0, written);
        }
    }
    file.sync()?;
    Ok(BYTES as f64 / begun.elapsed().as_secs_f64())
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
