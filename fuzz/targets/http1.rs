//! `cargo xtask fuzz http1`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::http1::run(data));
