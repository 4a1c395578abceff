//! `cargo xtask fuzz token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::token::run(data));
