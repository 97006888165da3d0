//! One line of a web server's access log (the "combined" format) to one JSON
//! object, by the `bytes` ABI.
//!
//! `init` compiles the pattern. Under `--initializer init` that is done once and
//! the pool snapshots the memory, so that every fresh instance starts with the
//! pattern ready; without it each task compiles its own.

mod line;

/// The pool's `--initializer`: does what would otherwise be part of each task.
#[unsafe(no_mangle)]
pub extern "C" fn init() {
    line::prepare();
}

/// The task: a line in; a JSON object, or why the line is none, out.
///
/// # Safety
/// `ptr` came from `alloc(len)` and holds the item.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(ptr: *mut u8, len: usize) -> i64 {
    // SAFETY: the caller's promise, passed on.
    let item = unsafe { bytes_abi::take(ptr, len) };
    match line::to_json(&item) {
        Ok(json) => bytes_abi::ok(json),
        Err(reason) => bytes_abi::error(reason.into_bytes()),
    }
}
