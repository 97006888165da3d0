//! Holds a component's writes to files to `--max-write`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    DescriptorFlags, ErrorCode, Host as _, HostDescriptor as _, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, FsResult, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiView as _, async_trait};

use crate::runtime::abi::component::link::ComponentState;
use crate::runtime::descriptors;

/// The interface of files, in the version that the engine's WASI defines.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// What a task may still write to files; its clones are the same budget.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    left: AtomicU64,
    /// Blocks that may still be begun.
    blocks: AtomicU64,
    exceeded: AtomicBool,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let budget = Self::default();
        budget.refill(bytes);
        budget
    }

    /// Starts over, for the next task of an instance that is kept.
    pub fn refill(&self, bytes: u64) {
        self.0.left.store(bytes, Ordering::Relaxed);
        self.0.blocks.store(descriptors::blocks(bytes), Ordering::Relaxed);
        self.0.exceeded.store(false, Ordering::Relaxed);
    }

    /// Whether a write was refused.
    #[must_use]
    pub fn exceeded(&self) -> bool {
        self.0.exceeded.load(Ordering::Relaxed)
    }

    fn covers(&self, bytes: u64) -> bool {
        let covers = bytes <= self.0.left.load(Ordering::Relaxed);
        self.0.exceeded.fetch_or(!covers, Ordering::Relaxed);
        covers
    }

    /// Counts a block that may be begun, by a name or a write in a new place.
    fn begin_block(&self) -> bool {
        let left = self.0.blocks.load(Ordering::Relaxed);
        self.0.blocks.store(left.saturating_sub(1), Ordering::Relaxed);
        self.0.exceeded.fetch_or(left == 0, Ordering::Relaxed);
        left > 0
    }

    fn spend(&self, bytes: u64) {
        let left = self.0.left.load(Ordering::Relaxed);
        self.0.left.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }
}

/// A file's stream that ends when the budget does.
struct Limited {
    inner: DynOutputStream,
    budget: Budget,
}

#[async_trait]
impl Pollable for Limited {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for Limited {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let length = bytes.len() as u64;
        if !self.budget.covers(length) {
            return Err(StreamError::LastOperationFailed(std::io::Error::from(Errno::NOSPC).into()));
        }
        self.inner.write(bytes)?;
        self.budget.spend(length);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

/// What the functions of the interface give.
type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Puts counting functions in place of those in the linker.
///
/// # Errors
/// None in practice; the linker's own.
pub fn shadow(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: StoreContextMut<'_, ComponentState>, (file, offset): (Resource<Descriptor>, u64)| {
            let opened = store.data_mut().filesystem().write_via_stream(file, offset);
            limited(store.data_mut(), opened)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: StoreContextMut<'_, ComponentState>, (file,): (Resource<Descriptor>,)| {
            let opened = store.data_mut().filesystem().append_via_stream(file);
            limited(store.data_mut(), opened)
        },
    )?;
    types.func_wrap("[method]descriptor.write", write)?;
    types.func_wrap(
        "[method]descriptor.set-size",
        |mut store: StoreContextMut<'_, ComponentState>, (file, size): (Resource<Descriptor>, u64)| {
            if !store.data().wasi.budget.covers(size) {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            let set = store.data_mut().filesystem().set_size(file, size);
            answer(store.data_mut(), set)
        },
    )?;
    names(&mut types)
}

/// A directory, where a name is made in it, and the name.
type Named = (Resource<Descriptor>, String);

/// The same for functions that make names.
fn names(types: &mut LinkerInstance<'_, ComponentState>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]descriptor.create-directory-at",
        |mut store: StoreContextMut<'_, ComponentState>, (folder, path): Named| {
            if !store.data().wasi.budget.begin_block() {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            let made = store.data_mut().filesystem().create_directory_at(folder, path);
            answer(store.data_mut(), made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.symlink-at",
        |mut store: StoreContextMut<'_, ComponentState>, (folder, to, path): (Resource<Descriptor>, String, String)| {
            if !store.data().wasi.budget.begin_block() {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            let made = store.data_mut().filesystem().symlink_at(folder, to, path);
            answer(store.data_mut(), made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.link-at",
        |mut store: StoreContextMut<'_, ComponentState>,
         (folder, flags, old, to, new): (Resource<Descriptor>, PathFlags, String, Resource<Descriptor>, String)| {
            if !store.data().wasi.budget.begin_block() {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            let made = store.data_mut().filesystem().link_at(folder, flags, old, to, new);
            answer(store.data_mut(), made)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, ComponentState>,
         (folder, links, path, how, flags): (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags)| {
            if how.contains(OpenFlags::CREATE) && !store.data().wasi.budget.begin_block() {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            let opened = store.data_mut().filesystem().open_at(folder, links, path, how, flags);
            answer(store.data_mut(), opened)
        },
    )
}

fn write(
    mut store: StoreContextMut<'_, ComponentState>,
    (file, bytes, offset): (Resource<Descriptor>, Vec<u8>, u64),
) -> Answer<u64> {
    let budget = store.data().wasi.budget.clone();
    if !budget.covers(bytes.len() as u64) || !budget.begin_block() {
        return Ok((Err(ErrorCode::InsufficientSpace),));
    }
    let written = store.data_mut().filesystem().write(file, bytes, offset);
    budget.spend(*written.as_ref().unwrap_or(&0));
    answer(store.data_mut(), written)
}

fn limited(
    state: &mut ComponentState,
    opened: FsResult<Resource<DynOutputStream>>,
) -> Answer<Resource<DynOutputStream>> {
    let opened = match opened {
        Err(error) => Err(error),
        Ok(stream) => {
            let budget = state.wasi.budget.clone();
            let table = state.ctx().table;
            let inner = table.delete(stream)?;
            if !budget.begin_block() {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            let limited: DynOutputStream = Box::new(Limited { inner, budget });
            Ok(table.push(limited)?)
        }
    };
    answer(state, opened)
}

fn answer<T>(state: &mut ComponentState, result: FsResult<T>) -> Answer<T> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(state.filesystem().convert_error_code(error)?),
    },))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_in_bytes_and_in_blocks_and_is_refilled() {
        let budget = Budget::new(8192);
        for _task in 0..2 {
            for _ in 0..1024 + 2 {
                assert!(budget.begin_block());
            }
            assert!(budget.covers(8192) && !budget.exceeded());
            assert!(!budget.begin_block() && budget.exceeded());
            budget.refill(8192);
            budget.spend(8000);
            assert!(budget.covers(192) && !budget.covers(193) && budget.exceeded());
            budget.refill(8192);
        }
    }
}
