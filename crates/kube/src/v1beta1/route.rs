//! Routes of virtual services as routes of virtual routers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::legacy::{Route, Rule};
use super::{ConvertError, Identity};

/// A route of the virtual service `object`. The newer version leaves route names as they are written, the older one
/// added the namespace.
pub(super) fn written(
    object: &Identity,
    route: Route,
    nodes: &BTreeSet<(String, String)>,
) -> Result<Value, ConvertError> {
    let mut written = Map::new();
    written.insert("name".into(), object.aws_name(&route.name).into());
    if let Some(priority) = route.priority {
        written.insert("priority".into(), priority);
    }
    let rules = [
        ("httpRoute", route.http),
        ("http2Route", route.http2),
        ("grpcRoute", route.grpc),
        ("tcpRoute", route.tcp),
    ];
    for (member, given) in rules {
        if let Some(given) = given {
            let at = format!("routes[{}].{member}", route.name);
            written.insert(member.into(), rule(object, &at, given, nodes)?);
        }
    }
    Ok(written.into())
}

fn rule(
    object: &Identity,
    at: &str,
    rule: Rule,
    nodes: &BTreeSet<(String, String)>,
) -> Result<Value, ConvertError> {
    let targets = rule.action.weighted_targets.into_iter();
    let targets: Vec<Value> = targets
        .map(|target| {
            let node = node(object, &target.virtual_node_name, nodes);
            json!({"virtualNodeRef": node, "weight": target.weight})
        })
        .collect();
    let mut written = json!({"action": {"weightedTargets": targets}});
    if let Some(matcher) = rule.matcher {
        written["match"] = matcher;
    }
    if let Some(mut policy) = rule.retry_policy {
        let missing = |field: &str| ConvertError::Missing {
            object: object.to_string(),
            field: format!("{at}.retryPolicy.{field}"),
        };
        let millis = policy.remove("perRetryTimeoutMillis");
        let millis = millis.ok_or_else(|| missing("perRetryTimeoutMillis"))?;
        if !policy.contains_key("maxRetries") {
            return Err(missing("maxRetries"));
        }
        policy.insert(
            "perRetryTimeout".into(),
            json!({"unit": "ms", "value": millis}),
        );
        written["retryPolicy"] = policy.into();
    }
    Ok(written)
}

/// A node was named within the namespace, or as `<name>.<namespace>`.
fn node(object: &Identity, name: &str, nodes: &BTreeSet<(String, String)>) -> Value {
    let is_here = nodes.contains(&(object.namespace.clone(), name.to_owned()));
    match name.split_once('.') {
        Some((name, namespace)) if !is_here => json!({"name": name, "namespace": namespace}),
        _ => json!({"name": name}),
    }
}
