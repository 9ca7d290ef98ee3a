//! What the kill campaign (tests/kills.rs) asks of this process: to note how far its work is, to die at a
//! named moment, to have a bug. Not in a program as it is released (feature `failpoints`).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use strongroom_intake::{FAIL_POINTS, KEY_FAIL_POINTS};

/// The file in which the moment that was passed last is noted.
const WATCH: &str = "STRONGROOM_CAMPAIGN_WATCH";
/// Where to die: `MOMENT:N`, the N-th time that it is passed.
const DIE: &str = "STRONGROOM_CAMPAIGN_DIE";
/// The bug that the campaign must find.
const PLANT: &str = "STRONGROOM_CAMPAIGN_PLANT";

pub(crate) fn begin() {
    let Some(path) = std::env::var_os(WATCH) else { return };
    let watch = Arc::new(File::create(path).expect("the campaign's file can be made"));
    let die = std::env::var(DIE).unwrap_or_default();
    let (die, nth) = die.rsplit_once(':').unwrap_or(("", "1"));
    let nth: u32 = nth.parse().expect("a number");
    for moment in FAIL_POINTS.iter().chain(KEY_FAIL_POINTS).copied().chain(["deposit.planted"]) {
        let (watch, dies, passed) = (watch.clone(), moment == die, AtomicU32::new(0));
        let pass = move || {
            watch.write_all_at(format!("{moment:<40}").as_bytes(), 0).expect("it is noted");
            if dies && passed.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                let this = rustix::process::getpid();
                let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
                // The signal may reach another thread first.
                loop {
                    std::thread::park();
                }
            }
        };
        fail::cfg_callback(moment, pass).expect("a moment of work");
    }
    if let Ok(bug) = std::env::var(PLANT) {
        fail::cfg(bug, "return").expect("the planted bug");
    }
}
