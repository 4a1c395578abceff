//! The DNS of a cluster: CoreDNS, which forwards the zones of Cloud Map to a server that tests run.

use super::{client::Client, clusters, network::Cluster, programs::Programs, serve};
use crate::{digest, process::Result};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Where a server answers for a zone, by the zone's name.
pub(super) type Zones = BTreeMap<String, SocketAddr>;

/// The names of load balancers, as in `/etc/hosts`.
pub(super) fn hosts_file(directory: &Path) -> PathBuf {
    directory.join("names/hosts")
}

/// The zones that are forwarded now.
pub(super) fn zones(directory: &Path) -> Result<Zones> {
    let path = zones_file(directory);
    let Ok(text) = fs::read_to_string(&path) else {
        return Ok(Zones::new());
    };
    let mut zones = Zones::new();
    for line in text.lines() {
        let (zone, server) = parse(line).map_err(|error| format!("{}: {error}", path.display()))?;
        zones.insert(zone, server);
    }
    Ok(zones)
}

/// Keeps which zones are forwarded.
pub(super) fn keep_zones(directory: &Path, zones: &Zones) -> Result<()> {
    let path = zones_file(directory);
    let lines = zones
        .iter()
        .map(|(zone, server)| format!("{zone}={server}\n"));
    fs::write(&path, lines.collect::<String>())
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads `ZONE=ADDRESS:PORT`.
pub(super) fn parse(text: &str) -> std::result::Result<(String, SocketAddr), String> {
    let (zone, server) = text
        .split_once('=')
        .ok_or("a zone and its server, as in pvt.local=10.200.0.1:53")?;
    let zone = zone.trim_end_matches('.');
    let is_label = |label: &str| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        !label.is_empty() && label.len() <= 63 && label.chars().all(is_letter)
    };
    if zone.len() > 253 || !zone.split('.').all(is_label) {
        return Err(format!("{zone:?} is no zone"));
    }
    let server = server
        .parse()
        .map_err(|_| format!("{server:?} is no address with a port"))?;
    Ok((zone.to_owned(), server))
}

/// Starts CoreDNS or changes what it forwards, and waits until it answers so.
pub(super) async fn apply(
    client: &Client,
    cluster: Cluster,
    directory: &Path,
    zones: &Zones,
) -> Result<()> {
    client.apply(&manifest(cluster, directory, zones)).await?;
    client.rolled_out("kube-system", "coredns").await
}

/// Changes what the DNS of all clusters forwards, and waits until all of them answer so.
pub(super) fn forward(
    directory: &Path,
    added: impl IntoIterator<Item = (String, SocketAddr)>,
    forget: &[String],
) -> Result<()> {
    let mut zones = self::zones(directory)?;
    zones.retain(|zone, _| !forget.iter().any(|name| name.trim_end_matches('.') == zone));
    zones.extend(added);
    let programs = Programs::fetch()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    for cluster in clusters(directory) {
        let client = Client::new(&programs, &serve::kubeconfig(directory, cluster), directory);
        runtime.block_on(apply(&client, cluster, directory, &zones))?;
    }
    keep_zones(directory, &zones)
}

fn zones_file(directory: &Path) -> PathBuf {
    directory.join("zones")
}

fn corefile(zones: &Zones) -> String {
    let mut text = String::from(
        ".:53 {
    errors
    health {
        lameduck 1s
    }
    ready
    cache 5
    hosts /names/hosts {
        reload 500ms
        ttl 1
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
}
",
    );
    for (zone, server) in zones {
        // What Cloud Map says changes at any time: nothing of it is kept.
        text += &format!("{zone}:53 {{\n    errors\n    forward . {server}\n}}\n");
    }
    text
}

fn manifest(cluster: Cluster, directory: &Path, zones: &Zones) -> Value {
    let namespace = "kube-system";
    let meta = |name: &str| json!({ "name": name, "namespace": namespace });
    let corefile = corefile(zones);
    let labels = json!({ "k8s-app": "kube-dns" });
    let ports = |key: &str| {
        [("dns", "UDP"), ("dns-tcp", "TCP")]
            .map(|(name, protocol)| json!({ "name": name, key: 53, "protocol": protocol }))
    };
    let names = hosts_file(directory);
    let names = names.parent().expect("a file is in a folder");
    let list = |resources: &[&str], group: &str| json!({ "apiGroups": [group], "resources": resources, "verbs": ["list", "watch"] });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("coredns") },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "coredns" },
            "rules": [
                list(&["services", "pods", "namespaces"], ""),
                list(&["endpointslices"], "discovery.k8s.io"),
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "coredns" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns" },
            "subjects": [{ "kind": "ServiceAccount", "name": "coredns", "namespace": namespace }],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta("coredns"),
            "data": { "Corefile": corefile },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta("coredns"),
            "spec": {
                "selector": { "matchLabels": labels },
                // The one before answers until the next is ready.
                "strategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
                "template": {
                    "metadata": {
                        "labels": labels,
                        // Another Corefile makes other pods: CoreDNS here does not read its file again.
                        "annotations": { "tombolo.test/corefile": digest::sha256(corefile.as_bytes()) },
                    },
                    "spec": {
                        "serviceAccountName": "coredns",
                        "dnsPolicy": "Default",
                        "terminationGracePeriodSeconds": 5,
                        "containers": [{
                            "name": "coredns",
                            "image": "coredns:1",
                            "args": ["-conf", "/etc/coredns/Corefile"],
                            "ports": ports("containerPort"),
                            "readinessProbe": {
                                "httpGet": { "path": "/ready", "port": 8181 },
                                "periodSeconds": 1,
                            },
                            "volumeMounts": [
                                { "name": "corefile", "mountPath": "/etc/coredns", "readOnly": true },
                                { "name": "names", "mountPath": "/names", "readOnly": true },
                            ],
                        }],
                        "volumes": [
                            { "name": "corefile", "configMap": { "name": "coredns" } },
                            { "name": "names", "hostPath": { "path": names } },
                        ],
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta("kube-dns"),
            "spec": {
                "clusterIP": cluster.dns().to_string(),
                "selector": labels,
                "ports": ports("port"),
            },
        },
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_read_or_refused_with_what_is_wrong() {
        let zone = parse("pvt.local.=10.200.0.1:5353").expect("it is one");
        assert_eq!(zone.0, "pvt.local");
        assert_eq!(zone.1.port(), 5353);
        for (text, why) in [
            ("pvt.local", "as in"),
            ("pvt local=10.200.0.1:53", "no zone"),
            ("pvt.local {=10.200.0.1:53", "no zone"),
            ("=10.200.0.1:53", "no zone"),
            ("pvt.local=10.200.0.1", "no address with a port"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn zones_are_read_as_they_are_kept() {
        let folder = tempfile::tempdir().expect("there is room");
        assert_eq!(zones(folder.path()), Ok(Zones::new()));
        let kept = Zones::from([parse("pvt.local=10.200.0.1:53").expect("it is one")]);
        keep_zones(folder.path(), &kept).expect("there is room");
        assert_eq!(zones(folder.path()), Ok(kept.clone()));
        assert!(
            corefile(&kept).contains("pvt.local:53 {\n    errors\n    forward . 10.200.0.1:53\n}")
        );
    }
}
