//! Changes of namespaces and services.

use super::{arn, operation, private_namespace, service};
use crate::harness::Api;
use serde_json::{Value, json};

async fn namespace(api: &Api, id: &str) -> Value {
    let answer = api.registry("GetNamespace", json!({ "Id": id })).await;
    answer.ok()["Namespace"].take()
}

async fn described(api: &Api, id: &str) -> Value {
    let answer = api.registry("GetService", json!({ "Id": id })).await;
    answer.ok()["Service"].take()
}

fn ttl(ttl: u32) -> Value {
    json!({ "DnsProperties": { "SOA": { "TTL": ttl } } })
}

#[tokio::test]
async fn namespaces_of_all_types_are_changed() {
    let api = Api::new();
    let http = api
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let private = private_namespace(&api, "a.local").await;
    let public = api
        .namespace("CreatePublicDnsNamespace", json!({ "Name": "a.example" }))
        .await;
    let all = json!({ "Description": "new", "Properties": ttl(7) });
    for (call, id, change, soa) in [
        (
            "UpdateHttpNamespace",
            &http,
            json!({ "Description": "new" }),
            json!({}),
        ),
        // There is no TTL to set, so what older or newer clients send of it is nobody's.
        ("UpdateHttpNamespace", &http, all.clone(), json!({})),
        (
            "UpdatePrivateDnsNamespace",
            &private,
            all.clone(),
            json!({ "TTL": 7 }),
        ),
        (
            "UpdatePublicDnsNamespace",
            &public,
            all,
            json!({ "TTL": 7 }),
        ),
        (
            "UpdatePublicDnsNamespace",
            &public,
            json!({}),
            json!({ "TTL": 7 }),
        ),
        (
            "UpdatePublicDnsNamespace",
            &public,
            json!({ "Properties": ttl(0) }),
            json!({ "TTL": 0 }),
        ),
    ] {
        for id in [id.clone(), arn("namespace", id)] {
            let input = json!({ "Id": id, "Namespace": change });
            let begun = api.registry(call, input).await.ok();
            let operation = operation(&api, begun).await;
            assert_eq!(operation["Type"], "UPDATE_NAMESPACE");
            assert_eq!(operation["Status"], "SUCCESS");
            let changed = namespace(&api, &id).await;
            assert_eq!(operation["Targets"], json!({ "NAMESPACE": changed["Id"] }));
            assert_eq!(changed["Description"], "new", "{call} {change}");
            assert_eq!(changed["Properties"]["DnsProperties"]["SOA"], soa);
        }
    }
    let input = json!({ "Id": http, "Namespace": { "Description": "" } });
    api.registry("UpdateHttpNamespace", input).await.ok();
    assert!(namespace(&api, &http).await.get("Description").is_none());
}

#[tokio::test]
async fn changes_of_namespaces_that_cannot_be_are_refused() {
    let api = Api::new();
    let http = api
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let private = private_namespace(&api, "a.local").await;
    let change = json!({ "Description": "x" });
    let long = "x".repeat(1025);
    for (call, id, change, code) in [
        ("UpdateHttpNamespace", &*http, json!({}), "InvalidInput"),
        (
            "UpdateHttpNamespace",
            &http,
            json!({ "Description": null }),
            "InvalidInput",
        ),
        (
            "UpdateHttpNamespace",
            &http,
            json!({ "Description": long }),
            "InvalidInput",
        ),
        (
            "UpdateHttpNamespace",
            &http,
            json!({ "Description": 1 }),
            "SerializationException",
        ),
        (
            "UpdateHttpNamespace",
            &private,
            change.clone(),
            "InvalidInput",
        ),
        (
            "UpdatePrivateDnsNamespace",
            &http,
            change.clone(),
            "InvalidInput",
        ),
        (
            "UpdatePublicDnsNamespace",
            &private,
            change.clone(),
            "InvalidInput",
        ),
        (
            "UpdateHttpNamespace",
            "ns-none",
            change.clone(),
            "NamespaceNotFound",
        ),
        (
            "UpdateHttpNamespace",
            &arn("service", &http),
            change.clone(),
            "NamespaceNotFound",
        ),
        (
            "UpdateHttpNamespace",
            &"x".repeat(256),
            change.clone(),
            "InvalidInput",
        ),
        (
            "UpdatePrivateDnsNamespace",
            "ns-none",
            change,
            "NamespaceNotFound",
        ),
        (
            "UpdatePrivateDnsNamespace",
            &private,
            json!({ "Properties": {} }),
            "InvalidInput",
        ),
        (
            "UpdatePrivateDnsNamespace",
            &private,
            json!({ "Properties": ttl(1 << 31) }),
            "InvalidInput",
        ),
        (
            "UpdatePrivateDnsNamespace",
            &private,
            json!({ "Properties": { "DnsProperties": { "SOA": {} } } }),
            "InvalidInput",
        ),
    ] {
        let input = json!({ "Id": id, "Namespace": change });
        api.registry(call, input).await.failed(400, code);
    }
    for call in [
        "UpdateHttpNamespace",
        "UpdatePrivateDnsNamespace",
        "UpdatePublicDnsNamespace",
    ] {
        for input in [
            json!({ "Id": private }),
            json!({ "Namespace": { "Description": "x" } }),
        ] {
            api.registry(call, input).await.failed(400, "InvalidInput");
        }
    }
}

