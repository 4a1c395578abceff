//! Diagnosis of refused calls between clusters: the flows that the mesh's configuration needs, compared with closed
//! ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tombolo_controller::Desired;
use tombolo_controller::desired::Resource;
use tombolo_model::appmesh::spec::virtual_service::Provider;
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};

/// A flow that the mesh's configuration requires: a node of one cluster calls a node of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExpectedFlow {
    /// Index of the calling cluster.
    from: usize,
    /// Index of the called cluster.
    to: usize,
    /// The called port.
    port: u16,
    /// The called virtual node.
    node: String,
}

/// A problem of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The problem.
    pub message: String,
    /// The command that fixes it; empty when there is none.
    pub fix: String,
}

/// Every flow between clusters that virtual nodes and gateways need.
pub(super) fn expected_flows(desired: &Desired) -> BTreeSet<ExpectedFlow> {
    let mut flows = BTreeSet::new();
    for (key, caller) in &desired.resources {
        let services: Vec<&str> = match &*caller.spec {
            Spec::VirtualNode(spec) => spec.backends().map(|backend| backend.name()).collect(),
            Spec::VirtualGateway(_) => gateway_targets(desired, key).collect(),
            _ => continue,
        };
        for service in services {
            for node in targets(desired, &key.mesh, service) {
                let target = ResourceKey::new(key.mesh.clone(), Kind::VirtualNode, node);
                if let Some(target) = desired.resources.get(&target) {
                    flows.extend(between(caller, target, node));
                }
            }
        }
    }
    flows
}

/// The flows from the clusters of a resource to the other clusters of a virtual node.
fn between(caller: &Resource, target: &Resource, node: &str) -> Vec<ExpectedFlow> {
    let mut flows = Vec::new();
    let Spec::VirtualNode(spec) = &*target.spec else {
        return flows;
    };
    for from in caller.sources.iter().map(|source| source.cluster) {
        for to in target.sources.iter().map(|source| source.cluster) {
            let listeners = spec.listeners().iter().filter(|_| from != to);
            flows.extend(listeners.map(|listener| ExpectedFlow {
                from,
                to,
                port: listener.port_mapping.port,
                node: node.to_owned(),
            }));
        }
    }
    flows
}

/// The virtual services that the routes of a gateway lead to.
fn gateway_targets<'a>(
    desired: &'a Desired,
    gateway: &'a ResourceKey,
) -> impl Iterator<Item = &'a str> {
    let routes = children(desired, Kind::GatewayRoute, &gateway.mesh, &gateway.name);
    let targets = routes.flat_map(|spec| match spec {
        Spec::GatewayRoute(spec) => {
            let http = [&spec.http_route, &spec.http2_route].into_iter().flatten();
            let http = http.map(|route| &route.action.target);
            let grpc = spec.grpc_route.as_ref().map(|route| &route.action.target);
            http.chain(grpc).collect()
        }
        _ => Vec::new(),
    });
    targets.map(|target| target.virtual_service.virtual_service_name.as_str())
}

/// The specs of the routes of a router or a gateway.
fn children<'a>(
    desired: &'a Desired,
    kind: Kind,
    mesh: &'a str,
    parent: &'a str,
) -> impl Iterator<Item = &'a Spec> {
    let is_child =
        move |key: &ResourceKey| key.kind == kind && *key.mesh == *mesh && *key.parent == *parent;
    let children = desired
        .resources
        .iter()
        .filter(move |(key, _)| is_child(key));
    children.map(|(_, resource)| &*resource.spec)
}

/// The virtual nodes that provide a virtual service.
fn targets<'a>(desired: &'a Desired, mesh: &'a Arc<str>, service: &str) -> BTreeSet<&'a str> {
    let key = ResourceKey::new(mesh.clone(), Kind::VirtualService, service);
    let resource = desired.resources.get(&key);
    let Some(Spec::VirtualService(spec)) = resource.map(|resource| &*resource.spec) else {
        return BTreeSet::new();
    };
    match &spec.provider {
        Some(Provider::VirtualNode(node)) => BTreeSet::from([node.virtual_node_name.as_str()]),
        Some(Provider::VirtualRouter(router)) => {
            let routes = children(desired, Kind::Route, mesh, &router.virtual_router_name);
            let targets = routes.filter_map(|spec| match spec {
                Spec::Route(route) => Some(&route.action()?.1.weighted_targets),
                _ => None,
            });
            let targets = targets.flatten().filter(|target| target.weight > 0);
            targets.map(|target| target.virtual_node.as_str()).collect()
        }
        None => BTreeSet::new(),
    }
}

/// The direction and port of refused packets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeniedFlow {
    /// The calling cluster.
    pub(super) from: String,
    /// The called cluster.
    pub(super) to: String,
    /// The called port.
    pub(super) port: u16,
}

