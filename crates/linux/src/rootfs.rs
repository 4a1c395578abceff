//! The file system of a process: the host's, read-only and without devices, with mounts on top.
//!
//! The new root is a tmpfs that mirrors `/`: directories and files are bound, links are copied. Where a mount point
//! is missing, its deepest existing parent is mirrored the same way, one level down, so that the mount point can be
//! created in the mirror. Rejected: an overlay of `/`, which needs no mirrors but a kernel and a host file system
//! that allow it to ordinary users, and leaves out everything mounted below `/`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::Result;
use crate::error::Attempt as _;
use crate::pre_exec::{Step, c_path};

/// A volume, mounted at a path inside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path inside the container. It need not exist on the host.
    pub at: PathBuf,
    /// The content of the volume.
    pub source: MountSource,
    /// Whether the mount is read-only. [`MountSource::Files`] and [`MountSource::File`] are private copies either
    /// way.
    pub read_only: bool,
}

/// The content of a [`Mount`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory with these files, by relative path: a ConfigMap or a Secret.
    Files(BTreeMap<PathBuf, FileContent>),
    /// One file.
    File(FileContent),
    /// A directory or file of the caller's file system.
    Path(PathBuf),
    /// An empty directory in memory, private to the container.
    Scratch,
}

/// A file that is created for the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// The content.
    pub bytes: Vec<u8>,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
}

impl FileContent {
    /// A file that every user may read.
    pub fn readable(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            mode: 0o644,
        }
    }

    fn step(&self, at: CString) -> Step {
        Step::File {
            at,
            bytes: self.bytes.clone(),
            mode: self.mode,
        }
    }
}

/// Maximum entries of a directory that is mirrored; each costs a mount.
const MAX_ENTRIES: usize = 10_000;
/// Maximum links that are followed on the way to a mount point, as in the kernel.
const MAX_LINKS: usize = 40;
/// Prefix of the files that hold contents until they are bound to their mount points and removed.
const STAGED: &str = ".staged";

/// Standard device files. No other device of the host is visible.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Standard links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Parts of `/proc` through which root can change the machine or read its secrets.
const PROTECTED_PROC: [&str; 7] = ["acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger"];

/// Directories of the host that are not visible: devices, and the sockets of its services, which a read-only file
/// system does not protect from root.
const NOT_SHOWN: [&str; 2] = ["/dev", "/run"];

/// The steps from a private mount namespace to a root with these mounts. `hidden` are paths of the caller's that the
/// new root must not show.
pub(crate) fn steps(mounts: &[Mount], hidden: &[&Path], view: View) -> Result<Vec<Step>> {
    let mut plan = Plan {
        view,
        steps: vec![Step::PrivateMounts, Step::NewRoot],
        read_only: Vec::new(),
        staged: 0,
    };
    let mut points = Vec::new();
    for mount in mounts {
        let point = MountPoint::find(&mount.at)
            .attempt(|| format!("find the mount point {}", mount.at.display()))?;
        points.push((mount, point));
    }
    // Parents before children, so that a mount never hides an earlier one.
    points.sort_by_key(|(_, point)| point.path().components().count());
    let mirrored: BTreeSet<PathBuf> = points
        .iter()
        .filter(|(_, point)| !point.missing.as_os_str().is_empty())
        .flat_map(|(_, point)| point.existing.ancestors().map(Path::to_path_buf))
        .chain([PathBuf::from("/")])
        .collect();
    let mut made = plan.mirror(Path::new("/"), &mirrored, hidden);
    if view == View::Protected {
        made = made.and_then(|()| plan.own_directories());
    }
    made.attempt(|| "mirror the file system".into())?;
    for (mount, point) in &points {
        plan.mount(mount, point)
            .attempt(|| format!("mount {}", mount.at.display()))?;
    }
    plan.finish().attempt(|| "lay out the file system".into())
}

/// A path split into the existing part, with links resolved, and the missing part.
#[derive(Debug, PartialEq, Eq)]
struct MountPoint {
    existing: PathBuf,
    missing: PathBuf,
}

