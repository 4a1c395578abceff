//! The Cloud Map door, without discovery.

use crate::harness::{ACCOUNT, Doors, REGION};
use serde_json::{Value, json};

fn private(name: &str) -> Value {
    json!({ "Name": name, "Vpc": "vpc-1", "CreatorRequestId": format!("token-{name}") })
}

async fn private_namespace(doors: &Doors, name: &str) -> String {
    doors
        .namespace("CreatePrivateDnsNamespace", private(name))
        .await
}

/// A private namespace with a service of A records and custom health.
async fn service(doors: &Doors) -> (String, String) {
    let namespace = private_namespace(doors, "ns.local").await;
    let service = doors
        .service(json!({
            "Name": "color",
            "NamespaceId": namespace,
            "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 60 }] },
            "HealthCheckCustomConfig": {},
            "CreatorRequestId": "s1",
        }))
        .await;
    (namespace, service)
}

async fn register(doors: &Doors, service: &str, id: &str) {
    let input = json!({
        "ServiceId": service,
        "InstanceId": id,
        "Attributes": { "AWS_INSTANCE_IPV4": "10.1.2.3", "k8s.io/pod": id },
    });
    doors.registry("RegisterInstance", input).await.ok();
}

#[tokio::test]
async fn all_three_types_of_namespace_have_the_documented_shape() {
    let doors = Doors::new();
    let input = json!({
        "Name": "private.local",
        "Vpc": "vpc-1",
        "Description": "of the test",
        "CreatorRequestId": "p",
        "Tags": [{ "Key": "a", "Value": "" }],
        "Properties": { "DnsProperties": { "SOA": { "TTL": 30 } } },
    });
    let id = doors.namespace("CreatePrivateDnsNamespace", input).await;
    let answer = doors.registry("GetNamespace", json!({ "Id": id })).await;
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(answer.header("x-amzn-requestid").len(), 36);
    let mut namespace = answer.ok()["Namespace"].take();
    assert!(namespace["CreateDate"].is_f64());
    let zone = namespace["Properties"]["DnsProperties"]["HostedZoneId"].take();
    assert!(zone.as_str().is_some_and(|zone| zone.starts_with('Z')));
    namespace["CreateDate"] = Value::Null;
    let expected = json!({
        "Id": id,
        "Arn": format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{id}"),
        "ResourceOwner": ACCOUNT,
        "Name": "private.local",
        "Type": "DNS_PRIVATE",
        "Description": "of the test",
        "ServiceCount": 0,
        "Properties": {
            "DnsProperties": { "HostedZoneId": null, "SOA": { "TTL": 30 } },
            "HttpProperties": { "HttpName": "private.local" },
        },
        "CreateDate": null,
        "CreatorRequestId": "p",
    });
    assert_eq!(namespace, expected);

    let id = doors
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let namespace = doors
        .registry("GetNamespace", json!({ "Id": id }))
        .await
        .ok();
    assert_eq!(namespace["Namespace"]["Type"], "HTTP");
    assert_eq!(
        namespace["Namespace"]["Properties"]["DnsProperties"],
        json!({ "SOA": {} })
    );
    let id = doors
        .namespace("CreatePublicDnsNamespace", json!({ "Name": "a.example" }))
        .await;
    let arn = format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{id}");
    let namespace = doors
        .registry("GetNamespace", json!({ "Id": arn }))
        .await
        .ok();
    assert_eq!(namespace["Namespace"]["Type"], "DNS_PUBLIC");
}

#[tokio::test]
async fn an_existing_namespace_is_told_with_its_id_and_token() {
    let doors = Doors::new();
    let id = private_namespace(&doors, "a.local").await;
    let again = doors
        .registry("CreatePrivateDnsNamespace", private("a.local"))
        .await
        .ok();
    assert!(again["OperationId"].is_string(), "the same call again");
    let failure = doors
        .registry("CreateHttpNamespace", json!({ "Name": "a.local" }))
        .await;
    let body = failure.failed(400, "NamespaceAlreadyExists");
    assert_eq!(
        (&body["NamespaceId"], &body["CreatorRequestId"]),
        (&json!(id), &json!("token-a.local"))
    );
    assert!(
        body["Message"].is_string(),
        "Cloud Map writes it with a capital letter"
    );
}

