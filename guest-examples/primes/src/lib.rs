//! Counts primes: a core module with one function over numbers, no imports and
//! no allocation. All it does is use the processor.

#![no_std]

mod count;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// How many primes there are up to and including `n`.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i64) -> i64 {
    count::primes(n)
}