impl MountPoint {
    fn find(path: &Path) -> io::Result<Self> {
        if !path.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path is not absolute",
            ));
        }
        let mut rest: VecDeque<PathBuf> = path
            .components()
            .map(|part| PathBuf::from(part.as_os_str()))
            .collect();
        let mut existing = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            match part.components().next() {
                Some(Component::RootDir) => existing = PathBuf::from("/"),
                Some(Component::ParentDir) => {
                    existing.pop();
                }
                Some(Component::Normal(name)) => {
                    let next = existing.join(name);
                    match std::fs::symlink_metadata(&next) {
                        Ok(metadata) if metadata.is_symlink() => {
                            links += 1;
                            if links > MAX_LINKS {
                                return Err(io::Error::from_raw_os_error(libc::ELOOP));
                            }
                            let target = std::fs::read_link(&next)?;
                            for part in target.components().rev() {
                                rest.push_front(PathBuf::from(part.as_os_str()));
                            }
                        }
                        Ok(_) => existing = next,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            let missing = [part].into_iter().chain(rest).collect::<PathBuf>();
                            if missing
                                .components()
                                .any(|part| !matches!(part, Component::Normal(_)))
                            {
                                return Err(error);
                            }
                            return Ok(Self { existing, missing });
                        }
                        Err(error) => return Err(error),
                    }
                }
                _ => {}
            }
        }
        Ok(Self {
            existing,
            missing: PathBuf::new(),
        })
    }

    fn path(&self) -> PathBuf {
        if self.missing.as_os_str().is_empty() {
            self.existing.clone()
        } else {
            self.existing.join(&self.missing)
        }
    }
}

/// The part of the host that is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Everything, unchanged.
    Whole,
    /// Files, read-only; no devices, and no sockets of services.
    Protected,
}

impl View {
    /// Directories that are the process' own rather than the host's.
    fn not_shown(self) -> &'static [&'static str] {
        match self {
            Self::Whole => &[],
            Self::Protected => &NOT_SHOWN,
        }
    }
}

struct Plan {
    view: View,
    steps: Vec<Step>,
    /// Mounts to make read-only once all mounts exist.
    read_only: Vec<PathBuf>,
    staged: usize,
}

impl Plan {
    /// Adds a step for a path of the old root.
    fn push(&mut self, path: &Path, step: impl FnOnce(CString) -> Step) -> io::Result<()> {
        self.steps.push(step(c_path(inside(path))?));
        Ok(())
    }

    fn directory(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        self.push(path, |at| Step::Directory { at, mode })
    }

    fn empty_file(&mut self, path: &Path) -> io::Result<()> {
        self.push(path, |at| Step::EmptyFile { at })
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let target = c_path(target)?;
        self.push(path, |at| Step::Link { at, target })
    }

    fn tmpfs(&mut self, path: &Path) -> io::Result<()> {
        self.push(path, |at| Step::Tmpfs { at })
    }

    /// Binds `path` of the old root, unless it has vanished meanwhile or is inaccessible to this user.
    fn bind_if_there(&mut self, path: &Path) -> io::Result<()> {
        let source = c_path(path)?;
        self.push(path, |at| Step::BindIfThere { source, at })
    }

