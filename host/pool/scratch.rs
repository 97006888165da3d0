//! Scratch directories of workers, on the host's side: private, locked while
//! their host lives, and removed by a later one where it was killed.
//!
//! The lock is on the directory itself and goes with the process, whatever
//! ends it. A process id in the name would not do: ids come again, and hosts
//! in other containers may share the folder for temporary files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::tree::{self, Remover};
use rustix::fs::{FlockOperation, OFlags, flock};

/// How the names of scratch directories begin.
const PREFIX: &str = "wpool-scratch-";

/// Tries to make one that nobody sweeps away before it is locked.
const TRIES: u32 = 16;

/// A private directory that goes when it is dropped.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    lock: File,
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // Not by std, which calls itself for each folder in a folder. What
        // cannot be removed is left to a later host.
        let _ = tree::clear(&self.lock, Remover::Host).and_then(|()| fs::remove_dir(&self.path));
    }
}

impl ScratchDir {
    /// Makes an empty directory; the first of a process removes those that
    /// killed hosts have left.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn make() -> io::Result<Self> {
        static SWEPT: Once = Once::new();
        // Workers follow no links on their way to it.
        let temporary = std::env::temp_dir().canonicalize()?;
        SWEPT.call_once(|| sweep(&temporary));
        Self::make_in(&temporary)
    }

    fn make_in(parent: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?.keep();
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, lock });
            }
        }
        Err(io::Error::other("it is removed again and again"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Locks a directory; `None` where it is another's, or gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    let folder = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    // A sweeper may have been faster, and its removal cannot be undone.
    let there = fs::symlink_metadata(path).is_ok_and(|there| {
        folder.metadata().is_ok_and(|locked| (locked.dev(), locked.ino()) == (there.dev(), there.ino()))
    });
    Ok(there.then_some(folder))
}

/// Removes scratch directories that nobody holds. Others' are not ours to
/// remove: what fails is left alone.
fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own);
        if is_ours && let Ok(Some(held)) = lock(&entry.path()) {
            let _ = tree::clear(&held, Remover::Host).and_then(|()| fs::remove_dir(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_hosts_that_are_gone_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let held = ScratchDir::make_in(parent.path()).unwrap();
        fs::write(held.path().join("file"), "x").unwrap();
        // As a host leaves it that was killed: without a lock.
        let left = parent.path().join("wpool-scratch-left");
        fs::create_dir_all(left.join("deep/er")).unwrap();
        fs::write(left.join("deep/file"), "x").unwrap();
        let other = parent.path().join("other");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, parent.path().join("wpool-scratch-link")).unwrap();
        sweep(parent.path());
        assert!(!left.exists() && other.exists() && held.path().join("file").exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}
