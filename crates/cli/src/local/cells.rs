//! Columns and cells of Kubernetes objects, as `kubectl get` has them.
//!
//! The order of columns is a contract: scripts of public walkthroughs take the ARN of a mesh object as the
//! second word of the second line.

use super::text;
use crate::{backend::Columns, table::age};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tombolo_kube::crd;

/// Kinds by their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// Namespaces.
    Namespaces,
    /// Pods.
    Pods,
    /// Deployments.
    Deployments,
    /// Sets of pods of one revision of a deployment.
    ReplicaSets,
    /// Services.
    Services,
    /// Maps of configuration.
    ConfigMaps,
    /// Secrets.
    Secrets,
    /// Objects of one of the seven mesh kinds.
    Mesh(crd::Kind),
}

impl Listing {
    /// The columns after the namespace, and whether each is shown only when the table is wide.
    pub(super) fn columns(self) -> Columns {
        match self {
            Self::Namespaces => &[("NAME", false), ("STATUS", false), ("AGE", false)],
            Self::Pods => &[
                ("NAME", false),
                ("READY", false),
                ("STATUS", false),
                ("RESTARTS", false),
                ("AGE", false),
                ("IP", true),
                ("NODE", true),
                ("NOMINATED NODE", true),
                ("READINESS GATES", true),
            ],
            Self::Deployments => &[
                ("NAME", false),
                ("READY", false),
                ("UP-TO-DATE", false),
                ("AVAILABLE", false),
                ("AGE", false),
                ("CONTAINERS", true),
                ("IMAGES", true),
                ("SELECTOR", true),
            ],
            Self::ReplicaSets => &[
                ("NAME", false),
                ("DESIRED", false),
                ("CURRENT", false),
                ("READY", false),
                ("AGE", false),
                ("CONTAINERS", true),
                ("IMAGES", true),
                ("SELECTOR", true),
            ],
            Self::Services => &[
                ("NAME", false),
                ("TYPE", false),
                ("CLUSTER-IP", false),
                ("EXTERNAL-IP", false),
                ("PORT(S)", false),
                ("AGE", false),
                ("SELECTOR", true),
            ],
            Self::ConfigMaps => &[("NAME", false), ("DATA", false), ("AGE", false)],
            Self::Secrets => &[
                ("NAME", false),
                ("TYPE", false),
                ("DATA", false),
                ("AGE", false),
            ],
            Self::Mesh(crd::Kind::BackendGroup) => &[("NAME", false), ("AGE", false)],
            Self::Mesh(_) => &[("NAME", false), ("ARN", false), ("AGE", false)],
        }
    }

    /// Whether objects have a namespace.
    pub(super) fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespaces | Self::Mesh(crd::Kind::Mesh))
    }
}

/// The columns of a kind; none for kinds that are not listed.
pub(super) fn listing(kind: &str) -> Option<Listing> {
    Some(match kind {
        "Namespace" => Listing::Namespaces,
        "Pod" => Listing::Pods,
        "Deployment" => Listing::Deployments,
        "ReplicaSet" => Listing::ReplicaSets,
        "Service" => Listing::Services,
        "ConfigMap" => Listing::ConfigMaps,
        "Secret" => Listing::Secrets,
        other => Listing::Mesh(
            crd::Kind::ALL
                .into_iter()
                .find(|kind| kind.name() == other)?,
        ),
    })
}

