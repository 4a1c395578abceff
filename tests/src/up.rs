//! `tombolo up` as a child process.

use crate::{Home, Program, User, aws::Aws, http, need, until, until_within};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Deadline for clusters to be ready, on a busy machine.
const READY: Duration = Duration::from_secs(120);

/// The kind of sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// Tombolo's own.
    Tombolo,
    /// A real Envoy.
    Envoy,
}

impl ProxyKind {
    /// Both.
    pub const ALL: [ProxyKind; 2] = [ProxyKind::Tombolo, ProxyKind::Envoy];

    /// The value of the `--proxy` option.
    pub fn word(self) -> &'static str {
        match self {
            ProxyKind::Tombolo => "tombolo",
            ProxyKind::Envoy => "envoy",
        }
    }
}

/// A builder for a run of `tombolo up`.
pub struct Up {
    binary: PathBuf,
    home: Home,
    arguments: Vec<String>,
    name: String,
}

impl Up {
    /// A run with this sidecar, as the user of the tests; `None`, after a message, when a program is missing.
    pub fn new(proxy: ProxyKind) -> Option<Self> {
        Self::by(User::Caller, proxy)
    }

    /// A run with this sidecar, as this user.
    pub fn by(user: User, proxy: ProxyKind) -> Option<Self> {
        let home = Home::of(user);
        let name = run_name();
        let mut arguments: Vec<String> = ["up", "--name", &name, "--account", crate::ACCOUNT]
            .into_iter()
            .map(str::to_owned)
            .collect();
        arguments.extend(proxy_arguments(proxy, &home)?);
        Some(Self {
            binary: home.reachable(&need("TOMBOLO_BIN")?),
            home,
            arguments,
            name,
        })
    }

    /// Adds a cluster with the manifest in this file.
    #[must_use]
    pub fn cluster_file(mut self, name: &str, path: &Path) -> Self {
        let path = self.home.reachable(path);
        self.arguments
            .extend(["--cluster".into(), format!("{name}={}", path.display())]);
        self
    }

    /// Adds a cluster with this manifest.
    #[must_use]
    pub fn cluster(self, name: &str, manifest: &str) -> Self {
        let path = self.file(&format!("{name}.yaml"), manifest);
        self.cluster_file(name, &path)
    }

    /// Sets the images file.
    #[must_use]
    pub fn images(mut self, images: &str) -> Self {
        let path = self.file("images.yaml", images);
        self.arguments
            .extend(["--images".into(), path.display().to_string()]);
        self
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, words: &[&str]) -> Self {
        self.arguments
            .extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Writes a file into the directory of the run.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.home.file(name, text)
    }

    fn command(&self) -> Command {
        let mut command = self.home.command(&self.binary);
        command.args(&self.arguments);
        command
    }

    /// Starts it and waits until everything is ready.
    pub fn start(mut self) -> Clusters {
        // Any free port: several runs start at the same time.
        if !self.arguments.iter().any(|word| word == "--api") {
            self = self.option(&["--api", "127.0.0.1:0"]);
        }
        let log = self.home.path().join("log");
        let mut program = Program::start(&mut self.command(), &log);
        let mut clusters = None;
        until_within(READY, "the clusters are ready", || {
            if let Some(status) = program.ended() {
                panic!("tombolo up ended with {status}: {}", program.log());
            }
            let status = status(self.home.command(&self.binary), &self.name)?;
            let is_synced = status["controlPlane"]["synced"] == true;
            (status["ready"] == true && is_synced).then(|| clusters = Some(status))
        });
        let status = clusters.expect("set when it is ready");
        Clusters {
            program,
            name: self.name,
            binary: self.binary,
            home: self.home,
            info: status["info"].clone(),
        }
    }

    /// Starts a run that must be refused; its error output.
    #[track_caller]
    pub fn refused(self) -> String {
        let output = self.command().output().expect("TOMBOLO_BIN can be run");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it was not refused: {told}");
        told
    }
}

/// Running clusters. Dropping them kills the run.
pub struct Clusters {
    program: Program,
    name: String,
    binary: PathBuf,
    home: Home,
    info: Value,
}

