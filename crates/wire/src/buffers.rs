//! Memory that goes round. For what is read and written at once: borrowed while something happens on a connection, so that a
//! thousand quiet ones hold next to nothing. And for large messages: memory that the system has given once is twice as fast
//! as memory that it has to give.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::lane::CHUNK_BYTES;
use crate::tls::{RECORD_BYTES_MAX, RECORD_PLAIN_MAX, sealed_bytes};

/// Bytes that are asked of the system at once on a busy connection.
const READ_BYTES: usize = 256 * 1024;
/// The same on a quiet one.
pub(crate) const READ_BYTES_MIN: usize = 4096;
/// Bytes that are sealed and handed to the system at once: a chunk with its records' overhead, and as much of small
/// messages beside it.
pub(crate) const WRITE_BYTES: usize = sealed_bytes(CHUNK_BYTES as usize) + 4 * RECORD_BYTES_MAX;
/// Buffers of each kind that are kept for whoever needs one next.
const KEPT: usize = 16;

/// What a connection reads into.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
}

static READ: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static WRITE: Mutex<Vec<WriteBuffer>> = Mutex::new(Vec::new());

impl Buffer {
    /// A small one that begins with `bytes`.
    pub(crate) fn small(mut bytes: Vec<u8>) -> Buffer {
        bytes.resize(bytes.len().max(READ_BYTES_MIN), 0);
        Buffer { bytes }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Takes the size that is worth it: `filled` when what came filled it, `quiet` when little came and all of it was used.
    /// Keeps the first `end` bytes.
    pub(crate) fn fit(&mut self, filled: bool, quiet: bool, end: usize) {
        let large = self.bytes.len() >= READ_BYTES;
        let next = match large {
            false if filled => {
                let kept = READ.lock().unwrap_or_else(PoisonError::into_inner).pop();
                kept.unwrap_or_else(|| vec![0; READ_BYTES])
            }
            true if quiet => vec![0; READ_BYTES_MIN],
            _ => return,
        };
        let before = std::mem::replace(&mut self.bytes, next);
        self.bytes[..end].copy_from_slice(&before[..end]);
        give_back(before);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.bytes));
    }
}

fn give_back(bytes: Vec<u8>) {
    let mut kept = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if bytes.len() == READ_BYTES && kept.len() < KEPT {
        kept.push(bytes);
    }
}

/// What is sealed before it is written, and the plaintext that waits to fill a record.
pub(crate) struct WriteBuffer {
    pub(crate) out: Vec<u8>,
    pub(crate) plain: Vec<u8>,
}

impl WriteBuffer {
    pub(crate) fn take() -> WriteBuffer {
        let kept = WRITE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| WriteBuffer {
            out: vec![0; WRITE_BYTES],
            plain: Vec::with_capacity(RECORD_PLAIN_MAX),
        })
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        let (out, mut plain) = (std::mem::take(&mut self.out), std::mem::take(&mut self.plain));
        plain.clear();
        let mut kept = WRITE.lock().unwrap_or_else(PoisonError::into_inner);
        if out.len() == WRITE_BYTES && kept.len() < KEPT {
            kept.push(WriteBuffer { out, plain });
        }
    }
}

/// Memory that is kept for large messages to come, of all lanes.
const MESSAGES_KEPT_BYTES: usize = 256 << 20;
/// Bytes of a huge page, on the machines that we know.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Messages below this take memory from the allocator.
const MESSAGE_KEPT_BYTES_MIN: usize = 64 * 1024;

static MESSAGES: Mutex<(VecDeque<Vec<u8>>, usize)> = Mutex::new((VecDeque::new(), 0));

/// Memory for a message of `total` bytes, with a byte more than it has; what it holds is of no matter.
pub(crate) fn of_message(total: u64) -> Vec<u8> {
    let wanted = usize::try_from(total).unwrap_or(usize::MAX).saturating_add(1);
    if wanted >= MESSAGE_KEPT_BYTES_MIN {
        let mut kept = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| buffer.len() >= wanted && buffer.len() / 2 <= wanted;
        if let Some(buffer) = kept.0.iter().rposition(fits).and_then(|at| kept.0.remove(at)) {
            kept.1 -= buffer.len();
            return buffer;
        }
    }
    fresh(wanted)
}

/// Memory that is new to the process, in huge pages where the system has them: it is quicker to give them, and to find them.
fn fresh(bytes: usize) -> Vec<u8> {
    let buffer = vec![0; bytes];
    #[cfg(target_os = "linux")]
    if bytes >= HUGE_PAGE_BYTES {
        // Nothing of it was written to, most often, and so nothing of it is there yet.
        let begin = buffer.as_ptr().addr().next_multiple_of(HUGE_PAGE_BYTES);
        let end = buffer.as_ptr().addr() + buffer.len();
        let length = end.saturating_sub(begin);
        let begin = std::ptr::without_provenance_mut::<libc::c_void>(begin);
        // SAFETY: the range lies within memory that is ours, and the advice changes nothing of what it holds.
        unsafe { libc::madvise(begin, length, libc::MADV_HUGEPAGE) };
    }
    buffer
}

/// Keeps memory of a message that nobody needs any more, and lets go of the oldest where there is too much.
pub(crate) fn recycle(buffer: Vec<u8>) {
    if buffer.len() < MESSAGE_KEPT_BYTES_MIN {
        return;
    }
    let mut too_much = Vec::new();
    let mut kept = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    kept.1 += buffer.len();
    kept.0.push_back(buffer);
    while kept.1 > MESSAGES_KEPT_BYTES
        && let Some(oldest) = kept.0.pop_front()
    {
        kept.1 -= oldest.len();
        too_much.push(oldest);
    }
    // To give memory back takes long: not under the lock.
    drop(kept);
}

/// Room for one opened record; each thread keeps one.
pub(crate) struct Scratch(Vec<u8>);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    pub(crate) fn take() -> Scratch {
        let mut bytes = SCRATCH.with(RefCell::take);
        bytes.resize(RECORD_BYTES_MAX, 0);
        Scratch(bytes)
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.with(|kept| kept.replace(std::mem::take(&mut self.0)));
    }
}
