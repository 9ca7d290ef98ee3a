//! Things of the archive as JSON, the same for the command line and for HTTP.

use crate::Error;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use strongroom_intake::Archive;
use strongroom_record::json::bytes::hex;
use strongroom_record::{Event, SegmentId, ShelfId, WorkItem};
use strongroom_registry::{Account, Institution, ObjectSummary, Token, Version};

/// A row of the list of objects.
pub fn object_summary(summary: &ObjectSummary) -> Value {
    let object = &summary.object;
    json!({
        "id": object.id,
        "name": object.name.to_string(),
        "versions": summary.versions,
        "latest": summary.latest.map(|(_, number)| number),
        "files": summary.files,
        "bytes": summary.bytes,
        "published": summary.published.map(|t| t.to_string()),
        "source": object.source,
    })
}

/// A version.
pub fn version(version: &Version) -> Value {
    json!({
        "id": version.id,
        "number": version.number,
        "published": version.published.map(|t| t.to_string()),
        "files": version.files,
        "bytes": version.bytes,
        "bag": version.bag,
        "source": version.source,
        "record": version.record,
        "record_sha256": version.record_sha256,
    })
}

/// Where segments stand; of those that are not there nothing.
pub fn segments(archive: &Archive, ids: &[SegmentId]) -> Result<Vec<Value>, Error> {
    let registry = archive.registry();
    let shelves: BTreeMap<ShelfId, String> = (archive.block_on(registry.shelves())?.into_iter())
        .map(|shelf| (shelf.id, shelf.name))
        .collect();
    let mut rows = Vec::new();
    for &id in ids {
        let Some(segment) = archive.block_on(registry.segment(id))? else { continue };
        let placements = archive.block_on(registry.placements(id))?;
        let shards: Vec<_> = (placements.iter())
            .map(|placement| {
                json!({
                    "index": placement.index,
                    "shelf": shelves.get(&placement.shelf).map_or("?", String::as_str),
                    "log": placement.log,
                    "bytes": placement.bytes,
                    "state": placement.state,
                    "checked": placement.checked.to_string(),
                })
            })
            .collect();
        rows.push(json!({
            "id": id,
            "kind": segment.kind,
            "bytes": segment.bytes,
            "coding": segment.coding,
            "number": segment.number.to_string(),
            "shards": shards,
        }));
    }
    Ok(rows)
}

/// An event, with its own hash as `event_hash`.
pub fn event(event: &Event) -> Value {
    let mut json = match event.to_json() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    json.insert("event_hash".into(), event.hash.to_string().into());
    json.into()
}

/// A work item.
pub fn work(item: &WorkItem) -> Value {
    // Deletions name the account alone: the registry keeps its id.
    let asker = &item.request["asked_by"];
    let asked_by = asker.as_str().or_else(|| asker["account"].as_str());
    json!({
        "id": item.id,
        "kind": item.kind,
        "institution": item.institution,
        "object": item.object,
        "key": item.key,
        "stage": item.stage,
        "status": item.status,
        "attempts": item.attempts,
        "asked_by": asked_by,
        "worker": item.worker,
        "lease_until": item.lease_until.map(|t| t.to_string()),
        "request": item.request,
        "note": item.note,
        "report": item.report,
        "created": item.created.to_string(),
        "updated": item.updated.to_string(),
    })
}

/// Counts of what there is, and how the shelves stand.
pub fn status(archive: &Archive) -> Result<Value, Error> {
    let status = archive.block_on(archive.registry().status())?;
    let key = archive.key_path();
    let words = |pairs: Vec<(&str, u64)>| -> Map<String, Value> {
        pairs.into_iter().map(|(word, n)| (word.to_string(), n.into())).collect()
    };
    let shelves = shelves(archive)?;
    let (free, disks) = free_once(&shelves);
    Ok(json!({
        "data": archive.data().to_string_lossy(),
        "key": { "path": key.to_string_lossy(), "present": key.exists() },
        "objects": status.objects,
        "versions": status.versions,
        "files": status.files,
        "bytes": status.bytes,
        "segments": words(status.segments.iter().map(|(s, n)| (s.word(), *n)).collect()),
        "shards": words(status.placements.iter().map(|(s, n)| (s.word(), *n)).collect()),
        "work": words(status.work.iter().map(|(s, n)| (s.word(), *n)).collect()),
        "pending_bytes": archive.block_on(archive.registry().pending_bytes())?,
        "paused": archive.paused()?,
        "fixity": fixity_round(archive, &shelves)?,
        "free_bytes": free,
        "disks": disks,
        "shelves": shelves,
        "shelves_on_one_disk": on_one_disk(archive),
    }))
}

