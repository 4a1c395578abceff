//! `tombolo server` as a child process.

use crate::{
    Program,
    aws::Aws,
    free_port,
    http::{Connection, Request},
    need, until,
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};
use tempfile::TempDir;

/// The account of the test servers.
pub const ACCOUNT: &str = "111122223333";
/// The region of the test servers.
pub const REGION: &str = "us-west-2";

/// Deadline for the end of the process.
const DEADLINE: Duration = Duration::from_secs(30);

/// A `tombolo server` with a data directory of its own, or over an etcd cluster. It can be killed and
/// started again at the same addresses with the same data.
pub struct Server {
    binary: PathBuf,
    directory: TempDir,
    api: SocketAddr,
    xds: SocketAddr,
    dns: SocketAddr,
    /// The etcd cluster, for a replica.
    store: Option<String>,
    /// Further arguments and environment variables.
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    program: Option<Program>,
}

impl Server {
    /// Starts one; `None`, after a message, when there is no binary.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further arguments; `None`, after a message, when there is no binary.
    pub fn start_with(arguments: &[String]) -> Option<Self> {
        Self::start_in(temporary(), arguments, &[])
    }

    /// Starts one in a directory that is removed with it, with further arguments and environment variables; `None`,
    /// after a message, when there is no binary.
    pub fn start_in(
        directory: TempDir,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        Self::start_over(None, directory, arguments, environment)
    }

    /// Starts one from a shell that has run this command first; `None`, after a message, when there is no binary.
    pub fn start_after(command: &str) -> Option<Self> {
        let binary = need("TOMBOLO_BIN")?;
        let directory = temporary();
        let script = directory.path().join("tombolo");
        let text = format!("#!/bin/sh\n{command}\nexec '{}' \"$@\"\n", binary.display());
        std::fs::write(&script, text).expect("a directory to write to");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("our own file");
        Some(Self::start_binary(script, None, directory, &[], &[]))
    }

    /// Starts a replica over an etcd cluster; `None`, after a message, when there is no binary.
    pub fn replica(store: &str) -> Option<Self> {
        Self::start_over(Some(store.to_owned()), temporary(), &[], &[])
    }

    fn start_over(
        store: Option<String>,
        directory: TempDir,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        let binary = need("TOMBOLO_BIN")?;
        Some(Self::start_binary(
            binary,
            store,
            directory,
            arguments,
            environment,
        ))
    }

    fn start_binary(
        binary: PathBuf,
        store: Option<String>,
        directory: TempDir,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut server = Self {
            binary,
            directory,
            api: free_port(),
            xds: free_port(),
            dns: free_port(),
            store,
            arguments: arguments.to_vec(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            program: None,
        };
        until("a server has its addresses to itself", || {
            let Err(why) = server.launch() else {
                return Some(());
            };
            // Another process may have taken the port since it was found free.
            assert!(why.contains("Address already in use"), "{why}");
            [server.api, server.xds, server.dns] = [free_port(), free_port(), free_port()];
            None
        });
        server
    }

    /// Restarts it after [`Server::kill`].
    pub fn run(&mut self) {
        self.launch().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Starts the program and waits until it answers; the error is its output.
    fn launch(&mut self) -> Result<(), String> {
        assert!(self.program.is_none(), "it is running");
        let mut command = Command::new(&self.binary);
        command
            .args(["server", "--account", ACCOUNT, "--region", REGION])
            .args(["--api", &self.api.to_string()])
            .args(["--xds", &self.xds.to_string()])
            .args(["--dns", &self.dns.to_string()])
            .args(["--health-check-interval", "1"])
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        match &self.store {
            Some(store) => command.args(["--store", store]),
            None => command
                .arg("--data-dir")
                .arg(self.directory.path().join("data")),
        };
        let mut program = Program::start(&mut command, &self.directory.path().join("log"));
        until("the server answers", || {
            if let Some(status) = program.ended() {
                let log = program.log();
                let last = log.lines().last().unwrap_or_default();
                return Some(Err(format!("the server ended with {status}: {last}")));
            }
            self.is_up().then_some(Ok(()))
        })?;
        self.program = Some(program);
        Ok(())
    }

    /// Whether it answers; with TLS, whether it accepts connections.
    fn is_up(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.api) else {
            return false;
        };
        let speaks_tls = self.arguments.iter().any(|word| word == "--api-cert");
        let mut answer = || connection.send(&Request::get("/healthz"));
        speaks_tls || answer().is_ok_and(|answer| answer.status == 200)
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&mut self) {
        drop(self.program.take());
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.running().terminate();
    }

    /// Waits for its end: exit status and output.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let mut program = self.program.take().expect("it is running");
        let status = program.wait(DEADLINE);
        (status, program.log())
    }

    /// Limits the size of files that it writes, in bytes; `None` removes the limit.
    pub fn limit_file_size(&self, bytes: Option<u64>) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        let id = i32::try_from(self.running().id()).expect("process ids are small");
        prlimit(Pid::from_raw(id), Resource::Fsize, limit).expect("our own child");
    }

    fn running(&self) -> &Program {
        self.program.as_ref().expect("it is running")
    }

    /// Pauses it (SIGSTOP), or resumes it.
    pub fn pause(&self, is_paused: bool) {
        let program = self.running();
        if is_paused {
            program.pause();
        } else {
            program.resume();
        }
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Address of the AWS APIs.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Address of xDS.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Address of DNS.
    pub fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// A directory that is removed with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The environment of AWS clients of it.
    pub fn aws(&self) -> Aws {
        Aws::new(self.api, self.directory.path())
    }

    /// The answer of its status endpoint; `None` when it does not answer.
    pub fn status(&self) -> Option<Value> {
        let mut connection = Connection::open(self.api).ok()?;
        let answer = connection.send(&Request::get("/tombolo/v1/status")).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// The revision of its state.
    pub fn revision(&self) -> u64 {
        let status = self.status().expect("the server answers");
        status["revision"].as_u64().expect("a revision is a number")
    }

    /// The output so far.
    pub fn log(&self) -> String {
        self.program.as_ref().map(Program::log).unwrap_or_default()
    }
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a directory")
}
