//! What every backend of the registry must do. Each contract takes two handles on one registry, as
//! two processes have them; only the harness, `sqlite`, knows which backend it is.
#![allow(clippy::unwrap_used)]

mod archive;
mod deletion;
mod shelving;
mod sqlite;
mod work;
mod world;

use strongroom_record::*;
use strongroom_registry::*;
use world::*;

/// Workers spawn these: their futures must be able to move between threads.
#[test]
fn futures_can_move_between_threads() {
    fn send<F: Future + Send>(_: impl Fn(&'static Registry, &'static Lease) -> F) {}
    send(|r, lease| r.commit(lease, NOW, SECONDS, Batch::default()));
    send(|r, lease| r.give_up_stale_segments(lease));
    send(|r, lease| r.cancel(lease.work, NOW, EventDraft::new(EventKind::Cancellation)));
    send(|r, _| {
        r.set_policy(Scope::Archive, Coding::TWO_COPIES, EventDraft::new(EventKind::Policy), NOW)
    });
    send(|r, _| r.verify_chain(InstitutionId([0; 16])));
    send(|r, _| r.files(VersionId([0; 16]), 0, 1));
    send(|r, _| r.files_by_path(VersionId([0; 16]), None, b"", 1));
    send(|_, _| Registry::open(std::path::Path::new(""), Options::default()));
}
