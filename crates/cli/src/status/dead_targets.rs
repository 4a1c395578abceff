//! Routes to virtual nodes without instances.
//!
//! A route may give weight to a virtual node without instances: that share of the calls fails, although each object
//! by itself is valid.

use crate::{
    error::{Error, Result},
    json::pairs,
    resource::{
        filter::Filter,
        id::Id,
        kind,
        lookup::{Lookup, at_once},
        references,
        view::ResourceView,
    },
};
use serde_json::Value;
use std::collections::BTreeSet;
use tombolo_api::client::{Client as ApiClient, Discover};
use tombolo_local::control_socket::{Client, Query};
use tombolo_model::appmesh::{
    Kind, ResourceKey, Spec,
    spec::{
        virtual_node::{CloudMapDiscovery, ServiceDiscovery},
        virtual_service::Provider,
    },
};

/// Calls that fail, of one route or provider.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeadTarget {
    /// The virtual service that is called.
    pub(super) service: ResourceKey,
    /// The route; absent if a virtual node provides it directly.
    pub(super) route: Option<Route>,
    /// The reason.
    pub(super) reason: Reason,
}

/// A route of failing calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) key: ResourceKey,
    pub(super) is_tcp: bool,
}

/// The reason why calls fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// All weights of the route are 0.
    NoWeight,
    /// A virtual node has no healthy instance.
    NoInstance {
        node: ResourceKey,
        /// The node's weight, and the sum of all weights of the route.
        share: (u32, u32),
    },
}

/// Finds dead targets. `run` is asked about names of a cluster's DNS; without it, nodes with DNS discovery count as
/// having instances.
pub(super) async fn find(lookup: &Lookup, run: Option<&Client>) -> Result<Vec<DeadTarget>> {
    let mut calls = Vec::new();
    let kind = kind::Kind::Mesh(Kind::VirtualService);
    for service in lookup.list(kind, &Filter::default(), None).await? {
        calls.extend(calls_of(lookup, &service).await?);
    }
    // Several routes share nodes: each node is checked once.
    let nodes = calls.iter().filter_map(|call| match &call.reason {
        Reason::NoInstance { node, .. } => Some(node.clone()),
        Reason::NoWeight => None,
    });
    let nodes: BTreeSet<ResourceKey> = nodes.collect();
    let answering = at_once(nodes, |node| async move {
        let has_instance = has_instance(lookup, run, &node).await?;
        Ok::<_, Error>(has_instance.then_some(node))
    });
    let answering: BTreeSet<_> = answering.await?.into_iter().flatten().collect();
    calls.retain(|call| match &call.reason {
        Reason::NoWeight => true,
        Reason::NoInstance { node, .. } => !answering.contains(node),
    });
    Ok(calls)
}

/// All calls of a virtual service, as if none of its nodes had an instance.
async fn calls_of(lookup: &Lookup, service: &ResourceView) -> Result<Vec<DeadTarget>> {
    let (Id::Mesh(service), Some(Spec::VirtualService(spec))) = (&service.id, service.spec())
    else {
        return Ok(Vec::new());
    };
    let mesh = &service.mesh;
    match spec.provider.as_ref().map(Provider::target) {
        None => Ok(Vec::new()),
        Some((Kind::VirtualNode, name)) => Ok(vec![DeadTarget {
            service: service.clone(),
            route: None,
            reason: Reason::NoInstance {
                node: ResourceKey::new(mesh.clone(), Kind::VirtualNode, name),
                share: (1, 1),
            },
        }]),
        Some((_, router)) => {
            let routes = lookup.members_of(mesh, Kind::Route, router).await?;
            let calls = routes
                .iter()
                .filter_map(|route| match (&route.id, route.spec()) {
                    (Id::Mesh(key), Some(spec)) => Some(of_route(service, key, spec)),
                    _ => None,
                });
            Ok(calls.flatten().collect())
        }
    }
}

