//! The stream that outcomes are written to: standard output, a device, or a
//! file that gets its name when it is whole.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};

use super::{Target, WriteError};
use crate::error::Error;
use crate::escape;

/// What is written at once, in bytes.
const BLOCK: usize = 64 << 10;

/// Room that the buffer keeps from one write to the next, in bytes.
const KEPT: usize = 1 << 20;

/// The same for a terminal that shows a progress line.
const TERMINAL_BLOCK: usize = 8 << 20;

/// When outcomes are handed on, besides when a block is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// At the end.
    Last,
    /// When no other is at hand: a reader waits for none, and a fast stream
    /// does not pay a system call for each.
    Idle,
    /// Each at once.
    Each,
}

/// Where bytes go, with a buffer before it.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    /// What messages call it.
    name: String,
    /// The file's name while it is not whole, and after.
    rename: Option<(PathBuf, PathBuf)>,
    buffer: Vec<u8>,
    written: u64,
    when: Flush,
    block: usize,
}

impl Sink {
    /// Opens where a target's stream goes. On a terminal whole lines are
    /// written at once; parts of a line are held, because the progress line
    /// would wipe them.
    pub(crate) fn open(target: &Target, flush_idle: bool, whole_lines: bool) -> Result<Self, Error> {
        let (file, name, rename) = match target {
            Target::Stdout | Target::Pattern(_) => (stdout()?, "standard output".to_owned(), None),
            Target::File(path) => {
                let name = escape::path(path);
                if is_regular_or_new(path) {
                    let (file, part, whole) = open_part(path)?;
                    (file, name, Some((part, whole)))
                } else {
                    let opened = fs::OpenOptions::new().write(true).open(path);
                    (opened.map_err(Error::io(format!("cannot write {name}")))?, name, None)
                }
            }
        };
        let terminal = file.is_terminal();
        let when = match (terminal && whole_lines, flush_idle) {
            (true, _) => Flush::Each,
            (false, true) => Flush::Idle,
            (false, false) => Flush::Last,
        };
        let block = if terminal && !whole_lines { TERMINAL_BLOCK } else { BLOCK };
        Ok(Self { file, name, rename, buffer: Vec::new(), written: 0, when, block })
    }

    /// What is appended here is written by [`Sink::passed`].
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// An outcome has been appended.
    pub(crate) fn passed(&mut self) -> Result<(), WriteError> {
        if self.when == Flush::Each || self.buffer.len() >= self.block { self.flush() } else { Ok(()) }
    }

    /// No other outcome is at hand.
    pub(crate) fn idle(&mut self) -> Result<(), WriteError> {
        if self.when == Flush::Idle && !self.buffer.is_empty() { self.flush() } else { Ok(()) }
    }

    /// A part of an outcome has been appended: a large one is not gathered.
    pub(crate) fn part_passed(&mut self) -> Result<(), WriteError> {
        if self.buffer.len() >= self.block { self.flush() } else { Ok(()) }
    }

    /// Writes what is large already without a copy.
    pub(crate) fn put_large(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.block > BLOCK {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        let result = self.write(bytes);
        self.ended(result)
    }

    /// The file's name while it is not whole.
    pub(crate) fn part(&self) -> Option<&Path> {
        self.rename.as_ref().map(|(part, _)| part.as_path())
    }

    /// Bytes appended so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.write(&buffer);
        buffer.clear();
        // One large value must not keep its room for the rest of the run.
        buffer.shrink_to(KEPT);
        self.buffer = buffer;
        self.ended(result)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(count) => {
                    self.written += count as u64;
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Someone else may have made a shared pipe non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn ended(&self, result: io::Result<()>) -> Result<(), WriteError> {
        result.map_err(|source| WriteError::new(format!("cannot write {}", self.name), source))
    }

    fn wait(&self) {
        let mut polled = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::OUT)];
        // Where it fails, the write that follows tells why.
        let _ = rustix::event::poll(&mut polled, None);
    }

    /// Hands on the rest and gives a file its name.
    pub(crate) fn finish(mut self) -> Result<(), WriteError> {
        self.flush()?;
        let Some((part, whole)) = self.rename.take() else { return Ok(()) };
        let synced = self.file.sync_all();
        synced
            .and_then(|()| fs::rename(&part, &whole))
            .map_err(|source| WriteError::new(format!("cannot finish {}", escape::path(&whole)), source))
    }

    /// Hands on the rest; a file keeps the name of one that is not whole.
    pub(crate) fn stop(mut self) -> Result<(), WriteError> {
        self.flush()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A run that failed before its first outcome leaves nothing behind.
        if let Some((part, _)) = self.rename.take()
            && self.written == 0
        {
            // It is in nobody's way if it stays.
            let _ = fs::remove_file(part);
        }
    }
}

fn stdout() -> Result<File, Error> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(Error::io("cannot write standard output"))?;
    Ok(File::from(stdout))
}

/// Devices, pipes and names of descriptors are opened as they are.
fn is_regular_or_new(path: &Path) -> bool {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return false;
    }
    fs::metadata(path).map_or(true, |kind| kind.is_file())
}

/// Opens `FILE.part` beside the file that a path leads to.
fn open_part(path: &Path) -> Result<(File, PathBuf, PathBuf), Error> {
    // Through links, so that the link stays one.
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut part = whole.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let cannot = || Error::io(format!("cannot write {}", escape::path(&part)));
    // Never through a link, and by one run at a time: the lock goes with us.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(&part)
        .map_err(cannot())?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_locked| cannot()(io::Error::other("another run is writing it")))?;
    file.set_len(0).map_err(cannot())?;
    if let Ok(kind) = fs::metadata(&whole) {
        // A file that is replaced keeps its mode where that is allowed.
        let _ = file.set_permissions(kind.permissions());
    }
    Ok((file, part, whole))
}
