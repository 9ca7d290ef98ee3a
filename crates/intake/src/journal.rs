//! Journals. This page stands in for them: it keeps the contract that deletion is written against, and
//! stores nothing yet.

use crate::Error;
use crate::archive::random_id;
use crate::runner::Job;
use strongroom_record::InstitutionId;

/// Stores a journal of the institution as durably as a version; in its commit, all tombstones that it
/// carries are told.
pub(crate) fn keep(job: &Job<'_>, institution: InstitutionId) -> Result<(), Error> {
    let told = job.archive.registry().tombstones_told(institution, random_id());
    Ok(job.archive.block_on(told)?)
}
