//! `cargo xtask bench propagate`.

use super::prepare;
use crate::process::{self, Result};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    process::run(&mut prepare("propagate", words)?)
}
