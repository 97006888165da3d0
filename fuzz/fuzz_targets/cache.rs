//! `cargo +nightly fuzz run cache`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::cache(data));
