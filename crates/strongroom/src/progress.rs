//! Progress on a terminal: bytes, files, rate and time left, in one line of stderr.

use crate::output;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use strongroom_record::{Stage, WorkKind};

/// The line is drawn so often at most.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Before this, a rate says nothing.
const RATE_AFTER: Duration = Duration::from_millis(500);

/// Draws progress, if stderr is a terminal; warnings are told in any case.
pub(crate) struct Line {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    title: String,
    begun: Instant,
    drawn: Option<Instant>,
    files: (u64, u64),
    bytes: (u64, u64),
}

impl Line {
    pub(crate) fn new() -> Arc<Line> {
        Arc::new(Line {
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::new(State::titled(String::new())),
        })
    }

    /// Begins another piece of work.
    pub(crate) fn title(&self, title: String) {
        self.change(|state| *state = State::titled(title));
    }

    /// Wipes the line.
    pub(crate) fn clear(&self) {
        self.change(State::wipe);
    }

    fn count(&self, files: u64, bytes: u64) {
        self.change(|state| {
            state.files.0 += files;
            state.bytes.0 += bytes;
            state.draw();
        });
    }

    fn expect(&self, files: u64, bytes: u64) {
        self.change(|state| (state.files.1, state.bytes.1) = (files, bytes));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if self.terminal {
            change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl State {
    fn titled(title: String) -> State {
        State { title, begun: Instant::now(), drawn: None, files: (0, 0), bytes: (0, 0) }
    }

    fn draw(&mut self) {
        if self.drawn.is_some_and(|at| at.elapsed() < DRAW_EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        // Progress is no data: where it cannot be written it is left out.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{}", self.text(self.begun.elapsed()));
    }

    fn wipe(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }

    fn text(&self, elapsed: Duration) -> String {
        let (files, bytes) = (self.files, self.bytes);
        let of = |total: u64, text: String| match total {
            0 => String::new(),
            _ => format!(" of {text}"),
        };
        let mut text = format!(
            "{}: {}{}, {}{}",
            self.title,
            output::bytes(bytes.0),
            of(bytes.1, output::bytes(bytes.1)),
            output::count(files.0, "file"),
            of(files.1, files.1.to_string()),
        );
        if elapsed >= RATE_AFTER && bytes.0 > 0 {
            let rate = bytes.0 as f64 / elapsed.as_secs_f64();
            text.push_str(&format!(", {}/s", output::bytes(rate as u64)));
            if bytes.1 > bytes.0 {
                let left = Duration::from_secs_f64((bytes.1 - bytes.0) as f64 / rate);
                text.push_str(&format!(", {} left", duration(left)));
            }
        }
        text
    }
}

impl strongroom_intake::Progress for Line {
    fn stage(&self, kind: WorkKind, what: &str, stage: Stage) {
        self.title(match stage {
            Stage::Run => format!("{kind} {what}"),
            stage => format!("{kind} {what}, {stage}"),
        });
        self.count(0, 0);
    }
    fn total(&self, files: u64, bytes: u64) {
        self.expect(files, bytes);
    }
    fn done(&self, files: u64, bytes: u64) {
        self.count(files, bytes);
    }
    fn warn(&self, message: &str) {
        self.clear();
        eprintln!("warning: {message}");
    }
}

impl strongroom_bag::Progress for Line {
    fn files(&self, n: u64) {
        self.count(n, 0);
    }
    fn bytes(&self, n: u64) {
        self.count(0, n);
    }
    fn total(&self, files: u64, bytes: u64) {
        self.expect(files, bytes);
    }
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_bytes_files_rate_and_time_left() {
        let mut state = State::titled("ingest local/x, store".into());
        (state.files, state.bytes) = ((3, 10), (10 << 20, 70 << 20));
        assert_eq!(
            state.text(Duration::from_secs(2)),
            "ingest local/x, store: 10.0 MiB of 70.0 MiB, 3 files of 10, 5.0 MiB/s, 12 s left"
        );
        (state.files, state.bytes) = ((1, 0), (5, 0));
        assert_eq!(state.text(Duration::ZERO), "ingest local/x, store: 5 B, 1 file");
    }
}
