//! The node of a cluster: a network namespace on the bridge, and a mount namespace with folders of its own, in which
//! containerd, the kubelet and kube-proxy run.

use super::{
    cgroup,
    client::Client,
    component::until,
    machine, network,
    network::{Cluster, MACHINE},
    pki::Pki,
    registry,
    serve::Shared,
};
use crate::process::Result;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::Command;

/// Places that a node has for itself: nothing that it writes there is left on the machine.
pub(super) const PRIVATE: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// What the kubelet wants to be set for the whole machine (`setupKernelTunables` in its container manager). A node has
/// files with these values in the place of the machine's, so that nothing is changed.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The address of containerd, inside of a node.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the node of a cluster, and waits until it is ready and pods can be made.
pub(super) async fn start(
    shared: &Shared,
    cluster: Cluster,
    pki: &Pki,
    client: &Client,
) -> Result<()> {
    let folder = shared.folder(cluster).join("node");
    let node = Node::create(shared, cluster, &folder).await?;
    network::join(cluster, shared.clusters, node.pid)?;
    node.start_containerd(shared, cluster, &folder)?;
    until(&format!("{cluster}: containerd"), PATIENCE, async || {
        let socket = folder
            .join("private")
            .join(CONTAINERD.trim_start_matches('/'));
        socket.exists().then_some(())
    })
    .await?;
    node.start_kubelet(shared, cluster, pki, &folder)?;
    node.start_proxy(shared, cluster, pki, &folder)?;
    let path = format!("/api/v1/nodes/{}", cluster.node_name());
    until(
        &format!("{cluster}: the node is ready"),
        PATIENCE,
        async || is_ready(&client.get(&path).await.ok()?).then_some(()),
    )
    .await?;
    // A pod is refused until its service account is there.
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    until(
        &format!("{cluster}: the first service account"),
        PATIENCE,
        async || client.answers(account).await.then_some(()),
    )
    .await
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        let mut ready = conditions
            .iter()
            .filter(|condition| condition["type"] == "Ready");
        ready.any(|condition| condition["status"] == "True")
    })
}

/// The namespaces of a node.
struct Node {
    /// The process that holds them.
    pid: u32,
}

impl Node {
    /// Makes the namespaces, with the node's own folders in place.
    async fn create(shared: &Shared, cluster: Cluster, folder: &Path) -> Result<Self> {
        cgroup::create(cluster)?;
        let mut script = String::from("set -e\n");
        for place in PRIVATE {
            let own = folder.join("private").join(place.trim_start_matches('/'));
            create_folder(&own)?;
            script += &format!("mount --bind {} {place}\n", quoted(&own));
        }
        for (name, value) in SYSCTLS {
            let own = folder.join("sysctl").join(name);
            write(&own, &format!("{value}\n"))?;
            let place = format!("/proc/sys/{name}");
            if Path::new(&place).exists() {
                script += &format!("mount --bind {} {place}\n", quoted(&own));
            }
        }
        let made = folder.join("made");
        // Volumes that the kubelet mounts reach containers, which have mount namespaces of their own.
        script += "mount --make-rshared /\n";
        script += &format!(": > {}\nexec sleep infinity\n", quoted(&made));
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--propagation", "private"])
            .args(["sh", "-c", &script]);
        let pid = shared
            .components
            .start(&format!("{cluster}-node"), command)?;
        until(
            &format!("{cluster}: the node's namespaces"),
            PATIENCE,
            async || made.exists().then_some(()),
        )
        .await?;
        Ok(Self { pid })
    }

