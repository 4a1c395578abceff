//! The directory of a running runtime: private, named after the runtime, with its sockets.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The socket for HTTP.
pub(crate) const CONTROL: &str = "control.sock";

/// The socket for `exec`.
pub(crate) const EXEC: &str = "exec.sock";

/// The file with the [`LaunchSpec`](crate::daemon::LaunchSpec).
pub(crate) const OPTIONS: &str = "options.json";

/// The files in the directory of a runtime.
const FILES: [&str; 3] = [CONTROL, EXEC, OPTIONS];

/// Attempts to open a directory that vanishes or is locked briefly, and the pause between them.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The longest path of a socket that the kernel takes.
const MAX_SOCKET_PATH: usize = 107;

/// The reason why a runtime cannot have a directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The name is not valid as the name of a directory.
    #[error("{0:?} is not a name; use up to 40 letters, digits, - and _")]
    Name(String),
    /// A runtime of this name is running or starting.
    #[error(
        "a runtime named {0} is already up; stop it with `tombolo down --name {0}`, or give this one another --name"
    )]
    Taken(String),
    /// The directory cannot be created, or belongs to another user.
    #[error("{path}: {cause}; set TOMBOLO_HOME to a directory of yours", path = path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
}

/// The parent directories of this user's runtimes, the first one for new runtimes: `$TOMBOLO_HOME`, or else
/// `$XDG_RUNTIME_DIR/tombolo` and `/tmp/tombolo-<uid>`. Both are searched, so that a terminal with the variable and a
/// script without it find the same runtime.
fn roots() -> Vec<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let own = rustix::process::getuid().as_raw();
    if let Some(home) = variable("TOMBOLO_HOME") {
        return vec![home];
    }
    // After `su` and `sudo`, `XDG_RUNTIME_DIR` often belongs to another user.
    let usable = |dir: &PathBuf| {
        dir.is_absolute() && fs::metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == own)
    };
    let session = variable("XDG_RUNTIME_DIR").filter(usable);
    session
        .map(|dir| dir.join("tombolo"))
        .into_iter()
        .chain([PathBuf::from(format!("/tmp/tombolo-{own}"))])
        .collect()
}

/// The directory of one runtime, whether it exists or not.
///
/// # Errors
/// The name is not valid as the name of a directory.
pub(crate) fn of(name: &str) -> Result<PathBuf, RunDirError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=40).contains(&name.len()) || !name.bytes().all(is_plain) {
        return Err(RunDirError::Name(name.to_owned()));
    }
    let mut candidates: Vec<PathBuf> = roots().iter().map(|root| root.join(name)).collect();
    let answers = candidates.iter().position(|dir| alive(dir));
    Ok(candidates.swap_remove(answers.unwrap_or(0)))
}

/// Whether a runtime answers in this directory.
pub(crate) fn alive(dir: &Path) -> bool {
    UnixStream::connect(dir.join(CONTROL)).is_ok()
}

/// The directory of a new runtime, locked until this process ends. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Holds the lock.
    _directory: File,
}

impl RunDir {
    /// Creates the directory, and removes the files of a killed runtime from it.
    ///
    /// # Errors
    /// A runtime of that name is running or starting, or the directory belongs to another user.
    pub(crate) fn create(path: &Path) -> Result<Self, RunDirError> {
        let failed = |cause: io::Error| RunDirError::Unusable {
            path: path.to_owned(),
            cause,
        };
        if path.join(CONTROL).as_os_str().len() > MAX_SOCKET_PATH {
            let message = "the path is too long for a socket";
            let cause = io::Error::new(io::ErrorKind::InvalidFilename, message);
            return Err(failed(cause));
        }
        create_private(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        // Another process may be removing the directory: it is opened again then.
        for attempt in 1..=ATTEMPTS {
            let directory = match create_private(path).and_then(|()| File::open(path)) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                // A runtime that removes stale directories also locks it for a moment.
                Err(Errno::WOULDBLOCK) if !alive(path) && attempt < ATTEMPTS => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(Errno::WOULDBLOCK) => {
                    let name = path.file_name().unwrap_or_default();
                    return Err(RunDirError::Taken(name.to_string_lossy().into()));
                }
                locked => locked.map_err(|error| failed(error.into()))?,
            }
            let inode = directory.metadata().map_err(failed)?.ino();
            if !fs::metadata(path).is_ok_and(|meta| meta.ino() == inode) {
                continue;
            }
            remove_files(path).map_err(failed)?;
            remove_stale_siblings(path);
            return Ok(Self {
                path: path.to_owned(),
                _directory: directory,
            });
        }
        Err(failed(io::ErrorKind::NotFound.into()))
    }

