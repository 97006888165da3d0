//! How the host's allocator treats large blocks.

#![expect(unsafe_code, reason = "the allocator's settings have no safe form")]

/// Blocks from this size on are given back to the system when they are freed,
/// in bytes. Left alone, the C library raises its own threshold to the largest
/// block it has seen: with items of 16 MiB it soon keeps as many freed blocks
/// as ever were in use at once.
#[cfg(target_env = "gnu")]
const OWN_MAPPING: libc::c_int = 1 << 20;

/// Free memory at the end of a heap that is kept, in bytes.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 4 << 20;

/// Keeps what items take in proportion to what is in use. To be called before
/// there are threads; not by a library, whose program may know better.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` takes numbers only, may be called at any time, and
    // leaves everything as it was where it fails.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
