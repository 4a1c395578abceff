//! Suggestions for dead targets.

use super::{
    dead_targets::{DeadTarget, Reason},
    problem::Problem,
};
use crate::json::{pairs, text};
use serde_json::Value;
use tombolo_local::control_socket::{Client, ClusterObjects, Query};
use tombolo_model::appmesh::ResourceKey;

/// Dead targets as problems. With a run, the message names the deployment of the node.
pub(super) async fn problems(dead: Vec<DeadTarget>, run: Option<&Client>) -> Vec<Problem> {
    let list = async |kind: &str| {
        let query = Query {
            kind: kind.into(),
            ..Query::default()
        };
        match run {
            // Without the objects the problem is still reported.
            Some(run) if !dead.is_empty() => run.list(&query).await.unwrap_or_default(),
            _ => Vec::new(),
        }
    };
    let (nodes, deployments) = (list("virtualnodes").await, list("deployments").await);
    dead.iter()
        .map(|dead| match &dead.reason {
            Reason::NoWeight => Problem::new(message(dead), ""),
            Reason::NoInstance { node, .. } => {
                let (cause, fix) = cause(node, &nodes, &deployments).unwrap_or_default();
                Problem::new(message(dead) + &cause, fix)
            }
        })
        .collect()
}

fn message(dead: &DeadTarget) -> String {
    let service = &dead.service.name;
    let (way, failure) = match &dead.route {
        Some(route) if route.is_tcp => (route_title(&route.key), "are closed"),
        Some(route) => (route_title(&route.key), "get 503"),
        None => (String::new(), "fail"),
    };
    match &dead.reason {
        Reason::NoWeight => format!(
            "virtual service {service}{way}: all weights are 0, so its calls {failure}; give a target weight"
        ),
        Reason::NoInstance { node, share } => {
            let calls = match share {
                (part, all) if part == all => "its calls".to_owned(),
                (part, all) => format!("{part} of {all} calls"),
            };
            format!(
                "virtual service {service}{way}: {calls} go to virtual node {}, which has no healthy \
                 instance, and {failure}",
                node.name
            )
        }
    }
}

fn route_title(route: &ResourceKey) -> String {
    format!(" (route {} of router {})", route.name, route.parent)
}

/// The reason why a node has no instance, as the end of the message, and the command that helps.
fn cause(
    node: &ResourceKey,
    nodes: &[ClusterObjects],
    deployments: &[ClusterObjects],
) -> Option<(String, String)> {
    // facts: mesh/NAME/virtualNode/NAME ends the ARN in an object's status.
    let path = format!(":{node}");
    let of_node = |object: &&Value| text(object, "/status/virtualNodeARN").ends_with(&path);
    let mut found = nodes.iter().flat_map(|in_cluster| {
        let objects = in_cluster.items.iter().filter(of_node);
        objects.map(|object| (in_cluster.cluster.as_str(), object))
    });
    let (cluster, object) = found.next()?;
    let namespace = text(object, "/metadata/namespace");
    let desired = object
        .pointer("/spec/podSelector/matchLabels")?
        .as_object()?;
    let in_cluster = deployments.iter().find(|found| found.cluster == cluster)?;
    let deployment = in_cluster.items.iter().find(|deployment| {
        let labels = deployment.pointer("/spec/template/metadata/labels");
        text(deployment, "/metadata/namespace") == namespace
            && labels.is_some_and(|labels| desired.iter().all(|(key, value)| &labels[key] == value))
    });
    let Some(deployment) = deployment else {
        return Some((
            format!(
                "; its podSelector ({}) selects the pods of no deployment in namespace {namespace} of {cluster}",
                pairs(object, "/spec/podSelector/matchLabels")
            ),
            format!("tombolo get deployments -n {namespace} --cluster {cluster} -o wide"),
        ));
    };
    let name = text(deployment, "/metadata/name");
    Some(match deployment.pointer("/spec/replicas") {
        Some(replicas) if replicas == 0 => (
            format!("; deployment {name} in {cluster} has 0 replicas"),
            format!(
                "tombolo scale deployment/{name} -n {namespace} --cluster {cluster} --replicas 1"
            ),
        ),
        _ => (
            format!("; the pods of deployment {name} in {cluster} are not ready"),
            format!("tombolo get pods -n {namespace} --cluster {cluster}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::dead_targets::Route;
    use super::*;
    use serde_json::json;
    use tombolo_model::appmesh::Kind;

    fn node() -> ResourceKey {
        ResourceKey::new("m", Kind::VirtualNode, "paint-red_shop")
    }

    fn in_cluster(object: Value) -> Vec<ClusterObjects> {
        vec![ClusterObjects {
            cluster: "east".into(),
            items: vec![object],
        }]
    }

    fn objects(replicas: u32, version: &str) -> (Vec<ClusterObjects>, Vec<ClusterObjects>) {
        let node = json!({
            "metadata": {"name": "paint-red", "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": "paint", "version": "red"}}},
            "status": {"virtualNodeARN":
                "arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualNode/paint-red_shop"},
        });
        let deployment = json!({
            "metadata": {"name": "red", "namespace": "shop"},
            "spec": {"replicas": replicas, "template": {"metadata":
                {"labels": {"app": "paint", "version": version, "more": "x"}}}},
        });
        (in_cluster(node), in_cluster(deployment))
    }

    #[track_caller]
    fn assert_cause(replicas: u32, version: &str, words: &str, command: &str) {
        let (nodes, deployments) = objects(replicas, version);
        let (cause, fix) = cause(&node(), &nodes, &deployments).expect("a cause");
        assert!(cause.contains(words), "{cause}");
        assert!(fix.starts_with(command), "{fix}");
    }

    #[test]
    fn the_deployment_that_should_answer_is_named() {
        assert_cause(
            0,
            "red",
            "red in east has 0 replicas",
            "tombolo scale deployment/red -n shop",
        );
        assert_cause(
            1,
            "red",
            "are not ready",
            "tombolo get pods -n shop --cluster east",
        );
        assert_cause(
            1,
            "blue",
            "no deployment in namespace shop",
            "tombolo get deployments",
        );
        assert_eq!(cause(&node(), &[], &[]), None);
    }

    #[test]
    fn a_share_of_the_calls_is_told_with_the_route() {
        let service = ResourceKey::new("m", Kind::VirtualService, "paint.shop");
        let mut dead = DeadTarget {
            service,
            route: Some(Route {
                key: ResourceKey::child("m", Kind::Route, "paint_shop", "all"),
                is_tcp: false,
            }),
            reason: Reason::NoInstance {
                node: node(),
                share: (30, 100),
            },
        };
        assert_eq!(
            message(&dead),
            "virtual service paint.shop (route all of router paint_shop): 30 of 100 calls go to virtual \
             node paint-red_shop, which has no healthy instance, and get 503"
        );
        dead.reason = Reason::NoWeight;
        assert!(message(&dead).contains("all weights are 0"));
    }
}
