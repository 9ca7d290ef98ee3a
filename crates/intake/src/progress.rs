//! What long work tells of itself.

use strongroom_record::{Stage, WorkKind};

/// Told of progress, from several threads. A terminal draws it; a library knows no terminal.
pub trait Progress: Send + Sync {
    /// Work of this kind on this object begins, or goes on, with a stage.
    fn stage(&self, _kind: WorkKind, _what: &str, _stage: Stage) {}
    /// What there is to do in this stage, as far as known.
    fn total(&self, _files: u64, _bytes: u64) {}
    /// What more is done.
    fn done(&self, _files: u64, _bytes: u64) {}
    /// Something that a person should know, though work goes on.
    fn warn(&self, _message: &str) {}
}

/// Tells nobody.
impl Progress for () {}
