//! `cargo xtask fuzz signature`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::signature::run(data));
