//! Prints the time that the registry takes for each file recorded: the process's CPU time and the
//! wall time, with real syncs. `cargo run --release --example record_rate [FILES] [FOLDER]`

use std::time::Instant;

use strongroom_record::*;
use strongroom_registry::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let folder = match arguments.next() {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let registry = Registry::open(&folder.path().join("registry.db"), Options::default()).await?;
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
    registry.add_shelf(&shelf).await?;
    let name = ObjectName::new("local", "rate")?;
    let object = registry.ensure_object(&name, ObjectId([1; 16]), now).await?.id;
    let work = NewWork {
        id: WorkId([1; 16]),
        kind: WorkKind::Ingest,
        institution: id,
        object: Some(object),
        key: None,
        request: serde_json::Value::Null,
        stage: Stage::Inspect,
    };
    registry.enqueue(work, now).await?;
    let leased = registry.lease(WorkerId([1; 16]), &[], None, now, 60).await?;
    let (_, mut lease) = leased.ok_or("the item was just enqueued")?;
    let version = VersionId([1; 16]);
    let detail = serde_json::Value::Null;
    let draft = NewDraft { version, object, source: "/in".into(), bag: true, detail };
    let batch = Batch { begin_draft: Some(draft), ..Batch::default() };
    registry.commit(&lease, now, 60, batch).await?;

    let files: Vec<FileRecord> = (0..count).map(file).collect();
    let (cpu, wall) = (cpu_seconds()?, Instant::now());
    for files in files.chunks(ROWS_MAX - 4) {
        let number = registry.next_coding_number().await?;
        let segment = NewSegment {
            id: segment_of(files[0].number),
            version: Some(version),
            object: Some(object),
            institution: id,
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
            files: files.to_vec(),
            ..Batch::default()
        };
        lease = registry.commit(&lease, now, 60, batch).await?.lease;
    }
    let per_file = |seconds: f64| seconds * 1e6 / count as f64;
    println!(
        "{count} files recorded: {:.1} µs of CPU and {:.1} µs of wall time each",
        per_file(cpu_seconds()? - cpu),
        per_file(wall.elapsed().as_secs_f64())
    );
    registry.close().await;
    let bytes = std::fs::metadata(folder.path().join("registry.db"))?.len();
    println!("{} bytes of the database each", bytes / count);
    Ok(())
}

fn segment_of(number: u64) -> SegmentId {
    let batch = number / (ROWS_MAX as u64 - 4);
    SegmentId(u128::from(batch + 1).to_be_bytes())
}

/// As in a bag with md5 and sha256 manifests.
fn file(number: u64) -> FileRecord {
    let path = format!("data/some folder {:03}/a file of the bag {number:07}.tif", number / 1_000);
    let sha256 = Sha256::of(path.as_bytes());
    FileRecord {
        id: FileId(*sha256.0.first_chunk().expect("a SHA-256 is longer than an id")),
        number,
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
        extents: vec![Extent { segment: segment_of(number), offset: number, length: 20_480 }],
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
