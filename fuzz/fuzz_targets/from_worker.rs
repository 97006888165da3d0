//! `cargo +nightly fuzz run from_worker`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::from_worker(data));
