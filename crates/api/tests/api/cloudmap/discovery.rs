//! Discovery.

use crate::harness::Api;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const NAMESPACE: &str = "howto.pvt.local";

/// A service with instances that are versions of an application; `unhealthy` ones are reported so.
async fn api(health: bool, instances: &[(&str, &str)], unhealthy: &[&str]) -> (Api, String) {
    let api = Api::new();
    let input = json!({ "Name": NAMESPACE, "Vpc": "vpc-1" });
    let namespace = api.namespace("CreatePrivateDnsNamespace", input).await;
    let mut input = json!({
        "Name": "color",
        "NamespaceId": namespace,
        "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 60 }] },
    });
    if health {
        input["HealthCheckCustomConfig"] = json!({});
    }
    let service = api.service(input).await;
    for (id, version) in instances {
        let status = if unhealthy.contains(id) {
            "UNHEALTHY"
        } else {
            "HEALTHY"
        };
        let attributes = json!({
            "AWS_INSTANCE_IPV4": "10.1.2.3",
            "AWS_INIT_HEALTH_STATUS": status,
            "version": version,
        });
        let input = json!({ "ServiceId": service, "InstanceId": id, "Attributes": attributes });
        api.registry("RegisterInstance", input).await.ok();
    }
    (api, service)
}

async fn find(api: &Api, more: Value) -> Value {
    let mut input = json!({ "NamespaceName": NAMESPACE, "ServiceName": "color" });
    for (member, value) in more.as_object().expect("members") {
        input[member] = value.clone();
    }
    api.registry("DiscoverInstances", input).await.ok()
}

fn ids(found: &Value) -> Vec<&str> {
    let items = found["Instances"].as_array().expect("a list").iter();
    items
        .map(|item| item["InstanceId"].as_str().expect("an id"))
        .collect()
}

fn sorted(found: &Value) -> Vec<&str> {
    let mut ids = ids(found);
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn instances_are_found_by_attributes() {
    let (api, _) = api(true, &[("a", "blue"), ("b", "red"), ("c", "blue")], &[]).await;
    let found = find(&api, json!({ "QueryParameters": { "version": "red" } })).await;
    let expected = json!([{
        "InstanceId": "b",
        "NamespaceName": NAMESPACE,
        "ServiceName": "color",
        "HealthStatus": "HEALTHY",
        "Attributes": {
            "AWS_INIT_HEALTH_STATUS": "HEALTHY",
            "AWS_INSTANCE_IPV4": "10.1.2.3",
            "version": "red",
        },
    }]);
    assert_eq!(found["Instances"], expected);
    let found = find(&api, json!({ "QueryParameters": { "version": "blue" } })).await;
    assert_eq!(sorted(&found), ["a", "c"]);
    let both = json!({ "QueryParameters": { "version": "blue", "AWS_INSTANCE_IPV4": "10.0.0.0" } });
    assert!(ids(&find(&api, both).await).is_empty());
}

#[tokio::test]
async fn optional_parameters_give_way_when_nobody_matches() {
    let (api, _) = api(false, &[("a", "blue"), ("b", "red")], &[]).await;
    let found = find(&api, json!({ "OptionalParameters": { "version": "red" } })).await;
    assert_eq!(ids(&found), ["b"]);
    let found = find(
        &api,
        json!({ "OptionalParameters": { "version": "green" } }),
    )
    .await;
    assert_eq!(sorted(&found), ["a", "b"]);
    let input = json!({ "QueryParameters": { "version": "blue" }, "OptionalParameters": { "version": "red" } });
    assert_eq!(ids(&find(&api, input).await), ["a"]);
}

#[tokio::test]
async fn health_filters_choose_where_health_is_known() {
    let instances = [("a", "1"), ("b", "1"), ("c", "1")];
    let (known, service) = api(true, &instances, &["b", "c"]).await;
    for (filter, expected) in [
        (json!({}), vec!["a"]),
        (json!({ "HealthStatus": "HEALTHY" }), vec!["a"]),
        (json!({ "HealthStatus": "UNHEALTHY" }), vec!["b", "c"]),
        (json!({ "HealthStatus": "ALL" }), vec!["a", "b", "c"]),
        (json!({ "HealthStatus": "HEALTHY_OR_ELSE_ALL" }), vec!["a"]),
    ] {
        let found = find(&known, filter.clone()).await;
        assert_eq!(sorted(&found), expected, "{filter}");
    }
    let input = json!({ "ServiceId": service, "InstanceId": "a", "Status": "UNHEALTHY" });
    known
        .registry("UpdateInstanceCustomHealthStatus", input)
        .await
        .ok();
    assert!(ids(&find(&known, json!({})).await).is_empty());
    let open = find(&known, json!({ "HealthStatus": "HEALTHY_OR_ELSE_ALL" })).await;
    assert_eq!(sorted(&open), ["a", "b", "c"], "fails open");

    let (unknown, _) = api(false, &instances, &["b"]).await;
    let found = find(&unknown, json!({ "HealthStatus": "UNHEALTHY" })).await;
    assert_eq!(sorted(&found), ["a", "b", "c"], "the filter means nothing");
    assert_eq!(found["Instances"][0]["HealthStatus"], "UNKNOWN");
}

#[tokio::test]
async fn the_order_is_random_and_the_number_is_bounded() {
    let names: Vec<String> = (0..120).map(|i| format!("i{i:03}")).collect();
    let instances: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let (api, _) = api(false, &instances, &[]).await;
    assert_eq!(ids(&find(&api, json!({})).await).len(), 100, "the default");
    assert_eq!(
        ids(&find(&api, json!({ "MaxResults": 1000 })).await).len(),
        120
    );
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let found = find(&api, json!({ "MaxResults": 2 })).await;
        assert_eq!(ids(&found).len(), 2);
        seen.insert(ids(&found)[0].to_owned());
    }
    // With 120 equal chances, 200 draws miss half of them once in 10^20 runs.
    assert!(seen.len() > 60, "only {} different firsts", seen.len());
}