    /// The path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = remove_files(&self.path).and_then(|()| fs::remove_dir(&self.path));
    }
}

/// Removes the files of a runtime from a directory. A directory that holds anything else stays unchanged.
fn remove_files(dir: &Path) -> io::Result<()> {
    let mut ours = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !FILES.iter().any(|name| entry.file_name() == **name) {
            let message = format!("holds {}, which is not ours", entry.path().display());
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, message));
        }
        ours.push(entry.path());
    }
    ours.iter().try_for_each(fs::remove_file)
}

/// Removes the directories of killed runtimes beside this one.
fn remove_stale_siblings(dir: &Path) {
    let siblings = dir.parent().and_then(|parent| fs::read_dir(parent).ok());
    for sibling in siblings.into_iter().flatten().flatten() {
        let path = sibling.path();
        // A directory without this file is being created.
        if path != dir
            && path.join(OPTIONS).is_file()
            && let Ok(directory) = File::open(&path)
            && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = remove_files(&path).and_then(|()| fs::remove_dir(&path));
        }
    }
}

/// Creates a directory that only its owner can enter, or checks that an existing one belongs to this user: in a
/// shared directory such as `/tmp` another user may have created it already.
fn create_private(dir: &Path) -> io::Result<()> {
    let created = fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(dir);
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(dir)?;
    if !meta.is_dir() || meta.uid() != rustix::process::getuid().as_raw() {
        let message = "belongs to somebody else";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn directory_of_a_dead_runtime_is_replaced_and_that_of_a_live_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("demo");
        fs::create_dir(&dir).unwrap();
        drop(UnixListener::bind(dir.join(CONTROL)).unwrap());
        let claim = RunDir::create(&dir).unwrap();
        assert!(!dir.join(CONTROL).exists());
        // The name is taken before the runtime answers and after.
        assert!(
            RunDir::create(&dir)
                .unwrap_err()
                .to_string()
                .contains("already up")
        );
        let listener = UnixListener::bind(dir.join(CONTROL)).unwrap();
        assert!(alive(&dir));
        assert!(
            RunDir::create(&dir)
                .unwrap_err()
                .to_string()
                .contains("already up")
        );
        drop((listener, claim));
        assert!(!dir.exists());
        let _claim = RunDir::create(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn of_many_that_want_a_name_at_once_one_gets_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("demo");
        for _ in 0..20 {
            let claims: Vec<_> = std::thread::scope(|scope| {
                let create = || scope.spawn(|| RunDir::create(&dir));
                let threads: Vec<_> = (0..8).map(|_| create()).collect();
                let ended = threads.into_iter().map(|thread| thread.join().unwrap());
                ended.collect()
            });
            let held = claims.iter().filter(|claim| claim.is_ok()).count();
            assert_eq!(held, 1, "{claims:?}");
            assert!(dir.is_dir());
        }
    }

    #[test]
    fn remains_of_killed_runtimes_are_swept_up_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let sibling = |name: &str| home.path().join(name);
        for name in ["dead", "alive", "documents", "new"] {
            fs::create_dir(sibling(name)).unwrap();
        }
        let alive = RunDir::create(&sibling("alive")).unwrap();
        for name in ["dead", "alive", "documents"] {
            fs::write(sibling(name).join(OPTIONS), "{}").unwrap();
        }
        fs::write(sibling("documents").join("letter"), "dear").unwrap();
        let claim = RunDir::create(&sibling("demo")).unwrap();
        assert!(!sibling("dead").exists() && sibling("new").exists());
        assert!(sibling("alive").join(OPTIONS).exists());
        // A directory with other files in it is refused.
        let error = RunDir::create(&sibling("documents"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("letter") && error.contains("TOMBOLO_HOME"),
            "{error}"
        );
        assert!(sibling("documents").join(OPTIONS).exists());
        drop((alive, claim));
    }

    #[test]
    fn path_that_no_socket_can_have_is_refused() {
        let dir = Path::new("/tmp").join("x".repeat(100)).join("demo");
        let error = RunDir::create(&dir).unwrap_err().to_string();
        assert!(
            error.contains("too long") && error.contains("TOMBOLO_HOME"),
            "{error}"
        );
    }

    #[test]
    fn names_stay_inside_of_the_directory() {
        for name in ["", "..", "a/b", "a b"] {
            assert!(of(name).is_err(), "{name:?}");
        }
    }
}
