//! Names inside a bag: which are safe, which are twins, how manifests escape them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use std::hash::{DefaultHasher, Hash, Hasher};

use unicode_normalization::UnicodeNormalization;

use crate::declaration::Version;

/// A path inside a bag or a tar is at most this long, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 4096;

/// A path leads through so many symlinks at most.
pub const LINK_HOPS_MAX: usize = 40;

/// Why a path may not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsafe {
    /// Nothing is there.
    #[error("the path is empty")]
    Empty,
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// It holds a NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
    /// It begins with a slash.
    #[error("the path is absolute")]
    Absolute,
    /// It has a component `..`.
    #[error("the path has a component '..', which leaves the bag")]
    Parent,
    /// It has a component `.`.
    #[error("the path has a component '.'")]
    Dot,
    /// It has an empty component, as in `a//b` or `a/`.
    #[error("the path has an empty component")]
    EmptyComponent,
    /// It begins with `~`, which a shell takes for somebody's home.
    #[error("the path begins with '~', which means a home folder")]
    Home,
}

/// Whether a path that a manifest or fetch.txt names stays inside the bag.
///
/// Forms that mean something on Windows only (`C:\x`, `\\server\share`) are literal names here.
pub fn check(path: &[u8]) -> Result<(), Unsafe> {
    check_entry(path)?;
    if path[0] == b'~' { Err(Unsafe::Home) } else { Ok(()) }
}

/// The same for a path that stands in a folder or a tar, where a leading `~` is an ordinary letter
/// (word processors leave many a `~$letter.docx`).
pub fn check_entry(path: &[u8]) -> Result<(), Unsafe> {
    if path.is_empty() {
        return Err(Unsafe::Empty);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(Unsafe::TooLong);
    }
    if path.contains(&0) {
        return Err(Unsafe::Nul);
    }
    if path[0] == b'/' {
        return Err(Unsafe::Absolute);
    }
    for component in path.split(|&b| b == b'/') {
        match component {
            b".." => return Err(Unsafe::Parent),
            b"." => return Err(Unsafe::Dot),
            b"" => return Err(Unsafe::EmptyComponent),
            _ => {}
        }
    }
    Ok(())
}

/// Where a path leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Led {
    /// To this path, at which something may stand or not.
    To(Vec<u8>),
    /// Out of the tree.
    Out,
    /// Through more than [`LINK_HOPS_MAX`] links: nowhere, for the system too.
    Round,
}

impl Led {
    /// The path that it leads to, if any.
    pub fn to(self) -> Option<Vec<u8>> {
        match self {
            Led::To(path) => Some(path),
            Led::Out | Led::Round => None,
        }
    }
}

