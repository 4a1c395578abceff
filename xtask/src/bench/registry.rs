//! `cargo xtask bench registry`.

use super::prepare;
use crate::process::{self, Result};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    process::run(&mut prepare("registry", words)?)
}
