//! The file system a process sees: the host's, read-only and without devices, with mounts on top.
//!
//! The new root is a tmpfs that mirrors `/`: directories and files are bound, links are repeated. Where a mount point is
//! missing, its deepest existing parent is mirrored the same way, one level down, so that the point can be made in the
//! mirror. Rejected: an overlay of `/`, which spares the mirrors but needs a kernel and a host file system that allow it
//! to ordinary users, and leaves out everything mounted below `/`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::error::Attempt as _;
use crate::stage::{Step, c_path};
use crate::{Error, Result};

/// Something shown at a path inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path inside. It need not exist on the host.
    pub at: PathBuf,
    /// What is shown there.
    pub source: MountSource,
    /// Whether writing is refused. [`MountSource::Files`] and [`MountSource::File`] are private copies either way.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory with these files, by relative path: a ConfigMap or a Secret.
    Files(BTreeMap<PathBuf, FileContent>),
    /// One file.
    File(FileContent),
    /// A directory or file that the caller can see.
    Path(PathBuf),
    /// An empty directory in memory, private to the container.
    Scratch,
}

/// A file that is made for the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Who may do what with it: permission bits such as `0o644`.
    pub mode: u32,
}

impl FileContent {
    /// A file that everybody may read.
    pub fn readable(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            mode: 0o644,
        }
    }
}

/// The most entries of one directory that are mirrored; each costs a mount.
const MOST_ENTRIES: usize = 10_000;
/// The most links followed on the way to a mount point, as in the kernel.
const MOST_LINKS: usize = 40;
/// Where file contents lie until they are bound to their places. Invisible in the end.
const STAGED: &str = ".staged";

/// Device files that every program may expect. No other device of the host is shown.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev` that every program may expect.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Parts of `/proc` by which root changes the machine, or a file tells what it must not.
const PROTECTED_PROC: [&str; 7] = ["acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger"];

/// Directories of the host that are not shown: devices, and the sockets of its services, whose answers to root are not
/// limited by a read-only file system.
const NOT_SHOWN: [&str; 2] = ["/dev", "/run"];

/// The steps from a private mount namespace to a root with these mounts. `hidden` are paths of the caller's that the
/// new root must not show.
pub(crate) fn steps(mounts: &[Mount], hidden: &[&Path], view: View) -> Result<Vec<Step>> {
    let mut plan = Plan {
        view,
        steps: vec![Step::PrivateMounts, Step::NewRoot],
        sealed: Vec::new(),
        staged: 0,
    };
    let mut places = Vec::new();
    for mount in mounts {
        let place = Place::find(&mount.at)
            .attempt(|| format!("find a place for the mount {}", mount.at.display()))?;
        places.push((mount, place));
    }
    // Parents before children, so that a mount never hides one made before it.
    places.sort_by_key(|(_, place)| place.path().components().count());
    let mirrored: BTreeSet<PathBuf> = places
        .iter()
        .filter(|(_, place)| !place.missing.as_os_str().is_empty())
        .flat_map(|(_, place)| place.existing.ancestors().map(Path::to_path_buf))
        .chain([PathBuf::from("/")])
        .collect();
    let whole = plan.mirror(Path::new("/"), &mirrored, hidden);
    let whole = match view {
        View::Whole => whole,
        View::Protected => whole.and_then(|()| plan.own_directories()),
    };
    whole.attempt(|| "mirror the file system".into())?;
    for (mount, place) in &places {
        plan.mount(mount, place)
            .map_err(|cause| Error::new(format!("mount {}", mount.at.display()), cause))?;
    }
    plan.finish().attempt(|| "lay out the file system".into())
}

/// A path split into the part that exists, free of links, and the part that does not.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    existing: PathBuf,
    missing: PathBuf,
}

