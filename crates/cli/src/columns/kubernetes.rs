//! Columns of Kubernetes objects, as in `kubectl get`.
//!
//! The order of columns is stable: scripts of public walkthroughs take the ARN of a mesh object as the second word of
//! the second line.

use super::Column;
use crate::{age::since, backend::Object, json};
use serde_json::Value;
use tombolo_kube::crd;
use tombolo_local::control_socket::{PodView, pod_of_document};

const NAME: Column = Column::at("NAME", "/metadata/name");
const AGE: Column = Column::age("/metadata/creationTimestamp");
const CONTAINERS: Column = Column::computed("CONTAINERS", |it| of_containers(it, "/name")).wide();
const IMAGES: Column = Column::computed("IMAGES", |it| of_containers(it, "/image")).wide();

const NAMESPACES: &[Column] = &[
    NAME,
    Column::computed("STATUS", |it| it.text_or("/status/phase", "Active")),
    AGE,
];

const PODS: &[Column] = &[
    NAME,
    Column::computed("READY", |it| {
        let pod = pod(it);
        format!("{}/{}", pod.ready, pod.containers)
    }),
    Column::computed("STATUS", |it| pod(it).status),
    Column::computed("RESTARTS", restarts),
    AGE,
    Column::at("IP", "/status/podIP").wide(),
    Column::computed("NODE", |it| it.text_or("/spec/nodeName", &it.cluster)).wide(),
    Column::at("NOMINATED NODE", "/status/nominatedNodeName").wide(),
    Column::computed("READINESS GATES", readiness_gates).wide(),
];

const DEPLOYMENTS: &[Column] = &[
    NAME,
    Column::computed("READY", |it| {
        let ready = it.text_or("/status/readyReplicas", "0");
        format!("{ready}/{}", it.text_or("/spec/replicas", "1"))
    }),
    Column::computed("UP-TO-DATE", |it| {
        it.text_or("/status/updatedReplicas", "0")
    }),
    Column::computed("AVAILABLE", |it| {
        it.text_or("/status/availableReplicas", "0")
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    POD_LABELS,
];

const REPLICA_SETS: &[Column] = &[
    NAME,
    Column::computed("DESIRED", |it| it.text_or("/spec/replicas", "1")),
    Column::computed("CURRENT", |it| it.text_or("/status/replicas", "0")),
    Column::computed("READY", |it| it.text_or("/status/readyReplicas", "0")),
    AGE,
    CONTAINERS,
    IMAGES,
    POD_LABELS,
];

/// The labels that select the pods of a Deployment or a ReplicaSet.
const POD_LABELS: Column = Column::computed("SELECTOR", |it| {
    json::pairs(&it.document, "/spec/selector/matchLabels")
})
.wide();

const SERVICES: &[Column] = &[
    NAME,
    Column::computed("TYPE", service_type),
    Column::at("CLUSTER-IP", "/spec/clusterIP"),
    Column::computed("EXTERNAL-IP", external_ip),
    Column::computed("PORT(S)", ports),
    AGE,
    Column::computed("SELECTOR", |it| json::pairs(&it.document, "/spec/selector")).wide(),
];

const CONFIG_MAPS: &[Column] = &[
    NAME,
    Column::computed("DATA", |it| {
        (members(it, "/data") + members(it, "/binaryData")).to_string()
    }),
    AGE,
];

const SECRETS: &[Column] = &[
    NAME,
    Column::computed("TYPE", |it| it.text_or("/type", "Opaque")),
    Column::computed("DATA", |it| members(it, "/data").to_string()),
    AGE,
];

const MESH_OBJECTS: &[Column] = &[NAME, Column::computed("ARN", arn), AGE];
/// A backend group has no resource in the App Mesh API.
const BACKEND_GROUPS: &[Column] = &[NAME, AGE];

/// The columns of a kind after the namespace; `None` for unknown kinds.
pub(crate) fn of(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Namespace" => NAMESPACES,
        "Pod" => PODS,
        "Deployment" => DEPLOYMENTS,
        "ReplicaSet" => REPLICA_SETS,
        "Service" => SERVICES,
        "ConfigMap" => CONFIG_MAPS,
        "Secret" => SECRETS,
        "BackendGroup" => BACKEND_GROUPS,
        other if crd::Kind::ALL.iter().any(|it| it.name() == other) => MESH_OBJECTS,
        _ => return None,
    })
}

/// The field of the status that ends in `ARN` (`meshARN`, `virtualNodeARN` …).
fn arn(it: &Object) -> String {
    let status = it.document["status"].as_object().into_iter().flatten();
    let mut arns = status.filter(|(field, _)| field.ends_with("ARN"));
    arns.next()
        .map(|(_, arn)| json::scalar(arn))
        .unwrap_or_default()
}

fn pod(it: &Object) -> PodView {
    pod_of_document(&it.cluster, &it.document).unwrap_or_default()
}

/// `2 (35s ago)`: the number of restarts, and the time since the last container ended.
fn restarts(it: &Object) -> String {
    let statuses = json::items(&it.document, "/status/containerStatuses").iter();
    let count: u64 = statuses
        .clone()
        .filter_map(|status| status["restartCount"].as_u64())
        .sum();
    let ended = statuses.map(|status| json::text(status, "/lastState/terminated/finishedAt"));
    match ended.max().and_then(|time| since(&time)) {
        Some(ended) if count > 0 => format!("{count} ({ended} ago)"),
        _ => count.to_string(),
    }
}