    fn mirror(
        &mut self,
        directory: &Path,
        mirrored: &BTreeSet<PathBuf>,
        hidden: &[&Path],
    ) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            if entries.len() == MAX_ENTRIES {
                let message = format!("{} has too many entries to add one", directory.display());
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
            entries.push(entry?);
        }
        let not_shown = self.view.not_shown();
        for entry in entries {
            let path = entry.path();
            let is_path = |other: &&str| path == Path::new(*other);
            if hidden.contains(&path.as_path()) || not_shown.iter().any(is_path) {
                continue;
            }
            // An entry that has vanished meanwhile, or is inaccessible to this user, is left out.
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if path == Path::new("/proc") {
                self.directory(&path, 0o555)?;
                if self.view == View::Whole {
                    self.push(&path, |at| Step::Proc { at })?;
                }
            } else if kind.is_symlink() {
                if let Ok(target) = std::fs::read_link(&path) {
                    self.link(&path, &target)?;
                }
            } else if mirrored.contains(&path) {
                let mode = entry.metadata()?.permissions().mode() & 0o7777;
                self.directory(&path, mode)?;
                self.mirror(&path, mirrored, hidden)?;
            } else {
                if kind.is_dir() {
                    self.directory(&path, 0o755)?;
                } else {
                    self.empty_file(&path)?;
                }
                self.bind_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Makes the mirrored entries read-only; then creates the container's own `/proc`, `/dev` and `/run`.
    fn own_directories(&mut self) -> io::Result<()> {
        self.steps.push(Step::Protect);
        self.push(Path::new("/proc"), |at| Step::Proc { at })?;
        for name in PROTECTED_PROC {
            self.push(&Path::new("/proc").join(name), |at| Step::ReadOnlyIfThere {
                at,
            })?;
        }
        let (dev, terminals, memory) = (
            Path::new("/dev"),
            Path::new("/dev/pts"),
            Path::new("/dev/shm"),
        );
        for directory in [dev, terminals, memory, Path::new("/run")] {
            self.directory(directory, 0o755)?;
        }
        for name in DEVICES {
            let path = dev.join(name);
            self.empty_file(&path)?;
            self.bind_if_there(&path)?;
        }
        for (name, target) in DEVICE_LINKS {
            self.link(&dev.join(name), Path::new(target))?;
        }
        self.push(terminals, |at| Step::Terminals { at })?;
        self.tmpfs(memory)?;
        self.directory(memory, 0o1777)?;
        // Some distributions keep links to their programs in `/run`.
        for entry in std::fs::read_dir("/run").into_iter().flatten().flatten() {
            if let Ok(target) = std::fs::read_link(entry.path()) {
                self.link(&entry.path(), &target)?;
            }
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount, point: &MountPoint) -> io::Result<()> {
        let path = point.path();
        let is_file = match &mount.source {
            MountSource::File(_) => true,
            MountSource::Path(source) => !std::fs::metadata(source)?.is_dir(),
            MountSource::Files(_) | MountSource::Scratch => false,
        };
        let mut own = self.view.not_shown().iter().map(Path::new);
        let (base, missing) = match own.find(|own| path.starts_with(own)) {
            Some(own) => (own, path.strip_prefix(own).unwrap_or(Path::new(""))),
            None => (point.existing.as_path(), point.missing.as_path()),
        };
        if !missing.as_os_str().is_empty() {
            let directories = if is_file {
                missing.parent()
            } else {
                Some(missing)
            };
            self.directories(base, directories.unwrap_or(Path::new("")))?;
            if is_file {
                self.empty_file(&path)?;
            }
        }
        match &mount.source {
            MountSource::Files(files) => {
                self.tmpfs(&path)?;
                for (name, file) in files {
                    let mut parts = name.components();
                    if !parts.all(|part| matches!(part, Component::Normal(_))) {
                        let message = format!(
                            "the file name {} is not a plain relative path",
                            name.display()
                        );
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                    }
                    self.directories(&path, name.parent().unwrap_or(Path::new("")))?;
                    self.push(&path.join(name), |at| file.step(at))?;
                }
            }
            MountSource::File(file) => {
                let staged = c_path(&PathBuf::from(format!("{STAGED}{}", self.staged)))?;
                self.staged += 1;
                self.steps.push(file.step(staged.clone()));
                // A relative source is below the working directory, which is the new root.
                let source = staged.clone();
                self.push(&path, |at| Step::Bind { source, at })?;
                self.steps.push(Step::Remove { at: staged });
            }
            MountSource::Path(source) => {
                let source = c_path(&std::path::absolute(source)?)?;
                self.push(&path, |at| Step::Bind { source, at })?;
            }
            MountSource::Scratch => {
                self.tmpfs(&path)?;
                self.directory(&path, 0o1777)?;
            }
        }
        if mount.read_only {
            self.read_only.push(path);
        }
        Ok(())
    }

    fn directories(&mut self, base: &Path, below: &Path) -> io::Result<()> {
        let mut path = base.to_path_buf();
        for part in below.iter().filter(|part| *part != OsStr::new("")) {
            path.push(part);
            self.directory(&path, 0o755)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<Step>> {
        for path in std::mem::take(&mut self.read_only) {
            self.push(&path, |at| Step::ReadOnly { at })?;
        }
        if self.view == View::Protected {
            self.steps.push(Step::ProtectRoot);
        }
        self.steps.push(Step::Pivot);
        Ok(self.steps)
    }
}

/// A path of the old root as a path relative to the new one.
fn inside(path: &Path) -> &Path {
    match path.strip_prefix("/") {
        Ok(relative) if !relative.as_os_str().is_empty() => relative,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_mount_point_is_split_at_its_deepest_existing_parent() {
        let point =
            MountPoint::find(Path::new("/proc/../etc/no-such-directory/below")).expect("resolves");
        let expected = MountPoint {
            existing: "/etc".into(),
            missing: "no-such-directory/below".into(),
        };
        assert_eq!(point, expected);
    }

    #[test]
    fn a_link_on_the_way_is_followed() {
        let point = MountPoint::find(Path::new("/proc/self/root/etc")).expect("resolves");
        assert_eq!(point.path(), Path::new("/etc"));
    }

    #[test]
    fn a_mount_point_that_climbs_out_of_a_missing_directory_is_refused() {
        MountPoint::find(Path::new("/no-such-directory/../etc")).expect_err("cannot be resolved");
        MountPoint::find(Path::new("etc")).expect_err("is relative");
    }

    #[test]
    fn a_file_name_that_climbs_out_of_its_volume_is_refused() {
        let files = BTreeMap::from([(PathBuf::from("../escape"), FileContent::readable([]))]);
        let mount = Mount {
            at: "/srv".into(),
            source: MountSource::Files(files),
            read_only: false,
        };
        let error = steps(&[mount], &[], View::Protected)
            .expect_err("is refused")
            .to_string();
        assert!(error.contains("../escape"), "{error}");
    }
}
