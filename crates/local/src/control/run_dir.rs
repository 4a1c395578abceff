//! Where a running runtime leaves its sockets: one private directory per name.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The socket for HTTP.
pub const CONTROL: &str = "control.sock";

/// The socket for `exec`.
pub const EXEC: &str = "exec.sock";

/// The file with what the runtime was asked to run.
pub const OPTIONS: &str = "options.json";

/// The directory of all runtimes of this user: `$TOMBOLO_HOME`, `$XDG_RUNTIME_DIR/tombolo` or
/// `/tmp/tombolo-<uid>`.
pub fn root() -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("TOMBOLO_HOME")
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|dir| dir.join("tombolo")))
        .unwrap_or_else(|| {
            PathBuf::from(format!(
                "/tmp/tombolo-{}",
                rustix::process::getuid().as_raw()
            ))
        })
}

/// The directory of one runtime.
///
/// # Errors
/// When the name cannot be that of a directory.
pub fn of(name: &str) -> Result<PathBuf, String> {
    let plain = !name.is_empty()
        && name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if plain {
        Ok(root().join(name))
    } else {
        Err(format!(
            "{name:?} is not a name; use up to 40 letters, digits, - and _"
        ))
    }
}

/// Whether somebody answers there.
pub fn alive(dir: &Path) -> bool {
    UnixStream::connect(dir.join(CONTROL)).is_ok()
}

/// Makes the directory of a new runtime; what a killed one left behind is removed.
///
/// # Errors
/// When one of that name is running, or the place is not ours alone.
pub fn claim(dir: &Path) -> Result<(), String> {
    if alive(dir) {
        let name = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        return Err(format!(
            "a runtime named {name} is already up; stop it with `tombolo down --name {name}`, or give this one another --name"
        ));
    }
    let failed = |error: io::Error| {
        format!(
            "{}: {error}; set TOMBOLO_HOME to a directory of yours",
            dir.display()
        )
    };
    let parent = dir.parent().unwrap_or(Path::new("/"));
    private(parent).map_err(failed)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    private(dir).map_err(failed)
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

/// Removes the directory of a runtime that ended.
pub fn release(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn directory_of_a_dead_runtime_is_replaced_and_that_of_a_live_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("demo");
        claim(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        let listener = UnixListener::bind(dir.join(CONTROL)).unwrap();
        assert!(claim(&dir).unwrap_err().contains("already up"));
        drop(listener);
        assert!(dir.join(CONTROL).exists());
        claim(&dir).unwrap();
        assert!(!dir.join(CONTROL).exists());
    }

    #[test]
    fn names_stay_inside_of_the_directory() {
        for name in ["", "..", "a/b", "a b"] {
            assert!(of(name).is_err(), "{name:?}");
        }
    }
}
