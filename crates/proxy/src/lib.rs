//! x
#![forbid(unsafe_code)]
mod config;
