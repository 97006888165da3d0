//! `cargo +nightly fuzz run from_host`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::from_host(data));
