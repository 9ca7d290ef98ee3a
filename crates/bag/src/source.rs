//! A folder or a tar, plain or compressed: what it is, and its bytes, decompressed within bounds.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tar;

/// What holds a bag, or what becomes one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Container {
    /// A folder.
    Folder,
    /// A tar.
    Tar,
    /// A tar compressed by gzip.
    TarGz,
    /// A tar compressed by zstd.
    TarZst,
}

impl Container {
    /// The media types that profiles know it by; a folder has none.
    pub fn media_types(self) -> &'static [&'static str] {
        match self {
            Container::Folder => &[],
            Container::Tar => &["application/tar", "application/x-tar"],
            Container::TarGz => &[
                "application/gzip",
                "application/x-gzip",
                "application/tar+gzip",
                "application/x-gtar",
            ],
            Container::TarZst => &["application/zstd", "application/x-zstd"],
        }
    }
}

/// A stream may always grow to so many bytes: 256 MiB.
pub const EXPANSION_FREE_BYTES: u64 = 256 * 1024 * 1024;

/// Beyond that, to so many times what was read of the compressed file.
pub const EXPANSION_RATIO_MAX: u64 = 200;

/// A zstd frame may ask for a window of 2 to the power of this many bytes: 128 MiB.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// What `path` is, by its first bytes and not by its name; `None` for a file that is no tar. A gzip or
/// zstd file counts only if a tar is inside.
///
/// # Errors
/// If it cannot be read.
pub fn detect(path: &Path) -> io::Result<Option<Container>> {
    if std::fs::metadata(path)?.is_dir() {
        return Ok(Some(Container::Folder));
    }
    let mut file = File::open(path)?;
    let mut start = [0; tar::BLOCK_BYTES];
    let read = fill(&mut file, &mut start)?;
    let container = match &start[..read] {
        [0x1f, 0x8b, ..] => Container::TarGz,
        // A zstd frame, or one that decoders skip.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Container::TarZst,
        block => return Ok(tar::is_header(block).then_some(Container::Tar)),
    };
    let mut inside = decompress(container, File::open(path)?)?;
    let mut start = [0; tar::BLOCK_BYTES];
    match fill(&mut inside, &mut start) {
        Ok(read) => Ok(tar::is_header(&start[..read]).then_some(container)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tar in a container, as a stream. What grows beyond [`EXPANSION_FREE_BYTES`] and
/// [`EXPANSION_RATIO_MAX`] ends in a [`Bomb`].
///
/// # Errors
/// If a decoder cannot be set up.
pub fn decompress<'a, R: Read + Send + 'a>(
    container: Container,
    input: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let read = Arc::new(AtomicU64::new(0));
    let counted = BufReader::with_capacity(256 * 1024, Counted { inner: input, read: read.clone() });
    let bounded = |inner| Box::new(Bounded { inner, read, given: 0 });
    Ok(match container {
        Container::Folder | Container::Tar => Box::new(counted.into_inner()),
        Container::TarGz => bounded(Decoder::Gzip(flate2::bufread::MultiGzDecoder::new(counted))),
        Container::TarZst => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(counted)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            bounded(Decoder::Zstd(decoder))
        }
    })
}

/// Whether an error of a reader means that the bytes are bad, and not that the machine is.
pub fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    // zstd's errors come as Other, without a number of the system's.
    let of_decoder = error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none();
    of_decoder || matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// A compressed file that grows without measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bomb {
    /// Compressed bytes read.
    pub read: u64,
    /// What they grew to.
    pub given: u64,
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a decompression bomb: {} bytes grew to {}, more than {EXPANSION_RATIO_MAX} times",
            self.read, self.given
        )
    }
}

impl std::error::Error for Bomb {}

/// Counts what is read of a compressed file.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

enum Decoder<'a, R: io::BufRead> {
    Gzip(flate2::bufread::MultiGzDecoder<R>),
    Zstd(zstd::stream::read::Decoder<'a, R>),
}

/// Stops a stream that grows too much.
struct Bounded<'a, R: io::BufRead> {
    inner: Decoder<'a, R>,
    read: Arc<AtomicU64>,
    given: u64,
}

impl<R: io::BufRead> Read for Bounded<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.inner {
            Decoder::Gzip(decoder) => decoder.read(out)?,
            Decoder::Zstd(decoder) => decoder.read(out)?,
        };
        self.given += n as u64;
        let read = self.read.load(Ordering::Relaxed);
        let max = EXPANSION_FREE_BYTES.max(read.saturating_mul(EXPANSION_RATIO_MAX));
        if self.given > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Bomb { read, given: self.given }));
        }
        Ok(n)
    }
}

/// Fills `out` as far as the reader goes.
pub(crate) fn fill(input: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match input.read(&mut out[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// One read that is not interrupted.
pub(crate) fn fill_once(input: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(out) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn small_tar() -> Vec<u8> {
        let mut writer = tar::Writer::new(Vec::new());
        writer.append_file(b"a", 0o644, 0, 5).unwrap().write_all(b"hello").unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn containers_are_known_by_their_bytes() {
        let place = tempfile::tempdir().unwrap();
        let tar = small_tar();
        let rows: [(Vec<u8>, Option<Container>); 7] = [
            (tar.clone(), Some(Container::Tar)),
            (gzip(&tar), Some(Container::TarGz)),
            (zstd::encode_all(&tar[..], 1).unwrap(), Some(Container::TarZst)),
            (gzip(b"only text"), None),
            (gzip(&tar)[..30].to_vec(), None),
            (b"text".to_vec(), None),
            (Vec::new(), None),
        ];
        for (at, (bytes, expected)) in rows.into_iter().enumerate() {
            let path = place.path().join(format!("{at}.bin"));
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(detect(&path).unwrap(), expected, "row {at}");
        }
        assert_eq!(detect(place.path()).unwrap(), Some(Container::Folder));
    }

    #[test]
    fn streams_of_several_members_are_read_whole() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        let mut text = String::new();
        decompress(Container::TarGz, &two[..]).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        let z = |b: &[u8]| zstd::encode_all(b, 1).unwrap();
        let two = [z(b"one "), z(b"two")].concat();
        text.clear();
        decompress(Container::TarZst, &two[..]).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn a_bomb_is_stopped() {
        let zeros = || io::repeat(0).take(EXPANSION_FREE_BYTES * 2);
        let bomb = zstd::encode_all(zeros(), 1).unwrap();
        let mut inside = decompress(Container::TarZst, &bomb[..]).unwrap();
        let error = io::copy(&mut inside, &mut io::sink()).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Bomb>()), "{error}");
        assert!(is_damage(&error));
    }

    #[test]
    fn a_cut_stream_is_damage() {
        for (container, bytes) in [
            (Container::TarGz, gzip(&small_tar())),
            (Container::TarZst, zstd::encode_all(&small_tar()[..], 1).unwrap()),
        ] {
            let cut = &bytes[..bytes.len() - 3];
            let mut inside = decompress(container, cut).unwrap();
            let error = io::copy(&mut inside, &mut io::sink()).unwrap_err();
            assert!(is_damage(&error), "{error:?}");
        }
    }
}
