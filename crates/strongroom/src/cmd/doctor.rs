//! `doctor`: what stands in the way of good work, each with what to do. It changes nothing.

use super::Context;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::Args;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use strongroom_intake::Archive;
use strongroom_serve::view::{device, on_one_disk};

#[derive(Args)]
pub(crate) struct Doctor {}

/// Less room than this is worth a warning, in bytes.
const ROOM_BYTES_LOW: u64 = 1 << 30;
/// No clock is right that shows an earlier time: 2026-01-01, in seconds.
const CLOCK_EARLIEST_SECONDS: u64 = 1_767_225_600;

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Well,
    Warning,
    Bad,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Well => "ok",
            Verdict::Warning => "warning",
            Verdict::Bad => "bad",
        }
    }
}

struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
}

pub(crate) fn run(cx: &Context, _: Doctor) -> Result<Answer, Failure> {
    let data = cx.settings.data()?;
    let mut checks = vec![clock(), folder(data), room("room in the data folder", data)];
    match data.exists() {
        false => checks.push(check(
            "archive",
            Verdict::Warning,
            "there is none yet; `strongroom deposit PATH` makes one",
        )),
        true => match cx.open() {
            Err(failure) => checks.push(check(
                "archive",
                Verdict::Bad,
                format!("{}. {}", failure.message, failure.hint),
            )),
            Ok(archive) => of_archive(&archive, &mut checks)?,
        },
    }
    let well = checks.iter().all(|check| check.verdict != Verdict::Bad);
    let row = |check: Check| {
        let verdict = check.verdict.word();
        let json = json!({ "check": check.what, "verdict": verdict, "found": check.found });
        (json, vec![verdict.into(), check.what.into(), check.found])
    };
    cx.out.table(&["verdict", "check", "found"], checks.into_iter().map(row))?;
    Ok(Answer::of(well))
}

fn of_archive(archive: &Archive, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let status = archive.block_on(archive.registry().status());
    checks.push(match status {
        Ok(status) => check("registry", Verdict::Well, output::count(status.objects, "object")),
        Err(error) => check("registry", Verdict::Bad, error.to_string()),
    });
    checks.push(key(archive.key_path()));
    for shelf in archive.vault().shelves() {
        let path = &shelf.spec().path;
        let mut found = room("shelf", path);
        let (name, device) = (&shelf.spec().name, device(path).unwrap_or_default());
        found.found = format!("{name} on disk {device}: {}", found.found);
        checks.push(found);
    }
    for missing in archive.vault().missing() {
        let found = format!("{} is missing: {}", missing.spec.name, missing.why);
        checks.push(check("shelf", Verdict::Bad, found));
    }
    if on_one_disk(archive) {
        let found = "all are on one disk; `strongroom shelf add` adds one on another";
        checks.push(check("shelves", Verdict::Warning, found));
    }
    Ok(())
}

fn check(what: &'static str, verdict: Verdict, found: impl Into<String>) -> Check {
    Check { what, verdict, found: found.into() }
}

fn clock() -> Check {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    match seconds >= CLOCK_EARLIEST_SECONDS {
        true => check("clock", Verdict::Well, "plausible"),
        false => check("clock", Verdict::Bad, "it is wrong: events would bear false times; set it"),
    }
}

/// The data folder, or where it would be made.
fn folder(data: &Path) -> Check {
    let what = "data folder";
    let there = data.ancestors().find(|above| above.exists()).unwrap_or(data);
    if !there.is_dir() {
        return check(what, Verdict::Bad, format!("{} is no folder", there.display()));
    }
    match rustix::fs::access(there, rustix::fs::Access::WRITE_OK) {
        Ok(()) => check(what, Verdict::Well, data.display().to_string()),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", there.display());
            check(what, Verdict::Bad, found)
        }
    }
}

fn room(what: &'static str, path: &Path) -> Check {
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(path);
    match rustix::fs::statvfs(there) {
        Err(error) => check(what, Verdict::Bad, format!("{}: {error}", there.display())),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let verdict = if free < ROOM_BYTES_LOW { Verdict::Warning } else { Verdict::Well };
            check(what, verdict, format!("{} free", output::bytes(free)))
        }
    }
}

fn key(path: &Path) -> Check {
    let what = "key";
    let name = path.display();
    match std::fs::metadata(path) {
        Err(error) => check(what, Verdict::Bad, format!("{name}: {error}; put a copy of it back")),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            check(what, Verdict::Bad, format!("others may read it: chmod 600 {name}"))
        }
        Ok(_) => check(what, Verdict::Well, format!("{name}; keep a copy elsewhere")),
    }
}
