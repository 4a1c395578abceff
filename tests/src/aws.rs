//! The real `aws` CLI.

use crate::{ACCOUNT, REGION, need};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// The environment of AWS clients: endpoints and invented credentials, without the user's own settings.
#[derive(Clone)]
pub struct Aws {
    variables: Vec<(String, String)>,
    program: Option<PathBuf>,
}

impl Aws {
    /// An environment for the APIs at this address; clients write their files to `home`.
    pub fn new(api: SocketAddr, home: &Path) -> Self {
        let endpoint = format!("http://{api}");
        let services = [
            "APP_MESH",
            "SERVICEDISCOVERY",
            "STS",
            "RESOURCE_GROUPS_TAGGING_API",
        ];
        let mut variables: Vec<(String, String)> = services
            .into_iter()
            .map(|service| (format!("AWS_ENDPOINT_URL_{service}"), endpoint.clone()))
            .collect();
        let more = [
            ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true"),
            ("AWS_ACCESS_KEY_ID", ACCOUNT),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_PAGER", ""),
        ];
        variables.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables.push(("HOME".to_owned(), home.display().to_string()));
        Self {
            variables,
            program: None,
        }
    }

    /// Requires the CLI; `None`, after a message, when it is not installed.
    pub fn with_cli(mut self) -> Option<Self> {
        self.program = Some(need("TOMBOLO_AWS")?);
        Some(self)
    }

    /// Sets the environment of a command.
    pub fn environment(&self, command: &mut Command) {
        // The user's own profile, proxy or certificate bundle would change the results.
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Runs the CLI; its JSON, or null when it prints nothing.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Value {
        match self.attempt(words) {
            Ok(answer) => answer,
            Err(error) => panic!("aws {}: {error}", words.join(" ")),
        }
    }

    /// Runs the CLI; the error is its output.
    pub fn attempt(&self, words: &[&str]) -> Result<Value, String> {
        let program = self.program.as_ref().expect("made by with_cli");
        let mut command = Command::new(program);
        self.environment(&mut command);
        let output = command.args(["--output", "json"]).args(words).output();
        let output = output.expect("TOMBOLO_AWS can be run");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        if output.stdout.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }
}