/// Flows that are expected or attempted, and refused. `open` tells whether a port is open from one cluster to
/// another; `refused` has the packets of the last minute.
pub(super) fn findings(
    clusters: &[&str],
    expected: &BTreeSet<ExpectedFlow>,
    open: impl Fn(&str, &str, u16) -> bool,
    refused: &BTreeMap<DeniedFlow, u64>,
) -> Vec<Finding> {
    let expected = expected.iter().map(|flow| {
        let denied = DeniedFlow {
            from: clusters[flow.from].to_owned(),
            to: clusters[flow.to].to_owned(),
            port: flow.port,
        };
        (denied, Some(flow.node.as_str()))
    });
    let attempted = refused.iter().filter(|(_, count)| **count > 0);
    let attempted = attempted.map(|(flow, _)| (flow.clone(), None));
    let mut reported = BTreeSet::new();
    let mut findings = Vec::new();
    for (flow, node) in expected.chain(attempted) {
        if !open(&flow.from, &flow.to, flow.port) && reported.insert(flow.clone()) {
            let count = refused.get(&flow).copied().unwrap_or(0);
            findings.push(closed_port(&flow, count, node));
        }
    }
    findings
}

fn closed_port(flow: &DeniedFlow, count: u64, node: Option<&str>) -> Finding {
    let DeniedFlow { from, to, port } = flow;
    let needed = node.map(|node| format!(", which virtual node {node} needs"));
    Finding {
        message: format!(
            "{to} refuses port {port} from {from}{} ({count} refused in the last minute)",
            needed.unwrap_or_default()
        ),
        fix: format!("tombolo network allow --from {from} --to {to} --port {port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tombolo_controller::ObjectRef;
    use tombolo_kube::crd::Kind as ObjectKind;

    fn desired() -> Desired {
        let mut desired = Desired::default();
        let mut add = |cluster, key: ResourceKey, spec: Value| {
            let source = ObjectRef {
                cluster,
                kind: ObjectKind::VirtualNode,
                namespace: "shop".to_owned(),
                name: key.name.to_string(),
            };
            let spec = match key.kind {
                Kind::VirtualNode => Spec::VirtualNode(serde_json::from_value(spec).unwrap()),
                Kind::Route => Spec::Route(serde_json::from_value(spec).unwrap()),
                _ => Spec::VirtualService(serde_json::from_value(spec).unwrap()),
            };
            let resource = Resource {
                spec: spec.into(),
                sources: vec![source],
            };
            desired.resources.insert(key, resource);
        };
        let key = |kind, name: &str| ResourceKey::new("m", kind, name);
        let front = json!({"backends": [{"virtualService": {"virtualServiceName": "color"}}]});
        add(0, key(Kind::VirtualNode, "front"), front);
        let red = json!({"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]});
        add(1, key(Kind::VirtualNode, "red"), red);
        let service = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
        add(1, key(Kind::VirtualService, "color"), service);
        let mut route = key(Kind::Route, "one");
        route.parent = "r".into();
        let targets =
            json!([{"virtualNode": "red", "weight": 1}, {"virtualNode": "idle", "weight": 0}]);
        let action = json!({ "weightedTargets": targets });
        add(
            1,
            route,
            json!({"httpRoute": {"match": {"prefix": "/"}, "action": action}}),
        );
        desired
    }

    fn denied(from: &str, to: &str, port: u16) -> DeniedFlow {
        DeniedFlow {
            from: from.into(),
            to: to.into(),
            port,
        }
    }

    #[test]
    fn closed_port_that_a_route_needs_is_explained_with_its_remedy() {
        let flows = expected_flows(&desired());
        let flow = ExpectedFlow {
            from: 0,
            to: 1,
            port: 8080,
            node: "red".into(),
        };
        assert_eq!(flows, [flow].into());
        let refused = BTreeMap::from([(denied("cluster1", "cluster2", 8080), 7)]);
        let findings = findings(&["cluster1", "cluster2"], &flows, |_, _, _| false, &refused);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].message,
            "cluster2 refuses port 8080 from cluster1, which virtual node red needs (7 refused in the last minute)"
        );
        assert_eq!(
            findings[0].fix,
            "tombolo network allow --from cluster1 --to cluster2 --port 8080"
        );
    }

    #[test]
    fn open_ports_are_no_finding_even_if_they_were_refused_before() {
        let refused = BTreeMap::from([(denied("a", "b", 80), 3)]);
        let found = |is_open| {
            let expected = BTreeSet::new();
            findings(&["a", "b"], &expected, |_, _, _| is_open, &refused).len()
        };
        assert_eq!((found(true), found(false)), (0, 1));
    }
}
