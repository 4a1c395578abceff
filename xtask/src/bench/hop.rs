//! `cargo xtask bench hop`.

use super::{install_peers, prepare};
use crate::{
    process::{self, Result},
    tools::Tools,
};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let tools = Tools::fetch()?;
    install_peers(&[("nginx", "nginx-light"), ("haproxy", "haproxy")]);
    process::run(prepare("hop", words)?.env("TOMBOLO_ENVOY", tools.envoy()?))
}
