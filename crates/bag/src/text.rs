//! The text of tag files: character encodings and line ends, as streams.

use std::io::{self, BufRead, Read};

/// A line of a tag file is at most this long, in bytes after decoding.
pub const LINE_BYTES_MAX: usize = 128 * 1024;

/// A character encoding that bagit.txt may declare for the other tag files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// UTF-8 (and ASCII). Bytes are passed on as they are, so names that are not UTF-8 survive.
    Utf8,
    /// ISO-8859-1 as such, not the windows-1252 that browsers take it for.
    Latin1,
    /// Any other that the WHATWG standard knows.
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// The encoding with this name, in any case; `None` if it is unknown.
    pub fn named(name: &str) -> Option<Encoding> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" | "us-ascii" | "ascii" => Some(Encoding::Utf8),
            "iso-8859-1" | "iso8859-1" | "latin1" | "iso_8859-1" => Some(Encoding::Latin1),
            // RFC 2781: big-endian unless a byte order mark says otherwise.
            "utf-16" => Some(Encoding::Other(encoding_rs::UTF_16BE)),
            _ => encoding_rs::Encoding::for_label_no_replacement(name.as_bytes())
                .map(Encoding::Other),
        }
    }

    /// The name in the form that IANA prefers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Latin1 => "ISO-8859-1",
            Encoding::Other(other) => other.name(),
        }
    }
}

/// The lines of a tag file, numbered from one; LF, CR and CRLF all end a line.
pub struct Lines<R> {
    input: io::BufReader<Decoded<R>>,
    number: u64,
    after_cr: bool,
    had_mark: bool,
}

impl<R: Read> Lines<R> {
    /// Reads lines in this encoding. A byte order mark at the start is passed over.
    pub fn new(input: R, encoding: Encoding) -> Self {
        let input = Decoded::new(input, encoding);
        Lines {
            input: io::BufReader::with_capacity(64 * 1024, input),
            number: 0,
            after_cr: false,
            had_mark: false,
        }
    }

    /// Puts the next line, without its end, into `line`, and says its number; `None` at the end.
    ///
    /// # Errors
    /// What the reader says; `InvalidData` for a line longer than [`LINE_BYTES_MAX`].
    pub fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
        line.clear();
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                if line.is_empty() {
                    return Ok(None);
                }
                break;
            }
            if std::mem::take(&mut self.after_cr) && buffer[0] == b'\n' {
                self.input.consume(1);
                continue;
            }
            let end = buffer.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let taken = end.unwrap_or(buffer.len());
            if line.len() + taken > LINE_BYTES_MAX {
                let what = format!("line {} is longer than {LINE_BYTES_MAX} bytes", self.number + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            line.extend_from_slice(&buffer[..taken]);
            match end {
                None => self.input.consume(taken),
                Some(_) => {
                    self.after_cr = buffer[taken] == b'\r';
                    self.input.consume(taken + 1);
                    break;
                }
            }
        }
        self.number += 1;
        if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
            self.had_mark = true;
        }
        Ok(Some(self.number))
    }

    /// Whether bytes were met that the encoding does not allow.
    pub fn had_errors(&self) -> bool {
        self.input.get_ref().had_errors
    }

    /// Whether a UTF-8 byte order mark was passed over.
    pub fn had_mark(&self) -> bool {
        self.had_mark
    }
}

/// A reader that turns an encoding into UTF-8.
struct Decoded<R> {
    inner: R,
    encoding: Encoding,
    decoder: Option<encoding_rs::Decoder>,
    raw: Vec<u8>,
    from: usize,
    to: usize,
    ended: bool,
    finished: bool,
    had_errors: bool,
}

impl<R: Read> Decoded<R> {
    fn new(inner: R, encoding: Encoding) -> Self {
        let decoder = match encoding {
            Encoding::Other(other) => Some(other.new_decoder()),
            Encoding::Utf8 | Encoding::Latin1 => None,
        };
        let raw = if encoding == Encoding::Utf8 { Vec::new() } else { vec![0; 16 * 1024] };
        Decoded {
            inner,
            encoding,
            decoder,
            raw,
            from: 0,
            to: 0,
            ended: false,
            finished: false,
            had_errors: false,
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.encoding == Encoding::Utf8 {
            return self.inner.read(out);
        }
        // Every decoder can make progress with room for one character.
        if out.len() < 8 {
            return Err(io::Error::other("a decoding reader needs room for a character"));
        }
        while !self.finished {
            if self.from == self.to && !self.ended {
                self.to = self.inner.read(&mut self.raw)?;
                self.from = 0;
                self.ended = self.to == 0;
            }
            let input = &self.raw[self.from..self.to];
            let (read, written) = match &mut self.decoder {
                Some(decoder) => {
                    let (result, read, written, errors) =
                        decoder.decode_to_utf8(input, out, self.ended);
                    self.had_errors |= errors;
                    self.finished =
                        self.ended && result == encoding_rs::CoderResult::InputEmpty;
                    (read, written)
                }
                None => {
                    self.finished = self.ended;
                    let take = input.len().min(out.len() / 2);
                    (take, encoding_rs::mem::convert_latin1_to_utf8(&input[..take], out))
                }
            };
            self.from += read;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], encoding: Encoding) -> Vec<String> {
        let mut reader = Lines::new(bytes, encoding);
        let mut line = Vec::new();
        let mut all = Vec::new();
        while let Some(number) = reader.next_line(&mut line).unwrap() {
            all.push(format!("{number}:{}", String::from_utf8_lossy(&line)));
        }
        all
    }

    #[test]
    fn all_three_line_ends_end_a_line_once() {
        let expected = ["1:a", "2:b", "3:", "4:c", "5:d"];
        assert_eq!(lines(b"a\nb\r\n\r\nc\rd", Encoding::Utf8), expected);
        assert_eq!(lines(b"a\rb\r\rc\nd\r\n", Encoding::Utf8), expected);
        assert!(lines(b"", Encoding::Utf8).is_empty());
    }

    #[test]
    fn encodings_become_utf8() {
        let utf16 = |mark: bool, big: bool| {
            let text = if mark { "\u{feff}Núñez\nb" } else { "Núñez\nb" };
            text.encode_utf16()
                .flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() })
                .collect::<Vec<u8>>()
        };
        let named = |name| Encoding::named(name).unwrap();
        assert_eq!(lines(&utf16(true, false), named("UTF-16")), ["1:Núñez", "2:b"]);
        assert_eq!(lines(&utf16(true, true), named("UTF-16")), ["1:Núñez", "2:b"]);
        assert_eq!(lines(&utf16(false, true), named("utf-16")), ["1:Núñez", "2:b"]);
        assert_eq!(lines(&utf16(false, false), named("UTF-16LE")), ["1:Núñez", "2:b"]);
        assert_eq!(lines(b"N\xfa\xf1ez", named("ISO-8859-1")), ["1:Núñez"]);
        assert_eq!(lines(b"\xef\xbb\xbfa", Encoding::Utf8), ["1:a"]);
        assert_eq!(Encoding::named("klingon"), None);
        let long: Vec<u8> = (0..200_000u32).flat_map(|i| [if i % 70 == 0 { b'\n' } else { 0xe9 }]).collect();
        assert_eq!(lines(&long, named("ISO-8859-1")).len(), 2859);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut reader = Lines::new(io::repeat(b'x'), Encoding::Utf8);
        assert!(reader.next_line(&mut Vec::new()).is_err());
    }
}
