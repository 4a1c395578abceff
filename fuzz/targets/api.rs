//! `cargo xtask fuzz api`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::api::run(data));
