//! Preview-1 functions on descriptors, with two things put before
//! wasmtime-wasi's own: the standard streams are written without a detour
//! through its tables, and writes to files count against `--max-write`.

use std::io;

use wasmtime::{Caller, Extern, Linker};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as preview1, WasiSnapshotPreview1};
use wasmtime_wasi::runtime::in_tokio;
use wiggle::GuestMemory;

use crate::runtime::connection::Connection;
use crate::runtime::preview1::{CoreState, MODULE};
use crate::runtime::wasi::Grants;
use crate::wire::page::Stream;

const SUCCESS: i32 = 0;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NO_SPACE: i32 = 51;
const CONNECTION_RESET: i32 = 15;
const IO: i32 = 29;
const PIPE: i32 = 64;
/// The flag of `path_open` that makes a file.
const CREATE: i32 = 1;
/// Bytes of an address and a length.
const VECTOR: usize = 8;
/// Most vectors in one call, as POSIX systems have it.
const MAX_VECTORS: u32 = 1024;
/// Highest descriptor of a standard stream.
const STDERR: i32 = 2;

/// What a guest did with its descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files {
    /// Bytes that it may still write.
    budget: u64,
    /// Blocks that it may still begin.
    blocks: u64,
    /// Descriptors, by their bits, that were written to and did nothing else
    /// since.
    going_on: u64,
    /// Where the last write by position was, and where it ended.
    last: Option<(i32, u64)>,
    /// It closed or moved a standard stream: the numbers 0 to 2 may be files.
    streams_moved: bool,
}

impl Files {
    /// For a task that may write `budget` bytes to files.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Self { budget, blocks: blocks(budget), ..Self::default() }
    }

    /// The descriptor's place is another one from here on.
    fn moves(&mut self, fd: i32) {
        self.going_on &= !bit(fd);
    }
}

/// What a file system takes for the first byte in a place, or for a name.
const BLOCK: u64 = 4096;
/// Blocks that may be begun whatever the budget.
const MIN_BLOCKS: u64 = 1024;

/// How many blocks may be begun by who may write `budget` bytes: single bytes
/// in as many places, or empty files, would fill a disk all the same.
#[must_use]
pub fn blocks(budget: u64) -> u64 {
    MIN_BLOCKS + budget / BLOCK
}

fn bit(fd: i32) -> u64 {
    u32::try_from(fd).ok().and_then(|fd| 1_u64.checked_shl(fd)).unwrap_or(0)
}

/// Whether the guest has a file open, of descriptors from `first` up to `last`.
pub fn has_open(context: &mut WasiP1Ctx, first: i32, last: i32) -> bool {
    /// Bytes of what is told of a descriptor, and then some.
    const ROOM: usize = 64;
    let mut room = [0; ROOM];
    (first..=last).any(|fd| {
        context.set_hostcall_fuel(ROOM);
        let told = in_tokio(preview1::fd_fdstat_get(context, &mut GuestMemory::Unshared(&mut room), fd, 0));
        told.is_ok_and(|errno| errno == SUCCESS)
    })
}

/// Puts these functions in place of those in the linker.
///
/// # Errors
/// None in practice; the linker's own.
pub fn shadow(linker: &mut Linker<CoreState>, grants: &Grants) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "fd_close", fd_close)?;
    linker.func_wrap(MODULE, "fd_renumber", fd_renumber)?;
    if grants.connections() || grants.writable() {
        linker.func_wrap(MODULE, "fd_read", fd_read)?;
    }
    if grants.writable() {
        linker.func_wrap(MODULE, "fd_seek", fd_seek)?;
        linker.func_wrap(MODULE, "path_create_directory", path_create_directory)?;
        linker.func_wrap(MODULE, "path_link", path_link)?;
        linker.func_wrap(MODULE, "path_open", path_open)?;
        linker.func_wrap(MODULE, "path_symlink", path_symlink)?;
        linker.func_wrap(MODULE, "fd_pwrite", fd_pwrite)?;
        linker.func_wrap(MODULE, "fd_allocate", fd_allocate)?;
        linker.func_wrap(MODULE, "fd_filestat_set_size", fd_filestat_set_size)?;
    }
    Ok(())
}

fn fd_write(mut caller: Caller<'_, CoreState>, fd: i32, vectors: i32, count: i32, written: i32) -> Outcome {
    let stream = match fd {
        1 => Some(Stream::Stdout),
        STDERR => Some(Stream::Stderr),
        _ => None,
    };
    if let Some(stream) = stream
        && !caller.data().wasi.files.streams_moved
    {
        return print(&mut caller, stream, vectors as u32, count as u32, written as u32);
    }
    let begins = caller.data().wasi.files.going_on & bit(fd) == 0;
    if !within_budget(&mut caller, vectors as u32, count as u32) || begins && !begin_block(&mut caller) {
        return Ok(NO_SPACE);
    }
    caller.data_mut().wasi.files.going_on |= bit(fd);
    let errno = call(&mut caller, |context, memory| {
        in_tokio(preview1::fd_write(context, memory, fd, vectors, count, written))
    })?;
    spend(&mut caller, errno, written as u32);
    Ok(errno)
}

