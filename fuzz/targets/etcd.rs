//! `cargo xtask fuzz etcd`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tombolo_fuzz::etcd::run(data));
