//! The control plane of a cluster: etcd, the API server, the controller manager, the scheduler.
//!
//! They run in the machine's own network namespace, so that a webhook that listens on loopback, in a test, is reached.

use super::{client::Client, component::until, network::Cluster, pki::Pki, serve::Shared};
use crate::process::Result;
use std::time::Duration;
use tokio::process::Command;

/// How long the API server may take to answer: it waits for etcd and makes its first objects.
const PATIENCE: Duration = Duration::from_secs(180);

/// Starts it, and waits until the API server answers.
pub(super) async fn start(shared: &Shared, cluster: Cluster, pki: &Pki) -> Result<Client> {
    start_etcd(shared, cluster, pki)?;
    start_api_server(shared, cluster, pki)?;
    let client = shared.client(cluster);
    // Before etcd answers, the API server ends and says why; it is asked only once it listens.
    until(
        &format!("{cluster}: the API server"),
        PATIENCE,
        async || {
            let listens = tokio::net::TcpStream::connect((cluster.control_plane(), 6443)).await;
            (listens.is_ok() && client.answers("/readyz").await).then_some(())
        },
    )
    .await?;
    start_controllers(shared, cluster, pki)?;
    Ok(client)
}

fn start_etcd(shared: &Shared, cluster: Cluster, pki: &Pki) -> Result<()> {
    let address = cluster.control_plane();
    let (clients, peers) = (
        format!("https://{address}:2379"),
        format!("http://{address}:2380"),
    );
    let mut etcd = shared.kube("etcd");
    etcd.args(["--name", "etcd", "--log-level", "warn"])
        .arg("--data-dir")
        .arg(shared.folder(cluster).join("etcd"))
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("etcd={peers}")])
        .arg("--client-cert-auth")
        .args(["--trusted-ca-file", &pki.path("ca.crt")])
        .args(["--cert-file", &pki.path("etcd.crt")])
        .args(["--key-file", &pki.path("etcd.key")])
        // Its state ends with the cluster.
        .arg("--unsafe-no-fsync");
    shared.components.start(&format!("{cluster}-etcd"), etcd)?;
    Ok(())
}

fn start_api_server(shared: &Shared, cluster: Cluster, pki: &Pki) -> Result<()> {
    let address = cluster.control_plane();
    let mut server = shared.kube("kube-apiserver");
    options(
        &mut server,
        &[
            ("etcd-servers", &format!("https://{address}:2379")),
            ("etcd-cafile", &pki.path("ca.crt")),
            ("etcd-certfile", &pki.path("apiserver.crt")),
            ("etcd-keyfile", &pki.path("apiserver.key")),
            ("bind-address", &address.to_string()),
            ("advertise-address", &address.to_string()),
            ("secure-port", "6443"),
            ("service-cluster-ip-range", &cluster.services()),
            ("client-ca-file", &pki.path("ca.crt")),
            ("tls-cert-file", &pki.path("apiserver.crt")),
            ("tls-private-key-file", &pki.path("apiserver.key")),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local",
            ),
            ("service-account-key-file", &pki.path("service-account.pub")),
            (
                "service-account-signing-key-file",
                &pki.path("service-account.key"),
            ),
            ("kubelet-client-certificate", &pki.path("admin.crt")),
            ("kubelet-client-key", &pki.path("admin.key")),
            ("kubelet-certificate-authority", &pki.path("ca.crt")),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("authorization-mode", "Node,RBAC"),
            ("enable-admission-plugins", "NodeRestriction"),
            ("allow-privileged", "true"),
            ("endpoint-reconciler-type", "lease"),
            ("profiling", "false"),
        ],
    );
    shared
        .components
        .start(&format!("{cluster}-kube-apiserver"), server)?;
    Ok(())
}

fn start_controllers(shared: &Shared, cluster: Cluster, pki: &Pki) -> Result<()> {
    let kubeconfig = |name: &str| pki.kubeconfig(name).display().to_string();
    let address = cluster.control_plane().to_string();
    let mut manager = shared.kube("kube-controller-manager");
    options(
        &mut manager,
        &[
            ("kubeconfig", &kubeconfig("controller-manager")),
            (
                "service-account-private-key-file",
                &pki.path("service-account.key"),
            ),
            ("root-ca-file", &pki.path("ca.crt")),
            ("cluster-signing-cert-file", &pki.path("ca.crt")),
            ("cluster-signing-key-file", &pki.path("ca.key")),
            ("use-service-account-credentials", "true"),
            ("allocate-node-cidrs", "true"),
            ("cluster-cidr", &cluster.pods()),
            ("leader-elect", "false"),
            ("bind-address", &address),
            ("profiling", "false"),
        ],
    );
    shared
        .components
        .start(&format!("{cluster}-kube-controller-manager"), manager)?;
    let mut scheduler = shared.kube("kube-scheduler");
    options(
        &mut scheduler,
        &[
            ("kubeconfig", &kubeconfig("scheduler")),
            ("leader-elect", "false"),
            ("bind-address", &address),
            ("profiling", "false"),
        ],
    );
    shared
        .components
        .start(&format!("{cluster}-kube-scheduler"), scheduler)?;
    Ok(())
}

fn options(command: &mut Command, options: &[(&str, &str)]) {
    for (name, value) in options {
        command.arg(format!("--{name}={value}"));
    }
}
