//! The users of programs in tests: the current one, and ordinary users if that is root.

use crate::{ProxyKind, need};
use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};
use tempfile::TempDir;

/// The user of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The user of the tests.
    Caller,
    /// A user with this id that is not in the user database. Only root can become one.
    Stranger(u32),
}

impl User {
    /// Two users that are not in the user database.
    pub const STRANGERS: [User; 2] = [User::Stranger(54_321), User::Stranger(54_322)];

    /// All users of the tests: for root also an ordinary user, otherwise the current one alone.
    pub fn all() -> Vec<User> {
        let stranger = User::STRANGERS[0];
        let users = [User::Caller, stranger].into_iter();
        users.filter(|user| user.is_possible()).collect()
    }

    /// Whether programs can run as this user. Only root can change the user. A kernel that denies user namespaces to
    /// ordinary users is reported, and a failure in CI.
    pub fn is_possible(self) -> bool {
        static REFUSED: OnceLock<Option<String>> = OnceLock::new();
        if self == User::Caller {
            return true;
        }
        if !rustix::process::geteuid().is_root() {
            return false;
        }
        match REFUSED.get_or_init(|| sandbox_refused(self)) {
            None => true,
            Some(why) => {
                tombolo_need::skip(why);
                false
            }
        }
    }

    /// Makes this user the owner of a file or directory.
    fn give(self, path: &Path) {
        if let User::Stranger(id) = self {
            chown(path, Some(id), Some(id)).expect("root gives files away");
        }
    }
}

/// Every sidecar with every user.
pub fn runs() -> impl Iterator<Item = (ProxyKind, User)> {
    let pairs = |user| ProxyKind::ALL.map(|proxy| (proxy, user));
    User::all().into_iter().flat_map(pairs)
}

/// A directory that a user owns, for all files of its programs.
#[derive(Debug)]
pub struct Home {
    user: User,
    directory: TempDir,
}

impl Home {
    /// An empty directory.
    pub fn of(user: User) -> Self {
        let home = Self {
            user,
            directory: tempfile::tempdir().expect("a directory"),
        };
        user.give(home.path());
        for name in ["home", "run", "tmp"] {
            let path = home.path().join(name);
            fs::create_dir(&path).expect("the directory can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
            user.give(&path);
        }
        home
    }

    /// The path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("the directory can be written");
        path
    }

    /// A path at which the user can read the file: this one, or that of a copy.
    pub fn reachable(&self, file: &Path) -> PathBuf {
        let open = |path: &Path| {
            fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o005 == 0o005)
        };
        if self.user == User::Caller || file.ancestors().all(open) {
            return file.to_owned();
        }
        let copy = self.path().join(crate::corpus::file_name(file));
        if !copy.exists() {
            fs::copy(file, &copy).expect("the file can be copied");
            self.user.give(&copy);
        }
        copy
    }

    /// A command of the user, with all its directories here. Its working directory is not writable for ordinary
    /// users.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env("HOME", self.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("TMPDIR", self.path().join("tmp"))
            .env_remove("TOMBOLO_HOME")
            .env_remove("TOMBOLO_NAME");
        if let User::Stranger(id) = self.user {
            // Supplementary groups are dropped with the user.
            command.uid(id).gid(id);
        }
        command
    }
}

/// The reason why this user cannot run clusters; `None` if it can.
fn sandbox_refused(user: User) -> Option<String> {
    let binary = need("TOMBOLO_BIN")?;
    let home = Home::of(user);
    let empty = home.file("empty.yaml", "");
    // All errors are reported at once; the account is invalid, so nothing starts.
    let output = home
        .command(&home.reachable(&binary))
        .args(["up", "--account", "none", "--api", "127.0.0.1:0"])
        .args(["--cluster", &format!("c={}", empty.display()), "--images"])
        .arg(&empty)
        .output()
        .expect("TOMBOLO_BIN can be run");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let refusal = told.lines().find(|line| line.contains("sandbox"));
    refusal.map(str::to_owned)
}