#[tokio::test]
async fn namespaces_are_filtered_and_paged() {
    let doors = Doors::new();
    for name in ["a.local", "b.local", "c.other"] {
        private_namespace(&doors, name).await;
    }
    doors
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let names = |answer: Value| -> Vec<String> {
        let items = answer["Namespaces"].as_array().expect("a list").iter();
        let mut names: Vec<String> = items
            .map(|item| item["Name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    for (filters, expected) in [
        (json!([]), vec!["a.local", "b.local", "c.other", "http"]),
        (
            json!([{ "Name": "TYPE", "Values": ["HTTP"] }]),
            vec!["http"],
        ),
        (
            json!([{ "Name": "TYPE", "Values": ["DNS_"], "Condition": "BEGINS_WITH" }]),
            vec!["a.local", "b.local", "c.other"],
        ),
        (
            json!([{ "Name": "NAME", "Values": ["b.local"], "Condition": "EQ" }]),
            vec!["b.local"],
        ),
        (
            json!([{ "Name": "HTTP_NAME", "Values": ["c"], "Condition": "BEGINS_WITH" }]),
            vec!["c.other"],
        ),
        (
            json!([{ "Name": "NAME", "Values": ["a.local"] }, { "Name": "TYPE", "Values": ["HTTP"] }]),
            vec![],
        ),
        (
            json!([{ "Name": "RESOURCE_OWNER", "Values": ["SELF"] }]),
            vec!["a.local", "b.local", "c.other", "http"],
        ),
        (
            json!([{ "Name": "RESOURCE_OWNER", "Values": ["OTHER_ACCOUNTS"] }]),
            vec![],
        ),
    ] {
        let list = doors
            .registry("ListNamespaces", json!({ "Filters": filters }))
            .await
            .ok();
        assert_eq!(names(list), expected, "{filters}");
    }
    for filter in [
        json!({ "Name": "COLOR", "Values": ["red"] }),
        json!({ "Name": "NAME", "Values": [] }),
        json!({ "Name": "NAME", "Values": ["a", "b"] }),
        json!({ "Name": "NAME", "Values": ["a"], "Condition": "BETWEEN" }),
        json!({ "Name": "NAME", "Values": ["a"], "Condition": "LIKE" }),
        json!({ "Name": "NAME" }),
    ] {
        let answer = doors
            .registry("ListNamespaces", json!({ "Filters": [filter] }))
            .await;
        answer.failed(400, "InvalidInput");
    }

    let mut seen = Vec::new();
    let mut input = json!({ "MaxResults": 3 });
    loop {
        let page = doors.registry("ListNamespaces", input.clone()).await.ok();
        let token = page.get("NextToken").cloned();
        seen.extend(names(page));
        match token {
            Some(token) => input = json!({ "NextToken": token }),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, ["a.local", "b.local", "c.other", "http"]);
    for input in [
        json!({ "MaxResults": 0 }),
        json!({ "MaxResults": 101 }),
        json!({ "NextToken": "x" }),
    ] {
        doors
            .registry("ListNamespaces", input)
            .await
            .failed(400, "InvalidInput");
    }
}

#[tokio::test]
async fn services_echo_what_clients_compare() {
    let doors = Doors::new();
    let (namespace, id) = service(&doors).await;
    let arn = format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:service/{id}");
    let mut service = doors
        .registry("GetService", json!({ "Id": arn }))
        .await
        .ok()["Service"]
        .take();
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
    let namespace = doors
        .registry("GetNamespace", json!({ "Id": namespace }))
        .await
        .ok();
    assert_eq!(namespace["Namespace"]["ServiceCount"], 1);
}

#[tokio::test]
async fn a_namespace_may_be_named_in_the_old_place_and_by_arn() {
    let doors = Doors::new();
    let namespace = private_namespace(&doors, "ns.local").await;
    let arn = format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{namespace}");
    let dns = json!({ "NamespaceId": arn, "RoutingPolicy": "WEIGHTED", "DnsRecords": [{ "Type": "CNAME", "TTL": 0 }] });
    let input = json!({ "Name": "old", "DnsConfig": dns });
    let made = doors.registry("CreateService", input).await.ok();
    assert_eq!(
        made["Service"]["DnsConfig"]["NamespaceId"], namespace,
        "always the bare id"
    );
    let input = json!({ "Name": "http", "NamespaceId": arn, "Type": "HTTP" });
    let made = doors.registry("CreateService", input).await.ok();
    assert_eq!(
        (&made["Service"]["Type"], &made["Service"]["DnsConfig"]),
        (&json!("HTTP"), &json!({}))
    );
}

#[tokio::test]
async fn services_that_cannot_be_are_refused() {
    let doors = Doors::new();
    let (namespace, id) = service(&doors).await;
    let body = doors
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
        doors
            .registry("CreateService", input)
            .await
            .failed(400, code);
    }
}

#[tokio::test]
async fn services_are_listed_by_namespace_in_pages() {
    let doors = Doors::new();
    let one = doors
        .namespace("CreateHttpNamespace", json!({ "Name": "one" }))
        .await;
    let two = doors
        .namespace("CreateHttpNamespace", json!({ "Name": "two" }))
        .await;
    for name in ["a", "b", "c"] {
        doors
            .service(json!({ "Name": name, "NamespaceId": one }))
            .await;
    }
    doors
        .service(json!({ "Name": "z", "NamespaceId": two }))
        .await;
    let list = doors.registry("ListServices", json!({})).await.ok();
    assert_eq!(list["Services"].as_array().map(Vec::len), Some(4));
    let filter = json!([{ "Name": "NAMESPACE_ID", "Values": [one], "Condition": "EQ" }]);
    let first = doors
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
    let second = doors.registry("ListServices", next).await.ok();
    assert_eq!(second["Services"].as_array().map(Vec::len), Some(1));
    let filter = json!([{ "Name": "NAMESPACE_ID", "Values": ["ns-none"] }]);
    let none = doors
        .registry("ListServices", json!({ "Filters": filter }))
        .await
        .ok();
    assert_eq!(none, json!({ "Services": [] }));
}

#[tokio::test]
async fn instances_are_registered_replaced_listed_and_deregistered() {
    let doors = Doors::new();
    let (_, service) = service(&doors).await;
    for id in ["a", "b", "c"] {
        register(&doors, &service, id).await;
    }
    let input = json!({
        "ServiceId": service,
        "InstanceId": "a",
        "Attributes": { "AWS_INSTANCE_IPV4": "10.9.9.9" },
        "CreatorRequestId": "again",
    });
    let operation = doors.registry("RegisterInstance", input.clone()).await.ok();
    assert_eq!(
        doors.registry("RegisterInstance", input.clone()).await.ok(),
        operation,
        "a retry"
    );
    let mut other = input.clone();
    other["Attributes"]["AWS_INSTANCE_IPV4"] = "10.9.9.8".into();
    let body = doors
        .registry("RegisterInstance", other)
        .await
        .failed(400, "DuplicateRequest");
    assert_eq!(body["DuplicateOperationId"], operation["OperationId"]);

    let got = doors
        .registry(
            "GetInstance",
            json!({ "ServiceId": service, "InstanceId": "a" }),
        )
        .await;
    let expected = json!({
        "ResourceOwner": ACCOUNT,
        "Instance": {
            "Id": "a",
            "CreatorRequestId": "again",
            "Attributes": { "AWS_INSTANCE_IPV4": "10.9.9.9" },
            "CreatedByAccount": ACCOUNT,
        },
    });
    assert_eq!(got.ok(), expected);

    let input = json!({ "ServiceId": service, "MaxResults": 2 });
    let first = doors.registry("ListInstances", input).await.ok();
    assert_eq!(
        (&first["Instances"][0]["Id"], &first["Instances"][1]["Id"]),
        (&json!("a"), &json!("b"))
    );
    doors
        .registry(
            "DeregisterInstance",
            json!({ "ServiceId": service, "InstanceId": "b" }),
        )
        .await
        .ok();
    let next = json!({ "ServiceId": service, "NextToken": first["NextToken"] });
    let second = doors.registry("ListInstances", next).await.ok();
    assert_eq!(second["Instances"].as_array().map(Vec::len), Some(1));
    assert!(second.get("NextToken").is_none());

    for (operation, input, code) in [
        (
            "GetInstance",
            json!({ "ServiceId": service, "InstanceId": "b" }),
            "InstanceNotFound",
        ),
        (
            "DeregisterInstance",
            json!({ "ServiceId": service, "InstanceId": "b" }),
            "InstanceNotFound",
        ),
        (
            "DeregisterInstance",
            json!({ "ServiceId": "srv-none", "InstanceId": "b" }),
            "ServiceNotFound",
        ),
        (
            "ListInstances",
            json!({ "ServiceId": "srv-none" }),
            "ServiceNotFound",
        ),
        (
            "RegisterInstance",
            json!({ "ServiceId": "srv-none", "InstanceId": "b", "Attributes": { "a": "b" } }),
            "ServiceNotFound",
        ),
        (
            "RegisterInstance",
            json!({ "ServiceId": service, "InstanceId": "b", "Attributes": {} }),
            "InvalidInput",
        ),
        (
            "RegisterInstance",
            json!({ "ServiceId": service, "InstanceId": "a b", "Attributes": { "AWS_INSTANCE_IPV4": "1.1.1.1" } }),
            "InvalidInput",
        ),
        (
            "RegisterInstance",
            json!({ "ServiceId": service, "InstanceId": "b" }),
            "InvalidInput",
        ),
        (
            "RegisterInstance",
            json!({ "ServiceId": service, "InstanceId": "b", "Attributes": { "a": 1 } }),
            "SerializationException",
        ),
    ] {
        doors.registry(operation, input).await.failed(400, code);
    }
}

#[tokio::test]
async fn health_is_told_and_reported() {
    let doors = Doors::new();
    let (namespace, service) = service(&doors).await;
    for id in ["a", "b", "c"] {
        register(&doors, &service, id).await;
    }
    let report = json!({ "ServiceId": service, "InstanceId": "b", "Status": "UNHEALTHY" });
    assert_eq!(
        doors
            .registry("UpdateInstanceCustomHealthStatus", report)
            .await
            .ok(),
        json!({})
    );
    let all = doors
        .registry("GetInstancesHealthStatus", json!({ "ServiceId": service }))
        .await
        .ok();
    assert_eq!(
        all,
        json!({ "Status": { "a": "HEALTHY", "b": "UNHEALTHY", "c": "HEALTHY" } })
    );
    let input = json!({ "ServiceId": service, "Instances": ["c", "b", "b"], "MaxResults": 1 });
    let first = doors
        .registry("GetInstancesHealthStatus", input.clone())
        .await
        .ok();
    assert_eq!(first["Status"], json!({ "b": "UNHEALTHY" }));
    let mut input = input;
    input["NextToken"] = first["NextToken"].clone();
    let second = doors.registry("GetInstancesHealthStatus", input).await.ok();
    assert_eq!(second, json!({ "Status": { "c": "HEALTHY" } }));

    let plain = doors
        .service(json!({ "Name": "plain", "NamespaceId": namespace, "Type": "HTTP" }))
        .await;
    register(&doors, &plain, "x").await;
    let status = doors
        .registry("GetInstancesHealthStatus", json!({ "ServiceId": plain }))
        .await
        .ok();
    assert_eq!(status["Status"], json!({ "x": "UNKNOWN" }));
    for (operation, input, code) in [
        (
            "UpdateInstanceCustomHealthStatus",
            json!({ "ServiceId": plain, "InstanceId": "x", "Status": "HEALTHY" }),
            "CustomHealthNotFound",
        ),
        (
            "UpdateInstanceCustomHealthStatus",
            json!({ "ServiceId": service, "InstanceId": "x", "Status": "HEALTHY" }),
            "InstanceNotFound",
        ),
        (
            "UpdateInstanceCustomHealthStatus",
            json!({ "ServiceId": service, "InstanceId": "a", "Status": "UNKNOWN" }),
            "InvalidInput",
        ),
        (
            "UpdateInstanceCustomHealthStatus",
            json!({ "ServiceId": "srv-x", "InstanceId": "a", "Status": "HEALTHY" }),
            "ServiceNotFound",
        ),
        (
            "GetInstancesHealthStatus",
            json!({ "ServiceId": service, "Instances": ["x"] }),
            "InstanceNotFound",
        ),
        (
            "GetInstancesHealthStatus",
            json!({ "ServiceId": service, "Instances": [] }),
            "InvalidInput",
        ),
    ] {
        doors.registry(operation, input).await.failed(400, code);
    }
}

#[tokio::test]
async fn parents_go_after_their_children() {
    let doors = Doors::new();
    let (namespace, service) = service(&doors).await;
    register(&doors, &service, "a").await;
    doors
        .registry("DeleteNamespace", json!({ "Id": namespace }))
        .await
        .failed(400, "ResourceInUse");
    doors
        .registry("DeleteService", json!({ "Id": service }))
        .await
        .failed(400, "ResourceInUse");
    doors
        .registry(
            "DeregisterInstance",
            json!({ "ServiceId": service, "InstanceId": "a" }),
        )
        .await
        .ok();
    assert_eq!(
        doors
            .registry("DeleteService", json!({ "Id": service }))
            .await
            .ok(),
        json!({})
    );
    doors
        .registry("DeleteService", json!({ "Id": service }))
        .await
        .failed(400, "ServiceNotFound");
    doors
        .registry("GetService", json!({ "Id": service }))
        .await
        .failed(400, "ServiceNotFound");
    let deleted = doors
        .registry("DeleteNamespace", json!({ "Id": namespace }))
        .await
        .ok();
    assert!(deleted["OperationId"].is_string());
    doors
        .registry("DeleteNamespace", json!({ "Id": namespace }))
        .await
        .failed(400, "NamespaceNotFound");
    doors
        .registry("GetNamespace", json!({ "Id": namespace }))
        .await
        .failed(400, "NamespaceNotFound");
}

#[tokio::test]
async fn operations_are_told_with_their_targets() {
    let doors = Doors::new();
    let (namespace, service) = service(&doors).await;
    let input = json!({ "ServiceId": service, "InstanceId": "a", "Attributes": { "AWS_INSTANCE_IPV4": "10.0.0.1" } });
    let id = doors.registry("RegisterInstance", input).await.ok()["OperationId"].take();
    let operation = doors
        .registry("GetOperation", json!({ "OperationId": id }))
        .await
        .ok();
    let operation = &operation["Operation"];
    assert_eq!(operation["Id"], id);
    assert_eq!(operation["OwnerAccount"], ACCOUNT);
    assert_eq!(operation["Type"], "REGISTER_INSTANCE");
    assert_eq!(operation["Status"], "SUCCESS");
    assert!(operation["UpdateDate"].is_f64() && operation["CreateDate"].is_f64());
    let targets = json!({ "INSTANCE": "a", "NAMESPACE": namespace, "SERVICE": service });
    assert_eq!(operation["Targets"], targets);
    let input = json!({ "OperationId": id, "OwnerAccount": "999999999999" });
    doors
        .registry("GetOperation", input)
        .await
        .failed(400, "OperationNotFound");

    for (filters, count) in [
        (json!([]), 2),
        (json!([{ "Name": "SERVICE_ID", "Values": [service] }]), 1),
        (
            json!([{ "Name": "NAMESPACE_ID", "Values": [namespace] }]),
            2,
        ),
        (
            json!([{ "Name": "TYPE", "Values": ["CREATE_NAMESPACE", "DELETE_NAMESPACE"], "Condition": "IN" }]),
            1,
        ),
        (
            json!([{ "Name": "STATUS", "Values": ["FAIL", "SUCCEED"], "Condition": "IN" }]),
            2,
        ),
        (json!([{ "Name": "STATUS", "Values": ["PENDING"] }]), 0),
        (
            json!([{ "Name": "UPDATE_DATE", "Values": ["0", "1.5"], "Condition": "BETWEEN" }]),
            0,
        ),
        (
            json!([{ "Name": "UPDATE_DATE", "Values": ["0", "99999999999"], "Condition": "BETWEEN" }]),
            2,
        ),
    ] {
        let list = doors
            .registry("ListOperations", json!({ "Filters": filters }))
            .await
            .ok();
        assert_eq!(
            list["Operations"].as_array().map(Vec::len),
            Some(count),
            "{filters}"
        );
    }
    let filter =
        json!({ "Name": "UPDATE_DATE", "Values": ["then", "now"], "Condition": "BETWEEN" });
    let answer = doors
        .registry("ListOperations", json!({ "Filters": [filter] }))
        .await;
    answer.failed(400, "InvalidInput");
}

#[tokio::test]
async fn too_many_tags_are_refused() {
    let doors = Doors::new();
    let tags: Vec<Value> = (0..51)
        .map(|i| json!({ "Key": format!("k{i}"), "Value": "" }))
        .collect();
    let input = json!({ "Name": "x", "Tags": tags });
    doors
        .registry("CreateHttpNamespace", input)
        .await
        .failed(400, "TooManyTagsException");
    let input = json!({ "Name": "x", "Tags": [{ "Key": "k" }] });
    doors
        .registry("CreateHttpNamespace", input)
        .await
        .failed(400, "InvalidInput");
}

#[tokio::test]
async fn every_operation_refuses_foreign_bytes_in_good_order() {
    let doors = Doors::new();
    for operation in [
        "CreateHttpNamespace",
        "CreatePrivateDnsNamespace",
        "CreatePublicDnsNamespace",
        "DeleteNamespace",
        "GetNamespace",
        "ListNamespaces",
        "CreateService",
        "DeleteService",
        "GetService",
        "ListServices",
        "GetOperation",
        "ListOperations",
        "RegisterInstance",
        "DeregisterInstance",
        "GetInstance",
        "ListInstances",
        "DiscoverInstances",
        "DiscoverInstancesRevision",
        "GetInstancesHealthStatus",
        "UpdateInstanceCustomHealthStatus",
    ] {
        for body in ["{", "[]", "\u{0}", "null"] {
            let answer = doors.registry_text(operation, body.to_owned()).await;
            answer.failed(400, "SerializationException");
        }
        // SDKs send `{}`, some tools nothing at all; only lists need no member.
        let empty = doors.registry_text(operation, String::new()).await;
        if matches!(
            operation,
            "ListNamespaces" | "ListServices" | "ListOperations"
        ) {
            empty.ok();
        } else {
            empty.failed(400, "InvalidInput");
        }
    }
    doors
        .registry("Juggle", json!({}))
        .await
        .failed(400, "UnknownOperationException");
}