/// `1/1`: the number of satisfied readiness gates of a pod; empty without gates.
fn readiness_gates(it: &Object) -> String {
    let gates = json::items(&it.document, "/spec/readinessGates");
    let conditions = json::items(&it.document, "/status/conditions");
    let is_open = |gate: &&Value| {
        conditions.iter().any(|condition| {
            condition["type"] == gate["conditionType"] && condition["status"] == "True"
        })
    };
    match gates.len() {
        0 => String::new(),
        all => format!("{}/{all}", gates.iter().filter(is_open).count()),
    }
}

/// A field of the containers in the pod template of a Deployment or a ReplicaSet.
fn of_containers(it: &Object, pointer: &str) -> String {
    json::each(&it.document, "/spec/template/spec/containers", pointer)
}

fn service_type(it: &Object) -> String {
    it.text_or("/spec/type", "ClusterIP")
}

fn external_ip(it: &Object) -> String {
    let ingress = json::items(&it.document, "/status/loadBalancer/ingress");
    match service_type(it).as_str() {
        "LoadBalancer" if ingress.is_empty() => "<pending>".into(),
        "LoadBalancer" => ingress.iter().map(addresses).collect::<Vec<_>>().join(","),
        "ExternalName" => it.text_or("/spec/externalName", ""),
        _ => String::new(),
    }
}

/// `127.0.0.1:31646`: on one machine the port of a load balancer is part of its address.
fn addresses(ingress: &Value) -> String {
    let host = json::text_or(ingress, "/ip", &json::text(ingress, "/hostname"));
    let ports = json::items(ingress, "/ports").iter();
    let ports: Vec<String> = ports
        .filter_map(|port| Some(format!("{host}:{}", port["port"].as_u64()?)))
        .collect();
    if ports.is_empty() {
        host
    } else {
        ports.join(",")
    }
}

/// `80/TCP,443:31443/TCP`: ports with their node ports.
fn ports(it: &Object) -> String {
    let ports = json::items(&it.document, "/spec/ports").iter();
    let ports: Vec<String> = ports
        .map(|port| {
            let node_port = match port["nodePort"].as_u64() {
                Some(node_port) if node_port > 0 => format!(":{node_port}"),
                _ => String::new(),
            };
            let protocol = json::text_or(port, "/protocol", "TCP");
            format!("{}{node_port}/{protocol}", port["port"])
        })
        .collect();
    ports.join(",")
}

/// The number of members of the map at a pointer.
fn members(it: &Object, pointer: &str) -> usize {
    let members = it.document.pointer(pointer).and_then(Value::as_object);
    members.map_or(0, serde_json::Map::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cells(kind: &str, document: Value) -> Vec<String> {
        let columns = of(kind).expect("a kind that is listed");
        let object = Object {
            kind: kind.into(),
            document,
            ..Object::default()
        };
        columns.iter().map(|column| column.cell(&object)).collect()
    }

    #[test]
    fn a_pod_that_waits_says_why() {
        let container = |ready: bool, restarts: u32, state: Value| {
            json!({"name": "c", "image": "", "imageID": "", "ready": ready, "restartCount": restarts,
                "state": state})
        };
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": "Running", "containerStatuses": [
                container(true, 1, json!({"running": {}})),
                container(false, 2, json!({"waiting": {"reason": "CrashLoopBackOff"}})),
            ]},
        });
        assert_eq!(
            cells("Pod", pod)[1..4],
            ["1/2", "CrashLoopBackOff", "3"].map(str::to_owned)
        );
    }

    #[test]
    fn restarts_say_when_the_last_one_was() {
        let statuses = json!({"status": {"containerStatuses": [
            {"restartCount": 2, "lastState": {"terminated": {"finishedAt": "2001-01-01T00:00:00Z"}}},
            {"restartCount": 1},
        ]}});
        let text = &cells("Pod", statuses)[3];
        assert!(
            text.starts_with("3 (") && text.ends_with("y ago)"),
            "{text}"
        );
        assert_eq!(cells("Pod", json!({}))[3], "0");
    }

    #[test]
    fn readiness_gates_are_counted_as_kubectl_counts_them() {
        let mut pod = json!({
            "spec": {"readinessGates": [{"conditionType": "mesh/ready"}]},
            "status": {"conditions": [{"type": "mesh/ready", "status": "False"}]},
        });
        let gates = |pod: &Value| cells("Pod", pod.clone())[8].clone();
        assert_eq!(gates(&pod), "0/1");
        pod["status"]["conditions"][0]["status"] = "True".into();
        assert_eq!(gates(&pod), "1/1");
        pod["spec"]["readinessGates"] = json!([]);
        assert_eq!(gates(&pod), "");
    }

    #[test]
    fn the_arn_is_the_second_cell_of_mesh_objects() {
        let node = json!({"metadata": {"name": "n"}, "status": {"virtualNodeARN": "arn:x"}});
        assert_eq!(
            cells("VirtualNode", node)[..2],
            ["n", "arn:x"].map(str::to_owned)
        );
    }

    #[test]
    fn ports_of_a_service_show_their_node_ports() {
        let service = json!({
            "spec": {"ports": [{"port": 80, "nodePort": 31080}, {"port": 53, "protocol": "UDP"}]},
        });
        assert_eq!(cells("Service", service)[4], "80:31080/TCP,53/UDP");
    }
}
