//! `cargo xtask fuzz upstream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::upstream::run(data));
