//! The bounds of members that several operations have, and of those that only reading ones have.

use super::{register, service};
use crate::harness::{ACCOUNT, Api};
use serde_json::{Value, json};

/// An input with one member set; `None` takes it away.
fn with(input: &Value, member: &str, value: Option<Value>) -> Value {
    let mut input = input.clone();
    let members = input.as_object_mut().expect("an object");
    match value {
        Some(value) => members.insert(member.into(), value),
        None => members.remove(member),
    };
    input
}

/// Legal inputs, one for each operation that changes or reads something that is there.
fn legal(namespace: &str, service: &str) -> Vec<(&'static str, Value)> {
    let id = |id: &str| json!({ "Id": id });
    let instance = json!({ "ServiceId": service, "InstanceId": "a" });
    let attributes = json!({ "AWS_INSTANCE_IPV4": "10.1.2.3" });
    let of_service = json!({ "ServiceId": service });
    let names = json!({ "NamespaceName": "ns.local", "ServiceName": "color" });
    vec![
        ("GetNamespace", id(namespace)),
        ("GetService", id(service)),
        ("ListInstances", of_service.clone()),
        ("GetInstancesHealthStatus", of_service.clone()),
        ("GetServiceAttributes", of_service.clone()),
        ("GetInstance", instance.clone()),
        ("DiscoverInstances", names.clone()),
        ("DiscoverInstancesRevision", names),
        (
            "UpdateServiceAttributes",
            with(&of_service, "Attributes", Some(json!({ "a": "b" }))),
        ),
        (
            "DeleteServiceAttributes",
            with(&of_service, "Attributes", Some(json!(["a"]))),
        ),
        (
            "UpdateInstanceCustomHealthStatus",
            with(&instance, "Status", Some(json!("HEALTHY"))),
        ),
        (
            "RegisterInstance",
            with(&instance, "Attributes", Some(attributes)),
        ),
        (
            "UpdateService",
            json!({ "Id": service, "Service": { "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 60 }] } } }),
        ),
        (
            "UpdatePrivateDnsNamespace",
            json!({ "Id": namespace, "Namespace": {} }),
        ),
        ("DeregisterInstance", instance),
        ("DeleteService", id(service)),
        ("DeleteNamespace", id(namespace)),
    ]
}

#[tokio::test]
async fn every_required_member_is_required_and_bounded() {
    let api = Api::new();
    let (namespace, service) = service(&api).await;
    register(&api, &service, "a").await;
    let long = |count| json!("x".repeat(count));
    for (operation, input) in legal(&namespace, &service) {
        for member in input.as_object().expect("an object").keys() {
            let absent = with(&input, member, None);
            api.registry(operation, absent)
                .await
                .failed(400, "InvalidInput");
            let null = with(&input, member, Some(Value::Null));
            api.registry(operation, null)
                .await
                .failed(400, "InvalidInput");
            let number = with(&input, member, Some(json!(1)));
            api.registry(operation, number)
                .await
                .failed(400, "SerializationException");
            let most = match member.as_str() {
                "Id" | "ServiceId" => 255,
                "InstanceId" => 64,
                "NamespaceName" => 1024,
                "ServiceName" => 127,
                "Status" => 0,
                _ => continue,
            };
            let longer = with(&input, member, Some(long(most + 1)));
            api.registry(operation, longer)
                .await
                .failed(400, "InvalidInput");
        }
        // What a newer client sends besides is nobody's.
        let more = with(&input, "Moon", Some(json!({ "Phase": 1 })));
        api.registry(operation, more).await.ok();
    }
}

#[tokio::test]
async fn members_that_may_be_absent_are_bounded_too() {
    let api = Api::new();
    let (_, service) = service(&api).await;
    register(&api, &service, "a").await;
    let long = |count: usize| "x".repeat(count);
    let names = json!({ "NamespaceName": "ns.local", "ServiceName": "color" });
    let of_service = json!({ "ServiceId": service });
    let operation = json!({ "OperationId": "x" });
    let long_key = long(256);
    for (call, input, member, value, code) in [
        (
            "GetOperation",
            &operation,
            "OperationId",
            json!(long(256)),
            "InvalidInput",
        ),
        (
            "GetOperation",
            &operation,
            "OperationId",
            json!(long(255)),
            "OperationNotFound",
        ),
        (
            "GetOperation",
            &operation,
            "OwnerAccount",
            json!("1"),
            "InvalidInput",
        ),
        (
            "GetOperation",
            &operation,
            "OwnerAccount",
            json!(ACCOUNT),
            "OperationNotFound",
        ),
        (
            "DiscoverInstances",
            &names,
            "OwnerAccount",
            json!("1"),
            "InvalidInput",
        ),
        (
            "DiscoverInstancesRevision",
            &names,
            "OwnerAccount",
            json!("1"),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "OwnerAccount",
            json!("999999999999"),
            "NamespaceNotFound",
        ),
        (
            "DiscoverInstances",
            &names,
            "ServiceName",
            json!("_"),
            "InvalidInput",
        ),
        (
            "DiscoverInstancesRevision",
            &names,
            "ServiceName",
            json!("a b"),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "QueryParameters",
            json!({ "": "" }),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "QueryParameters",
            json!({ "a b": "" }),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "QueryParameters",
            json!({ "a": long(1025) }),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "OptionalParameters",
            json!({ long_key: "" }),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "OptionalParameters",
            json!({ "a": " b" }),
            "InvalidInput",
        ),
        (
            "DiscoverInstances",
            &names,
            "OptionalParameters",
            json!({ "a": 1 }),
            "SerializationException",
        ),
        (
            "GetInstancesHealthStatus",
            &of_service,
            "Instances",
            json!([long(65)]),
            "InvalidInput",
        ),
        (
            "GetInstancesHealthStatus",
            &of_service,
            "MaxResults",
            json!(101),
            "InvalidInput",
        ),
        (
            "ListInstances",
            &of_service,
            "MaxResults",
            json!(0),
            "InvalidInput",
        ),
        (
            "ListInstances",
            &of_service,
            "NextToken",
            json!(long(4097)),
            "InvalidInput",
        ),
    ] {
        let input = with(input, member, Some(value));
        api.registry(call, input).await.failed(400, code);
    }
    // Members of other operations are unknown here.
    let input = with(&names, "MaxResults", Some(json!("many")));
    api.registry("DiscoverInstancesRevision", input).await.ok();
}

#[tokio::test]
async fn creations_are_bounded() {
    let api = Api::new();
    let (namespace, _) = service(&api).await;
    let long = |count: usize| json!("x".repeat(count));
    let plain = json!({ "Name": "a.example" });
    let private = json!({ "Name": "a.example", "Vpc": "v" });
    let of_service = json!({ "Name": "s", "NamespaceId": namespace });
    let soa = |soa: Value| json!({ "DnsProperties": { "SOA": soa } });
    for (call, input, member, value) in [
        ("CreateHttpNamespace", &plain, "Name", long(1025)),
        ("CreateHttpNamespace", &plain, "Name", json!("arn:x")),
        ("CreateHttpNamespace", &plain, "Description", long(1025)),
        ("CreateHttpNamespace", &plain, "CreatorRequestId", long(65)),
        (
            "CreateHttpNamespace",
            &plain,
            "Tags",
            json!([{ "Key": "", "Value": "" }]),
        ),
        ("CreatePublicDnsNamespace", &plain, "Name", json!("example")),
        ("CreatePublicDnsNamespace", &plain, "Properties", json!({})),
        (
            "CreatePublicDnsNamespace",
            &plain,
            "Properties",
            json!({ "DnsProperties": {} }),
        ),
        (
            "CreatePublicDnsNamespace",
            &plain,
            "Properties",
            soa(json!({})),
        ),
        (
            "CreatePublicDnsNamespace",
            &plain,
            "Properties",
            soa(json!({ "TTL": -1 })),
        ),
        (
            "CreatePublicDnsNamespace",
            &plain,
            "Properties",
            soa(json!({ "TTL": 1u32 << 31 })),
        ),
        (
            "CreatePrivateDnsNamespace",
            &plain,
            "Description",
            json!("without a VPC"),
        ),
        ("CreatePrivateDnsNamespace", &private, "Name", long(254)),
        ("CreatePrivateDnsNamespace", &private, "Vpc", long(65)),
        ("CreatePrivateDnsNamespace", &private, "Vpc", Value::Null),
        ("CreateService", &of_service, "Name", json!("_")),
        ("CreateService", &of_service, "NamespaceId", long(256)),
        ("CreateService", &of_service, "CreatorRequestId", long(65)),
        ("CreateService", &of_service, "Description", long(1025)),
        ("CreateService", &of_service, "Type", json!("DNS_HTTP")),
        ("CreateService", &of_service, "DnsConfig", json!({})),
        (
            "CreateService",
            &of_service,
            "DnsConfig",
            json!({ "DnsRecords": [] }),
        ),
        (
            "CreateService",
            &of_service,
            "DnsConfig",
            json!({ "DnsRecords": [{ "Type": "A" }] }),
        ),
        (
            "CreateService",
            &of_service,
            "DnsConfig",
            json!({ "NamespaceId": "x".repeat(65), "DnsRecords": [{ "Type": "A", "TTL": 1 }] }),
        ),
        (
            "CreateService",
            &of_service,
            "DnsConfig",
            json!({ "RoutingPolicy": "NEAREST", "DnsRecords": [{ "Type": "A", "TTL": 1 }] }),
        ),
        ("CreateService", &of_service, "HealthCheckConfig", json!({})),
        (
            "CreateService",
            &of_service,
            "HealthCheckConfig",
            json!({ "Type": "HTTP" }),
        ),
        (
            "CreateService",
            &of_service,
            "HealthCheckCustomConfig",
            json!({ "FailureThreshold": 0 }),
        ),
        (
            "CreateService",
            &of_service,
            "Tags",
            json!([{ "Key": "k" }]),
        ),
    ] {
        let input = with(input, member, Some(value));
        api.registry(call, input).await.failed(400, "InvalidInput");
    }
    let http = api
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let of_http = json!({ "Name": "s", "NamespaceId": http });
    for check in [
        json!({ "Type": "TCP", "ResourcePath": "/" }),
        json!({ "Type": "HTTP", "ResourcePath": "x".repeat(256) }),
        json!({ "Type": "HTTP", "FailureThreshold": 0 }),
        json!({ "Type": "HTTP", "FailureThreshold": 11 }),
        json!({ "Type": "UDP" }),
    ] {
        let input = with(&of_http, "HealthCheckConfig", Some(check));
        api.registry("CreateService", input)
            .await
            .failed(400, "InvalidInput");
    }
    // Members of the other types are unknown here.
    let input = json!({ "Name": "more", "Vpc": 1, "Properties": [] });
    api.registry("CreateHttpNamespace", input).await.ok();
    let input = json!({ "Name": "more.example", "Vpc": 1 });
    api.registry("CreatePublicDnsNamespace", input).await.ok();
}

#[tokio::test]
async fn services_are_listed_by_namespaces_that_are_named_by_arn() {
    let api = Api::new();
    let (namespace, _) = service(&api).await;
    for (id, count) in [
        (namespace.clone(), 1),
        (super::arn("namespace", &namespace), 1),
        (super::arn("service", &namespace), 0),
        (
            "arn:aws:servicediscovery:mars:999999999999:namespace/x".into(),
            0,
        ),
    ] {
        let input = json!({ "Filters": [{ "Name": "NAMESPACE_ID", "Values": [id] }] });
        let list = api.registry("ListServices", input).await.ok();
        assert_eq!(
            list["Services"].as_array().map(Vec::len),
            Some(count),
            "{id}"
        );
    }
}
