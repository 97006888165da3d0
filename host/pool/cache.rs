//! Compiled artifacts kept between runs, in a directory of this user alone.
//!
//! An entry is `KEY.json` (the description and a MAC) beside
//! `KEY-MAC.cwasm` (the artifact). The MAC covers key, description and
//! artifact, under a secret in the same directory, so that an entry which was
//! damaged, swapped or made by someone else is compiled anew, never trusted.
//! The artifact is checked and handed on through one descriptor.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::describe::Description;
use crate::error::Told;
use crate::error::is_scarcity;
use crate::limits::{Features, GIB, MIB};
use crate::pool::module::Module;

/// Version of the layout and of what the MAC covers.
const VERSION: u32 = 1;

/// The wasmtime that makes the artifacts; it refuses those of another.
pub const WASMTIME: &str = "48.0.8";

/// What all artifacts together may take; the longest unused go first.
const CAPACITY: u64 = 4 * GIB;

/// A description larger than this is not ours.
const MAX_DESCRIPTION: u64 = 64 * MIB;

/// An unfinished file older than this belongs to nobody any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The file that holds the MAC's secret.
const SECRET: &str = "key";

/// What the engine compiles into an artifact: the other half of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Proposals beyond the default.
    pub features: Features,
    /// Epoch checks are compiled in.
    pub epochs: bool,
    /// Fuel accounting is compiled in.
    pub fuel: bool,
    /// The largest wasm stack, in bytes.
    pub stack: u64,
    /// The code shows its state, for a snapshot.
    pub instrument: bool,
}

/// Names one artifact: a module's content and all that shapes its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(blake3::Hash);

impl Key {
    /// The key of a module under these settings, on this processor and by
    /// this very executable.
    #[must_use]
    pub fn new(module: &Module, settings: &EngineSettings) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(module.hash().as_bytes());
        let executable = std::env::current_exe().and_then(std::fs::metadata);
        let built = executable.map_or((0, 0, 0), |meta| (meta.size(), meta.mtime(), meta.mtime_nsec()));
        let fingerprint = format!(
            "{VERSION} {} {WASMTIME} {built:?} {:?} epochs={} fuel={} stack={} instrument={} {} {}",
            env!("CARGO_PKG_VERSION"),
            settings.features.names(),
            settings.epochs,
            settings.fuel,
            settings.stack,
            settings.instrument,
            std::env::consts::ARCH,
            processor(),
        );
        hasher.update(fingerprint.as_bytes());
        Self(hasher.finalize())
    }

    /// The key of a module after a call that `called` describes in full.
    #[must_use]
    pub fn initialised(module: &Module, settings: &EngineSettings, called: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("wpool initialised module v1");
        hasher.update(Self::new(module, settings).0.as_bytes());
        hasher.update(called.as_bytes());
        Self(hasher.finalize())
    }

    fn json(&self) -> String {
        format!("{}.json", self.0.to_hex())
    }

    fn artifact(&self, mac: &blake3::Hash) -> String {
        format!("{}-{}.cwasm", self.0.to_hex(), &mac.to_hex()[..16])
    }
}

/// The processor's features that code generation looks at.
#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    macro_rules! present {
        ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let features = present!(
        "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "bmi1" "bmi2" "lzcnt" "cmpxchg16b"
        "avx512f" "avx512dq" "avx512vl" "avx512bitalg" "avx512vbmi"
    );
    features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// The processor's features that code generation looks at.
#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    String::new()
}

/// What is written beside an artifact.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    v: u32,
    mac: String,
    #[serde(borrow)]
    description: &'a RawValue,
}

/// Why a directory is not used as a cache; a warning, never an error.
#[derive(Debug, thiserror::Error)]
#[error("not using the cache {path}: {reason}")]
pub struct Unusable {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// An opened cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    folder: Arc<OwnedFd>,
    secret: [u8; 32],
    capacity: u64,
}