/// Bytes free on the disks under the shelves, each counted once, and how many disks there are.
fn free_once(shelves: &[Value]) -> (u64, u64) {
    let on = |shelf: &Value| {
        let device = shelf["device"].as_str()?.to_owned();
        Some((device, shelf["free_bytes"].as_u64().unwrap_or(0)))
    };
    let disks: BTreeMap<_, _> = shelves.iter().filter_map(on).collect();
    (disks.values().sum(), disks.len() as u64)
}

/// How long it takes to check everything once, at the rate of the last time.
fn fixity_round(archive: &Archive, shelves: &[Value]) -> Result<Value, Error> {
    let live = |shelf: &Value| shelf["live_bytes"].as_u64().unwrap_or(0);
    let bytes: u64 = shelves.iter().map(live).sum();
    let rate = archive.fixity_rate()?;
    let oldest = archive.block_on(archive.registry().oldest_check())?;
    Ok(json!({
        "round_bytes": bytes,
        "bytes_per_second": rate,
        "round_seconds": rate.map(|rate| bytes.div_ceil(rate.max(1))),
        "oldest_check": oldest.map(|time| time.to_string()),
    }))
}

/// Every shelf: what the registry says, what is stored, what room there is, or why it is missing.
pub fn shelves(archive: &Archive) -> Result<Vec<Value>, Error> {
    let registry = archive.registry();
    let usage = archive.block_on(registry.shelf_usage())?;
    let mut rows = Vec::new();
    for shelf in archive.block_on(registry.shelves())? {
        let open = archive.vault().shelves().iter().find(|s| s.spec().id == shelf.id);
        let missing = archive.vault().missing().iter().find(|m| m.spec.id == shelf.id);
        let free = match open {
            Some(open) => Some(open.free_bytes().map_err(strongroom_intake::Error::from)?),
            None => None,
        };
        let usage = usage.iter().find(|usage| usage.shelf == shelf.id);
        rows.push(json!({
            "id": shelf.id,
            "name": shelf.name,
            "location": shelf.location,
            "domain": shelf.domain,
            "state": shelf.state.word(),
            "stored_bytes": usage.map_or(0, |u| u.live_bytes + u.pending_bytes),
            "live_bytes": usage.map(|u| u.live_bytes),
            "live_shards": usage.map(|u| u.live_shards),
            "pending_bytes": usage.map(|u| u.pending_bytes),
            "pending_shards": usage.map(|u| u.pending_shards),
            "unknown_bytes": usage.map(|u| u.unknown_bytes),
            "unknown_logs": usage.map(|u| u.unknown_logs),
            "mounted_read_only": open.map(|open| open.is_mounted_read_only()),
            "free_bytes": free,
            "capacity_bytes": shelf.capacity_bytes,
            "device": open.and_then(|open| device(&open.spec().path)),
            "missing": missing.map(|m| m.why.clone()),
        }));
    }
    Ok(rows)
}

/// Whether there are several shelves, and all that are there are on one disk.
pub fn on_one_disk(archive: &Archive) -> bool {
    let shelves = archive.vault().shelves();
    let devices: Vec<_> = shelves.iter().map(|shelf| device(&shelf.spec().path)).collect();
    devices.len() > 1 && devices.iter().all(|d| d.is_some() && *d == devices[0])
}

/// The disk under a path (or under the nearest folder above that is there), as `major:minor`.
pub fn device(path: &Path) -> Option<String> {
    let dev = path.ancestors().find_map(|above| std::fs::metadata(above).ok())?.dev();
    Some(format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev)))
}

/// An institution.
pub(crate) fn institution(institution: &Institution) -> Value {
    json!({
        "id": institution.id,
        "name": institution.name,
        "policy": institution.coding,
        "created": institution.created.to_string(),
    })
}

/// An account of the institution of this name.
pub(crate) fn account(institution: &str, account: &Account) -> Value {
    json!({
        "id": hex(&account.id),
        "account": format!("{institution}/{}", account.name),
        "role": account.role,
        "state": account.state,
        "created": account.created.to_string(),
    })
}

/// A token, without what proves it.
pub(crate) fn token(token: &Token) -> Value {
    json!({
        "id": hex(&token.id),
        "name": token.name,
        "scopes": token.scopes,
        "once": token.once,
        "created": token.created.to_string(),
        "expires": token.expires.map(|t| t.to_string()),
        "last_used": token.last_used.map(|t| t.to_string()),
        "revoked": token.revoked.map(|t| t.to_string()),
    })
}
