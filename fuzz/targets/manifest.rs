//! `cargo xtask fuzz manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::manifest::run(data));
