//! Granted directories, opened.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a granted directory, to be referred to only.
///
/// Paths were resolved when they were granted. If a part of one is a link by
/// now, a guest may have put it there, in another directory granted to it, and
/// it is not followed.
///
/// # Errors
/// As the kernel reports them.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Kernels before 5.6, and containers that were not told of the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(Into::into)
        }
        Err(Errno::LOOP) => Err(io::Error::other("a part of its path has become a symbolic link")),
        opened => opened.map_err(Into::into),
    }
}
