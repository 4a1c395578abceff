//! Services.

use super::{private_namespace, register, service};
use crate::harness::{ACCOUNT, Api, REGION};
use serde_json::{Value, json};

#[tokio::test]
async fn services_echo_what_clients_compare() {
    let api = Api::new();
    let (namespace, id) = service(&api).await;
    let arn = format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:service/{id}");
    let mut service = api.registry("GetService", json!({ "Id": arn })).await.ok()["Service"].take();
    assert!(service["CreateDate"].is_f64());
    service["CreateDate"] = Value::Null;
    let expected = json!({
        "Id": id,
        "Arn": arn,
        "ResourceOwner": ACCOUNT,
        "Name": "color",
        "NamespaceId": namespace,
        "InstanceCount": 0,
        "DnsConfig": {
            "NamespaceId": namespace,
            "RoutingPolicy": "MULTIVALUE",
            "DnsRecords": [{ "Type": "A", "TTL": 60 }],
        },
        "Type": "DNS_HTTP",
        "HealthCheckCustomConfig": { "FailureThreshold": 1 },
        "CreateDate": null,
        "CreatorRequestId": "s1",
        "CreatedByAccount": ACCOUNT,
    });
    assert_eq!(service, expected);
    let namespace = api
        .registry("GetNamespace", json!({ "Id": namespace }))
        .await
        .ok();
    assert_eq!(namespace["Namespace"]["ServiceCount"], 1);
}

#[tokio::test]
async fn a_namespace_may_be_named_in_the_old_place_and_by_arn() {
    let api = Api::new();
    let namespace = private_namespace(&api, "ns.local").await;
    let arn = format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{namespace}");
    let dns = json!({ "NamespaceId": arn, "RoutingPolicy": "WEIGHTED", "DnsRecords": [{ "Type": "CNAME", "TTL": 0 }] });
    let input = json!({ "Name": "old", "DnsConfig": dns });
    let made = api.registry("CreateService", input).await.ok();
    assert_eq!(
        made["Service"]["DnsConfig"]["NamespaceId"], namespace,
        "always the bare id"
    );
    let input = json!({ "Name": "http", "NamespaceId": arn, "Type": "HTTP" });
    let made = api.registry("CreateService", input).await.ok();
    assert_eq!(
        (&made["Service"]["Type"], &made["Service"]["DnsConfig"]),
        (&json!("HTTP"), &json!({}))
    );
}

#[tokio::test]
async fn services_that_cannot_be_are_refused() {
    let api = Api::new();
    let (namespace, id) = service(&api).await;
    let body = api
        .registry("CreateService", json!({ "Name": "COLOR", "NamespaceId": namespace, "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 1 }] } }))
        .await
        .failed(400, "ServiceAlreadyExists");
    assert_eq!(
        (&body["ServiceId"], &body["CreatorRequestId"]),
        (&json!(id), &json!("s1"))
    );
    assert!(body["ServiceArn"].is_string());
    for (input, code) in [
        (json!({ "Name": "x" }), "InvalidInput"),
        (json!({ "NamespaceId": namespace }), "InvalidInput"),
        (
            json!({ "Name": "x", "NamespaceId": "ns-none" }),
            "NamespaceNotFound",
        ),
        (
            json!({ "Name": "x", "NamespaceId": format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:service/{id}") }),
            "NamespaceNotFound",
        ),
        (
            json!({ "Name": "x", "NamespaceId": namespace, "Type": "DNS" }),
            "InvalidInput",
        ),
        (
            json!({ "Name": "x", "NamespaceId": namespace, "DnsConfig": { "DnsRecords": [{ "Type": "MX", "TTL": 1 }] } }),
            "InvalidInput",
        ),
        (
            json!({ "Name": "x", "NamespaceId": namespace, "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": -1 }] } }),
            "InvalidInput",
        ),
        (
            json!({ "Name": "x", "NamespaceId": namespace, "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 2147483648u32 }] } }),
            "InvalidInput",
        ),
        (
            json!({ "Name": "x", "NamespaceId": namespace, "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": "1" }] } }),
            "SerializationException",
        ),
        (
            json!({ "Name": "x", "NamespaceId": namespace, "HealthCheckCustomConfig": { "FailureThreshold": 11 } }),
            "InvalidInput",
        ),
    ] {
        api.registry("CreateService", input).await.failed(400, code);
    }
}

#[tokio::test]
async fn services_are_listed_by_namespace_in_pages() {
    let api = Api::new();
    let one = api
        .namespace("CreateHttpNamespace", json!({ "Name": "one" }))
        .await;
    let two = api
        .namespace("CreateHttpNamespace", json!({ "Name": "two" }))
        .await;
    for name in ["a", "b", "c"] {
        api.service(json!({ "Name": name, "NamespaceId": one }))
            .await;
    }
    api.service(json!({ "Name": "z", "NamespaceId": two }))
        .await;
    let list = api.registry("ListServices", json!({})).await.ok();
    assert_eq!(list["Services"].as_array().map(Vec::len), Some(4));
    let filter = json!([{ "Name": "NAMESPACE_ID", "Values": [one], "Condition": "EQ" }]);
    let first = api
        .registry(
            "ListServices",
            json!({ "Filters": filter, "MaxResults": 2 }),
        )
        .await
        .ok();
    assert_eq!(
        (&first["Services"][0]["Name"], &first["Services"][1]["Name"]),
        (&json!("a"), &json!("b"))
    );
    assert!(first["Services"][0].get("CreatorRequestId").is_none());
    let next = json!({ "Filters": filter, "NextToken": first["NextToken"] });
    let second = api.registry("ListServices", next).await.ok();
    assert_eq!(second["Services"].as_array().map(Vec::len), Some(1));
    let filter = json!([{ "Name": "NAMESPACE_ID", "Values": ["ns-none"] }]);
    let none = api
        .registry("ListServices", json!({ "Filters": filter }))
        .await
        .ok();
    assert_eq!(none, json!({ "Services": [] }));
}

#[tokio::test]
async fn parents_go_after_their_children() {
    let api = Api::new();
    let (namespace, service) = service(&api).await;
    register(&api, &service, "a").await;
    api.registry("DeleteNamespace", json!({ "Id": namespace }))
        .await
        .failed(400, "ResourceInUse");
    api.registry("DeleteService", json!({ "Id": service }))
        .await
        .failed(400, "ResourceInUse");
    api.registry(
        "DeregisterInstance",
        json!({ "ServiceId": service, "InstanceId": "a" }),
    )
    .await
    .ok();
    assert_eq!(
        api.registry("DeleteService", json!({ "Id": service }))
            .await
            .ok(),
        json!({})
    );
    api.registry("DeleteService", json!({ "Id": service }))
        .await
        .failed(400, "ServiceNotFound");
    api.registry("GetService", json!({ "Id": service }))
        .await
        .failed(400, "ServiceNotFound");
    let deleted = api
        .registry("DeleteNamespace", json!({ "Id": namespace }))
        .await
        .ok();
    assert!(deleted["OperationId"].is_string());
    api.registry("DeleteNamespace", json!({ "Id": namespace }))
        .await
        .failed(400, "NamespaceNotFound");
    api.registry("GetNamespace", json!({ "Id": namespace }))
        .await
        .failed(400, "NamespaceNotFound");
}
