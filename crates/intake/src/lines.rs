//! JSON Lines in segments of their own: the form of version records and journals.
//!
//! *Parts* are stored first, each beginning with a line that says what it is; the *head*, a segment of
//! one line, is stored last and lists them by id and SHA-256. Without a head nothing exists. Written as a
//! stream, and read as one.

use crate::Error;
use crate::archive::{now, random_id};
use crate::runner::Job;
use serde_json::{Value, json};
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::json::canonical;
use strongroom_record::{SegmentId, SegmentKind, Sha256, VersionId};
use strongroom_registry::{Batch, DurableSegment, NewSegment};
use strongroom_vault::{Put, PutSpec, Stored};

/// Plaintext of one part at most.
const PART_BYTES: u64 = 32 << 20;
/// A line is never longer; what needs more goes on in further lines.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// A text of lines, being stored under a lease.
pub(crate) struct Lines<'a> {
    job: &'a Job<'a>,
    kind: SegmentKind,
    version: Option<VersionId>,
    part: &'static str,
    /// What each segment says of itself in its first line.
    about: Value,
    put: Option<Put>,
    hasher: Option<Hasher>,
    stored: Vec<(SegmentId, Sha256)>,
}

impl<'a> Lines<'a> {
    /// Begins one; `part` is what its parts say they are.
    pub(crate) fn new(
        job: &'a Job<'a>,
        kind: SegmentKind,
        version: Option<VersionId>,
        part: &'static str,
        about: Value,
    ) -> Lines<'a> {
        Lines { job, kind, version, part, about, put: None, hasher: None, stored: Vec::new() }
    }

    /// One more line.
    pub(crate) fn line(&mut self, value: &Value) -> Result<(), Error> {
        let text = line_of(value)?;
        if self.put.as_ref().is_some_and(|put| put.bytes() + text.len() as u64 > PART_BYTES) {
            self.end()?;
        }
        if self.put.is_none() {
            let mut first = self.about.clone();
            first["strongroom"] = self.part.into();
            first["part"] = self.stored.len().into();
            self.put = Some(self.begin()?);
            self.hasher = Some(Hasher::new(Algorithm::Sha256));
            let first = line_of(&first)?;
            self.push(&first)?;
        }
        self.push(&text)
    }

    fn push(&mut self, text: &[u8]) -> Result<(), Error> {
        if let (Some(put), Some(hasher)) = (&mut self.put, &mut self.hasher) {
            hasher.update(text);
            put.push(text)?;
        }
        Ok(())
    }

    /// Ends the text: stores its head, with what `more` adds to it; the head's segment and SHA-256.
    pub(crate) fn finish(
        mut self,
        head: &'static str,
        more: impl FnOnce(&mut Value),
    ) -> Result<(SegmentId, Sha256), Error> {
        self.end()?;
        let listed: Vec<_> = self.stored.iter().map(|(id, sha256)| json!([id, sha256])).collect();
        let mut about = self.about.clone();
        about["strongroom"] = head.into();
        about["parts"] = listed.into();
        about["hash"] = "sha256".into();
        more(&mut about);
        self.whole(&line_of(&about)?)
    }

    /// Ends the present part.
    fn end(&mut self) -> Result<(), Error> {
        let (Some(put), Some(hasher)) = (self.put.take(), self.hasher.take()) else {
            return Ok(());
        };
        let sha256 = Sha256::from_slice(hasher.finish().as_bytes())?;
        let id = self.commit(put)?;
        self.stored.push((id, sha256));
        Ok(())
    }

    /// A segment of one text.
    fn whole(&mut self, text: &[u8]) -> Result<(SegmentId, Sha256), Error> {
        let mut put = self.begin()?;
        put.push(text)?;
        Ok((self.commit(put)?, Sha256::of(text)))
    }

    fn begin(&self) -> Result<Put, Error> {
        let (job, archive) = (self.job, self.job.archive);
        let institution = job.item.institution;
        let registry = archive.registry();
        let (generation, seal_to) = archive.seal_to(institution)?;
        let object = self.version.and(job.item.object);
        let coding = archive.block_on(registry.coding_for(object, institution))?;
        let number = archive.block_on(registry.next_coding_number())?;
        let segment = SegmentId(random_id());
        let begin = NewSegment {
            id: segment,
            version: self.version,
            object,
            institution,
            kind: self.kind,
            generation,
            coding,
            number,
        };
        job.commit(Batch { begin_segments: vec![begin], ..Batch::default() })?;
        let accept_degraded =
            job.item.request.get("accept_degraded").and_then(Value::as_bool).unwrap_or(false);
        Ok(archive.vault().put(PutSpec {
            segment,
            kind: self.kind,
            institution,
            generation,
            seal_to,
            coding,
            number,
            accept_degraded,
        }))
    }

    fn commit(&self, put: Put) -> Result<SegmentId, Error> {
        let writer = self.job.archive.writer(self.job.item.institution)?;
        let Stored { segment, bytes, coding, number, placements } = put.finish(&writer, now())?;
        let durable = DurableSegment { id: segment, bytes, coding, number, placements };
        if self.kind == SegmentKind::Record {
            fail::fail_point!("deposit.record-part-synced");
        }
        self.job.commit(Batch { durable: vec![durable], ..Batch::default() })?;
        Ok(segment)
    }
}

fn line_of(value: &Value) -> Result<Vec<u8>, Error> {
    let mut text = canonical(value)?;
    text.push(b'\n');
    match text.len() <= LINE_BYTES_MAX {
        true => Ok(text),
        false => Err(Error::Internal(format!("a line of {} bytes", text.len()))),
    }
}
