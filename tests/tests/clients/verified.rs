//! A server that verifies every signature, and who may call it.

use std::{net::SocketAddr, process::Command};
use tempfile::TempDir;
use tombolo_tests::{ACCOUNT, Program, REGION, aws::Aws, free_port, http::Connection, need, until};

const CREDENTIALS: &str = r#"
users:
  - name: driver
    account: "111122223333"
    policies: [AdministratorAccess]
    keys: [{ id: DRIVER, secret: driver/secret+key, session-token: the/session+token== }]
"#;

/// The server; it ends with its handle.
pub(crate) struct Verified {
    pub(crate) api: SocketAddr,
    pub(crate) directory: TempDir,
    program: Program,
}

impl Verified {
    /// Starts one; `None`, with a word about it, when there is no binary.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let credentials = directory.path().join("credentials.yaml");
        std::fs::write(&credentials, CREDENTIALS).expect("writable");
        let api = free_port();
        let mut command = Command::new(need("TOMBOLO_BIN")?);
        command
            .args(["server", "--account", ACCOUNT, "--region", REGION])
            .args(["--api", &api.to_string()])
            .args(["--xds", &free_port().to_string()])
            .args(["--health-check-interval", "1", "--credentials"])
            .arg(credentials);
        let program = Program::start(&mut command, &directory.path().join("log"));
        let mut server = Self {
            api,
            directory,
            program,
        };
        until("the server listens", || {
            if let Some(status) = server.program.ended() {
                panic!("the server ended with {status}: {}", server.program.log());
            }
            Connection::open(api).ok()
        });
        Some(server)
    }

    /// The environment of a client that has the key.
    pub(crate) fn environment(&self, command: &mut Command) {
        Aws::new(self.api, self.directory.path()).environment(command);
        command
            .env("AWS_ACCESS_KEY_ID", "DRIVER")
            .env("AWS_SECRET_ACCESS_KEY", "driver/secret+key")
            .env("AWS_SESSION_TOKEN", "the/session+token==");
    }
}