/// Where `path` leads, as the system follows it from the root of a tree: `target_of` says where a
/// symlink at a path points to, and `None` of what is no link.
///
/// # Errors
/// Those of `target_of`.
pub fn follow<E>(
    path: &[u8],
    mut target_of: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<Led, E> {
    let parts =
        |path: &[u8]| -> Vec<_> { path.split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect() };
    let (mut at, mut pending, mut hops) = (Vec::new(), parts(path), 0);
    while let Some(name) = pending.pop() {
        // What stands in `at` holds no link, so the folder above is the one that is written above.
        let above = at.iter().rposition(|&b| b == b'/').unwrap_or(0);
        match &name[..] {
            b"" | b"." => {}
            b".." if at.is_empty() => return Ok(Led::Out),
            b".." => at.truncate(above),
            name => {
                let folder = at.len();
                if folder > 0 {
                    at.push(b'/');
                }
                at.extend_from_slice(name);
                let Some(target) = target_of(&at)? else { continue };
                hops += 1;
                if target.first() == Some(&b'/') {
                    return Ok(Led::Out);
                }
                if hops > LINK_HOPS_MAX {
                    return Ok(Led::Round);
                }
                at.truncate(folder);
                pending.extend(parts(&target));
            }
        }
    }
    Ok(Led::To(at))
}

/// Whether a symlink at `path` with this target stays inside the tree that both lie in.
pub fn link_stays_inside(path: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target[0] == b'/' || target.contains(&0) {
        return false;
    }
    let mut depth = path.iter().filter(|&&b| b == b'/').count();
    for component in target.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." if depth == 0 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// A path as tars write it, without leading `./` and trailing `/`. The root itself becomes `.`.
pub fn clean(mut path: &[u8]) -> &[u8] {
    let absolute = path.first() == Some(&b'/');
    while path.len() > 1 && path.ends_with(b"/") {
        path = &path[..path.len() - 1];
    }
    while !absolute && path.starts_with(b"./") {
        path = &path[2..];
        while path.starts_with(b"/") {
            path = &path[1..];
        }
    }
    if path.is_empty() { b"." } else { path }
}

/// A path for people: bytes that are not UTF-8, and control characters, are escaped.
pub fn show(path: &[u8]) -> String {
    let mut shown = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// What a path in a manifest or fetch.txt stands for.
///
/// Since 1.0 `%0A`, `%0D` and `%25` stand for line feed, carriage return and percent; any other `%` is
/// literal. Before, all are literal (RFC 8493, 2.1.3, and the conformance suite).
pub fn decode(written: &[u8], version: Version) -> Cow<'_, [u8]> {
    if version < Version::V1_0 || !written.contains(&b'%') {
        return Cow::Borrowed(written);
    }
    let mut path = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some(&byte) = rest.first() {
        let escaped = match rest.get(..3) {
            Some([b'%', b'0', b'A' | b'a']) => Some(b'\n'),
            Some([b'%', b'0', b'D' | b'd']) => Some(b'\r'),
            Some(b"%25") => Some(b'%'),
            _ => None,
        };
        path.push(escaped.unwrap_or(byte));
        rest = &rest[if escaped.is_some() { 3 } else { 1 }..];
    }
    Cow::Owned(path)
}

/// How a path is written in a manifest of this version; `None` where that version cannot say it.
pub fn encode(path: &[u8], version: Version) -> Option<Cow<'_, [u8]>> {
    let special = |b: &u8| matches!(b, b'\n' | b'\r' | b'%');
    if version < Version::V1_0 {
        let breaks = path.iter().any(|b| matches!(b, b'\n' | b'\r'));
        return if breaks { None } else { Some(Cow::Borrowed(path)) };
    }
    if !path.iter().any(special) {
        return Some(Cow::Borrowed(path));
    }
    let mut written = Vec::with_capacity(path.len() + 8);
    for &byte in path {
        match byte {
            b'\n' => written.extend(b"%0A"),
            b'\r' => written.extend(b"%0D"),
            b'%' => written.extend(b"%25"),
            _ => written.push(byte),
        }
    }
    Some(Cow::Owned(written))
}

/// Two names that some file system cannot keep apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Twin {
    /// The name that came first.
    pub first: Vec<u8>,
    /// The one that differs from it only in case or Unicode normal form.
    pub second: Vec<u8>,
}

/// Finds names that differ only in case or in Unicode normal form. Equal names are no twins.
pub fn twins<'a, P>(paths: P) -> Vec<Twin>
where
    P: IntoIterator<Item = &'a [u8], IntoIter: Clone>,
{
    let paths = paths.into_iter();
    let hash = |path: &[u8]| {
        let mut hasher = DefaultHasher::new();
        fold(path).hash(&mut hasher);
        hasher.finish()
    };
    // Of most names a hash is all that is held: a million cost eight megabytes.
    let mut hashes: Vec<u64> = paths.clone().map(hash).collect();
    hashes.sort_unstable();
    let alike: HashSet<u64> =
        hashes.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    drop(hashes);
    let mut first_with: HashMap<u64, &'a [u8]> = HashMap::new();
    let mut found = Vec::new();
    if alike.is_empty() {
        return found;
    }
    for (path, hash) in paths.map(|path| (path, hash(path))).filter(|(_, h)| alike.contains(h)) {
        let first = *first_with.entry(hash).or_insert(path);
        if first != path && fold(first) == fold(path) {
            found.push(Twin { first: first.to_vec(), second: path.to_vec() });
        }
    }
    found
}