impl Cache {
    /// Where the cache is: `WPOOL_CACHE_DIR`, else `wpool/modules` below
    /// `XDG_CACHE_HOME` or `~/.cache`. Not `wpool` itself, which others may
    /// have made with a mode of their own.
    #[must_use]
    pub fn default_path() -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("WPOOL_CACHE_DIR").or_else(|| {
            let base = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
            Some(base.or_else(|| set("HOME").map(|home| home.join(".cache")))?.join("wpool/modules"))
        })
    }

    /// Opens the directory, making it if it is missing.
    ///
    /// # Errors
    /// When it is not a directory of this user alone, or cannot be written.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Unusable> {
        let path = path.into();
        match Self::try_open(&path) {
            Ok((folder, secret)) => Ok(Self { path, folder: Arc::new(folder), secret, capacity: CAPACITY }),
            Err(error) => Err(Unusable { path, reason: Told(&error).to_string() }),
        }
    }

    fn try_open(path: &Path) -> io::Result<(OwnedFd, [u8; 32])> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => io::Error::other("it is a symbolic link"),
            other => other.into(),
        })?;
        let stat = rustix::fs::fstat(&folder)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user"));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "others may use it (mode {:o}; chmod 700 makes it private)",
                stat.st_mode & 0o777
            )));
        }
        let secret = secret(&folder)?;
        Ok((folder, secret))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The artifact and description kept under `key`. Anything odd about an
    /// entry removes it.
    #[must_use]
    pub fn lookup(&self, key: &Key) -> Option<(File, Description)> {
        let mut json = self.read(&key.json())?;
        let found = self.checked(key, &mut json);
        if found.is_none() {
            self.remove(key);
        }
        found
    }

    fn checked(&self, key: &Key, json: &mut File) -> Option<(File, Description)> {
        let mut text = String::new();
        json.take(MAX_DESCRIPTION).read_to_string(&mut text).ok()?;
        let entry: Entry<'_> = serde_json::from_str(&text).ok()?;
        let mac = blake3::Hash::from_hex(&entry.mac).ok()?;
        if entry.v != VERSION {
            return None;
        }
        let mut artifact = self.read(&key.artifact(&mac))?;
        // `blake3::Hash` compares in constant time.
        if self.mac(key, entry.description.get(), &mut artifact).ok()? != mac {
            return None;
        }
        let description = serde_json::from_str(entry.description.get()).ok()?;
        artifact.rewind().ok()?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ };
        let same = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
        // Only the order of pruning depends on it.
        let _ = rustix::fs::futimens(&artifact, &Timestamps { last_access: same, last_modification: now });
        Some((artifact, description))
    }

    /// Copies an artifact into the cache and opens the copy. What is copied
    /// is what gets the MAC, whoever else may hold the original.
    ///
    /// # Errors
    /// When the directory cannot be written, or is full.
    pub fn store(&self, key: &Key, artifact: &mut File, description: &Description) -> io::Result<File> {
        let text = serde_json::to_string(description)?;
        let mut copy = Temporary::create(self)?;
        artifact.rewind()?;
        io::copy(artifact, &mut copy.file)?;
        copy.file.rewind()?;
        let mac = self.mac(key, &text, &mut copy.file)?;
        let name = key.artifact(&mac);
        copy.rename(&name)?;
        let raw: &RawValue = serde_json::from_str(&text)?;
        let entry = Entry { v: VERSION, mac: mac.to_hex().to_string(), description: raw };
        let mut json = Temporary::create(self)?;
        json.file.write_all(serde_json::to_string(&entry)?.as_bytes())?;
        json.rename(&key.json())?;
        let file = self.read(&name).ok_or_else(|| io::Error::other("the entry vanished"))?;
        self.prune(&name);
        Ok(file)
    }

    /// Forgets an entry.
    pub fn remove(&self, key: &Key) {
        // A file that is not there is forgotten already.
        let _ = rustix::fs::unlinkat(&self.folder, key.json(), AtFlags::empty());
        let prefix = format!("{}-", key.0.to_hex());
        for (name, _, _) in self.files() {
            if name.starts_with(&prefix) {
                let _ = rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()); // as above
            }
        }
    }

    fn mac(&self, key: &Key, description: &str, artifact: &mut File) -> io::Result<blake3::Hash> {
        let size = artifact.metadata()?.len();
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&u64::from(VERSION).to_le_bytes());
        hasher.update(key.0.as_bytes());
        hasher.update(&(description.len() as u64).to_le_bytes());
        hasher.update(&size.to_le_bytes());
        hasher.update(description.as_bytes());
        hasher.update_reader(artifact)?;
        Ok(hasher.finalize())
    }

    /// Opens a file of ours for reading, if it is a plain one that only we
    /// may write.
    fn read(&self, name: &str) -> Option<File> {
        open_private(&self.folder, name).ok()
    }

    /// Names, sizes and times of use of all files.
    fn files(&self) -> Vec<(String, u64, SystemTime)> {
        let Ok(folder) = Dir::read_from(&self.folder) else { return Vec::new() };
        let stat = |entry: rustix::fs::DirEntry| {
            let name = entry.file_name().to_str().ok()?.to_owned();
            let stat = rustix::fs::statat(&self.folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
            Some((name, u64::try_from(stat.st_size).ok()?, used))
        };
        folder.filter_map(Result::ok).filter_map(stat).collect()
    }

    /// Removes what was unused longest until the rest fits, and the leavings
    /// of runs that were killed.
    fn prune(&self, keep: &str) {
        let mut artifacts = Vec::new();
        for (name, size, used) in self.files() {
            let age = used.elapsed().unwrap_or_default();
            if name.starts_with(Temporary::PREFIX) && age > ABANDONED {
                let _ = rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()); // another run was faster
            } else if name.ends_with(".cwasm") {
                artifacts.push((used, name, size));
            }
        }
        let mut total: u64 = artifacts.iter().map(|(_, _, size)| size).sum();
        artifacts.sort();
        for (_, name, size) in artifacts {
            if total <= self.capacity {
                return;
            }
            if name == keep {
                continue;
            }
            total -= size;
            let json = name.split('-').next().map(|key| format!("{key}.json"));
            for name in [Some(name), json].into_iter().flatten() {
                let _ = rustix::fs::unlinkat(&self.folder, &name, AtFlags::empty()); // as above
            }
        }
    }
}

