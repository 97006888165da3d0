//! System calls of the lock-down that have no safe form.

#![expect(unsafe_code, reason = "close_range, unshare, PR_SET_MDWE and mount_setattr have no safe form")]

use std::ffi::c_long;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::thread::UnshareFlags;

/// `PR_SET_MDWE` of Linux 6.3.
const PR_SET_MDWE: libc::c_int = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;

/// Closes all descriptors but those in `keep`.
///
/// # Errors
/// Where the kernel does not know the call and there is no `/proc`.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    // Kernels before 5.9, and containers that were not told of the call.
    close_ranges(keep).or_else(|_unknown| close_listed(keep))
}

/// Closes what the kernel lists.
fn close_listed(keep: &[RawFd]) -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    let open: Vec<RawFd> = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| !keep.contains(descriptor)) {
        // SAFETY: as for `close_range`. The one of the list itself is closed
        // already, for which the error does not matter.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}

fn close_ranges(keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|descriptor| u32::try_from(*descriptor).ok()).collect();
    kept.sort_unstable();
    let mut from = 0;
    for descriptor in kept {
        if descriptor > from {
            close_range(from, descriptor - 1)?;
        }
        from = descriptor + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: called once, by the only thread, before anything in this process
    // but what is kept has opened a descriptor: those closed were inherited,
    // and no object here owns them.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Moves this process, which has one thread, into a new namespace.
///
/// # Errors
/// As the kernel reports them; nothing has changed then.
pub fn unshare(namespace: UnshareFlags) -> io::Result<()> {
    debug_assert!(!namespace.contains(UnshareFlags::FILES));
    // SAFETY: descriptor tables are not unshared.
    unsafe { rustix::thread::unshare_unsafe(namespace) }.map_err(Into::into)
}

/// No memory of this process becomes executable from here on.
///
/// # Errors
/// `EINVAL` on kernels before 6.3.
pub fn forbid_new_code() -> io::Result<()> {
    let none: libc::c_ulong = 0;
    // SAFETY: takes numbers only; no code of this process makes code later.
    checked(unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, none, none, none) }.into())
}

/// Adds `attributes` to all mounts of a tree.
///
/// # Errors
/// As the kernel reports them; `ENOSYS` before Linux 5.12.
pub fn add_mount_attributes(tree: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a C string, and the structure lives through the call
    // and has the size that is told.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    })
}

fn checked(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
