//! Where a running runtime leaves its sockets: one private directory per name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The socket for HTTP.
pub const CONTROL: &str = "control.sock";

/// The socket for `exec`.
pub const EXEC: &str = "exec.sock";

/// The file with what the runtime was asked to run.
pub const OPTIONS: &str = "options.json";

/// What is in the directory of a runtime.
const FILES: [&str; 3] = [CONTROL, EXEC, OPTIONS];

/// How often a directory that vanishes, or is held for a moment, is looked at again, and the pause between.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The longest path of a socket that the kernel takes.
const LONGEST_SOCKET: usize = 107;

/// The directories in which this user's runtimes may have theirs, the first one for new ones: `$TOMBOLO_HOME`, or else
/// `$XDG_RUNTIME_DIR/tombolo` and `/tmp/tombolo-<uid>`. Both, because a terminal with the variable and a script without
/// it shall mean the same runtime.
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
    // After `su` and `sudo` it is often somebody else's.
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

/// The directory of one runtime: where it answers, or where it would be made.
///
/// # Errors
/// When the name cannot be that of a directory.
pub fn of(name: &str) -> Result<PathBuf, String> {
    let plain = !name.is_empty()
        && name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !plain {
        return Err(format!(
            "{name:?} is not a name; use up to 40 letters, digits, - and _"
        ));
    }
    let mut places: Vec<PathBuf> = roots().iter().map(|root| root.join(name)).collect();
    let answers = places.iter().position(|place| alive(place));
    Ok(places.swap_remove(answers.unwrap_or(0)))
}

/// What to do about a name that is taken.
pub(crate) fn taken(name: &str) -> String {
    format!(
        "a runtime named {name} is already up; stop it with `tombolo down --name {name}`, or give this one another --name"
    )
}

/// Whether somebody answers there.
pub fn alive(dir: &Path) -> bool {
    UnixStream::connect(dir.join(CONTROL)).is_ok()
}

/// The directory of a new runtime, held by a lock that ends with this process however it ends. Dropped, it is gone.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Locked.
    _directory: File,
}

impl Claim {
    /// Makes the directory; what a killed runtime left behind is removed.
    ///
    /// # Errors
    /// When one of that name is running or starting, or the place is not ours alone.
    pub fn on(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!(
                "{}: {error}; set TOMBOLO_HOME to a directory of yours",
                path.display()
            )
        };
        if path.join(CONTROL).as_os_str().len() > LONGEST_SOCKET {
            let message = "the path is too long for a socket";
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidFilename,
                message,
            )));
        }
        private(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        // Whoever has the name may be letting go of it just now: what was there is gone, and is looked for again.
        for attempt in 1..=ATTEMPTS {
            let directory = match private(path).and_then(|()| File::open(path)) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                // For a moment it may also be whoever sweeps up.
                Err(Errno::WOULDBLOCK) if !alive(path) && attempt < ATTEMPTS => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(Errno::WOULDBLOCK) => {
                    let name = path.file_name().unwrap_or_default();
                    return Err(taken(&name.to_string_lossy()));
                }
                locked => locked.map_err(|error| failed(error.into()))?,
            }
            let inode = directory.metadata().map_err(failed)?.ino();
            if !fs::metadata(path).is_ok_and(|meta| meta.ino() == inode) {
                continue;
            }
            empty(path).map_err(failed)?;
            sweep(path);
            return Ok(Self {
                path: path.to_owned(),
                _directory: directory,
            });
        }
        Err(failed(io::ErrorKind::NotFound.into()))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = empty(&self.path).and_then(|()| fs::remove_dir(&self.path));
    }
}

/// Removes our files from a directory; one that holds anything else is somebody's and stays as it is.
fn empty(dir: &Path) -> io::Result<()> {
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

/// Removes what killed runtimes have left beside this one.
fn sweep(dir: &Path) {
    let siblings = dir.parent().and_then(|parent| fs::read_dir(parent).ok());
    for sibling in siblings.into_iter().flatten().flatten() {
        let path = sibling.path();
        // One that has no such file yet is just being made.
        if path == dir || !path.join(OPTIONS).is_file() {
            continue;
        }
        let Ok(directory) = File::open(&path) else {
            continue;
        };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = empty(&path).and_then(|()| fs::remove_dir(&path));
        }
    }
}

/// Makes a directory that only its owner enters, or checks that an existing one is owned by us: in a shared
/// place such as `/tmp` somebody else may have been faster.
fn private(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(dir)
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(dir)?;
    if !meta.is_dir() || meta.uid() != rustix::process::getuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "belongs to somebody else",
        ));
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
        let claim = Claim::on(&dir).unwrap();
        assert!(!dir.join(CONTROL).exists());
        // Before it answers and after: the name is taken.
        assert!(Claim::on(&dir).unwrap_err().contains("already up"));
        let listener = UnixListener::bind(dir.join(CONTROL)).unwrap();
        assert!(alive(&dir));
        assert!(Claim::on(&dir).unwrap_err().contains("already up"));
        drop((listener, claim));
        assert!(!dir.exists());
        let _claim = Claim::on(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn of_many_that_want_a_name_at_once_one_gets_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("demo");
        for _ in 0..20 {
            let claims: Vec<_> = std::thread::scope(|scope| {
                let claim = || scope.spawn(|| Claim::on(&dir));
                let threads: Vec<_> = (0..8).map(|_| claim()).collect();
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
        let place = |name: &str| home.path().join(name);
        for name in ["dead", "alive", "documents", "new"] {
            fs::create_dir(place(name)).unwrap();
        }
        let alive = Claim::on(&place("alive")).unwrap();
        for name in ["dead", "alive", "documents"] {
            fs::write(place(name).join(OPTIONS), "{}").unwrap();
        }
        fs::write(place("documents").join("letter"), "dear").unwrap();
        let claim = Claim::on(&place("demo")).unwrap();
        assert!(!place("dead").exists() && place("new").exists());
        assert!(place("alive").join(OPTIONS).exists());
        // Nor is a name taken that would cost somebody's files.
        let told = Claim::on(&place("documents")).unwrap_err();
        assert!(
            told.contains("letter") && told.contains("TOMBOLO_HOME"),
            "{told}"
        );
        assert!(place("documents").join(OPTIONS).exists());
        drop((alive, claim));
    }

    #[test]
    fn path_that_no_socket_can_have_is_refused() {
        let dir = Path::new("/tmp").join("x".repeat(100)).join("demo");
        let told = Claim::on(&dir).unwrap_err();
        assert!(
            told.contains("too long") && told.contains("TOMBOLO_HOME"),
            "{told}"
        );
    }

    #[test]
    fn names_stay_inside_of_the_directory() {
        for name in ["", "..", "a/b", "a b"] {
            assert!(of(name).is_err(), "{name:?}");
        }
    }
}
