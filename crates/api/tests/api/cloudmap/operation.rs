//! Operations, and what all operations have in common.

use super::{arn, service};
use crate::harness::{ACCOUNT, Api};
use serde_json::json;

#[tokio::test]
async fn operations_are_told_with_their_targets() {
    let api = Api::new();
    let (namespace, service) = service(&api).await;
    let input = json!({ "ServiceId": service, "InstanceId": "a", "Attributes": { "AWS_INSTANCE_IPV4": "10.0.0.1" } });
    let id = api.registry("RegisterInstance", input).await.ok()["OperationId"].take();
    let operation = api
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
    api.registry("GetOperation", input)
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
            json!([{ "Name": "SERVICE_ID", "Values": [arn("service", &service)] }]),
            1,
        ),
        (
            json!([{ "Name": "NAMESPACE_ID", "Values": [arn("namespace", &namespace)] }]),
            2,
        ),
        (
            json!([{ "Name": "NAMESPACE_ID", "Values": [arn("service", &namespace)] }]),
            0,
        ),
        (
            json!([{ "Name": "NAMESPACE_ID", "Values": ["arn:aws:servicediscovery:mars:1:namespace/x"] }]),
            0,
        ),
        (
            json!([{ "Name": "UPDATE_DATE", "Values": ["0", "1.5"], "Condition": "BETWEEN" }]),
            0,
        ),
        (
            json!([{ "Name": "UPDATE_DATE", "Values": ["0", "99999999999"], "Condition": "BETWEEN" }]),
            2,
        ),
    ] {
        let list = api
            .registry("ListOperations", json!({ "Filters": filters }))
            .await
            .ok();
        assert_eq!(
            list["Operations"].as_array().map(Vec::len),
            Some(count),
            "{filters}"
        );
    }
    let long = "x".repeat(256);
    for (name, values, condition) in [
        ("UPDATE_DATE", json!(["then", "now"]), "BETWEEN"),
        ("UPDATE_DATE", json!(["NaN", "inf"]), "BETWEEN"),
        ("UPDATE_DATE", json!(["2", "1"]), "BETWEEN"),
        ("UPDATE_DATE", json!(["1"]), "BETWEEN"),
        ("UPDATE_DATE", json!(["1"]), "EQ"),
        ("NAMESPACE_ID", json!(["a", "b"]), "IN"),
        ("SERVICE_ID", json!([long]), "EQ"),
        ("SERVICE_ID", json!([""]), "EQ"),
        ("STATUS", json!([]), "IN"),
        ("STATUS", json!(["SUCC"]), "BEGINS_WITH"),
        ("TYPE", json!(["X"]), "LIKE"),
        ("COLOR", json!(["X"]), "EQ"),
        ("TYPE", json!(vec!["X"; 101]), "IN"),
    ] {
        let filter = json!({ "Name": name, "Values": values, "Condition": condition });
        let answer = api
            .registry("ListOperations", json!({ "Filters": [filter] }))
            .await;
        answer.failed(400, "InvalidInput");
    }
}

/// As at AWS: clients that delete a namespace still ask how the deletion ended.
#[tokio::test]
async fn operations_of_a_deleted_namespace_are_found_by_id_alone() {
    let api = Api::new();
    let (namespace, service) = service(&api).await;
    api.registry("DeleteService", json!({ "Id": service }))
        .await
        .ok();
    let input = json!({ "Id": namespace });
    let deletion = api.registry("DeleteNamespace", input).await.ok()["OperationId"].take();
    let input = json!({ "Name": "another" });
    let another = api.registry("CreateHttpNamespace", input).await.ok()["OperationId"].take();
    let all = api.registry("ListOperations", json!({})).await.ok();
    let expected = json!([{ "Id": another, "Status": "SUCCESS" }]);
    assert_eq!(all["Operations"], expected);
    let input = json!({ "Filters": [{ "Name": "NAMESPACE_ID", "Values": [namespace] }] });
    let filtered = api.registry("ListOperations", input).await.ok();
    assert_eq!(filtered["Operations"], json!([]));
    let input = json!({ "OperationId": deletion });
    let operation = api.registry("GetOperation", input).await.ok();
    assert_eq!(operation["Operation"]["Status"], "SUCCESS");
}

/// Each item of a list is compared with each value of each filter.
#[tokio::test]
async fn filters_without_end_are_refused() {
    let api = Api::new();
    for (operation, filter) in [
        (
            "ListOperations",
            json!({ "Name": "STATUS", "Values": ["FAIL"] }),
        ),
        (
            "ListNamespaces",
            json!({ "Name": "TYPE", "Values": ["HTTP"] }),
        ),
        (
            "ListServices",
            json!({ "Name": "NAMESPACE_ID", "Values": ["x"] }),
        ),
    ] {
        let filters = |many: usize| json!({ "Filters": vec![filter.clone(); many] });
        api.registry(operation, filters(100)).await.ok();
        let answer = api.registry(operation, filters(101)).await;
        answer.failed(400, "InvalidInput");
    }
}

#[tokio::test]
async fn every_operation_refuses_foreign_bytes_in_good_order() {
    let api = Api::new();
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
        "UpdateHttpNamespace",
        "UpdatePrivateDnsNamespace",
        "UpdatePublicDnsNamespace",
        "UpdateService",
        "GetServiceAttributes",
        "UpdateServiceAttributes",
        "DeleteServiceAttributes",
        "TagResource",
        "UntagResource",
        "ListTagsForResource",
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
            let answer = api.registry_text(operation, body.to_owned()).await;
            answer.failed(400, "SerializationException");
        }
        // SDKs send `{}`, some tools nothing at all; only lists need no member.
        let empty = api.registry_text(operation, String::new()).await;
        if matches!(
            operation,
            "ListNamespaces" | "ListServices" | "ListOperations"
        ) {
            empty.ok();
        } else {
            empty.failed(400, "InvalidInput");
        }
    }
    api.registry("Juggle", json!({}))
        .await
        .failed(400, "UnknownOperationException");
}
