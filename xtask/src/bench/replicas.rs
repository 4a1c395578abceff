//! `cargo xtask bench replicas`.

use super::{install_peers, prepare};
use crate::process::{self, Result};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    install_peers(&[("etcd", "etcd-server")]);
    process::run(&mut prepare("replicas", words)?)
}
