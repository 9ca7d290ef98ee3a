//! Payload and tag manifests: a digest and a path to a line.

use std::io::{self, Read, Write};

use strongroom_digest::{Algorithm, Digest};

use crate::declaration::{Declaration, Version};
use crate::path;
use crate::text::Lines;

/// Which files a manifest lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// What lies under `data/`.
    Payload,
    /// What lies beside it.
    Tag,
}

/// The name of a manifest file, as in `tagmanifest-sha256.txt`.
pub fn name(kind: Kind, algorithm: Algorithm) -> String {
    let prefix = if kind == Kind::Payload { "manifest-" } else { "tagmanifest-" };
    format!("{prefix}{}.txt", algorithm.name())
}

/// What kind of manifest has this name, and its algorithm, `None` if that is unknown here.
pub fn parse_name(name: &[u8]) -> Option<(Kind, Option<Algorithm>)> {
    let (kind, rest) = match name.strip_prefix(b"tagmanifest-") {
        Some(rest) => (Kind::Tag, rest),
        None => (Kind::Payload, name.strip_prefix(b"manifest-")?),
    };
    let algorithm = rest.strip_suffix(b".txt")?;
    Some((kind, std::str::from_utf8(algorithm).ok().and_then(Algorithm::parse)))
}

/// One line of a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The path that it stands for, without escapes and leading `./`.
    pub path: Vec<u8>,
    /// What the file should hash to.
    pub digest: Digest,
    /// The number of the line, from one.
    pub line: u64,
    /// The path was written with a leading `./`.
    pub dot_slash: bool,
    /// The path was written with md5sum's asterisk before it.
    pub asterisk: bool,
    /// The path holds a `%` that is not one of version 1.0's three escapes.
    pub bare_percent: bool,
}

/// Why a line, or the rest of a manifest, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One line is wrong; the next may be right.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from one.
        line: u64,
        /// What was expected, and what was found.
        reason: String,
    },
    /// A line is too long; nothing after it is read.
    #[error("{0}")]
    TooLong(String),
    /// The reader failed.
    #[error("cannot be read")]
    Io(#[source] io::Error),
}

/// Reads a manifest line by line.
pub struct Reader<R> {
    lines: Lines<R>,
    line: Vec<u8>,
    algorithm: Algorithm,
    version: Version,
    failed: bool,
    comments: u64,
}

impl<R: Read> Reader<R> {
    /// Reads lines of this algorithm, by the rules and in the encoding of `declaration`.
    pub fn new(input: R, algorithm: Algorithm, declaration: Declaration) -> Self {
        Reader {
            lines: Lines::new(input, declaration.encoding),
            line: Vec::new(),
            algorithm,
            version: declaration.version,
            failed: false,
            comments: 0,
        }
    }

    /// Whether bytes were met that the encoding does not allow.
    pub fn had_errors(&self) -> bool {
        self.lines.had_errors()
    }

    /// Whether the file begins with a UTF-8 byte order mark.
    pub fn had_mark(&self) -> bool {
        self.lines.had_mark()
    }

    /// Lines that begin with `#`, which some tools pass over, and so does this reader.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    fn parse(&self, line: u64) -> Result<Entry, Error> {
        let wrong = |reason: String| Error::Line { line, reason };
        let space = |b: &u8| matches!(b, b' ' | b'\t');
        let bytes = &self.line[self.line.iter().take_while(|b| space(b)).count()..];
        let name = self.algorithm.name();
        let Some(gap) = bytes.iter().position(|b| space(b)) else {
            return Err(wrong(format!("expected '<{name} digest> <path>', found no white space")));
        };
        let (hex, rest) = bytes.split_at(gap);
        let digest = std::str::from_utf8(hex)
            .ok()
            .and_then(|hex| Digest::from_hex(self.algorithm, hex).ok())
            .ok_or_else(|| {
                let digits = 2 * self.algorithm.size();
                let shown = path::show(&hex[..hex.len().min(200)]);
                wrong(format!("expected {digits} hexadecimal digits of {name}, found '{shown}'"))
            })?;
        let mut written = &rest[rest.iter().take_while(|b| space(b)).count()..];
        let asterisk = written.first() == Some(&b'*');
        if asterisk {
            written = &written[1..];
        }
        let mut dot_slash = false;
        while let Some(rest) = written.strip_prefix(b"./") {
            dot_slash = true;
            written = rest;
        }
        let path = path::decode(written, self.version).into_owned();
        let escapes = written.len() - path.len();
        let percents = |p: &[u8]| p.iter().filter(|&&b| b == b'%').count();
        let bare_percent = self.version >= Version::V1_0 && percents(written) * 2 > escapes;
        Ok(Entry { path, digest, line, dot_slash, asterisk, bare_percent })
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.failed {
                return None;
            }
            match self.lines.next_line(&mut self.line) {
                Ok(None) => return None,
                Ok(Some(_)) if self.line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(Some(_)) if self.line[0] == b'#' => self.comments += 1,
                Ok(Some(line)) => return Some(self.parse(line)),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(match error.kind() {
                        io::ErrorKind::InvalidData => Error::TooLong(error.to_string()),
                        _ => Error::Io(error),
                    }));
                }
            }
        }
    }
}

