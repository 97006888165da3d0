//! A root directory that holds what was granted and nothing else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use super::{View, granted, raw};

/// Where the new root is mounted until it is the root: a directory that is
/// there on every system that runs us.
const STAGE: &str = "/proc";

/// What every mount here is: nothing in it can be executed.
const PLAIN: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A copy of a mount that is mounted nowhere yet.
const COPY: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// Of an open directory, with all mounts below; rustix has no names for them.
const ALL_OF_IT: OpenTreeFlags = OpenTreeFlags::from_bits_retain((libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as u32);

/// A part of the old root on its way into the new one.
struct Part {
    /// Where it is in both, without the leading slash.
    path: PathBuf,
    tree: OwnedFd,
}

/// Swaps the root. Needs a mount namespace of our own. Directories stay where
/// they were; `/proc/self` stays, because the engine looks at it once, until
/// landlock closes it.
///
/// # Errors
/// As the kernel reports them; the old root is still there then.
pub fn swap(view: &View) -> io::Result<()> {
    let own = Path::new("/proc/self");
    let mut parts = vec![part(own, open_tree(CWD, own, COPY)?, PLAIN)?];
    for dir in &view.dirs {
        let attributes = if dir.writable { PLAIN } else { PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY };
        let tree = open_tree(granted::open(&dir.path)?, "", COPY | ALL_OF_IT)?;
        parts.push(part(&dir.path, tree, attributes)?);
    }
    // Those above first, or they would cover those below.
    parts.sort_by_key(|part| part.path.components().count());
    let root = blank()?;
    for part in &parts {
        make_folders(&root, &part.path)?;
    }
    raw::add_mount_attributes(root.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into())?;
    let attach = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&root, "", CWD, STAGE, attach)?;
    for part in &parts {
        let path = if part.path.as_os_str().is_empty() { Path::new(".") } else { &part.path };
        move_mount(&part.tree, "", &root, path, attach)?;
    }
    rustix::process::fchdir(&root)?;
    // The new root comes to lie over the old one, which then goes away.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/").map_err(Into::into)
}

fn part(path: &Path, tree: OwnedFd, attributes: MountAttrFlags) -> io::Result<Part> {
    raw::add_mount_attributes(tree.as_fd(), attributes.bits().into())?;
    let path = path.strip_prefix("/").map_err(|_| io::Error::other("a granted directory has no absolute path"))?;
    Ok(Part { path: path.to_owned(), tree })
}

/// An empty file system in memory.
fn blank() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", "0555")?;
    fsconfig_set_string(&context, "size", "1m")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, PLAIN).map_err(Into::into)
}

/// Makes the folders that a part is mounted on.
fn make_folders(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut folder = PathBuf::new();
    for component in path.components() {
        let Component::Normal(name) = component else {
            return Err(io::Error::other("the path of a granted directory has dots in it"));
        };
        folder.push(name);
        match rustix::fs::mkdirat(root, &folder, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
