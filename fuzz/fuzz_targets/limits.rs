//! `cargo +nightly fuzz run limits`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::limits(data));
