//! What goes from the reader over the check to the writer.

use crate::Error;
use std::sync::mpsc::SyncSender;
use strongroom_record::FileRecord;

/// Bytes of one run at most, and files of it.
const RUN_BYTES: usize = 1 << 20;
const RUN_FILES: usize = 256;
/// Runs between two stages at most.
pub(super) const QUEUE_RUNS: usize = 8;

/// Files, or pieces of one, and the bytes of all.
#[derive(Default)]
pub(super) struct Run {
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
}

pub(super) enum Piece {
    /// A file, of which the target has so many bytes already.
    Begin(Box<FileRecord>, u64),
    /// So many of the run's bytes.
    Bytes(usize),
    /// The state of the file's SHA-256 after the bytes before, so that it can be gone on with here.
    Mark(Vec<u8>),
    End,
}

pub(super) struct Sender {
    out: SyncSender<Run>,
    run: Run,
}

impl Sender {
    pub(super) fn new(out: SyncSender<Run>) -> Sender {
        Sender { out, run: Run::default() }
    }

    pub(super) fn piece(&mut self, piece: Piece) -> Result<(), Error> {
        self.run.pieces.push(piece);
        let full = self.run.pieces.len() >= 3 * RUN_FILES;
        if full { self.flush() } else { Ok(()) }
    }

    pub(super) fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = RUN_BYTES - self.run.bytes.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.run.bytes.extend_from_slice(now);
            match self.run.pieces.last_mut() {
                Some(Piece::Bytes(len)) => *len += now.len(),
                _ => self.run.pieces.push(Piece::Bytes(now.len())),
            }
            if self.run.bytes.len() == RUN_BYTES {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let next = Run { bytes: Vec::with_capacity(RUN_BYTES), pieces: Vec::new() };
        let full = std::mem::replace(&mut self.run, next);
        // A writer that is gone has said why itself.
        self.out.send(full).map_err(|_| Error::Interrupted)
    }
}
