//! The `bytes` ABI from the guest's side: how an item comes in and how a result
//! goes out, for core modules that export `(i32, i32) -> i64` functions.
//!
//! Linking this crate exports `alloc`, `dealloc` and `_initialize`. A task is
//! then
//!
//! ```ignore
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn run(ptr: *mut u8, len: usize) -> i64 {
//!     let item = unsafe { bytes_abi::take(ptr, len) };
//!     bytes_abi::ok(item)
//! }
//! ```

use std::alloc::Layout;

/// Set in a result's length when the result is an error.
const ERROR: u64 = 1 << 31;

unsafe extern "C" {
    /// Made by the linker: runs static constructors, wasi-libc's among them.
    safe fn __wasm_call_ctors();
}

/// Called once for each instance. Without it the linker would wrap every export
/// in code that runs constructors and destructors at each call.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    __wasm_call_ctors();
}

/// Memory for an item of `len` bytes; null when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(len: usize) -> *mut u8 {
    match Layout::array::<u8>(len.max(1)) {
        // SAFETY: the layout's size is not zero.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Takes back the result of a call, for those who reuse the instance.
///
/// # Safety
/// `ptr` and `len` are a result's, and no one uses them any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dealloc(ptr: *mut u8, len: usize) {
    // An empty result has no memory behind its address.
    if len > 0 {
        // SAFETY: the caller's promise; `packed` leaked exactly `len` bytes.
        drop(unsafe { Vec::from_raw_parts(ptr, len, len) });
    }
}

/// The item at `ptr`, owned by the task from here on.
///
/// # Safety
/// `ptr` came from `alloc(len)`, is filled, and no one else uses it.
#[must_use]
pub unsafe fn take(ptr: *mut u8, len: usize) -> Vec<u8> {
    // SAFETY: the caller's promise; `alloc` gives an empty item one byte.
    unsafe { Vec::from_raw_parts(ptr, len, len.max(1)) }
}

/// A result, as the address and length that the pool reads.
#[must_use]
pub fn ok(bytes: Vec<u8>) -> i64 {
    packed(bytes, 0)
}

/// A failure of this item: the bytes become its outcome `error`.
#[must_use]
pub fn error(bytes: Vec<u8>) -> i64 {
    packed(bytes, ERROR)
}

fn packed(bytes: Vec<u8>, flag: u64) -> i64 {
    let bytes = Box::leak(bytes.into_boxed_slice());
    ((bytes.as_ptr() as u64) << 32 | bytes.len() as u64 | flag) as i64
}
