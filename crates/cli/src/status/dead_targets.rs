//! Calls that the mesh sends where nothing answers.
//!
//! A route may give weight to a virtual node that has no instance: that share of the calls fails, and no
//! single object looks wrong.

use crate::error::{Error, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use std::collections::BTreeMap;
use tombolo_api::client::{Client as ApiClient, Discover, Resource};
use tombolo_local::control::{Client, ClusterObjects, Query};
use tombolo_model::appmesh::{
    Kind, ResourceKey, Spec,
    spec::{
        virtual_node::{CloudMapDiscovery, ServiceDiscovery},
        virtual_service::Provider,
    },
};

/// How many questions are under way at the same time.
const AT_ONCE: usize = 16;

/// Calls that fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeadTarget {
    /// The virtual service that is called.
    pub(super) service: ResourceKey,
    /// Its route; absent where a virtual node provides it directly.
    pub(super) route: Option<Route>,
    /// Why they fail.
    pub(super) reason: Reason,
}

/// A route that such calls take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) key: ResourceKey,
    pub(super) is_tcp: bool,
}

/// Why calls fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// All weights of the route are 0.
    NoWeight,
    /// A virtual node has no healthy instance.
    NoInstance {
        node: ResourceKey,
        /// Of a route's calls, this many of so many.
        share: (u32, u32),
    },
}

/// Finds them. `run` is asked about names of a cluster's DNS; without it nodes that are found by DNS are
/// taken to have instances.
pub(super) async fn find(api: &ApiClient, run: Option<&Client>) -> Result<Vec<DeadTarget>> {
    let mut calls = Vec::new();
    for mesh in api.list_meshes().await? {
        let services = described(api, &mesh.key.name, Kind::VirtualService, "").await?;
        for service in services {
            calls.extend(calls_of(api, service).await?);
        }
    }
    // Several routes share nodes: each is asked about once.
    let mut nodes: BTreeMap<ResourceKey, bool> = BTreeMap::new();
    for call in &calls {
        if let Reason::NoInstance { node, .. } = &call.reason {
            nodes.insert(node.clone(), false);
        }
    }
    let keys: Vec<ResourceKey> = nodes.into_keys().collect();
    let nodes: BTreeMap<ResourceKey, bool> = stream::iter(keys)
        .map(|key| async move {
            let answers = answers(api, run, &key).await?;
            Ok::<_, Error>((key, answers))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    calls.retain(|call| match &call.reason {
        Reason::NoWeight => true,
        Reason::NoInstance { node, .. } => nodes.get(node) == Some(&false),
    });
    Ok(calls)
}

/// All calls of a virtual service, as if none of its nodes had an instance.
async fn calls_of(api: &ApiClient, service: Resource) -> Result<Vec<DeadTarget>> {
    let mesh = &service.key.mesh;
    let Spec::VirtualService(spec) = &service.spec else {
        return Ok(Vec::new());
    };
    match &spec.provider {
        None => Ok(Vec::new()),
        Some(Provider::VirtualNode(node)) => Ok(vec![DeadTarget {
            service: service.key.clone(),
            route: None,
            reason: Reason::NoInstance {
                node: ResourceKey::new(
                    mesh.clone(),
                    Kind::VirtualNode,
                    node.virtual_node_name.as_str(),
                ),
                share: (1, 1),
            },
        }]),
        Some(Provider::VirtualRouter(router)) => {
            let router = &router.virtual_router_name;
            let routes = described(api, mesh, Kind::Route, router).await?;
            let calls = routes
                .iter()
                .flat_map(|route| of_route(&service.key, &route.key, &route.spec));
            Ok(calls.collect())
        }
    }
}

fn of_route(service: &ResourceKey, route: &ResourceKey, spec: &Spec) -> Vec<DeadTarget> {
    let Spec::Route(spec) = spec else {
        return Vec::new();
    };
    let Some((_, action)) = spec.action() else {
        return Vec::new();
    };
    let of = |reason| DeadTarget {
        service: service.clone(),
        route: Some(Route {
            key: route.clone(),
            is_tcp: spec.tcp_route.is_some(),
        }),
        reason,
    };
    let targets = &action.weighted_targets;
    let sum = targets.iter().map(|target| target.weight).sum();
    if sum == 0 {
        return vec![of(Reason::NoWeight)];
    }
    targets
        .iter()
        .filter(|target| target.weight > 0)
        .map(|target| {
            let name = target.virtual_node.as_str();
            of(Reason::NoInstance {
                node: ResourceKey::new(service.mesh.clone(), Kind::VirtualNode, name),
                share: (target.weight, sum),
            })
        })
        .collect()
}

/// All resources of a kind with their specs. One that goes away meanwhile is left out.
async fn described(api: &ApiClient, mesh: &str, kind: Kind, parent: &str) -> Result<Vec<Resource>> {
    let listed = match api.list(mesh, kind, parent).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        listed => listed?,
    };
    let found = stream::iter(listed)
        .map(|listed| async move { api.find(&listed.key).await })
        .buffered(AT_ONCE)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect();
    Ok(found.await?)
}

/// Whether a virtual node has an instance that takes calls.
async fn answers(api: &ApiClient, run: Option<&Client>, key: &ResourceKey) -> Result<bool> {
    let node = api.find(key).await?;
    let Some(Spec::VirtualNode(spec)) = node.map(|node| node.spec) else {
        return Ok(false);
    };
    match &spec.service_discovery {
        Some(ServiceDiscovery::AwsCloudMap(discovery)) => registered(api, discovery).await,
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
        // No namespace or no service of that name yet: nothing was ever registered.
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a host name of a cluster leads to a ready pod. Other names, and services that choose no pods,
/// are beyond what is known here.
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
    for found in list(run, &query).await? {
        let of_name = |item: &&Value| item["metadata"]["name"] == name;
        for service in found.items.iter().filter(of_name) {
            let Some(selector) = selector(&service["spec"]["selector"]) else {
                return Ok(true);
            };
            query.kind = "pods".into();
            query.cluster = Some(found.cluster.clone());
            query.selector = Some(selector);
            let pods = list(run, &query).await?;
            if pods.iter().flat_map(|pods| &pods.items).any(is_ready) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn list(run: &Client, query: &Query) -> Result<Vec<ClusterObjects>> {
    Ok(run.list(query).await?)
}

/// `app=front,version=v1`; `None` where there is no label.
fn selector(labels: &Value) -> Option<String> {
    let pairs: Vec<String> = labels
        .as_object()?
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
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

    #[test]
    fn labels_become_a_selector() {
        let selected = selector(&json!({"app": "a", "v": "1"}));
        assert_eq!(selected.as_deref(), Some("app=a,v=1"));
        assert_eq!(selector(&json!({})), None);
        assert_eq!(selector(&Value::Null), None);
    }
}
