//! bagit.txt: the version and the encoding of everything else.

use std::fmt;

use crate::problem::Problem;
use crate::text::Encoding;

/// bagit.txt is at most this long, in bytes.
pub const DECLARATION_BYTES_MAX: usize = 4096;

/// A BagIt version. Rules differ between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// The part before the dot.
    pub major: u16,
    /// The part after it.
    pub minor: u16,
}

impl Version {
    /// RFC 8493.
    pub const V1_0: Version = Version { major: 1, minor: 0 };
    /// The draft that is in widest use.
    pub const V0_97: Version = Version { major: 0, minor: 97 };
    /// The versions that this room knows the rules of.
    pub const KNOWN: [Version; 6] = [
        Version { major: 0, minor: 93 },
        Version { major: 0, minor: 94 },
        Version { major: 0, minor: 95 },
        Version { major: 0, minor: 96 },
        Version::V0_97,
        Version::V1_0,
    ];

    /// Reads `M.N`.
    pub fn parse(text: &str) -> Option<Version> {
        let digits = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
        let (major, minor) = text.split_once('.')?;
        if !digits(major) || !digits(minor) {
            return None;
        }
        Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What bagit.txt declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// The version whose rules hold.
    pub version: Version,
    /// The encoding of the other tag files.
    pub encoding: Encoding,
}

impl Default for Declaration {
    fn default() -> Self {
        Declaration { version: Version::V1_0, encoding: Encoding::Utf8 }
    }
}

/// The name of the file.
pub const NAME: &str = "bagit.txt";

impl Declaration {
    /// Reads bagit.txt. What is wrong is pushed to `problems`; a declaration that can be guessed in spite
    /// of it is returned, so that the rest can be looked at.
    pub fn parse(bytes: &[u8], problems: &mut Vec<Problem>) -> Option<Declaration> {
        let mut error = |detail: String| {
            problems.push(Problem::error("bad-declaration", NAME, detail));
        };
        if bytes.len() > DECLARATION_BYTES_MAX {
            error(format!("expected two lines, found {} bytes", bytes.len()));
            return None;
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            error("begins with a byte order mark, which bagit.txt must not have".into());
            return None;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            error("is not UTF-8".into());
            return None;
        };
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| Line::parse(line, "BagIt-Version"));
        let Some(version) = version else {
            error("line 1: expected 'BagIt-Version: M.N'".into());
            return None;
        };
        let Some(number) = Version::parse(version.value) else {
            error(format!("line 1: expected a version like 1.0, found '{}'", version.value));
            return None;
        };
        if !Version::KNOWN.contains(&number) {
            let detail = format!("BagIt version {number} is not known; 0.93 to 0.97 and 1.0 are");
            problems.push(Problem::error("unknown-version", NAME, detail));
            return None;
        }
        let label = "Tag-File-Character-Encoding";
        let Some(encoding) = lines.next().and_then(|line| Line::parse(line, label)) else {
            error(format!("line 2: expected '{label}: UTF-8'"));
            return None;
        };
        if lines.any(|line| !line.trim().is_empty()) {
            error("has more than two lines".into());
        }
        for (line, number_of_line) in [(&version, 1), (&encoding, 2)] {
            line.judge(number, number_of_line, problems);
        }
        let Some(encoding) = Encoding::named(encoding.value) else {
            let detail = format!("line 2: the encoding '{}' is not known", encoding.value);
            problems.push(Problem::error("unknown-encoding", NAME, detail));
            return None;
        };
        Some(Declaration { version: number, encoding })
    }

    /// bagit.txt for this declaration.
    pub fn write(&self) -> String {
        let (version, encoding) = (self.version, self.encoding.name());
        format!("BagIt-Version: {version}\nTag-File-Character-Encoding: {encoding}\n")
    }
}

/// One `Label: value` of bagit.txt.
struct Line<'a> {
    space_before_colon: bool,
    separator: &'a str,
    value: &'a str,
    space_after: bool,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str, label: &str) -> Option<Line<'a>> {
        let (found, rest) = line.split_once(':')?;
        if found.trim_end() != label {
            return None;
        }
        let value = rest.trim();
        let separator = &rest[..rest.len() - rest.trim_start().len()];
        let space_after = rest.trim_start().len() != value.len();
        Some(Line { space_before_colon: found != label, separator, value, space_after })
    }

    /// Version 1.0 fixed the white space; what older versions left open is worth a warning.
    fn judge(&self, version: Version, line: u8, problems: &mut Vec<Problem>) {
        if self.space_before_colon {
            let detail = format!("line {line}: white space before the colon");
            problems.push(if version >= Version::V1_0 {
                Problem::error("bad-declaration", NAME, format!("{detail}, which 1.0 forbids"))
            } else {
                Problem::warning("loose-declaration", NAME, detail)
            });
        }
        if self.separator != " " || self.space_after {
            let detail = format!("line {line}: expected one space after the colon and none at the end");
            problems.push(Problem::warning("loose-declaration", NAME, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Severity;

    fn check(text: &str, expected: Option<&str>, codes: &[&str]) {
        let mut problems = Vec::new();
        let found = Declaration::parse(text.as_bytes(), &mut problems);
        let shown = found.map(|d| format!("{} {}", d.version, d.encoding.name()));
        assert_eq!(shown.as_deref(), expected, "{text:?}");
        let errors: Vec<_> = problems.iter().map(|p| p.code).collect();
        assert_eq!(errors, codes, "{text:?}");
    }

    #[test]
    fn declarations_are_read_by_the_rules_of_their_version() {
        let enc = "Tag-File-Character-Encoding: UTF-8\n";
        check(&format!("BagIt-Version: 1.0\n{enc}"), Some("1.0 UTF-8"), &[]);
        check(&format!("BagIt-Version: 0.97\r\n{enc}"), Some("0.97 UTF-8"), &[]);
        check("BagIt-Version: 0.95\rTag-File-Character-Encoding: utf-16", Some("0.95 UTF-16BE"), &[]);
        check(&format!("BagIt-Version : 1.0\n{enc}"), Some("1.0 UTF-8"), &["bad-declaration"]);
        check(&format!("BagIt-Version : 0.97\n{enc}"), Some("0.97 UTF-8"), &["loose-declaration"]);
        check(&format!("BagIt-Version: 1.0 \n{enc}"), Some("1.0 UTF-8"), &["loose-declaration"]);
        check(&format!("BagIt-Version: .97\n{enc}"), None, &["bad-declaration"]);
        check(&format!("BagIt-Version: 2.0\n{enc}"), None, &["unknown-version"]);
        check(&format!("\u{feff}BagIt-Version: 1.0\n{enc}"), None, &["bad-declaration"]);
        check("BagIt-Version: 0.97\n", None, &["bad-declaration"]);
        check(&format!("{enc}BagIt-Version: 0.97\n"), None, &["bad-declaration"]);
        check(&format!("BagIt-Version: 1.0\n{enc}x: y\n"), Some("1.0 UTF-8"), &["bad-declaration"]);
        check("BagIt-Version: 1.0\nTag-File-Character-Encoding: x\n", None, &["unknown-encoding"]);
        check("", None, &["bad-declaration"]);
    }

    #[test]
    fn what_is_written_is_read_without_complaint() {
        let mut problems = Vec::new();
        let written = Declaration::default().write();
        let read = Declaration::parse(written.as_bytes(), &mut problems);
        assert_eq!(read, Some(Declaration::default()));
        assert!(problems.iter().all(|p| p.severity != Severity::Error && p.code.is_empty()));
    }
}
