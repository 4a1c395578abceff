//! kubectl as a client of an API server.

use super::programs::Programs;
use crate::process::Result;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// A cluster, as its administrator.
#[derive(Clone, Debug)]
pub(super) struct Client {
    kube: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Client {
    /// `directory` is where kubectl may keep what it learns of API servers.
    pub(super) fn new(programs: &Programs, kubeconfig: &Path, directory: &Path) -> Self {
        Self {
            kube: programs.kube(),
            kubeconfig: kubeconfig.to_owned(),
            cache: directory.join("cache"),
        }
    }

    /// An object or a list, by its path in the API.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let told = self.run(&["get", "--raw", path], "").await?;
        serde_json::from_str(&told).map_err(|error| format!("{path}: {error}"))
    }

    /// Whether a path of the API answers well.
    pub(super) async fn answers(&self, path: &str) -> bool {
        self.run(&["get", "--raw", path], "").await.is_ok()
    }

    /// Puts an object in the place of the one that is there, by its path.
    pub(super) async fn put(&self, path: &str, object: &Value) -> Result<()> {
        let object = object.to_string();
        self.run(&["replace", "--raw", path, "-f", "-"], &object)
            .await?;
        Ok(())
    }

    /// Creates or changes the objects of a manifest.
    pub(super) async fn apply(&self, manifest: &Value) -> Result<()> {
        let manifest = manifest.to_string();
        self.run(&["apply", "-f", "-"], &manifest).await?;
        Ok(())
    }

    /// Waits until a Deployment is as it was asked for.
    pub(super) async fn rolled_out(&self, namespace: &str, name: &str) -> Result<()> {
        let deployment = format!("deployment/{name}");
        let words = [
            "rollout",
            "status",
            &deployment,
            "-n",
            namespace,
            "--timeout=120s",
        ];
        self.run(&words, "").await?;
        Ok(())
    }

    /// Events of a path of the API, one line each, on the child's standard output.
    pub(super) fn watch(&self, path: &str) -> Result<Child> {
        let mut command = self.command(&["get", "--raw", path]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| self.failed(&error))
    }

    async fn run(&self, words: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.failed(&error))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let fed = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await;
        let output = output.map_err(|error| self.failed(&error))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(format!("kubectl {}: {}", words.join(" "), told.trim()));
        }
        fed.map_err(|error| self.failed(&error))?;
        String::from_utf8(output.stdout).map_err(|error| format!("kubectl: {error}"))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.kube);
        command
            .arg("kubectl")
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}: {error}", self.kube.display())
    }
}
