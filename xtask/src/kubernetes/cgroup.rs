//! The control groups of the clusters: one for each cluster, in every hierarchy of the machine.

use super::network::Cluster;
use crate::process::Result;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where the hierarchies are.
const ROOT: &str = "/sys/fs/cgroup";
/// The group of all clusters.
const GROUP: &str = "tombolo-kubernetes";
/// For how long the kernel may take to let go of a group whose processes have ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// The group of a cluster, from the root of each hierarchy.
pub(super) fn path(cluster: Cluster) -> String {
    format!("/{GROUP}/{cluster}")
}

/// Makes the group of a cluster in every hierarchy.
pub(super) fn create(cluster: Cluster) -> Result<()> {
    for hierarchy in hierarchies()? {
        let all = hierarchy.join(GROUP);
        let own = all.join(cluster.name().to_string());
        fs::create_dir_all(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        // cgroup v1: a group without processors and memory nodes takes no process.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if hierarchy.join(name).is_file() && hierarchy.join("tasks").is_file() {
                let value = fs::read_to_string(hierarchy.join(name)).unwrap_or_default();
                for group in [&all, &own] {
                    write(&group.join(name), value.trim())?;
                }
            }
        }
        // cgroup v2: a group has the controllers that those above it give away.
        for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
            if offers(&hierarchy, controller) {
                for group in [&hierarchy, &all] {
                    write(
                        &group.join("cgroup.subtree_control"),
                        &format!("+{controller}"),
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the groups of all clusters. Their processes have ended.
pub(super) fn remove() -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(GROUP);
        let start = Instant::now();
        while let Err(error) = remove_tree(&group) {
            if start.elapsed() > PATIENCE {
                return Err(format!("{}: {error}", group.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Why the machine gives no groups; `None` when it does.
pub(super) fn refusal() -> Option<String> {
    let hierarchies = match hierarchies() {
        Ok(hierarchies) => hierarchies,
        Err(error) => return Some(error),
    };
    let has_controllers = |name: &str| {
        let v1 = Path::new(ROOT).join(name).is_dir();
        v1 || hierarchies.iter().any(|hierarchy| offers(hierarchy, name))
    };
    for controller in ["cpu", "memory", "pids"] {
        if !has_controllers(controller) {
            return Some(format!("{ROOT} has no controller {controller}"));
        }
    }
    let probe = hierarchies.first()?.join(format!("{GROUP}-probe"));
    if let Err(error) = fs::create_dir(&probe) {
        return Some(format!(
            "no control group can be made: {}: {error}",
            probe.display()
        ));
    }
    let _ = fs::remove_dir(&probe);
    None
}

/// Whether a hierarchy of cgroup v2 has such a controller.
fn offers(hierarchy: &Path, controller: &str) -> bool {
    let offered = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
    offered.split_whitespace().any(|name| name == controller)
}

/// The roots of the hierarchies: one with cgroup v2 alone, one for each set of controllers with cgroup v1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    let is_hierarchy = |path: &Path| path.join("cgroup.procs").is_file();
    if is_hierarchy(root) {
        return Ok(vec![root.to_owned()]);
    }
    let entries = fs::read_dir(root).map_err(|error| format!("{ROOT}: {error}"))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        // `cpuacct` may be a link to `cpu,cpuacct`.
        .filter(|path| !path.is_symlink() && is_hierarchy(path))
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(format!("no control groups are mounted at {ROOT}"));
    }
    Ok(found)
}

/// Removes a group with those in it, the innermost first. One that is not there is removed.
fn remove_tree(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|error| format!("{}: {error}", path.display()))
}
