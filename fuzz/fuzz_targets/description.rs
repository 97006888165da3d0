//! `cargo +nightly fuzz run description`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::description(data));
