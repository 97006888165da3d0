//! Programs: the item is standard input or in the arguments, standard output
//! (or a file that the program wrote) is the result, exit 0 is success.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::outcome::{Failure, Form, Kind};
use crate::placeholder::{Content, FileName, Template, Values};
use crate::runtime::abi::payload::{Encoder, bad_output, item_bytes};
use crate::runtime::instance::TaskInput;
use crate::runtime::trap;
use crate::runtime::wasi::Scratch;
use crate::wire::message::{ItemAs, ItemForm, Refusal, ResultAs, TaskSpec};

/// How the tasks of a pool call its program.
#[derive(Debug)]
pub struct CommandCall {
    program: String,
    /// The rest of the arguments; literal ones are made once.
    args: Vec<Template>,
    /// Some argument takes the item.
    item_in_args: bool,
    item_as: ItemAs,
    encoder: Encoder,
    /// The result's path below the scratch directory.
    file: Option<PathBuf>,
}

/// What one task hands to its program.
pub struct Invocation {
    /// All arguments, the program's name first.
    pub args: Vec<String>,
    /// Standard input.
    pub stdin: Bytes,
}

impl CommandCall {
    /// Plans calls of a program.
    ///
    /// # Errors
    /// A file as result that no scratch directory can hold.
    pub fn new(task: &TaskSpec, scratch: Option<&Scratch>) -> Result<Self, Refusal> {
        let args: Vec<Template> = task.argv.iter().map(|arg| Template::parse(arg)).collect();
        let result = task.result.clone().unwrap_or(ResultAs::Text);
        let file = match (&result, scratch) {
            (ResultAs::File(path), Some(scratch)) => Some(below(path, &scratch.guest)?),
            (ResultAs::File(_), None) => {
                return Err(Refusal::module("a file as result needs a scratch directory (--scratch)"));
            }
            _ => None,
        };
        Ok(Self {
            program: task.program.clone(),
            item_in_args: args.iter().any(Template::uses_item),
            args,
            item_as: task.item_as,
            encoder: Encoder { result, encode: task.encode, limits: task.limits.clone() },
            file,
        })
    }

    /// What the program gets for a task.
    ///
    /// # Errors
    /// `bad-input` for an item that has nothing for a placeholder.
    pub fn invocation(&self, task: &TaskInput<'_>) -> Result<Invocation, Failure> {
        let mut args = Vec::with_capacity(self.args.len() + 1);
        args.push(self.program.clone());
        let file = task.path.map(|path| FileName { full: path, below: path });
        let item = match task.form {
            ItemForm::Raw => Content::Raw(task.item),
            ItemForm::Json | ItemForm::Cells => Content::Json(task.item),
        };
        let values = Values { index: task.index, item, id: None, file };
        for arg in &self.args {
            let text = arg.render(&values).map_err(|missing| Failure::new(Kind::BadInput, missing.to_string()))?;
            if text.contains('\0') {
                return Err(Failure::new(Kind::BadInput, "an argument cannot hold a NUL character"));
            }
            args.push(text);
        }
        let stdin = if self.item_in_args && file.is_none() {
            Bytes::new()
        } else {
            match item_bytes(task.item, task.form, self.item_as)? {
                Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                Cow::Owned(bytes) => bytes.into(),
            }
        };
        Ok(Invocation { args, stdin })
    }

    /// Appends the result of a program that succeeded to `out`.
    ///
    /// # Errors
    /// `bad-output` for what is not as `--result` says, `result-too-large`.
    pub fn result(&self, stdout: &[u8], scratch: Option<&Scratch>, out: &mut Vec<u8>) -> Result<Form, Failure> {
        match (&self.file, scratch) {
            (Some(path), Some(scratch)) => self.encoder.put(&self.file_result(path, scratch)?, out),
            _ if self.encoder.result == ResultAs::Text => {
                self.encoder.put(stdout.strip_suffix(b"\n").unwrap_or(stdout), out)
            }
            _ => self.encoder.put(stdout, out),
        }
    }

    /// Whether standard output is the result, and not just printed.
    #[must_use]
    pub fn captures(&self) -> bool {
        self.file.is_none()
    }

    /// Reads the file that the program wrote. No part of the path may be a
    /// symbolic link: the program could point one out of its directory.
    fn file_result(&self, path: &Path, scratch: &Scratch) -> Result<Vec<u8>, Failure> {
        let failed =
            |error: std::io::Error| bad_output(format!("the result file {} cannot be read: {error}", path.display()));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let root = File::open(&scratch.host).map_err(failed)?;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(&root, path, flags, Mode::empty(), within).map_err(|e| failed(e.into()))?;
        let file = File::from(file);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(bad_output(format!("the result file {} is no file", path.display())));
        }
        let limit = self.encoder.limits.max_result;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(trap::result_too_large(&self.encoder.limits));
        }
        Ok(bytes)
    }
}

/// A path as the guest or the user sees it, below the scratch directory.
fn below(path: &str, guest: &str) -> Result<PathBuf, Refusal> {
    let path = Path::new(path);
    let inside = path.strip_prefix(guest).unwrap_or(path);
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !inside.components().all(plain) || inside.as_os_str().is_empty() {
        return Err(Refusal::module(format!("the result file {} is not below {guest}", path.display())));
    }
    Ok(inside.to_owned())
}
