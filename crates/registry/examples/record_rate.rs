//! Prints the time that the registry takes for each file recorded, the process's CPU time and the wall
//! time, with real syncs; then how long pages of lists and look-ups take among them.
//! `cargo run --release -p strongroom-registry --example record_rate [FILES] [FOLDER]`
//!
//! FOLDER keeps the registry where it has a name for it: given once more, only look-ups are timed. The
//! files stand in versions of a million each, every one of an object of its own.

use std::time::Instant;

use strongroom_record::*;
use strongroom_registry::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or(temporary.path().to_owned(), std::path::PathBuf::from);
    let path = folder.join("registry.db");
    let kept = path.exists();
    let registry = Registry::open(&path, Options::default()).await?;
    let now = Time(0);
    registry.create_archive(ArchiveId([1; 16]), EpochId([1; 16]), &[], now).await?;
    let id = InstitutionId([1; 16]);
    let institution = Institution {
        id,
        name: "local".into(),
        generation: 1,
        keys: vec![],
        coding: None,
        created: now,
    };
    registry.create_institution(&institution, vec![], now).await?;
    let shelf = Shelf {
        id: ShelfId([1; 16]),
        name: "a".into(),
        location: "a".into(),
        domain: "a".into(),
        capacity_bytes: None,
        state: ShelfState::Active,
        added: now,
    };
    let shelves: &[Shelf] = if kept { &[] } else { std::slice::from_ref(&shelf) };
    for shelf in shelves {
        registry.add_shelf(shelf).await?;
    }
    let (mut cpu, mut wall) = (0.0, 0.0);
    let mut versions = Vec::new();
    for first in (0..count).step_by(VERSION_FILES as usize) {
        let end = count.min(first + VERSION_FILES);
        let (version, took) = match kept {
            true => (VersionId((u128::from(first) + 1).to_be_bytes()), (0.0, 0.0)),
            false => record(&registry, &shelf, id, first, end).await?,
        };
        versions.push((version, end - first));
        (cpu, wall) = (cpu + took.0, wall + took.1);
    }
    let per_file = |seconds: f64| seconds * 1e6 / count as f64;
    match kept {
        true => println!("{count} files were recorded before"),
        false => println!(
            "{count} files recorded: {:.1} µs of CPU and {:.1} µs of wall time each",
            per_file(cpu),
            per_file(wall)
        ),
    }
    look_up(&registry, id, &versions).await?;
    registry.close().await;
    let bytes = std::fs::metadata(&path)?.len();
    println!("{} bytes of the database each", bytes / count);
    Ok(())
}

/// Files of one version.
const VERSION_FILES: u64 = 1_000_000;
/// Look-ups of each kind; the slowest is printed too.
const LOOK_UPS: u64 = 200;
/// Rows of a page.
const PAGE: u32 = 1000;

/// Records the files of these numbers in a version of an object of its own; CPU and wall time in
/// seconds.
async fn record(
    registry: &Registry,
    shelf: &Shelf,
    institution: InstitutionId,
    first: u64,
    end: u64,
) -> Result<(VersionId, (f64, f64)), Box<dyn std::error::Error>> {
    let now = Time(0);
    let id = (u128::from(first) + 1).to_be_bytes();
    let name = ObjectName::new("local", &format!("rate {first}"))?;
    let object = registry.ensure_object(&name, ObjectId(id), now).await?.id;
    let work = NewWork {
        id: WorkId(id),
        kind: WorkKind::Ingest,
        institution,
        object: Some(object),
        key: None,
        request: serde_json::Value::Null,
        stage: Stage::Inspect,
    };
    registry.enqueue(work, now).await?;
    let leased = registry.lease(WorkerId([1; 16]), &[], Some(WorkId(id)), now, 60).await?;
    let (_, mut lease) = leased.ok_or("the item was just enqueued")?;
    let version = VersionId(id);
    let detail = serde_json::Value::Null;
    let draft = NewDraft { version, object, source: "/in".into(), bag: true, detail };
    let batch = Batch { begin_draft: Some(draft), ..Batch::default() };
    registry.commit(&lease, now, 60, batch).await?;
    let step = ROWS_MAX as u64 - 4;
    let (mut cpu, mut wall) = (0.0, 0.0);
    for at in (first..end).step_by(step as usize) {
        let files: Vec<FileRecord> =
            (at..end.min(at + step)).map(|number| file(number, first)).collect();
        let begun = (cpu_seconds()?, Instant::now());
        let number = registry.next_coding_number().await?;
        let segment = NewSegment {
            id: segment_of(at, first),
            version: Some(version),
            object: Some(object),
            institution,
            kind: SegmentKind::Data,
            generation: 1,
            coding: Coding::new(1, 1)?,
            number,
        };
        let placement = Placement {
            segment: segment.id,
            coding: number,
            index: 0,
            shelf: shelf.id,
            log: LogId([1; 16]),
            frames: vec![0; 24],
            bytes: 1 << 26,
            state: PlacementState::Good,
            checked: now,
        };
        let durable = DurableSegment {
            id: segment.id,
            bytes: 1 << 26,
            coding: segment.coding,
            number,
            placements: vec![placement],
        };
        let batch = Batch {
            begin_segments: vec![segment],
            durable: vec![durable],
            files,
            ..Batch::default()
        };
        lease = registry.commit(&lease, now, 60, batch).await?.lease;
        cpu += cpu_seconds()? - begun.0;
        wall += begun.1.elapsed().as_secs_f64();
    }
    Ok((version, (cpu, wall)))
}

