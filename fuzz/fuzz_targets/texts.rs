//! `cargo +nightly fuzz run texts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::texts(data));