/// `deployment.apps/front`, as kubectl writes names of several kinds.
pub(super) fn qualified_name(object: &Value) -> String {
    let kind = text(object, "/kind").to_ascii_lowercase();
    let version = text(object, "/apiVersion");
    let name = text(object, "/metadata/name");
    match version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// All cells of an object, those of wide tables included.
pub(super) fn cells(listing: Listing, object: &Value, cluster: &str) -> Vec<String> {
    let name = text(object, "/metadata/name");
    let age = age_of(object);
    match listing {
        Listing::Namespaces => vec![name, or(text(object, "/status/phase"), "Active"), age],
        Listing::Pods => pod(object, name, age, cluster),
        Listing::Deployments => deployment(object, name, age),
        Listing::ReplicaSets => replica_set(object, name, age),
        Listing::Services => service(object, name, age),
        Listing::ConfigMaps => {
            vec![
                name,
                (count(object, "/data") + count(object, "/binaryData")).to_string(),
                age,
            ]
        }
        Listing::Secrets => {
            let kind = or(text(object, "/type"), "Opaque");
            vec![name, kind, count(object, "/data").to_string(), age]
        }
        Listing::Mesh(crd::Kind::BackendGroup) => vec![name, age],
        Listing::Mesh(_) => vec![name, arn(object), age],
    }
}

/// The field of the status that ends in `ARN` (`meshARN`, `virtualNodeARN` …).
fn arn(object: &Value) -> String {
    let status = object.pointer("/status").and_then(Value::as_object);
    status
        .into_iter()
        .flatten()
        .find(|(key, value)| key.ends_with("ARN") && value.is_string())
        .and_then(|(_, value)| value.as_str())
        .unwrap_or_default()
        .to_owned()
}

fn pod(object: &Value, name: String, age: String, cluster: &str) -> Vec<String> {
    let statuses = items(object, "/status/containerStatuses");
    let init = items(object, "/status/initContainerStatuses");
    // Native sidecars count as containers once they have started.
    let sidecars = items(object, "/spec/initContainers")
        .iter()
        .filter(|it| is_sidecar(it));
    let containers = items(object, "/spec/containers").len() + sidecars.count();
    let is_ready = |status: &&Value| status["ready"] == true;
    let started = init
        .iter()
        .filter(|status| is_started_sidecar(object, status));
    let ready = statuses.iter().filter(is_ready).count() + started.filter(is_ready).count();
    vec![
        name,
        format!("{ready}/{containers}"),
        pod_status(object, statuses),
        restarts(statuses),
        age,
        text(object, "/status/podIP"),
        or(text(object, "/spec/nodeName"), cluster),
        text(object, "/status/nominatedNodeName"),
        readiness_gates(object),
    ]
}

/// Whether an init container goes on beside the others (a native sidecar).
fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn is_started_sidecar(pod: &Value, status: &Value) -> bool {
    let mut containers = items(pod, "/spec/initContainers").iter();
    let of_status = containers.find(|container| container["name"] == status["name"]);
    of_status.is_some_and(is_sidecar) && status["started"] == true
}

/// `2 (35s ago)`: how often containers were started again, and when the last one ended.
fn restarts(statuses: &[Value]) -> String {
    let count: u64 = statuses
        .iter()
        .filter_map(|status| status["restartCount"].as_u64())
        .sum();
    let ended = statuses
        .iter()
        .map(|status| text(status, "/lastState/terminated/finishedAt"))
        .max()
        .and_then(|time| since(&time));
    match ended {
        Some(ended) if count > 0 => format!("{count} ({ended} ago)"),
        _ => count.to_string(),
    }
}

/// `1/1`: how many of a pod's readiness gates are open; nothing where it has none.
fn readiness_gates(object: &Value) -> String {
    let gates = items(object, "/spec/readinessGates");
    let conditions = items(object, "/status/conditions");
    let open = gates.iter().filter(|gate| {
        conditions.iter().any(|condition| {
            condition["type"] == gate["conditionType"] && condition["status"] == "True"
        })
    });
    match gates.len() {
        0 => String::new(),
        all => format!("{}/{all}", open.count()),
    }
}

/// The reason why a container waits or ended says more than the phase.
fn pod_status(object: &Value, statuses: &[Value]) -> String {
    if object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|value| !value.is_null())
    {
        return "Terminating".into();
    }
    let init = items(object, "/status/initContainerStatuses");
    let reason = |status: &Value, state: &str| {
        status
            .pointer(&format!("/state/{state}/reason"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let done = |status: &Value| {
        status.pointer("/state/terminated/exitCode") == Some(&0.into())
            || is_started_sidecar(object, status)
    };
    if let Some(position) = init.iter().position(|status| !done(status)) {
        let open = &init[position];
        if let Some(reason) = reason(open, "terminated").or_else(|| reason(open, "waiting"))
            && reason != "PodInitializing"
        {
            return format!("Init:{reason}");
        }
        return format!("Init:{position}/{}", init.len());
    }
    let waits = statuses.iter().find_map(|status| reason(status, "waiting"));
    let ended = || {
        statuses
            .iter()
            .find_map(|status| reason(status, "terminated"))
    };
    waits
        .or_else(ended)
        .unwrap_or_else(|| or(text(object, "/status/phase"), "Pending"))
}

fn deployment(object: &Value, name: String, age: String) -> Vec<String> {
    let mut cells = vec![
        name,
        format!(
            "{}/{}",
            number(object, "/status/readyReplicas"),
            replicas(object)
        ),
        number(object, "/status/updatedReplicas").to_string(),
        number(object, "/status/availableReplicas").to_string(),
        age,
    ];
    cells.extend(template(object));
    cells
}

fn replica_set(object: &Value, name: String, age: String) -> Vec<String> {
    let mut cells = vec![
        name,
        replicas(object).to_string(),
        number(object, "/status/replicas").to_string(),
        number(object, "/status/readyReplicas").to_string(),
        age,
    ];
    cells.extend(template(object));
    cells
}

fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// How many pods are wanted; one where nothing is said.
fn replicas(object: &Value) -> u64 {
    object
        .pointer("/spec/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(1)
}

/// Containers, images and selector of what makes pods.
fn template(object: &Value) -> [String; 3] {
    let containers = items(object, "/spec/template/spec/containers");
    let all = |field: &str| {
        let words: Vec<String> = containers
            .iter()
            .map(|container| text(container, &format!("/{field}")))
            .collect();
        words.join(",")
    };
    [
        all("name"),
        all("image"),
        labels(object.pointer("/spec/selector/matchLabels")),
    ]
}

fn service(object: &Value, name: String, age: String) -> Vec<String> {
    let kind = or(text(object, "/spec/type"), "ClusterIP");
    let ingress = items(object, "/status/loadBalancer/ingress");
    let external = match kind.as_str() {
        "LoadBalancer" if ingress.is_empty() => "<pending>".into(),
        "LoadBalancer" => external_addresses(ingress),
        "ExternalName" => text(object, "/spec/externalName"),
        _ => String::new(),
    };
    vec![
        name,
        kind,
        text(object, "/spec/clusterIP"),
        external,
        ports(object),
        age,
        labels(object.pointer("/spec/selector")),
    ]
}

/// `80/TCP,443:31443/TCP`: ports with their node ports.
fn ports(object: &Value) -> String {
    let ports = items(object, "/spec/ports").iter();
    let ports: Vec<String> = ports
        .map(|port| {
            let node_port = match port["nodePort"].as_u64() {
                Some(node_port) if node_port > 0 => format!(":{node_port}"),
                _ => String::new(),
            };
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            format!("{}{node_port}/{protocol}", port["port"])
        })
        .collect();
    ports.join(",")
}

/// `127.0.0.1:31646`: on one machine the port of a load balancer is part of where it is.
fn external_addresses(ingress: &[Value]) -> String {
    let addresses: Vec<String> = ingress
        .iter()
        .flat_map(|entry| {
            let host = or(text(entry, "/ip"), &text(entry, "/hostname"));
            let ports: Vec<String> = items(entry, "/ports")
                .iter()
                .filter_map(|port| Some(format!("{host}:{}", port["port"].as_u64()?)))
                .collect();
            if ports.is_empty() { vec![host] } else { ports }
        })
        .collect();
    addresses.join(",")
}

/// `app=front,version=v1`; empty if there are none.
pub(super) fn labels(labels: Option<&Value>) -> String {
    let pairs = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.join(",")
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn count(object: &Value, pointer: &str) -> usize {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

fn or(value: String, otherwise: &str) -> String {
    if value.is_empty() {
        otherwise.to_owned()
    } else {
        value
    }
}

fn age_of(object: &Value) -> String {
    since(&text(object, "/metadata/creationTimestamp")).unwrap_or_else(|| "<unknown>".into())
}

/// How long ago a time as Kubernetes writes it was; `None` when it is none.
fn since(time: &str) -> Option<String> {
    let time: Timestamp = time.parse().ok()?;
    let seconds = u64::try_from(time.as_second()).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(age(now.saturating_sub(Duration::from_secs(seconds))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_that_waits_says_why() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{}, {}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"ready": true, "restartCount": 1, "state": {"running": {}}},
                {"ready": false, "restartCount": 2,
                 "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ]},
        });
        let cells = cells(Listing::Pods, &pod, "c");
        assert_eq!(&cells[1..4], ["1/2", "CrashLoopBackOff", "3"]);
    }

    #[test]
    fn a_native_sidecar_that_has_started_holds_nothing_up() {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}],
                "containers": [{"name": "app"}],
            },
            "status": {
                "phase": "Running",
                "initContainerStatuses": [
                    {"name": "init", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "side", "started": true, "ready": true, "state": {"running": {}}},
                ],
                "containerStatuses": [{"name": "app", "ready": true, "state": {"running": {}}}],
            },
        });
        let cells = |pod: &Value| super::cells(Listing::Pods, pod, "c");
        assert_eq!(cells(&pod)[1..3], ["2/2", "Running"]);
        pod["status"]["initContainerStatuses"][1]["started"] = false.into();
        assert_eq!(cells(&pod)[1..3], ["1/2", "Init:1/2"]);
    }

    #[test]
    fn restarts_say_when_the_last_one_was() {
        let statuses = [
            json!({"restartCount": 2,
                "lastState": {"terminated": {"finishedAt": "2001-01-01T00:00:00Z"}}}),
            json!({"restartCount": 1}),
        ];
        let text = restarts(&statuses);
        assert!(
            text.starts_with("3 (") && text.ends_with("y ago)"),
            "{text}"
        );
        assert_eq!(restarts(&[]), "0");
    }

    #[test]
    fn readiness_gates_are_counted_as_kubectl_counts_them() {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{}], "readinessGates": [{"conditionType": "mesh/ready"}]},
            "status": {"conditions": [{"type": "mesh/ready", "status": "False"}]},
        });
        let gates = |pod: &Value| cells(Listing::Pods, pod, "c")[8].clone();
        assert_eq!(gates(&pod), "0/1");
        pod["status"]["conditions"][0]["status"] = "True".into();
        assert_eq!(gates(&pod), "1/1");
        pod["spec"]["readinessGates"] = json!([]);
        assert_eq!(gates(&pod), "");
    }

    #[test]
    fn the_arn_is_the_second_cell_of_mesh_objects() {
        let node = json!({"metadata": {"name": "n"}, "status": {"virtualNodeARN": "arn:x"}});
        let cells = cells(Listing::Mesh(crd::Kind::VirtualNode), &node, "c");
        assert_eq!(cells[..2], ["n".to_owned(), "arn:x".to_owned()]);
    }

    #[test]
    fn ports_of_a_service_show_their_node_ports() {
        let service = json!({
            "spec": {"ports": [{"port": 80, "nodePort": 31080}, {"port": 53, "protocol": "UDP"}]},
        });
        assert_eq!(ports(&service), "80:31080/TCP,53/UDP");
    }
}