/// The directory's secret, made at first use. Whoever comes second takes what
/// the first has made.
fn secret(folder: &OwnedFd) -> io::Result<[u8; 32]> {
    let odd = |error| {
        let other = io::Error::other("its key file is not a private file of 32 bytes; remove it");
        if is_scarcity(&error) { error } else { other }
    };
    let read = |file: File| {
        let mut secret = Vec::with_capacity(33);
        file.take(33).read_to_end(&mut secret)?;
        <[u8; 32]>::try_from(secret).map_err(|_| io::Error::other("short"))
    };
    match open_private(folder, SECRET) {
        Ok(file) => return read(file).map_err(odd),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(odd(error)),
    }
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    let name = temporary_name()?;
    create(folder, &name)?.write_all(&bytes).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(folder, &name, AtFlags::empty()); // what remains is pruned later
    })?;
    let renamed = rustix::fs::renameat_with(folder, &name, folder, SECRET, RenameFlags::NOREPLACE);
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(folder, &name, AtFlags::empty()); // what remains is pruned later
    }
    open_private(folder, SECRET).and_then(read).map_err(odd)
}

/// Opens for reading a regular file that only this user can change.
fn open_private(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    let meta = file.metadata()?;
    let ours = meta.is_file() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o077 == 0;
    if ours { Ok(file) } else { Err(io::Error::other("not a private file")) }
}

fn create(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    // Up to 256 bytes come whole or not at all.
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(())
}

fn temporary_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    random(&mut bytes)?;
    Ok(format!("{}{:016x}", Temporary::PREFIX, u64::from_le_bytes(bytes)))
}

/// A file that becomes visible under its name only when it is whole.
struct Temporary<'a> {
    cache: &'a Cache,
    file: File,
    name: Option<String>,
}

impl<'a> Temporary<'a> {
    const PREFIX: &'static str = ".tmp-";

    fn create(cache: &'a Cache) -> io::Result<Self> {
        let name = temporary_name()?;
        let file = create(&cache.folder, &name)?;
        Ok(Self { cache, file, name: Some(name) })
    }

    fn rename(mut self, to: &str) -> io::Result<()> {
        if let Some(name) = &self.name {
            rustix::fs::renameat(&self.cache.folder, name, &self.cache.folder, to)?;
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What cannot be removed now is pruned later.
            let _ = rustix::fs::unlinkat(&self.cache.folder, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