#[tokio::test]
async fn a_change_that_is_sent_again_is_one_change() {
    let api = Api::new();
    let id = private_namespace(&api, "a.local").await;
    let input = |token: &str, description: &str| json!({ "Id": id, "UpdaterRequestId": token, "Namespace": { "Description": description } });
    let send = async |input| api.registry("UpdatePrivateDnsNamespace", input).await;
    let first = send(input("t", "one")).await.ok();
    assert_eq!(send(input("t", "one")).await.ok(), first);
    let description = async || {
        let got = api.registry("GetNamespace", json!({ "Id": id })).await.ok();
        got["Namespace"]["Description"].clone()
    };
    // One constant token for every change: each of them is made.
    let second = send(input("t", "two")).await.ok();
    assert_ne!(second, first);
    assert_eq!(description().await, "two");
    assert_ne!(send(input("t", "one")).await.ok(), first);
    assert_eq!(description().await, "one");
    let long = "x".repeat(65);
    send(input(&long, "one")).await.failed(400, "InvalidInput");
}

#[tokio::test]
async fn a_service_is_replaced_but_for_what_stays() {
    let api = Api::new();
    let (namespace, id) = service(&api).await;
    let records = |ttl: u32| json!({ "DnsRecords": [{ "Type": "A", "TTL": ttl }] });
    let shown = |records: &Value| json!({ "NamespaceId": namespace, "RoutingPolicy": "MULTIVALUE", "DnsRecords": records["DnsRecords"] });
    for (change, description, dns) in [
        (
            json!({ "Description": "new", "DnsConfig": records(5) }),
            json!("new"),
            shown(&records(5)),
        ),
        (
            json!({ "DnsConfig": records(6) }),
            json!("new"),
            shown(&records(6)),
        ),
        (
            json!({ "Description": "", "DnsConfig": records(6) }),
            Value::Null,
            shown(&records(6)),
        ),
        (json!({}), Value::Null, json!({})),
    ] {
        for id in [id.clone(), arn("service", &id)] {
            let input = json!({ "Id": id, "Service": change });
            let begun = api.registry("UpdateService", input).await.ok();
            let operation = operation(&api, begun).await;
            let changed = described(&api, &id).await;
            assert_eq!(operation["Type"], "UPDATE_SERVICE");
            let targets = json!({ "SERVICE": changed["Id"], "NAMESPACE": namespace });
            assert_eq!(operation["Targets"], targets);
            assert_eq!(changed["Description"], description, "{change}");
            assert_eq!(changed["DnsConfig"], dns, "{change}");
            let custom = json!({ "FailureThreshold": 1 });
            assert_eq!(changed["HealthCheckCustomConfig"], custom, "it stays");
        }
    }
}

#[tokio::test]
async fn a_health_check_is_replaced_as_a_whole() {
    let api = Api::new();
    let namespace = api
        .namespace("CreatePublicDnsNamespace", json!({ "Name": "a.example" }))
        .await;
    let id = api
        .service(json!({ "Name": "s", "NamespaceId": namespace }))
        .await;
    for check in [
        json!({ "Type": "HTTP", "ResourcePath": "/ready", "FailureThreshold": 2 }),
        json!({ "Type": "HTTP" }),
        Value::Null,
        json!({ "Type": "TCP", "FailureThreshold": 10 }),
    ] {
        let input = json!({ "Id": id, "Service": { "HealthCheckConfig": check } });
        api.registry("UpdateService", input).await.ok();
        assert_eq!(described(&api, &id).await["HealthCheckConfig"], check);
    }
}

#[tokio::test]
async fn changes_of_services_that_cannot_be_are_refused() {
    let api = Api::new();
    let (_, id) = service(&api).await;
    let http = api
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let of_http = api
        .service(json!({ "Name": "s", "NamespaceId": http }))
        .await;
    let records = |kind: &str, ttl: i64| json!({ "DnsConfig": { "DnsRecords": [{ "Type": kind, "TTL": ttl }] } });
    let long = "x".repeat(1025);
    for (id, change, code) in [
        (&*id, records("AAAA", 60), "InvalidInput"),
        (&id, records("MX", 60), "InvalidInput"),
        (&id, records("A", -1), "InvalidInput"),
        (&id, records("A", 1 << 31), "InvalidInput"),
        (&id, json!({ "DnsConfig": {} }), "InvalidInput"),
        (
            &id,
            json!({ "DnsConfig": { "DnsRecords": [{ "Type": "A" }] } }),
            "InvalidInput",
        ),
        (
            &id,
            json!({ "DnsConfig": { "DnsRecords": {} } }),
            "SerializationException",
        ),
        (&id, json!({ "Description": long }), "InvalidInput"),
        (
            &id,
            json!({ "HealthCheckConfig": { "Type": "TCP" } }),
            "InvalidInput",
        ),
        (
            &id,
            json!({ "HealthCheckConfig": { "Type": "ICMP" } }),
            "InvalidInput",
        ),
        (&id, json!({ "HealthCheckConfig": {} }), "InvalidInput"),
        (&of_http, json!({ "Description": "x" }), "InvalidInput"),
        ("srv-none", json!({}), "ServiceNotFound"),
        (&arn("namespace", &id), json!({}), "ServiceNotFound"),
    ] {
        let input = json!({ "Id": id, "Service": change });
        api.registry("UpdateService", input).await.failed(400, code);
    }
    for input in [json!({ "Id": id }), json!({ "Service": {} })] {
        api.registry("UpdateService", input)
            .await
            .failed(400, "InvalidInput");
    }
}