/// What is left of a name when case and normal form are taken away.
fn fold(path: &[u8]) -> Cow<'_, [u8]> {
    if path.is_ascii() {
        if path.iter().any(u8::is_ascii_uppercase) {
            return Cow::Owned(path.to_ascii_lowercase());
        }
        return Cow::Borrowed(path);
    }
    match std::str::from_utf8(path) {
        Ok(text) => {
            let folded: String = text.nfd().flat_map(char::to_lowercase).nfc().collect();
            Cow::Owned(folded.into_bytes())
        }
        Err(_) => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_paths_are_refused_with_their_reason() {
        let rows: &[(&[u8], Result<(), Unsafe>)] = &[
            (b"data/a", Ok(())),
            (b"data/~a", Ok(())),
            (b"C:\\Windows\\x", Ok(())),
            (b"data/..a/b..", Ok(())),
            (b"", Err(Unsafe::Empty)),
            (b"/etc/passwd", Err(Unsafe::Absolute)),
            (b"../x", Err(Unsafe::Parent)),
            (b"data/..", Err(Unsafe::Parent)),
            (b"data/./a", Err(Unsafe::Dot)),
            (b"data//a", Err(Unsafe::EmptyComponent)),
            (b"data/", Err(Unsafe::EmptyComponent)),
            (b"a\0b", Err(Unsafe::Nul)),
            (b"~/x", Err(Unsafe::Home)),
            (b"~root/x", Err(Unsafe::Home)),
        ];
        for (path, expected) in rows {
            assert_eq!(check(path), *expected, "{}", show(path));
        }
        assert_eq!(check(&vec![b'a'; PATH_BYTES_MAX + 1]), Err(Unsafe::TooLong));
        assert_eq!(check_entry(b"~$letter.docx"), Ok(()));
    }

    #[test]
    fn links_that_leave_are_told_from_links_that_stay() {
        let rows: &[(&[u8], &[u8], bool)] = &[
            (b"a/b", b"c", true),
            (b"a/b", b"../c", true),
            (b"a/b", b"../../c", false),
            (b"b", b"..", false),
            (b"b", b"/etc", false),
            (b"a/b/c", b"./.././../x/../y", true),
            (b"a/b", b"", false),
        ];
        for (path, target, expected) in rows {
            assert_eq!(link_stays_inside(path, target), *expected, "{}", show(target));
        }
    }

    #[test]
    fn escapes_follow_the_version() {
        let name = b"data/a\nb\rc%d%41";
        let written = encode(name, Version::V1_0).unwrap();
        assert_eq!(&*written, b"data/a%0Ab%0Dc%25d%2541");
        assert_eq!(&*decode(&written, Version::V1_0), name);
        assert_eq!(&*decode(b"%0a%7E%", Version::V1_0), b"\n%7E%");
        assert_eq!(&*decode(b"%0A%25", Version { major: 0, minor: 97 }), b"%0A%25");
        assert_eq!(encode(name, Version { major: 0, minor: 97 }), None);
    }

    #[test]
    fn twins_differ_in_case_or_normal_form_only() {
        let paths: [&[u8]; 6] =
            [b"a", b"A", "Nu\u{301}".as_bytes(), "N\u{fa}".as_bytes(), b"a", b"b"];
        let found = twins(paths);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].second, b"A");
    }

    #[test]
    fn tar_paths_are_cleaned() {
        let rows: &[(&[u8], &[u8])] = &[
            (b"./a/b/", b"a/b"),
            (b"./", b"."),
            (b".", b"."),
            (b"././/a", b"a"),
            (b"/a/", b"/a"),
            (b"..", b".."),
        ];
        for (from, to) in rows {
            assert_eq!(clean(from), *to);
        }
    }
}
