//! `cargo +nightly fuzz run slicer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wpool_fuzz::slicer(data));