#[tokio::test]
async fn the_revision_grows_with_registrations() {
    let (api, service) = api(true, &[("a", "1")], &[]).await;
    let input = json!({ "NamespaceName": NAMESPACE, "ServiceName": "color" });
    let revision = async || {
        let answer = api
            .registry("DiscoverInstancesRevision", input.clone())
            .await
            .ok();
        answer["InstancesRevision"].as_u64().expect("an integer")
    };
    let first = revision().await;
    assert_eq!(find(&api, json!({})).await["InstancesRevision"], first);
    let instance = json!({ "ServiceId": service, "InstanceId": "b", "Attributes": { "AWS_INSTANCE_IPV4": "10.0.0.1" } });
    api.registry("RegisterInstance", instance).await.ok();
    let second = revision().await;
    assert!(second > first);
    let gone = json!({ "ServiceId": service, "InstanceId": "b" });
    api.registry("DeregisterInstance", gone).await.ok();
    assert!(revision().await > second);
}

#[tokio::test]
async fn unknown_names_and_broken_bounds_are_refused() {
    let (api, _) = api(true, &[], &[]).await;
    for operation in ["DiscoverInstances", "DiscoverInstancesRevision"] {
        for (input, code) in [
            (
                json!({ "NamespaceName": "none", "ServiceName": "color" }),
                "NamespaceNotFound",
            ),
            (
                json!({ "NamespaceName": NAMESPACE, "ServiceName": "none" }),
                "ServiceNotFound",
            ),
            (
                json!({ "NamespaceName": NAMESPACE, "ServiceName": "color", "OwnerAccount": "999999999999" }),
                "NamespaceNotFound",
            ),
            (
                json!({ "NamespaceName": "", "ServiceName": "color" }),
                "InvalidInput",
            ),
            (
                json!({ "NamespaceName": "a b", "ServiceName": "color" }),
                "InvalidInput",
            ),
            (json!({ "NamespaceName": NAMESPACE }), "InvalidInput"),
        ] {
            api.registry(operation, input).await.failed(400, code);
        }
    }
    for more in [
        json!({ "MaxResults": 0 }),
        json!({ "MaxResults": 1001 }),
        json!({ "HealthStatus": "SICK" }),
    ] {
        let mut input = more;
        input["NamespaceName"] = NAMESPACE.into();
        input["ServiceName"] = "color".into();
        api.registry("DiscoverInstances", input)
            .await
            .failed(400, "InvalidInput");
    }
    let found = find(&api, json!({})).await;
    assert_eq!(found, json!({ "Instances": [], "InstancesRevision": 0 }));
}

#[tokio::test]
async fn escaped_names_are_read() {
    let (api, _) = api(false, &[("a", "1")], &[]).await;
    let body = format!(r#"{{"NamespaceName":"{NAMESPACE}","ServiceName":"\u0063olor"}}"#);
    let found = api.registry_text("DiscoverInstances", body).await.ok();
    assert_eq!(ids(&found), ["a"]);
}
