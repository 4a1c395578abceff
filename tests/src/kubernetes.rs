//! Clusters of Kubernetes, driven by kubectl. Each test has namespaces of its own, which go with their handles.

use crate::until;
use serde_json::Value;
use std::{
    io::Write,
    net::IpAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
};
pub use tombolo_need::{Cluster, Kubernetes, kubernetes};

/// How long pods may take, as kubectl writes it.
const PATIENCE: &str = "--timeout=120s";

/// A namespace of a cluster. Dropping it deletes it with everything in it.
#[derive(Debug)]
pub struct Namespace {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    name: String,
}

impl Namespace {
    /// Creates a namespace for a test, by the test's name.
    pub fn create(kubernetes: &Kubernetes, cluster: &Cluster, test: &str) -> Self {
        let namespace = Self {
            kubectl: kubernetes.kubectl(),
            kubeconfig: cluster.kubeconfig().to_owned(),
            // One of an earlier run may still be on its way out.
            name: format!("{test}-{}", std::process::id()),
        };
        namespace.run(&["create", "namespace", &namespace.name]);
        // A pod is refused until this is there.
        until("a service account", || {
            namespace
                .attempt(&["get", "serviceaccount", "default"])
                .ok()
        });
        namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl, for this namespace.
    pub fn kubectl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .args(["--namespace", &self.name])
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.kubeconfig.with_file_name("cache"))
            .stdin(Stdio::null());
        command
    }

    /// What kubectl prints.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        self.attempt(words)
            .unwrap_or_else(|error| panic!("kubectl {}: {error}", words.join(" ")))
    }

    /// What kubectl prints, or what it says where it fails.
    pub fn attempt(&self, words: &[&str]) -> Result<String, String> {
        told(self.kubectl(words).output().expect("kubectl starts"))
    }

    /// An object.
    #[track_caller]
    pub fn get(&self, what: &str) -> Value {
        let told = self.run(&["get", what, "--output", "json"]);
        serde_json::from_str(&told).expect("kubectl prints JSON")
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        let mut command = self.kubectl(&["apply", "-f", "-"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(manifest.as_bytes()).expect("kubectl reads");
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        told(output).unwrap_or_else(|error| panic!("{error}\n{manifest}"));
    }

    /// Applies a pod with one container, and waits until it is ready.
    #[track_caller]
    pub fn pod(&self, name: &str, image: &str, command: &[&str]) -> Pod<'_> {
        let command = serde_json::to_string(command).expect("words are JSON");
        self.apply(&format!(
            "
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, labels: {{ app: {name} }} }}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{ name: app, image: {image}, command: {command} }}]
"
        ));
        self.wait(&format!("pod/{name}"), "Ready");
        let pod = self.get(&format!("pod/{name}"));
        let address = pod["status"]["podIP"]
            .as_str()
            .expect("a ready pod has an address");
        Pod {
            namespace: self,
            name: name.to_owned(),
            address: address.parse().expect("it is one"),
        }
    }

    /// Waits until a condition of an object is true.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: &str) {
        let condition = format!("--for=condition={condition}");
        if let Err(error) = self.attempt(&["wait", &condition, PATIENCE, what]) {
            let events = self.attempt(&["get", "events"]).unwrap_or_default();
            panic!("{error}\n{events}");
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It is deleted with the clusters if not now.
        let _ = self.attempt(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// A pod that has been ready.
#[derive(Debug)]
pub struct Pod<'a> {
    namespace: &'a Namespace,
    name: String,
    /// The IP address.
    pub address: IpAddr,
}

impl Pod<'_> {
    /// What a program prints that runs in it, or what it says where it fails.
    pub fn exec(&self, words: &[&str]) -> Result<String, String> {
        let mut all = vec!["exec", self.name.as_str(), "--"];
        all.extend(words);
        self.namespace.attempt(&all)
    }

    /// What its container has printed.
    #[track_caller]
    pub fn logs(&self) -> String {
        self.namespace.run(&["logs", &self.name])
    }
}

fn told(output: Output) -> Result<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(format!("{}: {}", output.status, text(output.stderr).trim()))
    }
}
