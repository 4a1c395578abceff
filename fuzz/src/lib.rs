//! Fuzz targets: foreign bytes against everything that reads them.
//!
//! The body of each target is a function from bytes to nothing that panics when something does not hold.
//! `cargo xtask fuzz` runs it under libFuzzer; the test `corpus` runs it on every file that is kept, with
//! the ordinary compiler. A body starts from the same state each time, so that a file is all it takes to
//! see a finding again. See docs/decisions/0008 for the reasons, docs/testing.md for the use.
//!
//! Read first: [`TARGETS`].

#![forbid(unsafe_code)]

pub mod api;
pub mod dns;
pub mod etcd;
pub mod export;
pub mod http1;
pub mod manifest;
pub mod signature;
pub mod token;
pub mod upstream;

mod base;
mod message;

/// What a target does with an input. It panics when something does not hold.
pub type Body = fn(&[u8]);

/// The name of each target, and its body.
pub const TARGETS: [(&str, Body); 9] = [
    ("api", api::run),
    ("signature", signature::run),
    ("token", token::run),
    ("dns", dns::run),
    ("upstream", upstream::run),
    ("http1", http1::run),
    ("manifest", manifest::run),
    ("export", export::run),
    ("etcd", etcd::run),
];