    /// A command that runs in the namespaces.
    fn enter(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid.to_string(), "--net", "--mount"])
            .arg(program);
        command
    }

    fn start_containerd(&self, shared: &Shared, cluster: Cluster, folder: &Path) -> Result<()> {
        let mirror = format!("http://{MACHINE}:{}", registry::PORT);
        write(
            &folder.join("registries/_default/hosts.toml"),
            &format!(
                "server = \"{mirror}\"\n[host.\"{mirror}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
            ),
        )?;
        let plugins = json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    // Each pod is routed, none is bridged: packets of a Service between two pods of one node pass the
                    // node's packet filter without br_netfilter.
                    "type": "ptp",
                    "ipMasq": false,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{ "subnet": cluster.node_pods() }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        });
        write(&folder.join("cni/pods.conflist"), &plugins.to_string())?;
        let config = folder.join("containerd.toml");
        write(&config, &containerd_config(folder))?;
        let mut containerd = self.enter(Path::new("containerd"));
        containerd.arg("--config").arg(&config);
        shared
            .components
            .start(&format!("{cluster}-containerd"), containerd)?;
        Ok(())
    }

    fn start_kubelet(
        &self,
        shared: &Shared,
        cluster: Cluster,
        pki: &Pki,
        folder: &Path,
    ) -> Result<()> {
        let resolver = folder.join("resolv.conf");
        // Nobody answers there: names that the cluster's DNS does not know do not leave the machine.
        write(&resolver, &format!("nameserver {MACHINE}\n"))?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": pki.path("ca.crt") },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": pki.path("node.crt"),
            "tlsPrivateKeyFile": pki.path("node.key"),
            "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup::path(cluster),
            "failCgroupV1": false,
            "failSwapOn": false,
            "clusterDomain": "cluster.local",
            "clusterDNS": [cluster.dns().to_string()],
            "resolvConf": resolver,
            "address": cluster.node().to_string(),
            "healthzBindAddress": "127.0.0.1",
            // The machine's disk may be nearly full for reasons that are not the cluster's.
            "evictionHard": { "memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "imageMinimumGCAge": "24h",
            "volumePluginDir": folder.join("volume-plugins"),
        });
        let path = folder.join("kubelet.json");
        write(&path, &config.to_string())?;
        let mut kubelet = self.enter(&shared.programs.kube());
        kubelet
            .arg("kubelet")
            .arg("--config")
            .arg(&path)
            .arg("--kubeconfig")
            .arg(pki.kubeconfig("node"))
            .arg(format!("--hostname-override={}", cluster.node_name()))
            .arg(format!("--node-ip={}", cluster.node()));
        shared
            .components
            .start(&format!("{cluster}-kubelet"), kubelet)?;
        Ok(())
    }

    fn start_proxy(
        &self,
        shared: &Shared,
        cluster: Cluster,
        pki: &Pki,
        folder: &Path,
    ) -> Result<()> {
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": { "kubeconfig": pki.kubeconfig("proxy") },
            "clusterCIDR": cluster.pods(),
            "hostnameOverride": cluster.node_name(),
            "bindAddress": "0.0.0.0",
            "nodePortAddresses": ["primary"],
            // Left as it is: some of it belongs to the whole machine.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        });
        let path = folder.join("kube-proxy.json");
        write(&path, &config.to_string())?;
        let mut proxy = self.enter(&shared.programs.kube());
        proxy.arg("kube-proxy").arg("--config").arg(&path);
        shared
            .components
            .start(&format!("{cluster}-kube-proxy"), proxy)?;
        Ok(())
    }
}

fn containerd_config(folder: &Path) -> String {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let unused = [
        "snapshotter.v1.aufs",
        "snapshotter.v1.btrfs",
        "snapshotter.v1.devmapper",
        "snapshotter.v1.zfs",
        "internal.v1.opt",
        "internal.v1.tracing",
        "tracing.processor.v1.otlp",
    ];
    let unused = unused.map(|plugin| format!("{:?}", format!("io.containerd.{plugin}")));
    format!(
        r#"version = 2
root = {root}
disabled_plugins = [{unused}]
[grpc]
  address = {CONTAINERD:?}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause:1"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE a lower score than that of containerd itself is refused.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {registries}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins:?}
    conf_dir = {cni}
"#,
        root = path("containerd"),
        unused = unused.join(", "),
        registries = path("registries"),
        plugins = machine::CNI_PLUGINS,
        cni = path("cni"),
    )
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn create_folder(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_owned())
}

/// Writes a file, and makes the folders that it is in.
fn write(path: &Path, text: &str) -> Result<()> {
    create_folder(path.parent().expect("a file is in a folder"))?;
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_its_condition_says_so() {
        let node = |status: &str| {
            json!({ "status": { "conditions": [
                { "type": "MemoryPressure", "status": "False" },
                { "type": "Ready", "status": status },
            ]}})
        };
        assert!(is_ready(&node("True")));
        assert!(!is_ready(&node("False")));
        assert!(!is_ready(&json!({})));
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
