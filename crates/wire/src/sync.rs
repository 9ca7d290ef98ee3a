//! Locks and atomics: the standard library's, or those of shuttle, under which threads take turns in one order after the other
//! (`schedules`).

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
