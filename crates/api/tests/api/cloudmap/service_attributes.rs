//! The attributes of services themselves.

use super::{arn, service};
use crate::harness::{ACCOUNT, Api};
use serde_json::{Map, Value, json};

fn numbered(count: usize) -> Value {
    let pairs = (0..count).map(|i| (format!("k{i}"), json!("v")));
    Value::Object(pairs.collect::<Map<_, _>>())
}

#[tokio::test]
async fn attributes_are_added_changed_and_taken_away() {
    let api = Api::new();
    let (_, id) = service(&api).await;
    let arn = arn("service", &id);
    let told = async || {
        let by_id = api
            .registry("GetServiceAttributes", json!({ "ServiceId": id }))
            .await
            .ok();
        let by_arn = api
            .registry("GetServiceAttributes", json!({ "ServiceId": arn }))
            .await
            .ok();
        assert_eq!(by_id, by_arn);
        by_id["ServiceAttributes"].clone()
    };
    let nothing = json!({ "ServiceArn": arn, "ResourceOwner": ACCOUNT });
    assert_eq!(told().await, nothing);
    for (call, id, attributes, left) in [
        (
            "UpdateServiceAttributes",
            &id,
            json!({ "a": "1", "ä": "" }),
            Some(json!({ "a": "1", "ä": "" })),
        ),
        (
            "UpdateServiceAttributes",
            &arn,
            json!({ "a": "2", "b": "3" }),
            Some(json!({ "a": "2", "b": "3", "ä": "" })),
        ),
        (
            "DeleteServiceAttributes",
            &id,
            json!(["a", "none", "a"]),
            Some(json!({ "b": "3", "ä": "" })),
        ),
        ("DeleteServiceAttributes", &arn, json!(["b", "ä"]), None),
    ] {
        let input = json!({ "ServiceId": id, "Attributes": attributes });
        assert_eq!(api.registry(call, input).await.ok(), json!({}));
        let told = told().await;
        assert_eq!(told.get("Attributes"), left.as_ref(), "{call}");
    }
    assert_eq!(told().await, nothing);
    // They are no instances' attributes, and go with the service.
    let described = api.registry("GetService", json!({ "Id": id })).await.ok();
    assert!(described["Service"].get("Attributes").is_none());
    api.registry("DeleteService", json!({ "Id": id }))
        .await
        .ok();
    api.registry("GetServiceAttributes", json!({ "ServiceId": id }))
        .await
        .failed(400, "ServiceNotFound");
}

#[tokio::test]
async fn a_service_has_as_many_attributes_as_it_may_have() {
    let api = Api::new();
    let (_, id) = service(&api).await;
    let update = async |attributes: Value| {
        let input = json!({ "ServiceId": id, "Attributes": attributes });
        api.registry("UpdateServiceAttributes", input).await
    };
    update(numbered(30)).await.ok();
    let limit = "ServiceAttributesLimitExceededException";
    update(json!({ "more": "v" })).await.failed(400, limit);
    update(numbered(30)).await.ok();
    update(numbered(31)).await.failed(400, "InvalidInput");
}

#[tokio::test]
async fn attributes_that_cannot_be_are_refused() {
    let api = Api::new();
    let (_, id) = service(&api).await;
    let long = |count| "x".repeat(count);
    let (key, value) = (long(256), long(1025));
    for (call, attributes, code) in [
        ("UpdateServiceAttributes", json!({}), "InvalidInput"),
        (
            "UpdateServiceAttributes",
            json!({ key.as_str(): "" }),
            "InvalidInput",
        ),
        (
            "UpdateServiceAttributes",
            json!({ "k": value }),
            "InvalidInput",
        ),
        (
            "UpdateServiceAttributes",
            json!({ "k": 1 }),
            "SerializationException",
        ),
        (
            "UpdateServiceAttributes",
            json!(["k"]),
            "SerializationException",
        ),
        ("UpdateServiceAttributes", Value::Null, "InvalidInput"),
        ("DeleteServiceAttributes", json!([]), "InvalidInput"),
        ("DeleteServiceAttributes", json!([key]), "InvalidInput"),
        (
            "DeleteServiceAttributes",
            json!(vec!["k"; 31]),
            "InvalidInput",
        ),
        (
            "DeleteServiceAttributes",
            json!({ "k": "v" }),
            "SerializationException",
        ),
        ("DeleteServiceAttributes", Value::Null, "InvalidInput"),
    ] {
        let input = json!({ "ServiceId": id, "Attributes": attributes });
        api.registry(call, input).await.failed(400, code);
    }
    for (call, attributes) in [
        ("GetServiceAttributes", Value::Null),
        ("UpdateServiceAttributes", json!({ "k": "v" })),
        ("DeleteServiceAttributes", json!(["k"])),
    ] {
        for (id, code) in [
            (json!("srv-none"), "ServiceNotFound"),
            (json!(arn("namespace", &id)), "ServiceNotFound"),
            (json!(long(256)), "InvalidInput"),
            (Value::Null, "InvalidInput"),
        ] {
            let input = json!({ "ServiceId": id, "Attributes": attributes });
            api.registry(call, input).await.failed(400, code);
        }
    }
}
