//! A file of a version, and where its bytes lie.

use crate::{Error, FileId, SegmentId, Sha256, Time};

/// What a file of a version is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FileKind {
    /// Bytes, possibly none.
    File,
    /// A folder in which nothing lies.
    EmptyFolder,
    /// A symbolic link that stays inside the deposit; its target is kept in [`FileRecord::target`].
    Symlink,
}

impl FileKind {
    /// The word in records, events and tables.
    pub fn word(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::EmptyFolder => "folder",
            FileKind::Symlink => "symlink",
        }
    }
    /// From that word.
    pub fn parse(word: &str) -> Result<FileKind, Error> {
        match word {
            "file" => Ok(FileKind::File),
            "folder" => Ok(FileKind::EmptyFolder),
            "symlink" => Ok(FileKind::Symlink),
            _ => Err(Error::Word { what: "kind of file", word: word.chars().take(40).collect() }),
        }
    }
}

/// A digest beside SHA-256, by its BagIt name (`md5`, `sha512`, ...).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedDigest {
    /// BagIt's name of the algorithm.
    pub algorithm: String,
    /// The value.
    pub bytes: Vec<u8>,
}

/// Where a run of a file's bytes lies. A file's extents stand in the order of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The segment.
    pub segment: SegmentId,
    /// First byte in the segment's plaintext.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// A file of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRecord {
    /// Drawn when the file is first stored; kept by later versions in which nothing of it changed.
    pub id: FileId,
    /// Place in the version, from 0, dense, in the order of the source.
    pub number: u64,
    /// Path in the bag, `/` between names, as bytes: it need not be UTF-8.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (07777).
    pub mode: u32,
    /// Time of modification, nanoseconds since 1970-01-01T00:00:00 UTC.
    pub mtime_ns: i64,
    /// Bytes; 0 for what is no [`FileKind::File`].
    pub size: u64,
    /// SHA-256 of the bytes (of the target for a link, of nothing for a folder).
    pub sha256: Sha256,
    /// Further digests that the source's manifests named.
    pub digests: Vec<NamedDigest>,
    /// Target of a [`FileKind::Symlink`].
    pub target: Option<Vec<u8>>,
    /// Made by Strongroom on the way in (bagit.txt, manifests), not deposited.
    pub made: bool,
    /// Format, where identified (a PRONOM identifier or a MIME type).
    pub format: Option<String>,
    /// Where the bytes lie.
    pub extents: Vec<Extent>,
}

impl FileRecord {
    /// The leaf of an event's Merkle tree: what never moves (docs/format.md, "Events"). Each field is
    /// preceded by its length in bytes as a little-endian u64, so that no two files share a form.
    pub fn leaf(&self) -> Sha256 {
        let mut form = Vec::with_capacity(160 + self.path.len());
        for field in [
            &self.id.0[..],
            &self.path,
            self.kind.word().as_bytes(),
            &self.size.to_le_bytes(),
            &self.mode.to_le_bytes(),
            &self.mtime_ns.to_le_bytes(),
            &self.sha256.0,
        ] {
            form.extend_from_slice(&(field.len() as u64).to_le_bytes());
            form.extend_from_slice(field);
        }
        Sha256::of(&form)
    }

    /// Whether `other` is the same file with the same content and attributes, wherever it is kept.
    pub fn same_as(&self, other: &FileRecord) -> bool {
        self.path == other.path
            && self.kind == other.kind
            && self.mode == other.mode
            && self.mtime_ns == other.mtime_ns
            && self.size == other.size
            && self.sha256 == other.sha256
            && self.target == other.target
    }

    /// From a line of a version record.
    pub fn from_json(value: &serde_json::Value) -> Result<FileRecord, Error> {
        use crate::json::{Reading, bytes};
        let line = Reading::new("a file's line", value);
        let digests = match value.get("digests") {
            None => Vec::new(),
            Some(digests) => {
                let digests = digests.as_object().ok_or(line.wrong("digests"))?;
                let one = |(algorithm, hex): (&String, &serde_json::Value)| {
                    let bytes = hex.as_str().and_then(bytes::unhex).ok_or(line.wrong("digests"))?;
                    Ok(NamedDigest { algorithm: algorithm.clone(), bytes })
                };
                digests.iter().map(one).collect::<Result<_, Error>>()?
            }
        };
        let has = |name: &str| value.get(name).is_some();
        let target = match has("target") || has("target_base64") {
            true => Some(line.bytes("target")?),
            false => None,
        };
        Ok(FileRecord {
            id: line.parsed("id")?,
            number: line.parsed("number")?,
            path: line.bytes("path")?,
            kind: line.word("kind", FileKind::parse)?,
            mode: line.number("mode")?,
            mtime_ns: line.parsed("mtime_ns")?,
            size: line.parsed("size")?,
            sha256: line.parsed("sha256")?,
            digests,
            target,
            made: value.get("made").and_then(serde_json::Value::as_bool).unwrap_or(false),
            format: line.parsed_or_none("format")?,
            extents: extents_from_json(&line)?,
        })
    }