/// Writes one line.
///
/// # Errors
/// What the writer says; `InvalidInput` for a path that this version cannot say.
pub fn write(
    out: &mut dyn Write,
    path: &[u8],
    digest: &Digest,
    version: Version,
) -> io::Result<()> {
    let Some(written) = path::encode(path, version) else {
        let what = format!("BagIt {version} cannot name {}", path::show(path));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    };
    write!(out, "{digest}  ")?;
    out.write_all(&written)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn one(line: &str, version: Version) -> Result<Entry, Error> {
        let declaration = Declaration { version, ..Declaration::default() };
        Reader::new(line.as_bytes(), Algorithm::Md5, declaration).next().unwrap()
    }

    #[test]
    fn lines_are_read_in_all_their_forms() {
        let path = |written: &str| {
            let line = format!("{MD5}{written}");
            path::show(&one(&line, Version::V1_0).unwrap().path)
        };
        assert_eq!(path("  data/a"), "data/a");
        assert_eq!(path(" data/a b "), "data/a b ");
        assert_eq!(path("\tdata/a\r\n"), "data/a");
        assert_eq!(path(" *data/a"), "data/a");
        assert_eq!(path("  ././data/a"), "data/a");
        assert_eq!(path("  data/%0A%25"), "data/\\n%");
        let entry = one(&format!("{} *./data/%7E", MD5.to_uppercase()), Version::V1_0).unwrap();
        assert!(entry.asterisk && entry.dot_slash && entry.bare_percent);
        assert!(!one(&format!("{MD5}  a%25"), Version::V1_0).unwrap().bare_percent);
        assert!(!one(&format!("{MD5}  a%0A"), Version::V1_0).unwrap().bare_percent);
    }

    #[test]
    fn broken_lines_name_their_number_and_the_rest_is_read() {
        let text = format!("{MD5}  data/a\n\nnonsense\nabc  data/b\n{MD5}  data/c\n");
        let reader = Reader::new(text.as_bytes(), Algorithm::Md5, Declaration::default());
        let found: Vec<String> = reader
            .map(|line| match line {
                Ok(entry) => format!("{}:{}", entry.line, path::show(&entry.path)),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], "1:data/a");
        assert!(found[1].starts_with("line 3: expected '<md5 digest> <path>'"), "{}", found[1]);
        assert!(found[2].starts_with("line 4: expected 32 hexadecimal digits"), "{}", found[2]);
        assert_eq!(found[3], "5:data/c");
    }

    #[test]
    fn names_of_manifests_are_known_in_any_case() {
        assert_eq!(parse_name(b"manifest-md5.txt"), Some((Kind::Payload, Some(Algorithm::Md5))));
        assert_eq!(parse_name(b"tagmanifest-SHA256.txt"), Some((Kind::Tag, Some(Algorithm::Sha256))));
        assert_eq!(parse_name(b"manifest-crc32.txt"), Some((Kind::Payload, None)));
        assert_eq!(parse_name(b"manifest.txt"), None);
        assert_eq!(name(Kind::Tag, Algorithm::Sha512), "tagmanifest-sha512.txt");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let digest = strongroom_digest::hash(Algorithm::Md5, b"");
        let mut out = Vec::new();
        write(&mut out, b"data/100%\n", &digest, Version::V1_0).unwrap();
        assert_eq!(out, format!("{MD5}  data/100%25%0A\n").as_bytes());
        let entry = one(std::str::from_utf8(&out).unwrap(), Version::V1_0).unwrap();
        assert_eq!((entry.path.as_slice(), entry.digest), (&b"data/100%\n"[..], digest));
        assert!(write(&mut out, b"data/a\n", &digest, Version::V0_97).is_err());
    }
}