fn fd_read(mut caller: Caller<'_, CoreState>, fd: i32, vectors: i32, count: i32, read: i32) -> Outcome {
    if fd == 0
        && !caller.data().wasi.files.streams_moved
        && let Some(connection) = caller.data().console.connection()
    {
        let received = receive(&mut caller, &connection, (vectors as u32, count as u32), read as u32);
        return Ok(received.err().unwrap_or(SUCCESS));
    }
    caller.data_mut().wasi.files.moves(fd);
    call(&mut caller, |context, memory| in_tokio(preview1::fd_read(context, memory, fd, vectors, count, read)))
}

/// Reads a connection into the first vector that is not empty, which is all
/// that one read has to do; an errno where that fails.
fn receive(
    caller: &mut Caller<'_, CoreState>,
    connection: &Connection,
    (vectors, count): (u32, u32),
    read: u32,
) -> Result<(), i32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return Err(FAULT) };
    let bytes = memory.data_mut(caller);
    let mut total = 0;
    for position in 0..count.min(MAX_VECTORS) {
        let (start, length) = vector(bytes, vectors, position).ok_or(FAULT)?;
        let buffer = start.checked_add(length).and_then(|end| bytes.get_mut(start..end)).ok_or(FAULT)?;
        if !buffer.is_empty() {
            total = connection.receive(buffer).map_err(|error| errno(&error))?;
            break;
        }
    }
    let target = bytes.get_mut(read as usize..).and_then(|rest| rest.get_mut(..4)).ok_or(FAULT)?;
    target.copy_from_slice(&(total as u32).to_le_bytes());
    Ok(())
}

/// What a guest is told of a connection that fails.
fn errno(error: &io::Error) -> i32 {
    match error.kind() {
        io::ErrorKind::BrokenPipe => PIPE,
        io::ErrorKind::ConnectionReset => CONNECTION_RESET,
        _ => IO,
    }
}

fn fd_pwrite(
    mut caller: Caller<'_, CoreState>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: i64,
    written: i32,
) -> Outcome {
    let begins = caller.data().wasi.files.last != Some((fd, offset.cast_unsigned()));
    if !within_budget(&mut caller, vectors as u32, count as u32) || begins && !begin_block(&mut caller) {
        return Ok(NO_SPACE);
    }
    let errno = call(&mut caller, |context, memory| {
        in_tokio(preview1::fd_pwrite(context, memory, fd, vectors, count, offset, written))
    })?;
    let count = spend(&mut caller, errno, written as u32);
    caller.data_mut().wasi.files.last = Some((fd, offset.cast_unsigned().saturating_add(count)));
    Ok(errno)
}

fn fd_seek(mut caller: Caller<'_, CoreState>, fd: i32, offset: i64, whence: i32, place: i32) -> Outcome {
    caller.data_mut().wasi.files.moves(fd);
    call(&mut caller, |context, memory| in_tokio(preview1::fd_seek(context, memory, fd, offset, whence, place)))
}

fn path_create_directory(mut caller: Caller<'_, CoreState>, fd: i32, path: i32, length: i32) -> Outcome {
    named(&mut caller, |context, memory| in_tokio(preview1::path_create_directory(context, memory, fd, path, length)))
}

fn path_symlink(mut caller: Caller<'_, CoreState>, to: i32, length: i32, fd: i32, path: i32, own: i32) -> Outcome {
    named(&mut caller, |context, memory| in_tokio(preview1::path_symlink(context, memory, to, length, fd, path, own)))
}

#[expect(clippy::too_many_arguments, reason = "as the interface has it")]
fn path_link(
    mut caller: Caller<'_, CoreState>,
    from: i32,
    flags: i32,
    old: i32,
    old_length: i32,
    to: i32,
    new: i32,
    new_length: i32,
) -> Outcome {
    named(&mut caller, |context, memory| {
        in_tokio(preview1::path_link(context, memory, from, flags, old, old_length, to, new, new_length))
    })
}

#[expect(clippy::too_many_arguments, reason = "as the interface has it")]
fn path_open(
    mut caller: Caller<'_, CoreState>,
    fd: i32,
    links: i32,
    path: i32,
    length: i32,
    how: i32,
    rights: i64,
    inherited: i64,
    flags: i32,
    opened: i32,
) -> Outcome {
    if how & CREATE != 0 && !begin_block(&mut caller) {
        return Ok(NO_SPACE);
    }
    call(&mut caller, |context, memory| {
        let open = preview1::path_open(context, memory, fd, links, path, length, how, rights, inherited, flags, opened);
        in_tokio(open)
    })
}

/// Calls what makes a name.
fn named(
    caller: &mut Caller<'_, CoreState>,
    function: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Outcome,
) -> Outcome {
    if begin_block(caller) { call(caller, function) } else { Ok(NO_SPACE) }
}

