//! Files in directories that tasks may write to. A guest may have laid a link
//! where the run will read an item: no such link leads out of its directory.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a regular file for reading. `writable` are absolute paths of
/// directories, without links.
///
/// # Errors
/// As the system reports them; for what is no regular file; and for a file in
/// one of `writable` whose links lead out of it.
pub fn open(path: &Path, writable: &[PathBuf]) -> io::Result<File> {
    let no_file = || io::Error::other("not a regular file");
    let Some((folder, below)) = place(path, writable) else {
        // Looked at before it is opened: opening a pipe would wait for its
        // writer.
        return if fs::metadata(path)?.is_file() { File::open(path) } else { Err(no_file()) };
    };
    // Between a look and the opening a guest could put another in its place.
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&folder, &below, flags, Mode::empty(), how) {
        Err(Errno::XDEV) => return Err(io::Error::other("a link leads out of a directory that tasks may write to")),
        Err(Errno::NOSYS) => return Err(io::Error::other("this kernel cannot tell where its links lead")),
        opened => File::from(opened?),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// Which of `writable` a path leads into, and where in it.
pub fn place<'a>(path: &Path, writable: &'a [PathBuf]) -> Option<(&'a Path, PathBuf)> {
    if writable.is_empty() {
        return None;
    }
    let mut starts: Vec<&Path> = path.ancestors().collect();
    // What stands before such a directory is nobody's to change, the rest is.
    starts.reverse();
    starts.into_iter().find_map(|start| {
        let rest = path.strip_prefix(start).ok()?;
        if rest.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let start = if start.as_os_str().is_empty() { Path::new(".") } else { start };
        let start = start.canonicalize().ok()?;
        let folder = writable.iter().find(|folder| start.starts_with(folder))?;
        // From the dot on, so that the path is never empty and has no slash at
        // its end, which would ask for a directory.
        let below = Path::new(".").join(start.strip_prefix(folder).ok()?);
        Some((folder.as_path(), below.components().chain(rest.components()).collect()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_in_a_writable_directory_leads_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let writable = [root.join("data")];
        fs::create_dir_all(root.join("data/sub")).unwrap();
        fs::write(root.join("secret"), "secret").unwrap();
        fs::write(root.join("data/file"), "text").unwrap();
        fs::write(root.join("data/sub/file"), "text").unwrap();
        for (to, link) in [
            ("../secret", "data/out"),
            ("../../secret", "data/sub/out"),
            ("..", "data/up"),
            ("sub/file", "data/in"),
            ("../data/file", "data/through"),
            ("data/sub", "short"),
            ("data/file", "mine"),
            ("secret", "good"),
        ] {
            symlink(to, root.join(link)).unwrap();
        }
        symlink(root.join("secret"), root.join("data/absolute")).unwrap();
        let read = |name: &str| {
            let mut text = String::new();
            open(&root.join(name), &writable)?.read_to_string(&mut text).map(|_| text)
        };
        for name in ["data/file", "data/sub/file", "data/in", "short/file", "mine"] {
            assert_eq!(read(name).unwrap(), "text", "{name}");
        }
        // What no guest can have laid is the user's own.
        for name in ["secret", "good"] {
            assert_eq!(read(name).unwrap(), "secret", "{name}");
        }
        for name in ["data/out", "data/sub/out", "data/up/secret", "data/absolute", "data/through", "short/out"] {
            let error = read(name).unwrap_err();
            assert!(error.to_string().contains("leads out"), "{name}: {error}");
        }
        for name in ["data", "data/sub", "/dev/null"] {
            assert!(read(name).unwrap_err().to_string().contains("not a regular file"), "{name}");
        }
    }
}