impl Place {
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
                            if links > MOST_LINKS {
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

/// How much of the host is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// All of it, as it is.
    Whole,
    /// Files, read-only; no devices, no sockets of services.
    Protected,
}

impl View {
    /// Directories that are not the host's.
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
    /// Mounts to make read-only once everything is in place.
    sealed: Vec<PathBuf>,
    staged: usize,
}

impl Plan {
    fn mirror(
        &mut self,
        directory: &Path,
        mirrored: &BTreeSet<PathBuf>,
        hidden: &[&Path],
    ) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            if entries.len() == MOST_ENTRIES {
                let message = format!("{} has too many entries to add one", directory.display());
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
            entries.push(entry?);
        }
        for entry in entries {
            let path = entry.path();
            if hidden.contains(&path.as_path()) {
                continue;
            }
            if self
                .view
                .not_shown()
                .iter()
                .any(|own| path == Path::new(own))
            {
                continue;
            }
            let at = c_path(inside(&path))?;
            // What vanishes meanwhile, or is closed to this user, is left out.
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if path == Path::new("/proc") {
                self.steps.push(Step::Directory {
                    at: at.clone(),
                    mode: 0o555,
                });
                if self.view == View::Whole {
                    self.steps.push(Step::Proc { at });
                }
            } else if kind.is_symlink() {
                if let Ok(target) = std::fs::read_link(&path) {
                    self.steps.push(Step::Link {
                        at,
                        target: c_path(&target)?,
                    });
                }
            } else if mirrored.contains(&path) {
                self.steps.push(Step::Directory {
                    at,
                    mode: entry.metadata()?.permissions().mode() & 0o7777,
                });
                self.mirror(&path, mirrored, hidden)?;
            } else if kind.is_dir() {
                self.steps.push(Step::Directory {
                    at: at.clone(),
                    mode: 0o755,
                });
                self.steps.push(Step::BindIfThere {
                    source: c_path(&path)?,
                    at,
                });
            } else {
                self.steps.push(Step::EmptyFile { at: at.clone() });
                self.steps.push(Step::BindIfThere {
                    source: c_path(&path)?,
                    at,
                });
            }
        }
        Ok(())
    }

