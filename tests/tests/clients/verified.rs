//! A server that verifies signatures and enforces policies.

use std::{net::SocketAddr, path::Path, process::Command};
use tombolo_tests::Server;

const CREDENTIALS: &str = r#"
users:
  - name: driver
    account: "111122223333"
    policies: [AdministratorAccess]
    keys: [{ id: DRIVER, secret: driver/secret+key, session-token: the/session+token== }]
"#;

/// The server, killed with its handle.
pub(crate) struct Verified(Server);

impl Verified {
    /// Starts one; `None`, after a message, when there is no binary.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("credentials.yaml");
        std::fs::write(&file, CREDENTIALS).expect("writable");
        let arguments = ["--credentials".to_owned(), file.display().to_string()];
        Server::start_in(directory, &arguments, &[]).map(Self)
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.0.api()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.directory()
    }

    /// The environment of a client that has the key.
    pub(crate) fn environment(&self, command: &mut Command) {
        self.0.aws().environment(command);
        command
            .env("AWS_ACCESS_KEY_ID", "DRIVER")
            .env("AWS_SECRET_ACCESS_KEY", "driver/secret+key")
            .env("AWS_SESSION_TOKEN", "the/session+token==");
    }
}