/// Pages of lists, and single files, at places that follow no order.
async fn look_up(
    registry: &Registry,
    institution: InstitutionId,
    versions: &[(VersionId, u64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut place = 0x9e37_79b9_7f4a_7c15u64;
    let mut any = || {
        place =
            place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (version, files) = versions[(place >> 33) as usize % versions.len()];
        let first = u64::try_from(u128::from_be_bytes(version.0) - 1).expect("made from a u64");
        (version, (place >> 20) % files, first)
    };
    for what in [
        "files by number",
        "files by path",
        "file at a path",
        "file by digest",
        "objects",
        "segments",
        "events",
        "work",
        "status",
    ] {
        let (mut sum, mut slowest) = (0.0, 0.0f64);
        for _ in 0..LOOK_UPS {
            let (version, number, first) = any();
            let one = file(first + number, first);
            let begun = Instant::now();
            match what {
                "files by number" => drop(registry.files(version, number, PAGE).await?),
                "files by path" => {
                    drop(registry.files_by_path(version, Some(&one.path), b"", PAGE).await?)
                }
                "file at a path" => {
                    registry
                        .file_by_path(version, &one.path)
                        .await?
                        .ok_or("a file is not there")?;
                }
                "file by digest" => {
                    let found = registry.file_by_sha256(version, &one.sha256, one.size).await?;
                    found.ok_or("a digest is not there")?;
                }
                "objects" => drop(registry.objects(None, None, PAGE).await?),
                "segments" => {
                    let after = Some(segment_of(first + number, first));
                    drop(registry.segments_of(SegmentsOf::All, after, PAGE).await?)
                }
                "events" => {
                    drop(registry.events(EventsOf::Institution(institution), 0, PAGE).await?)
                }
                "work" => drop(registry.work_list(WorkFilter::default(), None, PAGE).await?),
                _ => drop(registry.status().await?),
            }
            let took = begun.elapsed().as_secs_f64() * 1e3;
            (sum, slowest) = (sum + took, slowest.max(took));
        }
        println!(
            "{what:<16} {:8.2} ms on average, {slowest:8.2} ms at most",
            sum / LOOK_UPS as f64
        );
    }
    Ok(())
}

fn segment_of(number: u64, first: u64) -> SegmentId {
    let batch = (number - first) / (ROWS_MAX as u64 - 4);
    SegmentId((u128::from(first) << 64 | u128::from(batch + 1)).to_be_bytes())
}

/// As in a bag with md5 and sha256 manifests; `first` is the first number of its version.
fn file(number: u64, first: u64) -> FileRecord {
    let path = format!("data/some folder {:03}/a file of the bag {number:07}.tif", number / 1_000);
    let sha256 = Sha256::of(path.as_bytes());
    FileRecord {
        id: FileId(*sha256.0.first_chunk().expect("a SHA-256 is longer than an id")),
        number: number - first,
        path: path.into_bytes(),
        kind: FileKind::File,
        mode: 0o644,
        mtime_ns: 1_700_000_000_000_000_000,
        size: 20_480,
        sha256,
        digests: vec![NamedDigest { algorithm: "md5".into(), bytes: sha256.0[..16].to_vec() }],
        target: None,
        made: false,
        format: None,
        extents: vec![Extent {
            segment: segment_of(number, first),
            offset: number,
            length: 20_480,
        }],
    }
}

/// CPU time of the process so far, all threads, from /proc/self/stat in ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("no process name")?.1;
    let ticks: Vec<f64> = (fields.split_whitespace().skip(11).take(2))
        .map(|ticks| ticks.parse())
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
