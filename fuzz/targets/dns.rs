//! `cargo xtask fuzz dns`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::dns::run(data));