    /// Seals what was mirrored; then `/proc`, `/dev` and `/run`, each of the container's own.
    fn own_directories(&mut self) -> io::Result<()> {
        self.steps.push(Step::Protect);
        self.steps.push(Step::Proc {
            at: c"proc".to_owned(),
        });
        for name in PROTECTED_PROC {
            let at = c_path(&Path::new("proc").join(name))?;
            self.steps.push(Step::ReadOnlyIfThere { at });
        }
        for (at, mode) in [
            (c"dev", 0o755),
            (c"dev/pts", 0o755),
            (c"dev/shm", 0o1777),
            (c"run", 0o755),
        ] {
            let at = at.to_owned();
            self.steps.push(Step::Directory { at, mode });
        }
        for name in DEVICES {
            let at = c_path(&Path::new("dev").join(name))?;
            let source = c_path(&Path::new("/dev").join(name))?;
            self.steps.push(Step::EmptyFile { at: at.clone() });
            self.steps.push(Step::BindIfThere { source, at });
        }
        for (name, target) in DEVICE_LINKS {
            self.steps.push(Step::Link {
                at: c_path(&Path::new("dev").join(name))?,
                target: c_path(Path::new(target))?,
            });
        }
        self.steps.push(Step::Terminals {
            at: c"dev/pts".to_owned(),
        });
        self.steps.push(Step::Tmpfs {
            at: c"dev/shm".to_owned(),
        });
        self.steps.push(Step::Directory {
            at: c"dev/shm".to_owned(),
            mode: 0o1777,
        });
        // Some distributions keep links to their programs there.
        for entry in std::fs::read_dir("/run").into_iter().flatten().flatten() {
            if let Ok(target) = std::fs::read_link(entry.path()) {
                self.steps.push(Step::Link {
                    at: c_path(inside(&entry.path()))?,
                    target: c_path(&target)?,
                });
            }
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount, place: &Place) -> io::Result<()> {
        let path = place.path();
        let is_file = match &mount.source {
            MountSource::File(_) => true,
            MountSource::Path(source) => !std::fs::metadata(source)?.is_dir(),
            MountSource::Files(_) | MountSource::Scratch => false,
        };
        let mut own = self.view.not_shown().iter().map(Path::new);
        let (base, missing) = match own.find(|own| path.starts_with(own)) {
            Some(own) => (own, path.strip_prefix(own).unwrap_or(Path::new(""))),
            None => (place.existing.as_path(), place.missing.as_path()),
        };
        if !missing.as_os_str().is_empty() {
            let directories = if is_file {
                missing.parent()
            } else {
                Some(missing)
            };
            self.directories(base, directories.unwrap_or(Path::new("")))?;
            if is_file {
                self.steps.push(Step::EmptyFile {
                    at: c_path(inside(&path))?,
                });
            }
        }
        let at = c_path(inside(&path))?;
        match &mount.source {
            MountSource::Files(files) => {
                self.steps.push(Step::Tmpfs { at });
                for (name, file) in files {
                    if !name
                        .components()
                        .all(|part| matches!(part, Component::Normal(_)))
                    {
                        let message = format!(
                            "the file name {} is not a plain relative path",
                            name.display()
                        );
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                    }
                    self.directories(&path, name.parent().unwrap_or(Path::new("")))?;
                    let at = c_path(inside(&path.join(name)))?;
                    self.steps.push(Step::File {
                        at,
                        bytes: file.bytes.clone(),
                        mode: file.mode,
                    });
                }
            }
            MountSource::File(file) => {
                let staged = c_path(&PathBuf::from(format!("{STAGED}{}", self.staged)))?;
                self.staged += 1;
                self.steps.push(Step::File {
                    at: staged.clone(),
                    bytes: file.bytes.clone(),
                    mode: file.mode,
                });
                // A relative source is below the working directory, which is the new root.
                self.steps.push(Step::Bind {
                    source: staged.clone(),
                    at,
                });
                self.steps.push(Step::Remove { at: staged });
            }
            MountSource::Path(source) => {
                let source = std::path::absolute(source)?;
                self.steps.push(Step::Bind {
                    source: c_path(&source)?,
                    at,
                });
            }
            MountSource::Scratch => {
                self.steps.push(Step::Tmpfs { at: at.clone() });
                self.steps.push(Step::Directory { at, mode: 0o1777 });
            }
        }
        if mount.read_only {
            self.sealed.push(path);
        }
        Ok(())
    }

    fn directories(&mut self, base: &Path, below: &Path) -> io::Result<()> {
        let mut path = base.to_path_buf();
        for part in below.iter().filter(|part| *part != OsStr::new("")) {
            path.push(part);
            self.steps.push(Step::Directory {
                at: c_path(inside(&path))?,
                mode: 0o755,
            });
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<Step>> {
        for path in &self.sealed {
            self.steps.push(Step::ReadOnly {
                at: c_path(inside(path))?,
            });
        }
        if self.view == View::Protected {
            self.steps.push(Step::SealRoot);
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
        let place =
            Place::find(Path::new("/proc/../etc/no-such-directory/below")).expect("resolves");
        let expected = Place {
            existing: "/etc".into(),
            missing: "no-such-directory/below".into(),
        };
        assert_eq!(place, expected);
    }

    #[test]
    fn a_link_on_the_way_is_followed() {
        let place = Place::find(Path::new("/proc/self/root/etc")).expect("resolves");
        assert_eq!(place.path(), Path::new("/etc"));
    }

    #[test]
    fn a_mount_point_that_climbs_out_of_a_missing_directory_is_refused() {
        Place::find(Path::new("/no-such-directory/../etc")).expect_err("cannot be resolved");
        Place::find(Path::new("etc")).expect_err("is relative");
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
