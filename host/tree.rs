//! Removes what guests left in a directory. They may have made folders in
//! folders without end: few descriptors and no recursion, whatever the depth.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, fchmod, openat, unlinkat};
use rustix::io::Errno;

/// All rights of the owner.
const OWN: Mode = Mode::RWXU;

/// Who removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remover {
    /// A worker, which cannot change the rights of what it removes.
    Worker,
    /// A host, which first takes the rights that it needs.
    Host,
}

/// How folders are opened here.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes all that is in `folder`. Nobody else may work in it meanwhile.
///
/// # Errors
/// As the system reports the first that cannot be removed.
pub fn clear(folder: impl AsFd, remover: Remover) -> io::Result<()> {
    let mut at = openat(folder, ".", FOLDER, Mode::empty())?;
    let mut depth = 0_u64;
    loop {
        match full(&at, remover)? {
            Some(inside) => {
                at = inside;
                depth += 1;
            }
            None if depth == 0 => return Ok(()),
            // From there the one that is empty now is removed.
            None => {
                at = openat(&at, "..", FOLDER, Mode::empty())?;
                depth -= 1;
            }
        }
    }
}

/// Removes what is in a folder, up to the first folder that holds something.
fn full(at: &OwnedFd, remover: Remover) -> io::Result<Option<OwnedFd>> {
    loop {
        let mut any = false;
        for name in names(at.as_fd())? {
            let name = name?;
            if !unlinked(at.as_fd(), &name)? {
                return open(at, &name, remover).map(Some);
            }
            any = true;
        }
        // Names may be passed over while others go: until there is none.
        if !any {
            return Ok(None);
        }
    }
}

fn open(at: &OwnedFd, name: &CStr, remover: Remover) -> io::Result<OwnedFd> {
    let opened = openat(at, name, FOLDER, Mode::empty());
    match (opened, remover) {
        (opened, Remover::Worker) => Ok(opened?),
        (Err(Errno::ACCESS), Remover::Host) => {
            chmodat(at, name, OWN, AtFlags::empty())?;
            Ok(openat(at, name, FOLDER, Mode::empty())?)
        }
        (opened, Remover::Host) => {
            let opened = opened?;
            // Where it fails, what follows does, and says why.
            let _ = fchmod(&opened, OWN);
            Ok(opened)
        }
    }
}

/// Removes what is no folder, or an empty one.
fn unlinked(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The names in a folder.
fn names(folder: BorrowedFd<'_>) -> io::Result<impl Iterator<Item = io::Result<std::ffi::CString>>> {
    let names = Dir::read_from(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    let own = |name: &CStr| matches!(name.to_bytes(), b"." | b"..");
    Ok(names.filter(move |name| !name.as_ref().is_ok_and(|name| own(name))).map(|name| name.map_err(Into::into)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn folders_of_any_depth_go_with_all_that_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for chain in ["0", "a", "b"] {
            let mut at = OwnedFd::from(File::open(folder.path()).unwrap());
            for _ in 0..3000 {
                mkdirat(&at, chain, OWN).unwrap();
                at = openat(&at, chain, flags, Mode::empty()).unwrap();
                mkdirat(&at, "empty", OWN).unwrap();
                openat(&at, "1", OFlags::CREATE | OFlags::WRONLY, OWN).unwrap();
            }
        }
        for number in 0..2000 {
            fs::write(folder.path().join(format!("file{number}")), "x").unwrap();
        }
        clear(File::open(folder.path()).unwrap(), Remover::Host).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("file"), "x").unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for name in ["link", "a/link", "a/b/link"] {
            symlink(other.path(), folder.path().join(name)).unwrap();
        }
        clear(File::open(folder.path()).unwrap(), Remover::Worker).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(other.path().join("file").exists());
    }

    #[test]
    fn rights_that_were_taken_away_do_not_keep_a_host_from_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/b/c", "a/d"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("a/b/file"), "x").unwrap();
        for name in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(0o000)).unwrap();
        }
        clear(File::open(folder.path()).unwrap(), Remover::Host).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