    /// The file as a JSON object of a version record (docs/format.md, "Version records").
    pub fn to_json(&self) -> serde_json::Value {
        use crate::json::{bytes, put_bytes};
        let mut object = serde_json::Map::new();
        object.insert("id".into(), self.id.to_string().into());
        object.insert("number".into(), self.number.to_string().into());
        put_bytes(&mut object, "path", &self.path);
        object.insert("kind".into(), self.kind.word().into());
        object.insert("mode".into(), self.mode.into());
        object.insert("mtime_ns".into(), self.mtime_ns.to_string().into());
        object.insert("size".into(), self.size.to_string().into());
        object.insert("sha256".into(), self.sha256.to_string().into());
        if !self.digests.is_empty() {
            let digests: serde_json::Map<_, _> = (self.digests.iter())
                .map(|d| (d.algorithm.clone(), bytes::hex(&d.bytes).into()))
                .collect();
            object.insert("digests".into(), digests.into());
        }
        if let Some(target) = &self.target {
            put_bytes(&mut object, "target", target);
        }
        if self.made {
            object.insert("made".into(), true.into());
        }
        if let Some(format) = &self.format {
            object.insert("format".into(), format.clone().into());
        }
        object.insert("extents".into(), extents_to_json(&self.extents));
        object.into()
    }
}

/// Extents as `[[segment, offset, length], ...]`, numbers as decimal strings.
pub(crate) fn extents_to_json(extents: &[Extent]) -> serde_json::Value {
    let one = |e: &Extent| {
        serde_json::json!([e.segment.to_string(), e.offset.to_string(), e.length.to_string()])
    };
    extents.iter().map(one).collect()
}

/// The extents of a line: of a file, or further ones.
pub fn extents_from_json(line: &crate::json::Reading<'_>) -> Result<Vec<Extent>, Error> {
    let wrong = || line.wrong("extents");
    let one = |value: &serde_json::Value| {
        let part = |i: usize| value.get(i).and_then(serde_json::Value::as_str).ok_or_else(wrong);
        Ok(Extent {
            segment: part(0)?.parse().map_err(|_| wrong())?,
            offset: part(1)?.parse().map_err(|_| wrong())?,
            length: part(2)?.parse().map_err(|_| wrong())?,
        })
    };
    line.array("extents")?.iter().map(one).collect()
}

/// A time of modification as [`Time`], rounded down to microseconds.
impl From<&FileRecord> for Time {
    fn from(file: &FileRecord) -> Time {
        Time(file.mtime_ns.div_euclid(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_reads_back(path: Vec<u8>, target: Option<Vec<u8>>, mtime_ns: i64, made: bool,
                             digest: Vec<u8>, extents: Vec<(u64, u64)>) {
            let file = FileRecord {
                id: crate::FileId([3; 16]),
                number: u64::MAX,
                path,
                kind: FileKind::Symlink,
                mode: 0o755,
                mtime_ns,
                size: 1 << 60,
                sha256: Sha256([9; 32]),
                digests: vec![NamedDigest { algorithm: "md5".into(), bytes: digest }],
                target,
                made,
                format: made.then(|| "text/plain".into()),
                extents: (extents.into_iter())
                    .map(|(offset, length)| Extent { segment: SegmentId([1; 16]), offset, length })
                    .collect(),
            };
            prop_assert_eq!(FileRecord::from_json(&file.to_json()).unwrap(), file);
        }
    }

    #[test]
    fn what_is_no_line_is_refused_by_field() {
        let error = FileRecord::from_json(&serde_json::json!({"id": "xy"})).unwrap_err();
        assert_eq!(error, Error::Field { what: "a file's line", field: "id" });
        assert!(FileRecord::from_json(&serde_json::json!([1])).is_err());
    }
}