/// A name that no other run has.
pub fn run_name() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{run}", std::process::id())
}

/// The options that select a sidecar; `None`, after a message, when its program is missing.
pub fn proxy_arguments(proxy: ProxyKind, home: &Home) -> Option<Vec<String>> {
    let mut arguments = vec!["--proxy".to_owned(), proxy.word().to_owned()];
    if proxy == ProxyKind::Envoy {
        let envoy = home.reachable(&need("TOMBOLO_ENVOY")?);
        arguments.extend(["--envoy".to_owned(), envoy.display().to_string()]);
    }
    Some(arguments)
}

fn status(mut command: Command, name: &str) -> Option<Value> {
    let output = command
        .args(["status", "--name", name, "-o", "json"])
        .output()
        .expect("TOMBOLO_BIN can be run");
    serde_json::from_slice(&output.stdout).ok()
}

impl Clusters {
    /// The info of the run.
    pub fn info(&self) -> &Value {
        &self.info
    }

    /// The current status of the run.
    pub fn status(&self) -> Value {
        status(self.home.command(&self.binary), &self.name)
            .unwrap_or_else(|| panic!("no status: {}", self.program.log()))
    }

    /// The process of `tombolo up`.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Address of the AWS APIs.
    pub fn api(&self) -> SocketAddr {
        let api = self.info["api"]
            .as_str()
            .expect("the run tells where its API is");
        let address = api.trim_start_matches("http://").trim_end_matches('/');
        address.parse().expect("an address")
    }

    /// The environment of AWS clients of it.
    pub fn aws(&self) -> Aws {
        Aws::new(self.api(), self.home.path())
    }

    /// Address of a service's load balancer.
    pub fn balancer(&self, service: &str) -> SocketAddr {
        let address = until("the service has a load balancer", || {
            let status = self.status();
            let balancers = status["info"]["load_balancers"].as_array()?;
            let found = balancers
                .iter()
                .find(|balancer| balancer["service"] == service)?;
            Some(found["address"].as_str()?.to_owned())
        });
        address.parse().expect("an address")
    }

    /// Runs a command of the CLI against it; the output.
    #[track_caller]
    pub fn tombolo(&self, words: &[&str]) -> String {
        match self.try_tombolo(words) {
            Ok(told) => told,
            Err(told) => panic!("tombolo {}: {told}", words.join(" ")),
        }
    }

    /// The same for a command that may fail: the error is all output.
    pub fn try_tombolo(&self, words: &[&str]) -> Result<String, String> {
        let output = self.output(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stdout) + &text(&output.stderr)),
        }
    }

    fn output(&self, words: &[&str]) -> std::process::Output {
        let mut command = self.home.command(&self.binary);
        command.args(words).env("TOMBOLO_NAME", &self.name);
        command.output().expect("TOMBOLO_BIN can be run")
    }

    /// Applies a manifest to a cluster.
    #[track_caller]
    pub fn apply(&self, cluster: &str, manifest: &str) {
        self.apply_with_warnings(cluster, manifest);
    }

    /// Applies a manifest to a cluster; the warnings.
    #[track_caller]
    pub fn apply_with_warnings(&self, cluster: &str, manifest: &str) -> String {
        let path = self.home.file("applied.yaml", manifest);
        let path = path.display().to_string();
        let output = self.output(&["apply", "--cluster", cluster, "-f", &path]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        told
    }

    /// Sends requests to a service's load balancer, each on its own connection; counts the answers by body, and
    /// failures by kind.
    pub fn tally(&self, service: &str, path: &str, requests: usize) -> BTreeMap<String, usize> {
        let address = self.balancer(service);
        let mut tally = BTreeMap::new();
        for _ in 0..requests {
            let word = match http::get(address, path) {
                Ok(answer) if answer.status == 200 => answer.text().trim().to_owned(),
                Ok(answer) => format!("{}: {}", answer.status, answer.text().trim()),
                Err(error) => error.to_string(),
            };
            *tally.entry(word).or_default() += 1;
        }
        tally
    }
}
