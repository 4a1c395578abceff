//! The Helm charts, with Helm and the API server of a cluster.

mod install;
mod repository;

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use tombolo_tests::{need, until};

/// Helm and kubectl, for a cluster.
pub(crate) struct Tools {
    directory: PathBuf,
    /// Which of the clusters.
    cluster: &'static str,
    /// Helm's own files.
    home: TempDir,
}

impl Tools {
    /// `None`, with a word about it, when there is no cluster.
    pub(crate) fn find() -> Option<Self> {
        Self::of("b")
    }

    /// Of the cluster `a` or `b`. In `b` other tests have webhooks.
    pub(crate) fn of(cluster: &'static str) -> Option<Self> {
        Some(Self {
            cluster,
            directory: need("TOMBOLO_KUBERNETES")?,
            home: tempfile::tempdir().expect("a directory to write to"),
        })
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.directory.join("bin").join(program));
        command
            .args(words)
            .env(
                "KUBECONFIG",
                self.directory.join(self.cluster).join("kubeconfig"),
            )
            .env("HELM_CACHE_HOME", self.home.path().join("cache"))
            .env("HELM_CONFIG_HOME", self.home.path().join("config"))
            .env("HELM_DATA_HOME", self.home.path().join("data"));
        command
    }

    /// What Helm prints, or what it says where it fails.
    pub(crate) fn try_helm(&self, words: &[&str]) -> Result<String, String> {
        told(self.command("helm", words))
    }

    /// What Helm prints.
    #[track_caller]
    pub(crate) fn helm(&self, words: &[&str]) -> String {
        let told = self.try_helm(words);
        told.unwrap_or_else(|error| panic!("helm {}: {error}", words.join(" ")))
    }

    /// What kubectl prints, or what it says where it fails.
    pub(crate) fn try_kubectl(&self, words: &[&str]) -> Result<String, String> {
        told(self.command("kubectl", words))
    }

    /// What kubectl prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        let told = self.try_kubectl(words);
        told.unwrap_or_else(|error| panic!("kubectl {}: {error}", words.join(" ")))
    }

    /// An object of the cluster.
    #[track_caller]
    pub(crate) fn get(&self, namespace: &str, what: &str) -> Value {
        let told = self.kubectl(&["get", "-n", namespace, what, "-o", "json"]);
        serde_json::from_str(&told).expect("kubectl prints JSON")
    }

    /// Applies our CRDs, as walkthroughs do, and waits until they are served.
    #[track_caller]
    pub(crate) fn apply_definitions(&self) {
        let folder = chart("appmesh-controller") + "/crds";
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &folder]);
        let served = "--for=condition=Established";
        for kind in ["meshes", "virtualnodes", "virtualservices"] {
            let name = format!("crd/{kind}.appmesh.k8s.aws");
            self.kubectl(&["wait", served, "--timeout=60s", &name]);
        }
        until("the kinds are served", || {
            self.try_kubectl(&["get", "meshes.v1beta2.appmesh.k8s.aws"])
                .ok()
        });
    }

    /// A file of this test.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the directory"))
            .and_then(|()| std::fs::write(&path, content))
            .expect("a directory to write to");
        path
    }
}

fn told(mut command: Command) -> Result<String, String> {
    let output = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stdout) + &text(&output.stderr)),
    }
}

/// A chart of ours.
pub(crate) fn chart(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm");
    folder.join(name).display().to_string()
}
