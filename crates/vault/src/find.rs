//! What stands on a shelf, found from its logs alone: for whoever lost the registry, or doubts it.

use crate::check::{proof_of, whole};
use crate::store::{ShardFile, encode_frames, shard_of_key};
use crate::{Error, Shelf};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use strongroom_record::{
    Coding, CodingNumber, Id as _, InstitutionId, LogId, Placement, PlacementState, SegmentId,
    SegmentKind, Time,
};
use strongroom_shard::{Certificate, Kind, Proof};
use strongroom_spool::{Found, Location, ScanOptions};

/// What a shard says of its segment, signed by a writer whom the institution certified.
#[derive(Clone, Debug)]
pub struct Described {
    /// Whose it is.
    pub institution: InstitutionId,
    /// What it holds; `None` for a kind that this program does not know.
    pub kind: Option<SegmentKind>,
    /// The generation of the key that it is sealed to.
    pub generation: u32,
    /// How this coding is spread.
    pub coding: Coding,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// Who signed this coding.
    pub certificate: Certificate,
}

/// A shard that was found.
#[derive(Clone, Debug)]
pub struct FoundShard {
    /// Where it stands; `damaged` where header or trailer is not what was signed.
    pub placement: Placement,
    /// What it says of itself, where that is signed; else why not.
    pub what: Result<Described, String>,
}

/// What a search met besides.
#[derive(Clone, Default, Debug)]
pub struct Searched {
    /// Shards that were found whole.
    pub shards: u64,
    /// Frames of the shelf's logs.
    pub frames: u64,
    /// Regions of logs that are damaged, or torn.
    pub damaged: u64,
}

/// The frames of one shard, as one writer wrote them.
#[derive(Default)]
struct Copy {
    bytes: u64,
    frames: Vec<Location>,
}

/// A segment's shard, and the writer of a copy of it.
type Which = (SegmentId, CodingNumber, u8, [u8; 16]);

impl Shelf {
    /// Visits every shard that stands on this shelf, segment by segment, with header and trailer
    /// verified. Of several copies the best is given; only to tell them apart are blocks read. `tell`
    /// hears of frames. What is given is durable, so it can be noted as standing there.
    pub fn find(
        self: &Arc<Shelf>,
        tell: &mut dyn FnMut(u64),
        visit: &mut dyn FnMut(FoundShard) -> ControlFlow<()>,
    ) -> Result<Searched, Error> {
        let spool = |source| Error::Spool { shelf: self.spec.name.clone(), source };
        self.spool.settle().map_err(spool)?;
        let logs = self.spool.logs().map_err(spool)?;
        let writers: HashMap<_, _> = logs.iter().map(|log| (log.id, log.token)).collect();
        let mut copies: BTreeMap<Which, Vec<Copy>> = BTreeMap::new();
        let report = self
            .spool
            .scan(ScanOptions::default(), &mut |frame: Found| {
                tell(1);
                let token = writers.get(&frame.location.log).copied().unwrap_or_default();
                if let Some((segment, coding, index)) = shard_of_key(&frame.key) {
                    let copies = copies.entry((segment, coding, index, token)).or_default();
                    add(copies, &frame);
                }
                ControlFlow::Continue(())
            })
            .map_err(spool)?;
        let mut searched = Searched {
            shards: 0,
            frames: report.frames,
            damaged: (report.damaged.len() + report.torn.len()) as u64 + report.not_listed,
        };
        let mut copies = copies.into_iter().peekable();
        while let Some(((segment, coding, index, _), mut of_one)) = copies.next() {
            while let Some((_, more)) =
                copies.next_if(|((s, c, i, _), _)| (*s, *c, *i) == (segment, coding, index))
            {
                of_one.extend(more);
            }
            let found = self.best(segment, coding, index, of_one);
            searched.shards += u64::from(found.what.is_ok());
            if visit(found).is_break() {
                break;
            }
        }
        Ok(searched)
    }

    /// The first copy that is what was signed, to its last byte where there are others; else the first.
    /// One that was damaged and repaired stands beside the one that was made anew.
    fn best(
        self: &Arc<Shelf>,
        segment: SegmentId,
        coding: CodingNumber,
        index: u8,
        copies: Vec<Copy>,
    ) -> FoundShard {
        let only = copies.len() == 1;
        let (mut signed, mut first) = (None, None);
        for copy in copies {
            let placement = Placement {
                segment,
                coding,
                index,
                shelf: self.spec.id,
                log: LogId(copy.frames.first().map_or([0; 16], |frame| frame.log.0)),
                frames: encode_frames(&copy.frames),
                bytes: copy.bytes,
                state: PlacementState::Good,
                checked: Time(0),
            };
            let Some(file) = ShardFile::new(self.clone(), &placement) else {
                let placement = Placement { state: PlacementState::Damaged, ..placement };
                let what = Err("its frames do not follow each other".into());
                first.get_or_insert(FoundShard { placement, what });
                continue;
            };
            let what = proof_of(&file, &placement).and_then(|proof| described(&proof));
            if what.is_ok() && (only || whole(&file, &placement, &mut |_| {}).is_ok()) {
                return FoundShard { placement, what };
            }
            let best = if what.is_ok() { &mut signed } else { &mut first };
            let placement = Placement { state: PlacementState::Damaged, ..placement };
            best.get_or_insert(FoundShard { placement, what });
        }
        signed.or(first).expect("a shard is only listed with a copy of it")
    }
}

/// A frame that begins a shard begins another copy; one that goes on where the last ended belongs to
/// it; any other is a remnant.
fn add(copies: &mut Vec<Copy>, frame: &Found) {
    if frame.first == 0 {
        copies.push(Copy::default());
    }
    if copies.is_empty() {
        copies.push(Copy::default()); // its beginning is damaged or gone
    }
    if let Some(last) = copies.last_mut()
        && (frame.first == last.bytes || last.frames.is_empty())
    {
        last.bytes += u64::from(frame.location.len);
        last.frames.push(frame.location);
    }
}

fn described(proof: &Proof) -> Result<Described, String> {
    let header = proof.header();
    Ok(Described {
        institution: InstitutionId::from_bytes(header.institution),
        kind: match header.kind {
            Kind::Data => Some(SegmentKind::Data),
            Kind::Record => Some(SegmentKind::Record),
            Kind::Journal => Some(SegmentKind::Journal),
            Kind::Keyring => Some(SegmentKind::Keyring),
            _ => None,
        },
        generation: header.generation,
        coding: Coding::new(header.k, header.n).map_err(|e| e.to_string())?,
        bytes: proof.plaintext_bytes(),
        certificate: proof.certificate().clone(),
    })
}
