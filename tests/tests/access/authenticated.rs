//! A server that authenticates its callers, and the Python that signs for it.

use serde_json::{Value, json};
use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use tombolo_tests::{
    REGION, Server,
    aws::Aws,
    http::{Connection, Request},
    need,
};

/// The credentials file, in the server's directory.
const FILE: &str = "credentials.yaml";
const SIGNER: &str = include_str!("signer.py");

/// The credentials of all tests here.
pub(crate) const CREDENTIALS: &str = r#"
regions: [us-west-2, eu-north-1]
policies:
  color-team:
    - actions: ["appmesh:*"]
      resources: ["arn:aws:appmesh:us-west-2:111122223333:mesh/color*"]
users:
  - name: admin
    account: "111122223333"
    policies: [AdministratorAccess]
    keys:
      - { id: ADMIN, secret: admin/secret+key }
      - { id: TEMPORARY, secret: short-lived, session-token: the/session+token== }
      - { id: EXPIRED, secret: over, expires: 2020-01-01T00:00:00Z }
  - name: color
    account: "111122223333"
    policies: [AWSAppMeshReadOnly, color-team, AWSCloudMapDiscoverInstanceAccess]
    keys: [{ id: COLOR, secret: color-secret }]
  - name: other
    account: "444455556666"
    policies: [AWSAppMeshFullAccess, AWSCloudMapFullAccess]
    keys: [{ id: OTHER, secret: other-secret }]
"#;

/// A key of the file above: id, secret, session token.
#[derive(Clone, Copy)]
pub(crate) struct Key(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

pub(crate) const ADMIN: Key = Key("ADMIN", "admin/secret+key", "");
pub(crate) const TEMPORARY: Key = Key("TEMPORARY", "short-lived", "the/session+token==");
pub(crate) const COLOR: Key = Key("COLOR", "color-secret", "");
pub(crate) const OTHER: Key = Key("OTHER", "other-secret", "");

/// The server, killed with its handle.
pub(crate) struct AuthenticatedServer {
    pub(crate) api: SocketAddr,
    server: Server,
}

impl AuthenticatedServer {
    /// Starts one; `None`, after a message, when there is no binary.
    pub(crate) fn start() -> Option<Self> {
        Self::start_in(tempfile::tempdir().expect("a directory"), &[])
    }

    /// Starts one in a directory with more options; `{dir}` in them is the directory.
    pub(crate) fn start_in(directory: TempDir, options: &[&str]) -> Option<Self> {
        std::fs::write(directory.path().join(FILE), CREDENTIALS).expect("writable");
        let path = directory.path().display().to_string();
        let file = format!("{path}/{FILE}");
        let mut arguments = vec!["--credentials".to_owned(), file];
        arguments.extend(options.iter().map(|option| option.replace("{dir}", &path)));
        // So that a leak into the log would be noticed.
        let log = ("TOMBOLO_LOG", "info,tombolo_api=debug");
        let server = Server::start_in(directory, &arguments, &[log])?;
        Some(Self {
            api: server.api(),
            server,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.server.directory()
    }

    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory().join(FILE)
    }

    /// Runs the `aws` CLI with a key: its output, or its error output.
    pub(crate) fn cli(&self, key: Key, words: &[&str]) -> Option<Result<String, String>> {
        let mut command = Command::new(need("TOMBOLO_AWS")?);
        self.server.aws().environment(&mut command);
        as_caller(&mut command, key);
        Some(output(command.args(["--output", "json"]).args(words)))
    }

    /// Runs `tombolo` with a key.
    pub(crate) fn tombolo(&self, key: Option<Key>, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.server.binary());
        self.server.aws().environment(&mut command);
        match key {
            Some(key) => as_caller(&mut command, key),
            None => {
                command.env_remove("AWS_ACCESS_KEY_ID");
            }
        }
        // Only read if the server speaks TLS.
        command.env("AWS_CA_BUNDLE", self.directory().join("ca.pem"));
        output(command.args(words))
    }

    /// Sends a request without a signature.
    pub(crate) fn unsigned(&self, request: &Request<'_>) -> (u16, String) {
        let mut connection = Connection::open(self.api).expect("it listens");
        let answer = connection.send(request).expect("an answer");
        (answer.status, answer.text())
    }
}

pub(crate) fn as_caller(command: &mut Command, Key(id, secret, token): Key) {
    command
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret);
    if !token.is_empty() {
        command.env("AWS_SESSION_TOKEN", token);
    }
}

pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("it can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Runs the signer; its answers, or `None`, after a message, when there is no Python with boto3.
pub(crate) fn python(command: &Value) -> Option<Vec<Value>> {
    let mut python = Command::new(need("TOMBOLO_PYTHON")?);
    // The user's own files must not have an effect.
    Aws::new(([127, 0, 0, 1], 9).into(), Path::new("/nonexistent")).environment(&mut python);
    let mut child = python
        .args(["-c", SIGNER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("TOMBOLO_PYTHON can be run");
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{command}").expect("Python reads");
    drop(input);
    let output = child.wait_with_output().expect("Python ends");
    assert!(
        output.status.success(),
        "Python ended with {}",
        output.status
    );
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let read = |line| serde_json::from_str(line).expect("Python writes JSON");
    Some(text.lines().map(read).collect())
}

/// A call by boto3, signed with a clock that is off by `skew` seconds.
pub(crate) fn boto(
    server: &AuthenticatedServer,
    key: Key,
    region: &str,
    skew: i64,
    (service, operation, params): (&str, &str, Value),
) -> Option<Value> {
    let Key(id, secret, token) = key;
    let answers = python(&json!({
        "do": "call", "endpoint": format!("http://{}", server.api), "key": id, "secret": secret,
        "token": (!token.is_empty()).then_some(token), "region": region, "skew": skew,
        "service": service, "operation": operation, "params": params,
    }))?;
    answers.into_iter().next()
}

/// The default region, as boto3 wants it.
pub(crate) const HERE: &str = REGION;
