//! Why a call between clusters goes nowhere, in words, before anybody has to guess.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tombolo_controller::Desired;
use tombolo_controller::desired::Resource;
use tombolo_model::appmesh::spec::virtual_service::Provider;
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};

/// A way that the mesh's configuration asks for: a node of one cluster calls a node of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Index of the calling cluster.
    pub from: usize,
    /// Index of the called cluster.
    pub to: usize,
    /// The called port.
    pub port: u16,
    /// The virtual node that is called.
    pub node: String,
}

/// Something that is wrong and what to type about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub message: String,
    /// The command that mends it; empty when there is none.
    pub fix: String,
}

/// Every way between clusters that virtual nodes and gateways need.
pub fn ways(desired: &Desired) -> BTreeSet<Way> {
    let mut ways = BTreeSet::new();
    for (key, item) in &desired.resources {
        let services: Vec<String> = match &*item.spec {
            Spec::VirtualNode(spec) => spec
                .backends()
                .map(|backend| backend.name().to_owned())
                .collect(),
            Spec::VirtualGateway(_) => gateway_targets(desired, key),
            _ => continue,
        };
        for service in services {
            for node in targets(desired, &key.mesh, &service) {
                let node_key = ResourceKey::new(key.mesh.clone(), Kind::VirtualNode, node.as_str());
                let Some(target) = desired.resources.get(&node_key) else {
                    continue;
                };
                between(item, target, &node, &mut ways);
            }
        }
    }
    ways
}

fn between(caller: &Resource, target: &Resource, node: &str, ways: &mut BTreeSet<Way>) {
    let Spec::VirtualNode(spec) = &*target.spec else {
        return;
    };
    for from in caller.sources.iter().map(|source| source.cluster) {
        for to in target
            .sources
            .iter()
            .map(|source| source.cluster)
            .filter(|to| *to != from)
        {
            let ports = spec
                .listeners()
                .iter()
                .map(|listener| listener.port_mapping.port);
            ways.extend(ports.map(|port| Way {
                from,
                to,
                port,
                node: node.to_owned(),
            }));
        }
    }
}

fn gateway_targets(desired: &Desired, gateway: &ResourceKey) -> Vec<String> {
    let routes = desired.resources.iter().filter(|(key, _)| {
        key.kind == Kind::GatewayRoute && key.mesh == gateway.mesh && key.parent == gateway.name
    });
    let services = routes.filter_map(|(_, item)| match &*item.spec {
        // The three kinds of gateway route differ in their matches; their target is in one place in JSON.
        Spec::GatewayRoute(spec) => {
            let json = serde_json::to_value(spec).ok()?;
            let route = ["httpRoute", "http2Route", "grpcRoute"]
                .into_iter()
                .find_map(|name| json.get(name))?;
            Some(
                route
                    .pointer("/action/target/virtualService/virtualServiceName")?
                    .as_str()?
                    .to_owned(),
            )
        }
        _ => None,
    });
    services.collect()
}

/// The virtual nodes behind a virtual service.
fn targets(desired: &Desired, mesh: &std::sync::Arc<str>, service: &str) -> BTreeSet<String> {
    let key = ResourceKey::new(mesh.clone(), Kind::VirtualService, service);
    let resource = desired.resources.get(&key);
    let Some(Spec::VirtualService(spec)) = resource.map(|resource| &*resource.spec) else {
        return BTreeSet::new();
    };
    match &spec.provider {
        Some(Provider::VirtualNode(node)) => BTreeSet::from([node.virtual_node_name.clone()]),
        Some(Provider::VirtualRouter(router)) => {
            let router = router.virtual_router_name.as_str();
            let routes = desired.resources.iter().filter(|(key, _)| {
                key.kind == Kind::Route && key.mesh == *mesh && *key.parent == *router
            });
            let actions = routes.filter_map(|(_, item)| match &*item.spec {
                Spec::Route(route) => Some(route.action()?.1.weighted_targets.clone()),
                _ => None,
            });
            actions
                .flatten()
                .filter(|target| target.weight > 0)
                .map(|target| target.virtual_node)
                .collect()
        }
        None => BTreeSet::new(),
    }
}

