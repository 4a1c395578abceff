//! What the clusters need of the machine, and why this one cannot run them.

use super::{cgroup, network};
use crate::{
    process::{Result, is_installed, root},
    tools::debian,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Programs, and the Debian packages that bring them.
const PROGRAMS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    // The CNI plugin `portmap` opens the host ports of pods with it.
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("sysctl", "procps"),
    ("nsenter", "util-linux"),
    ("busybox", "busybox"),
    ("curl", "curl"),
];

/// Where Debian puts CNI plugins.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// `f_type` of an overlay file system (statfs(2)).
const OVERLAY: i64 = 0x794c_7630;

/// Why this machine cannot run clusters; `None` when it can. Installs nothing and changes nothing.
pub(super) fn refusal(directory: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("clusters of Kubernetes need root".to_owned());
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.ends_with("\toverlay")) {
        return Some("the kernel has no overlay file system".to_owned());
    }
    if let Some(refusal) = cgroup::refusal() {
        return Some(refusal);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount", "--net", "true"]);
    match unshare.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            return Some(format!("no namespaces can be made: {}", why.trim()));
        }
        Err(error) => return Some(format!("unshare: {error}")),
    }
    // A node has folders of its own in these places, which would hide the checkout.
    if let Some(hidden) = super::node::PRIVATE
        .iter()
        .find(|place| directory.starts_with(place))
    {
        return Some(format!("the checkout is below {hidden}: put it elsewhere"));
    }
    let existing = directory.ancestors().find(|path| path.exists())?;
    if rustix::fs::statfs(existing).is_ok_and(|status| status.f_type == OVERLAY) {
        return Some(format!(
            "{} is on an overlay file system, on which containers cannot have theirs",
            existing.display()
        ));
    }
    None
}

/// Installs what is missing; why that cannot be done, where it cannot.
pub(super) fn install() -> Result<Option<String>> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if !Path::new(CNI_PLUGINS).join("ptp").is_file() {
        missing.push("containernetworking-plugins");
    }
    if missing.is_empty() {
        return Ok(None);
    }
    if !is_installed("apt-get") {
        let list = missing.join(", ");
        return Ok(Some(format!(
            "this is no Debian, and these are missing: {list}"
        )));
    }
    debian(&missing)?;
    Ok(None)
}

/// Why the machine's network has no room for the clusters; `None` when it has.
pub(super) fn network_conflict() -> Result<Option<String>> {
    network::conflict()
}

/// `target/kubernetes`: everything that belongs to clusters that are up.
pub(crate) fn directory() -> PathBuf {
    root().join("target/kubernetes")
}
