//! `cargo xtask bench dns`.

use super::{install_peers, prepare};
use crate::process::{self, Result};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    install_peers(&[
        ("dnsperf", "dnsperf"),
        ("unbound", "unbound"),
        ("dnsmasq", "dnsmasq-base"),
    ]);
    process::run(&mut prepare("dns", words)?)
}
