//! Tags of namespaces and services.

use super::{arn, service};
use crate::harness::{ACCOUNT, Api, REGION};
use serde_json::{Value, json};

async fn tags(api: &Api, arn: &str) -> Value {
    let input = json!({ "ResourceARN": arn });
    api.registry("ListTagsForResource", input).await.ok()["Tags"].take()
}

fn numbered(count: usize) -> Value {
    (0..count)
        .map(|i| json!({ "Key": format!("k{i}"), "Value": "" }))
        .collect()
}

#[tokio::test]
async fn tags_of_both_kinds_are_listed_changed_and_removed() {
    let api = Api::new();
    let born = json!([{ "Key": "born", "Value": "yes" }]);
    let namespace = api
        .namespace("CreateHttpNamespace", json!({ "Name": "n", "Tags": born }))
        .await;
    let service = api
        .service(json!({ "Name": "s", "NamespaceId": namespace, "Tags": born }))
        .await;
    for arn in [arn("namespace", &namespace), arn("service", &service)] {
        assert_eq!(tags(&api, &arn).await, born);
        let more = json!([{ "Key": "b", "Value": "" }, { "Key": "a", "Value": "1" }, { "Key": "born", "Value": "no" }]);
        let input = json!({ "ResourceARN": arn, "Tags": more });
        assert_eq!(api.registry("TagResource", input).await.ok(), json!({}));
        let all = json!([{ "Key": "born", "Value": "no" }, { "Key": "b", "Value": "" }, { "Key": "a", "Value": "1" }]);
        assert_eq!(tags(&api, &arn).await, all);
        let input = json!({ "ResourceARN": arn, "TagKeys": ["b", "none", "born"] });
        assert_eq!(api.registry("UntagResource", input).await.ok(), json!({}));
        assert_eq!(
            tags(&api, &arn).await,
            json!([{ "Key": "a", "Value": "1" }])
        );
        for (call, member) in [("TagResource", "Tags"), ("UntagResource", "TagKeys")] {
            let nothing = json!({ "ResourceARN": arn, member: [] });
            api.registry(call, nothing).await.ok();
        }
    }
    api.registry("DeleteService", json!({ "Id": service }))
        .await
        .ok();
    api.registry(
        "ListTagsForResource",
        json!({ "ResourceARN": arn("service", &service) }),
    )
    .await
    .failed(400, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_resource_with_too_many_tags_is_named() {
    let api = Api::new();
    let (_, id) = service(&api).await;
    let arn = arn("service", &id);
    let tag = async |tags: Value| {
        let input = json!({ "ResourceARN": arn, "Tags": tags });
        api.registry("TagResource", input).await
    };
    tag(numbered(50)).await.ok();
    for more in [json!([{ "Key": "more", "Value": "" }]), numbered(51)] {
        let body = tag(more).await.failed(400, "TooManyTagsException");
        assert_eq!(body["ResourceName"], arn);
    }
    tag(numbered(201)).await.failed(400, "InvalidInput");
}

#[tokio::test]
async fn tags_that_cannot_be_are_refused() {
    let api = Api::new();
    let (_, id) = service(&api).await;
    let resource = arn("service", &id);
    let long = "x".repeat(257);
    for (call, member, value, code) in [
        ("TagResource", "Tags", Value::Null, "InvalidInput"),
        (
            "TagResource",
            "Tags",
            json!([{ "Key": "k" }]),
            "InvalidInput",
        ),
        (
            "TagResource",
            "Tags",
            json!([{ "Value": "v" }]),
            "InvalidInput",
        ),
        (
            "TagResource",
            "Tags",
            json!([{ "Key": "", "Value": "v" }]),
            "InvalidInput",
        ),
        (
            "TagResource",
            "Tags",
            json!([{ "Key": long, "Value": "v" }]),
            "InvalidInput",
        ),
        (
            "TagResource",
            "Tags",
            json!([{ "Key": "aws:k", "Value": "v" }]),
            "InvalidInput",
        ),
        (
            "TagResource",
            "Tags",
            json!([{ "Key": "k", "Value": long }]),
            "InvalidInput",
        ),
        (
            "TagResource",
            "Tags",
            json!([{ "Key": "k", "Value": 1 }]),
            "SerializationException",
        ),
        (
            "TagResource",
            "Tags",
            json!({ "k": "v" }),
            "SerializationException",
        ),
        ("UntagResource", "TagKeys", Value::Null, "InvalidInput"),
        ("UntagResource", "TagKeys", json!([""]), "InvalidInput"),
        ("UntagResource", "TagKeys", json!([long]), "InvalidInput"),
        (
            "UntagResource",
            "TagKeys",
            json!(vec!["k"; 201]),
            "InvalidInput",
        ),
        (
            "UntagResource",
            "TagKeys",
            json!("k"),
            "SerializationException",
        ),
    ] {
        let input = json!({ "ResourceARN": resource, member: value });
        api.registry(call, input).await.failed(400, code);
    }
    let foreign = format!("arn:aws:servicediscovery:{REGION}:999999999999:service/{id}");
    let longest = format!("{resource}{}", "x".repeat(1012));
    for (arn, code) in [
        (
            json!(arn("service", "srv-none")),
            "ResourceNotFoundException",
        ),
        (json!(arn("namespace", &id)), "ResourceNotFoundException"),
        (json!(arn("operation", &id)), "ResourceNotFoundException"),
        (json!(foreign), "ResourceNotFoundException"),
        (
            json!(format!("arn:aws:appmesh:{REGION}:{ACCOUNT}:mesh/m")),
            "ResourceNotFoundException",
        ),
        (json!(id), "InvalidInput"),
        (json!("arn:aws:servicediscovery"), "InvalidInput"),
        (json!(""), "InvalidInput"),
        (json!(longest), "InvalidInput"),
        (Value::Null, "InvalidInput"),
        (json!(1), "SerializationException"),
    ] {
        let input = json!({ "ResourceARN": arn, "Tags": [], "TagKeys": [] });
        for call in ["TagResource", "UntagResource", "ListTagsForResource"] {
            api.registry(call, input.clone()).await.failed(400, code);
        }
    }
}
