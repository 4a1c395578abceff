//! Instances and their health.

use super::{register, service};
use crate::harness::{ACCOUNT, Api};
use serde_json::json;

#[tokio::test]
async fn instances_are_registered_replaced_listed_and_deregistered() {
    let api = Api::new();
    let (_, service) = service(&api).await;
    for id in ["a", "b", "c"] {
        register(&api, &service, id).await;
    }
    let input = json!({
        "ServiceId": service,
        "InstanceId": "a",
        "Attributes": { "AWS_INSTANCE_IPV4": "10.9.9.9" },
        "CreatorRequestId": "again",
    });
    let operation = api.registry("RegisterInstance", input.clone()).await.ok();
    assert_eq!(
        api.registry("RegisterInstance", input.clone()).await.ok(),
        operation,
        "a retry"
    );
    let mut other = input.clone();
    other["Attributes"]["AWS_INSTANCE_IPV4"] = "10.9.9.8".into();
    let body = api
        .registry("RegisterInstance", other)
        .await
        .failed(400, "DuplicateRequest");
    assert_eq!(body["DuplicateOperationId"], operation["OperationId"]);

    let got = api
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
    let first = api.registry("ListInstances", input).await.ok();
    assert_eq!(
        (&first["Instances"][0]["Id"], &first["Instances"][1]["Id"]),
        (&json!("a"), &json!("b"))
    );
    api.registry(
        "DeregisterInstance",
        json!({ "ServiceId": service, "InstanceId": "b" }),
    )
    .await
    .ok();
    let next = json!({ "ServiceId": service, "NextToken": first["NextToken"] });
    let second = api.registry("ListInstances", next).await.ok();
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
        api.registry(operation, input).await.failed(400, code);
    }
}

#[tokio::test]
async fn health_is_told_and_reported() {
    let api = Api::new();
    let (namespace, service) = service(&api).await;
    for id in ["a", "b", "c"] {
        register(&api, &service, id).await;
    }
    let report = json!({ "ServiceId": service, "InstanceId": "b", "Status": "UNHEALTHY" });
    assert_eq!(
        api.registry("UpdateInstanceCustomHealthStatus", report)
            .await
            .ok(),
        json!({})
    );
    let all = api
        .registry("GetInstancesHealthStatus", json!({ "ServiceId": service }))
        .await
        .ok();
    assert_eq!(
        all,
        json!({ "Status": { "a": "HEALTHY", "b": "UNHEALTHY", "c": "HEALTHY" } })
    );
    let input = json!({ "ServiceId": service, "Instances": ["c", "b", "b"], "MaxResults": 1 });
    let first = api
        .registry("GetInstancesHealthStatus", input.clone())
        .await
        .ok();
    assert_eq!(first["Status"], json!({ "b": "UNHEALTHY" }));
    let mut input = input;
    input["NextToken"] = first["NextToken"].clone();
    let second = api.registry("GetInstancesHealthStatus", input).await.ok();
    assert_eq!(second, json!({ "Status": { "c": "HEALTHY" } }));

    let plain = api
        .service(json!({ "Name": "plain", "NamespaceId": namespace, "Type": "HTTP" }))
        .await;
    register(&api, &plain, "x").await;
    let status = api
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
        api.registry(operation, input).await.failed(400, code);
    }
}