/// Refused packets of one direction and port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// The calling cluster.
    pub from: String,
    /// The called cluster.
    pub to: String,
    /// The called port.
    pub port: u16,
}

/// What is wrong between clusters. `open` answers whether a port is open from one to the other; `refused` are
/// attempts of the last minute.
pub fn findings(
    clusters: &[String],
    ways: &BTreeSet<Way>,
    open: impl Fn(&str, &str, u16) -> bool,
    refused: &BTreeMap<Refused, u64>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    for way in ways {
        let (from, to) = (&clusters[way.from], &clusters[way.to]);
        if !open(from, to, way.port) {
            let key = Refused {
                from: from.clone(),
                to: to.clone(),
                port: way.port,
            };
            if told.insert(key.clone()) {
                findings.push(closed(
                    &key,
                    refused.get(&key).copied().unwrap_or(0),
                    Some(&way.node),
                ));
            }
        }
    }
    for (key, count) in refused {
        if *count > 0 && !open(&key.from, &key.to, key.port) && told.insert(key.clone()) {
            findings.push(closed(key, *count, None));
        }
    }
    findings
}

fn closed(way: &Refused, count: u64, node: Option<&str>) -> Finding {
    let Refused { from, to, port } = way;
    let needed = node
        .map(|node| format!(", which virtual node {node} needs"))
        .unwrap_or_default();
    Finding {
        message: format!(
            "{to} refuses port {port} from {from}{needed} ({count} refused in the last minute)"
        ),
        fix: format!("tombolo network allow --from {from} --to {to} --port {port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_controller::ObjectRef;
    use tombolo_kube::crd::Kind as ObjectKind;

    fn desired() -> Desired {
        let mut desired = Desired::default();
        let mut add = |cluster, key: ResourceKey, spec: Spec| {
            let source = ObjectRef {
                cluster,
                kind: ObjectKind::VirtualNode,
                namespace: "shop".to_owned(),
                name: key.name.to_string(),
            };
            let resource = Resource {
                spec: spec.into(),
                sources: vec![source],
            };
            desired.resources.insert(key, resource);
        };
        let node = |value| Spec::VirtualNode(serde_json::from_value(value).unwrap());
        let key = |kind, name: &str| ResourceKey::new("m", kind, name);
        add(
            0,
            key(Kind::VirtualNode, "front"),
            node(json!({"backends": [{"virtualService": {"virtualServiceName": "color"}}]})),
        );
        add(
            1,
            key(Kind::VirtualNode, "red"),
            node(json!({"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]})),
        );
        add(
            1,
            key(Kind::VirtualService, "color"),
            Spec::VirtualService(
                serde_json::from_value(
                    json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}}),
                )
                .unwrap(),
            ),
        );
        let mut route = key(Kind::Route, "one");
        route.parent = "r".into();
        let spec = json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "red", "weight": 1}, {"virtualNode": "idle", "weight": 0}]}}});
        add(1, route, Spec::Route(serde_json::from_value(spec).unwrap()));
        desired
    }

    #[test]
    fn closed_port_that_a_route_needs_is_explained_with_its_remedy() {
        let ways = ways(&desired());
        assert_eq!(
            ways,
            [Way {
                from: 0,
                to: 1,
                port: 8080,
                node: "red".into()
            }]
            .into()
        );
        let names = ["cluster1".to_owned(), "cluster2".to_owned()];
        let refused = BTreeMap::from([(
            Refused {
                from: names[0].clone(),
                to: names[1].clone(),
                port: 8080,
            },
            7,
        )]);
        let findings = findings(&names, &ways, |_, _, _| false, &refused);
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
        let names = ["a".to_owned(), "b".to_owned()];
        let refused = BTreeMap::from([(
            Refused {
                from: "a".into(),
                to: "b".into(),
                port: 80,
            },
            3,
        )]);
        assert!(findings(&names, &BTreeSet::new(), |_, _, _| true, &refused).is_empty());
        assert_eq!(
            findings(&names, &BTreeSet::new(), |_, _, _| false, &refused).len(),
            1
        );
    }
}