fn fd_allocate(mut caller: Caller<'_, CoreState>, fd: i32, offset: i64, length: i64) -> Outcome {
    let end = offset.cast_unsigned().saturating_add(length.cast_unsigned());
    if !may_reach(&mut caller, end) {
        return Ok(NO_SPACE);
    }
    call(&mut caller, |context, memory| preview1::fd_allocate(context, memory, fd, offset, length))
}

fn fd_filestat_set_size(mut caller: Caller<'_, CoreState>, fd: i32, size: i64) -> Outcome {
    if !may_reach(&mut caller, size.cast_unsigned()) {
        return Ok(NO_SPACE);
    }
    call(&mut caller, |context, memory| in_tokio(preview1::fd_filestat_set_size(context, memory, fd, size)))
}

fn fd_close(mut caller: Caller<'_, CoreState>, fd: i32) -> Outcome {
    caller.data_mut().wasi.files.moves(fd);
    caller.data_mut().wasi.files.streams_moved |= (0..=STDERR).contains(&fd);
    call(&mut caller, |context, memory| in_tokio(preview1::fd_close(context, memory, fd)))
}

fn fd_renumber(mut caller: Caller<'_, CoreState>, from: i32, to: i32) -> Outcome {
    let files = &mut caller.data_mut().wasi.files;
    files.streams_moved = true;
    files.moves(from);
    files.moves(to);
    call(&mut caller, |context, memory| in_tokio(preview1::fd_renumber(context, memory, from, to)))
}

/// An errno, or the end of the guest.
type Outcome = wasmtime::Result<i32>;

/// Calls wasmtime-wasi's own function.
fn call(
    caller: &mut Caller<'_, CoreState>,
    function: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Outcome,
) -> Outcome {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return Ok(FAULT) };
    let fuel = wasmtime::AsContextMut::as_context_mut(caller).hostcall_fuel();
    let (bytes, state) = memory.data_and_store_mut(caller);
    let context = state.preview1();
    context.set_hostcall_fuel(fuel);
    function(context, &mut GuestMemory::Unshared(bytes))
}

fn print(caller: &mut Caller<'_, CoreState>, stream: Stream, vectors: u32, count: u32, written: u32) -> Outcome {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return Ok(FAULT) };
    let (bytes, state) = memory.data_and_store_mut(caller);
    if count > MAX_VECTORS {
        return Ok(INVAL);
    }
    let connection = if stream == Stream::Stdout { state.console.connection() } else { None };
    let mut total: u32 = 0;
    for position in 0..count {
        let Some((start, length)) = vector(bytes, vectors, position) else { return Ok(FAULT) };
        let Some(text) = start.checked_add(length).and_then(|end| bytes.get(start..end)) else { return Ok(FAULT) };
        let Some(sum) = total.checked_add(length as u32) else { return Ok(INVAL) };
        match &connection {
            Some(connection) => {
                if let Err(error) = connection.send(text) {
                    return Ok(errno(&error));
                }
            }
            None => state.console.print(stream, text)?,
        }
        total = sum;
    }
    let Some(target) = bytes.get_mut(written as usize..).and_then(|rest| rest.get_mut(..4)) else {
        return Ok(FAULT);
    };
    target.copy_from_slice(&total.to_le_bytes());
    Ok(SUCCESS)
}

/// Address and length of one vector.
fn vector(bytes: &[u8], vectors: u32, position: u32) -> Option<(usize, usize)> {
    let at = vectors as usize + position as usize * VECTOR;
    Some((word(bytes, at)? as usize, word(bytes, at + 4)? as usize))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Whether a write fits the budget. Only the first vector that is not empty is
/// written by one call.
fn within_budget(caller: &mut Caller<'_, CoreState>, vectors: u32, count: u32) -> bool {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return true };
    let bytes = memory.data(&*caller);
    let lengths = (0..count.min(MAX_VECTORS)).map_while(|position| vector(bytes, vectors, position));
    let length = lengths.map(|(_, length)| length).find(|length| *length > 0).unwrap_or(0);
    may_reach(caller, length as u64)
}

/// Whether `bytes` are left; if not, the failure that follows names the flag.
fn may_reach(caller: &mut Caller<'_, CoreState>, bytes: u64) -> bool {
    let fits = bytes <= caller.data().wasi.files.budget;
    if !fits {
        caller.data_mut().deny("--max-write");
    }
    fits
}

/// Counts what a call wrote, and gives it.
fn spend(caller: &mut Caller<'_, CoreState>, errno: i32, written: u32) -> u64 {
    if errno != SUCCESS {
        return 0;
    }
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return 0 };
    let count = u64::from(word(memory.data(&*caller), written as usize).unwrap_or(0));
    let files = &mut caller.data_mut().wasi.files;
    files.budget = files.budget.saturating_sub(count);
    count
}

/// Counts a block that may be begun; if there is none, the failure that
/// follows names the flag.
fn begin_block(caller: &mut Caller<'_, CoreState>) -> bool {
    let files = &mut caller.data_mut().wasi.files;
    let left = files.blocks > 0;
    files.blocks = files.blocks.saturating_sub(1);
    if !left {
        caller.data_mut().deny("--max-write");
    }
    left
}
