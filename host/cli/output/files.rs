//! `-o 'out/{stem}.png'`: one file an item, never outside the directory that
//! the pattern names.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};

use super::WriteError;
use crate::error::Error;
use crate::escape;
use crate::outcome::{Failure, Kind, Outcome, Value};
use crate::placeholder::{Content, FileName, Template, Values};
use crate::wire::message::ItemForm;

/// Writes the values of items into files of their own.
#[derive(Debug)]
pub(crate) struct ItemFiles {
    template: Template,
    /// The part of the pattern up to the last slash before a placeholder: the
    /// user's own choice, all the rest may come from items.
    prefix: String,
    overwrite: bool,
    form: ItemForm,
}

/// Why a value has no file.
pub(crate) enum NoFile {
    /// The item gives no name, or none that is allowed.
    Item(Failure),
    /// The system does not let us write.
    Fatal(WriteError),
}

impl ItemFiles {
    pub(crate) fn new(template: Template, overwrite: bool, form: ItemForm) -> Self {
        let literal = template.literal_prefix();
        let prefix = literal.rfind('/').map_or("", |slash| &literal[..=slash]).to_owned();
        Self { template, prefix, overwrite, form }
    }

    /// Writes a value, and tells the path.
    pub(crate) fn write(&self, outcome: &Outcome, value: &Value) -> Result<String, NoFile> {
        let path = self.path(outcome).map_err(NoFile::Item)?;
        match self.create(&path).and_then(|(mut file, remove)| file.write_all(&value.bytes).inspect_err(|_| remove())) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                Err(NoFile::Item(bad_name(&path, "it is too long")))
            }
            Err(error) => {
                let exists = error.kind() == io::ErrorKind::AlreadyExists;
                let hint = if exists { " (--overwrite replaces files)" } else { "" };
                Err(NoFile::Fatal(WriteError::Failed(Error::Io {
                    what: format!("cannot create {}{hint}", escape::name(&path)),
                    source: error,
                })))
            }
        }
    }

    /// The path of an item's file.
    fn path(&self, outcome: &Outcome) -> Result<String, Failure> {
        let tag = outcome.tag.as_deref();
        let below = tag.and_then(|tag| tag.path.as_deref());
        let file =
            below.map(|below| FileName { full: tag.and_then(|tag| tag.input.as_deref()).unwrap_or(below), below });
        let bytes = tag.and_then(|tag| tag.item.as_deref()).unwrap_or_default();
        let item = if self.form == ItemForm::Raw { Content::Raw(bytes) } else { Content::Json(bytes) };
        let values = Values { index: outcome.index, item, id: tag.and_then(|tag| tag.id.as_deref()), file };
        let path = self
            .template
            .render(&values)
            .map_err(|missing| Failure::new(Kind::BadInput, format!("no name for the output file: {missing}")))?;
        let rest = &path[self.prefix.len()..];
        let stays_below = Path::new(rest)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir | Component::RootDir));
        if !stays_below || (self.prefix.is_empty() && rest.starts_with('/')) {
            return Err(bad_name(&path, "it leads out of the pattern's directory"));
        }
        if rest.is_empty() || rest.ends_with('/') || rest.ends_with("/.") || rest == "." {
            return Err(bad_name(&path, "it names no file"));
        }
        if path.contains('\0') {
            return Err(bad_name(&path, "it contains NUL"));
        }
        Ok(path)
    }

    /// Creates the file and the directories before it. Below the prefix no
    /// link is followed: a guest with a writable directory could have laid it.
    fn create(&self, path: &str) -> io::Result<(File, impl FnOnce() + use<>)> {
        let base = if self.prefix.is_empty() { "." } else { &self.prefix };
        std::fs::create_dir_all(base)?;
        let directory = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let mut at: OwnedFd = rustix::fs::open(base, directory, Mode::empty())?;
        let rest = Path::new(path[self.prefix.len()..].trim_start_matches('/'));
        for part in rest.parent().into_iter().flat_map(Path::components) {
            let name = part.as_os_str();
            match openat(&at, name, directory | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(inside) => at = inside,
                Err(rustix::io::Errno::NOENT) => {
                    match mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                        // Another run may have been faster.
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    at = openat(&at, name, directory | OFlags::NOFOLLOW, Mode::empty())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let name = PathBuf::from(rest.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        let how = if self.overwrite { OFlags::TRUNC } else { OFlags::EXCL };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | how;
        let file = File::from(openat(&at, &name, flags, Mode::from_raw_mode(0o666))?);
        let remove = move || {
            // The error that made us remove it is the one to be told.
            let _ = unlinkat(&at, &name, AtFlags::empty());
        };
        Ok((file, remove))
    }
}

fn bad_name(path: &str, why: &str) -> Failure {
    Failure::new(Kind::BadInput, format!("{path:?} cannot name an output file: {why}"))
}
