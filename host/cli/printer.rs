//! Messages on standard error and documents on standard output: the only
//! place of the command that writes text to either.
//!
//! Messages never fail: a closed standard error must not end a run. The
//! progress line is cleared before a message and drawn again after it.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::escape::{self, escape_lines};

/// The most of one message that is shown, in bytes.
const LONGEST: usize = escape::SHOWN;

/// The most of each end of a line of the argument parser, in bytes.
const HALF_LINE: usize = 1 << 10;

/// Goes to the line's start and clears it.
const CLEAR: &str = "\r\x1b[K";

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Only why the run as a whole failed.
    Quiet,
    /// Failures of items, warnings and notes too.
    #[default]
    Normal,
    /// Everything.
    Verbose,
}

/// Writes messages, one at a time.
#[derive(Debug)]
pub struct Printer {
    volume: Volume,
    color: bool,
    /// The progress line that is on the screen.
    line: Mutex<String>,
}

impl Printer {
    /// A printer that says this much, with or without colours.
    #[must_use]
    pub fn new(volume: Volume, color: Color) -> Self {
        Self { volume, color: color == Color::On, line: Mutex::default() }
    }

    /// How much is said.
    #[must_use]
    pub fn volume(&self) -> Volume {
        self.volume
    }

    /// Why the run as a whole failed.
    pub fn error(&self, text: &str) {
        self.labelled("error", "1;31", text);
    }

    /// What the user should know or change.
    pub fn warning(&self, text: &str) {
        if self.volume >= Volume::Normal {
            self.labelled("warning", "1;33", text);
        }
    }

    /// What the user may want to know.
    pub fn note(&self, text: &str) {
        if self.volume >= Volume::Normal {
            self.labelled("note", "1;36", text);
        }
    }

    /// What only those want to know who asked for more.
    pub fn detail(&self, text: &str) {
        if self.volume >= Volume::Verbose {
            self.labelled("note", "1;36", text);
        }
    }

    /// Lines that are finished and escaped already, such as a failed item's
    /// report or a summary.
    pub fn lines(&self, text: &str) {
        self.write(text);
    }

    fn labelled(&self, label: &str, style: &str, text: &str) {
        // What is wrong stands first: a long name must not push it out.
        let kept = &text[..text.floor_char_boundary(LONGEST)];
        let mut text =
            escape_lines(kept.as_bytes(), "", usize::MAX) + if kept.len() < text.len() { " …" } else { "" };
        text.truncate(text.trim_end().len());
        if self.color {
            self.write(&format!("\x1b[{style}m{label}:\x1b[0m {text}\n"));
        } else {
            self.write(&format!("{label}: {text}\n"));
        }
    }

    fn write(&self, text: &str) {
        let line = self.line();
        let mut out = String::with_capacity(text.len() + line.len() + 16);
        if !line.is_empty() {
            out.push_str(CLEAR);
        }
        out.push_str(text);
        out.push_str(&line);
        put(&out);
    }

    /// Draws a line that the next one replaces.
    pub fn redraw(&self, text: &str) {
        let mut line = self.line();
        // Without wrapping, so that a narrow terminal needs no clearing of
        // lines above.
        *line = format!("{CLEAR}\x1b[?7l{text}\x1b[?7h");
        put(&line);
    }

    /// Removes the line that is redrawn.
    pub fn clear(&self) {
        let mut line = self.line();
        if !line.is_empty() {
            line.clear();
            put(CLEAR);
        }
    }

    fn line(&self) -> MutexGuard<'_, String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether messages are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// What is wrong with the command line. It repeats arguments, which may come
/// from anywhere: each line is escaped, and cut in its middle where it is long.
pub fn usage(text: &str) {
    let lines = text.lines().map(|line| {
        let (head, tail) =
            (line.floor_char_boundary(HALF_LINE), line.ceil_char_boundary(line.len() - HALF_LINE.min(line.len())));
        if head < tail { format!("{} … {}", &line[..head], &line[tail..]) } else { line.to_owned() }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    put(&(escape_lines(text.as_bytes(), "", usize::MAX) + "\n"));
}

fn put(text: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a whole document to standard output. A reader that has gone is no
/// error.
///
/// # Errors
/// When standard output cannot be written, as on a full disk.
pub fn document(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
