//! Damage on purpose, for the demo: flips bits in the payload of a shelf's frames, and deletes shards.

use crate::errors::Failure;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strongroom_spool::{Found, HEAD_BYTES, OsDisk, ScanOptions, Spool};

/// Bits that are flipped at most, each in a frame of its own.
const FLIPS_MAX: usize = 5;

/// What was done to a shelf.
pub(crate) struct Done {
    /// One sentence for each.
    pub(crate) told: Vec<String>,
}

/// Flips a bit in several frames of the logs in `logs`, and deletes what it can without taking the
/// flipped ones too: a whole log where there are several, else the end of the only one.
pub(crate) fn harm(logs: &Path) -> Result<Done, Failure> {
    let mut by_log: BTreeMap<_, Vec<Found>> = BTreeMap::new();
    let spool = Spool::open(Arc::new(OsDisk), logs, Default::default()).map_err(failed)?;
    spool
        .scan(ScanOptions::default(), &mut |frame| {
            by_log.entry(frame.location.log).or_default().push(frame);
            ControlFlow::Continue(())
        })
        .map_err(failed)?;
    let names: BTreeMap<_, _> = (spool.logs().map_err(failed)?.into_iter())
        .map(|log| (log.id, logs.join(log.name)))
        .collect();
    drop(spool);
    let mut frames: Vec<(PathBuf, Vec<Found>)> = by_log
        .into_iter()
        .filter_map(|(id, found)| Some((names.get(&id)?.clone(), found)))
        .collect();
    // The largest first: bits are flipped there, and what is smallest is deleted.
    frames.sort_by_key(|(_, found)| std::cmp::Reverse(found.len()));
    let mut told = Vec::new();
    if frames.len() > 1 {
        if let Some((path, found)) = frames.pop() {
            std::fs::remove_file(&path).map_err(|e| Failure::io(path.display(), &e))?;
            told.push(format!("removed the log {}, {} frames", path.display(), found.len()));
        }
    } else if let Some((path, found)) = frames.first_mut() {
        found.sort_by_key(|frame| frame.location.offset);
        let last = found.last().map(|frame| frame.key);
        let at = found.iter().position(|frame| Some(frame.key) == last).unwrap_or(0);
        if at > 0 {
            let offset = found[at].location.offset;
            let cut = || File::options().write(true).open(&*path)?.set_len(offset);
            cut().map_err(|e| Failure::io(path.display(), &e))?;
            told.push(format!("cut {} off after byte {offset}", path.display()));
            found.truncate(at);
        }
    }
    let all: Vec<_> = frames
        .iter()
        .flat_map(|(path, found)| found.iter().map(move |frame| (path, frame)))
        .filter(|(_, frame)| frame.location.len > 0)
        .collect();
    let step = all.len().div_ceil(FLIPS_MAX).max(1);
    for (path, frame) in all.into_iter().step_by(step) {
        let middle = frame.location.offset + HEAD_BYTES as u64 + u64::from(frame.location.len / 2);
        flip(path, middle).map_err(|e| Failure::io(path.display(), &e))?;
        told.push(format!("flipped a bit in {} at byte {middle}", path.display()));
    }
    Ok(Done { told })
}

fn flip(path: &Path, at: u64) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x10], at)?;
    file.sync_all()
}

fn failed(error: strongroom_spool::Error) -> Failure {
    Failure::internal(format_args!("the demo's shelf: {error}"))
}
