//! Instances and their health.

use super::{register, service};
use crate::harness::{ACCOUNT, Doors};
use serde_json::json;

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
