//! Threads for bulk data, which let everybody else go first.

/// Nice value: with as little as this, whoever has small messages to answer comes first.
const BULK_NICE: i32 = 10;
/// How long such a thread computes once it may, where nobody comes first, in nanoseconds: the longest that Linux allows. Since
/// Linux 6.12 a thread with a shorter slice that wakes up need not wait for the end of it.
const BULK_SLICE_NANOS: u64 = 100_000_000;

/// The kernel's `struct sched_attr`, first version (sched_setattr(2)).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// How long a thread computes that has little to do, and should do it soon, in nanoseconds: the shortest that Linux allows.
const QUICK_SLICE_NANOS: u64 = 100_000;

/// Makes the calling thread one for bulk data. Where the system does not allow it, bulk data are as important as anything else.
pub(crate) fn be_patient() {
    set(BULK_NICE, BULK_SLICE_NANOS);
}

/// Lets the calling thread run soon after it is woken, before those that compute for long. For the threads of a runtime in
/// which small messages are handled; the control connections' has it anyway.
pub fn be_quick() {
    set(0, QUICK_SLICE_NANOS);
}

fn set(nice: i32, slice_nanos: u64) {
    let attr = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).unwrap_or(0),
        policy: 0, // SCHED_OTHER
        flags: 0,
        nice,
        priority: 0,
        runtime: slice_nanos,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the call reads `size` bytes of a structure that lives through it; thread 0 is the calling one.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if done != 0 {
        tracing::debug!("a thread has no priority of its own");
    }
}
