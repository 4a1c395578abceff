//! `cargo xtask fuzz export`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::export::run(data));
