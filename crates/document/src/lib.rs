//! Reads YAML and JSON documents with positions, decodes them with field paths, and writes them.
//!
//! Three steps, each usable without the others:
//! - [`yaml::read`] turns text into [`Document`]s: a [`serde_json::Value`] and the line of each of its fields. It is
//!   the only YAML reader of the workspace; size, depth, number of values and aliases are bounded by [`Limits`].
//! - [`decode`] turns a value into a typed one. An error names the field; unknown fields are reported, not lost; an
//!   array is never taken for a structure.
//! - [`yaml::write`] turns a value into text that every YAML reader reads back as the same value.
//!
//! This crate deliberately knows no kinds, schemas or files. The fields are defined by the types
//! that are decoded.
//!
//! Read first: [`Document`], then [`decode`].

#![forbid(unsafe_code)]

mod decode;
mod document;
pub mod yaml;

pub use decode::{DecodeError, Decoded, decode, decode_known};
pub use document::{Document, Limits, Lines, SyntaxError};