fn of_route(service: &ResourceKey, route: &ResourceKey, spec: &Spec) -> Vec<DeadTarget> {
    let of = |reason| DeadTarget {
        service: service.clone(),
        route: Some(Route {
            key: route.clone(),
            is_tcp: matches!(spec, Spec::Route(spec) if spec.tcp_route.is_some()),
        }),
        reason,
    };
    let targets = references::of(route, spec).into_iter();
    let mut reasons: Vec<Reason> = targets
        .filter_map(|it| match (it.target, it.weight) {
            (Id::Mesh(_), Some((_, 0))) => Some(Reason::NoWeight),
            (Id::Mesh(node), Some(share @ (1.., _))) => Some(Reason::NoInstance { node, share }),
            _ => None,
        })
        .collect();
    reasons.dedup();
    reasons.into_iter().map(of).collect()
}

/// Whether a virtual node has a healthy instance.
async fn has_instance(lookup: &Lookup, run: Option<&Client>, key: &ResourceKey) -> Result<bool> {
    let node = lookup.find(&Id::Mesh(key.clone())).await?;
    let Some(Spec::VirtualNode(spec)) = node.as_ref().and_then(ResourceView::spec) else {
        return Ok(false);
    };
    match &spec.service_discovery {
        Some(ServiceDiscovery::AwsCloudMap(discovery)) => {
            registered(&lookup.client, discovery).await
        }
        Some(ServiceDiscovery::Dns(discovery)) => match run {
            Some(run) => resolved(run, &discovery.hostname).await,
            None => Ok(true),
        },
        None => Ok(false),
    }
}

async fn registered(api: &ApiClient, discovery: &CloudMapDiscovery) -> Result<bool> {
    let mut question = Discover::new(&discovery.namespace_name, &discovery.service_name);
    question.max_results = Some(1);
    for attribute in discovery.attributes.iter().flatten() {
        question
            .query
            .insert(attribute.key.clone(), attribute.value.clone());
    }
    match api.discover(&question).await {
        Ok(found) => Ok(!found.is_empty()),
        // Nothing was ever registered under this name.
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a host name of a cluster resolves to a ready pod. Other names, and services without a selector, are
/// unknown and count as resolved.
async fn resolved(run: &Client, host: &str) -> Result<bool> {
    let Some(service) = host
        .trim_end_matches('.')
        .strip_suffix(".svc.cluster.local")
    else {
        return Ok(true);
    };
    let Some((name, namespace)) = service.rsplit_once('.') else {
        return Ok(true);
    };
    let mut query = Query {
        kind: "services".into(),
        namespace: Some(namespace.to_owned()),
        ..Query::default()
    };
    for found in run.list(&query).await? {
        let of_name = |item: &&Value| item["metadata"]["name"] == name;
        for service in found.items.iter().filter(of_name) {
            let selector = pairs(service, "/spec/selector");
            if selector.is_empty() {
                return Ok(true);
            }
            query.kind = "pods".into();
            query.cluster = Some(found.cluster.clone());
            query.selector = Some(selector);
            let pods = run.list(&query).await?;
            if pods.iter().flat_map(|pods| &pods.items).any(is_ready) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn route(targets: &[(&str, u32)]) -> Spec {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(node, weight)| json!({"virtualNode": node, "weight": weight}))
            .collect();
        let spec = json!({"httpRoute": {
            "match": {"prefix": "/"}, "action": {"weightedTargets": targets},
        }});
        Spec::from_json(Kind::Route, spec).expect("a route")
    }

    #[test]
    fn every_target_with_weight_has_its_share_of_the_calls() {
        let service = ResourceKey::new("m", Kind::VirtualService, "s");
        let key = ResourceKey::child("m", Kind::Route, "r", "all");
        let reasons = |targets: &[(&str, u32)]| -> Vec<Reason> {
            let calls = of_route(&service, &key, &route(targets));
            calls.into_iter().map(|call| call.reason).collect()
        };
        let node = |name: &str, share| Reason::NoInstance {
            node: ResourceKey::new("m", Kind::VirtualNode, name),
            share,
        };
        assert_eq!(
            reasons(&[("red", 90), ("blue", 10), ("old", 0)]),
            [node("red", (90, 100)), node("blue", (10, 100))]
        );
        assert_eq!(reasons(&[("red", 0), ("blue", 0)]), [Reason::NoWeight]);
    }
}
