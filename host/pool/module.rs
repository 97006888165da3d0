//! A module as the host knows it: a name and sealed bytes, hashed while they
//! are read. The host never parses them.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::escape;
use crate::limits::CompileLimits;

/// Bytes copied and hashed at a time.
const BLOCK: usize = 256 << 10;

/// The first bytes of an ELF file, which compiled artifacts are.
const ELF: &[u8] = b"\x7fELF";

/// A WebAssembly module or component, binary or text. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Module {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    content: File,
    length: u64,
    hash: blake3::Hash,
}

impl Module {
    /// Reads a module from a file of up to the default `--max-module`.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, too large, or a compiled
    /// artifact.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_file_up_to(path, CompileLimits::default().max_module)
    }

    /// Reads a module from a file of up to `max_module` bytes.
    ///
    /// # Errors
    /// As [`Module::from_file`].
    pub fn from_file_up_to(path: impl AsRef<Path>, max_module: u64) -> Result<Self, Error> {
        let path = path.as_ref();
        let unreadable = |source| Error::ModuleFile { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(unreadable(ErrorKind::IsADirectory.into()));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::copy(name, &mut file, max_module, unreadable)
    }

    /// Takes a module from memory; `name` stands for it in messages, records
    /// and a command's `argv[0]`.
    ///
    /// # Errors
    /// When it is empty, over the default `--max-module`, or a compiled
    /// artifact.
    pub fn from_bytes(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Result<Self, Error> {
        let max = CompileLimits::default().max_module;
        Self::copy(name.into(), &mut bytes.as_ref(), max, Error::io("cannot keep the module"))
    }

    /// Takes a module that is a file in memory already, which is sealed.
    ///
    /// # Errors
    /// When it is empty or cannot be read or sealed.
    pub(crate) fn from_memory(name: &str, content: File) -> Result<Self, Error> {
        let unkept = Error::io("cannot keep the module in memory");
        let (mut hasher, mut source) = (blake3::Hasher::new(), &content);
        let hashed = source.rewind().and_then(|()| hasher.update_reader(source).map(drop));
        let sealed = hashed.and_then(|()| seal(&content)).and_then(|()| content.metadata());
        let length = sealed.map_err(unkept)?.len();
        Ok(Self { inner: Arc::new(Inner { name: name.to_owned(), content, length, hash: hasher.finalize() }) })
    }

    /// Copies the source into sealed memory, so that what was hashed is what
    /// will be compiled whatever happens to a file meanwhile.
    fn copy(
        name: String,
        source: &mut dyn Read,
        max_module: u64,
        unreadable: impl FnOnce(std::io::Error) -> Error,
    ) -> Result<Self, Error> {
        let (content, length, hash) = match fill(source, max_module) {
            Ok(filled) => filled,
            Err(Fill::Read(error)) => return Err(unreadable(error)),
            Err(Fill::Keep(error)) => return Err(Error::io("cannot keep the module in memory")(error)),
            Err(Fill::Refused(text)) => return Err(Error::Module(format!("module {}: {text}", escape::name(&name)))),
        };
        Ok(Self { inner: Arc::new(Inner { name, content, length, hash }) })
    }

    /// The file's name without its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its size in bytes; never 0.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.length
    }

    /// BLAKE3 of the content: the module's part of a cache key.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        self.inner.hash
    }

    /// SHA-256 of the content in hexadecimal, as other tools name files.
    /// Computed at each call.
    ///
    /// # Errors
    /// When the sealed copy cannot be read, which a healthy kernel never does.
    pub fn sha256(&self) -> Result<String, Error> {
        let mut digest = Sha256::new();
        let mut block = vec![0; BLOCK];
        let mut offset = 0;
        while offset < self.inner.length {
            let got =
                self.inner.content.read_at(&mut block, offset).map_err(Error::io("cannot read the module back"))?;
            if got == 0 {
                return Err(Error::io("cannot read the module back")(ErrorKind::UnexpectedEof.into()));
            }
            digest.update(&block[..got]);
            offset += got as u64;
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The sealed content, for the compile worker.
    #[must_use]
    pub fn content(&self) -> BorrowedFd<'_> {
        self.inner.content.as_fd()
    }
}

/// Why a source did not become a sealed file.
enum Fill {
    /// The source failed.
    Read(std::io::Error),
    /// The copy failed.
    Keep(std::io::Error),
    /// The content is not acceptable.
    Refused(String),
}

/// Nothing can change the content from here on.
fn seal(content: &File) -> std::io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(content, seals).map_err(Into::into)
}

fn fill(source: &mut dyn Read, max_module: u64) -> Result<(File, u64, blake3::Hash), Fill> {
    let descriptor = rustix::fs::memfd_create("wpool-module", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|errno| Fill::Keep(errno.into()))?;
    let mut content = File::from(descriptor);
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut length = 0_u64;
    loop {
        let got = match source.read(&mut block) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fill::Read(error)),
        };
        if length == 0 && block[..got].starts_with(ELF) {
            return Err(Fill::Refused(
                "is a compiled artifact or a native program; give the .wasm or .wat file (compiled code is cached by itself)"
                    .to_owned(),
            ));
        }
        length += got as u64;
        if length > max_module {
            return Err(Fill::Refused(format!("is over {max_module} bytes (raise it with --max-module)")));
        }
        hasher.update(&block[..got]);
        content.write_all(&block[..got]).map_err(Fill::Keep)?;
    }
    if length == 0 {
        return Err(Fill::Refused("is empty".to_owned()));
    }
    seal(&content).map_err(Fill::Keep)?;
    Ok((content, length, hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_named_and_hashed() {
        let module = Module::from_bytes("a.wasm", b"abc").unwrap();
        assert_eq!(module.name(), "a.wasm");
        assert_eq!(module.size(), 3);
        assert_eq!(module.hash(), blake3::hash(b"abc"));
        assert_eq!(module.sha256().unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn large_content_is_kept_whole() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let module = Module::from_bytes("a", &bytes).unwrap();
        let mut kept = vec![0; bytes.len()];
        module.inner.content.read_exact_at(&mut kept, 0).unwrap();
        assert!(kept == bytes);
        assert_eq!(module.hash(), blake3::hash(&bytes));
    }

    #[test]
    fn the_copy_cannot_be_changed() {
        let module = Module::from_bytes("a", b"abc").unwrap();
        assert!(module.inner.content.write_at(b"x", 0).is_err());
    }

    #[test]
    fn files_that_cannot_be_modules_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("empty"), b"").unwrap();
        std::fs::write(path("elf.cwasm"), b"\x7fELF....").unwrap();
        std::fs::write(path("big"), vec![1; 100]).unwrap();
        let refusal = |name: &str| Module::from_file_up_to(path(name), 99).unwrap_err();
        assert!(matches!(refusal("missing"), Error::ModuleFile { .. }));
        assert!(matches!(Module::from_file(folder.path()).unwrap_err(), Error::ModuleFile { .. }));
        assert!(refusal("empty").to_string().contains("is empty"));
        assert!(refusal("elf.cwasm").to_string().contains("compiled artifact"));
        assert!(refusal("big").to_string().contains("--max-module"));
        assert!(Module::from_file_up_to(path("big"), 100).is_ok());
        assert_eq!(refusal("empty").exit_code(), 3);
    }
}
