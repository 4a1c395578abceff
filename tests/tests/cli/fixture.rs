//! A server, and the commands that are run against it.

use serde_json::Value;
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};
use tombolo_tests::{
    Program, Server,
    http::{Answer, Connection, Request},
    need,
};

/// A server and the program that talks to it.
pub(crate) struct Cli {
    pub(crate) server: Server,
    binary: PathBuf,
}

/// The output of the program.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Cli {
    /// A server without resources; `None`, after a message, when there is no binary.
    pub(crate) fn start() -> Option<Self> {
        let server = Server::start()?;
        let binary = need("TOMBOLO_BIN")?;
        Some(Self { server, binary })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .current_dir(self.server.directory())
            .env("TOMBOLO_API", format!("http://{}", self.server.api()))
            .env_remove("TOMBOLO_NAME")
            .env("AWS_REGION", tombolo_tests::REGION);
        command
    }

    /// Starts the program; its output goes to its log.
    pub(crate) fn start_program(&self, words: &[&str]) -> Program {
        let log = self.server.directory().join("printed");
        Program::start(&mut self.command(words), &log)
    }

    /// Runs the program with this standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> CommandOutput {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("TOMBOLO_BIN can be run");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program that does not read its input has ended with a message.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        CommandOutput::from(child.wait_with_output().expect("it was started"))
    }

    pub(crate) fn run(&self, words: &[&str]) -> CommandOutput {
        self.run_with(words, "")
    }

    /// Runs a command that must succeed; its output.
    #[track_caller]
    pub(crate) fn succeeds(&self, words: &[&str]) -> String {
        self.succeeds_with(words, "")
    }

    /// Runs a command with this standard input that must succeed; its output.
    #[track_caller]
    pub(crate) fn succeeds_with(&self, words: &[&str], input: &str) -> String {
        let said = self.run_with(words, input);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said.out
    }

    /// Runs a command that must succeed; its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let text = self.succeeds(words);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }

    /// Runs a command that must fail and change nothing on the server; its error output.
    #[track_caller]
    pub(crate) fn fails_with(&self, words: &[&str], input: &str) -> String {
        let before = self.server.revision();
        let said = self.run_with(words, input);
        assert_eq!(said.code, Some(1), "{words:?}: {said:?}");
        assert_eq!(self.server.revision(), before, "{words:?}: {said:?}");
        said.errors
    }

    /// Applies documents; the lines of output.
    #[track_caller]
    pub(crate) fn apply(&self, documents: &str) -> Vec<String> {
        let out = self.succeeds_with(&["apply", "-f", "-"], documents);
        out.lines().map(str::to_owned).collect()
    }

    /// A call of the API.
    pub(crate) fn call(&self, request: &Request<'_>) -> Answer {
        let mut connection = Connection::open(self.server.api()).expect("it listens");
        connection.send(request).expect("an answer")
    }
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            errors: text(output.stderr),
        }
    }
}
