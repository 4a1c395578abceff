//! Namespaces.

use super::{private, private_namespace};
use crate::harness::{ACCOUNT, Api, REGION};
use serde_json::{Value, json};

#[tokio::test]
async fn all_three_types_of_namespace_have_the_documented_shape() {
    let api = Api::new();
    let input = json!({
        "Name": "private.local",
        "Vpc": "vpc-1",
        "Description": "of the test",
        "CreatorRequestId": "p",
        "Tags": [{ "Key": "a", "Value": "" }],
        "Properties": { "DnsProperties": { "SOA": { "TTL": 30 } } },
    });
    let id = api.namespace("CreatePrivateDnsNamespace", input).await;
    let answer = api.registry("GetNamespace", json!({ "Id": id })).await;
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

    let id = api
        .namespace("CreateHttpNamespace", json!({ "Name": "http" }))
        .await;
    let namespace = api.registry("GetNamespace", json!({ "Id": id })).await.ok();
    assert_eq!(namespace["Namespace"]["Type"], "HTTP");
    assert_eq!(
        namespace["Namespace"]["Properties"]["DnsProperties"],
        json!({ "SOA": {} })
    );
    let id = api
        .namespace("CreatePublicDnsNamespace", json!({ "Name": "a.example" }))
        .await;
    let arn = format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{id}");
    let namespace = api
        .registry("GetNamespace", json!({ "Id": arn }))
        .await
        .ok();
    assert_eq!(namespace["Namespace"]["Type"], "DNS_PUBLIC");
}

#[tokio::test]
async fn an_existing_namespace_is_told_with_its_id_and_token() {
    let api = Api::new();
    let id = private_namespace(&api, "a.local").await;
    let again = api
        .registry("CreatePrivateDnsNamespace", private("a.local"))
        .await
        .ok();
    assert!(again["OperationId"].is_string(), "the same call again");
    let failure = api
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
    let api = Api::new();
    for name in ["a.local", "b.local", "c.other"] {
        private_namespace(&api, name).await;
    }
    api.namespace("CreateHttpNamespace", json!({ "Name": "http" }))
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
        let list = api
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
        let answer = api
            .registry("ListNamespaces", json!({ "Filters": [filter] }))
            .await;
        answer.failed(400, "InvalidInput");
    }

    let mut seen = Vec::new();
    let mut input = json!({ "MaxResults": 3 });
    loop {
        let page = api.registry("ListNamespaces", input.clone()).await.ok();
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
        api.registry("ListNamespaces", input)
            .await
            .failed(400, "InvalidInput");
    }
    let text = api
        .registry("ListNamespaces", json!({ "MaxResults": "3" }))
        .await;
    text.failed(400, "SerializationException");
}

#[tokio::test]
async fn too_many_tags_are_refused() {
    let api = Api::new();
    let tags: Vec<Value> = (0..51)
        .map(|i| json!({ "Key": format!("k{i}"), "Value": "" }))
        .collect();
    let input = json!({ "Name": "x", "Tags": tags });
    api.registry("CreateHttpNamespace", input)
        .await
        .failed(400, "TooManyTagsException");
    let input = json!({ "Name": "x", "Tags": [{ "Key": "k" }] });
    api.registry("CreateHttpNamespace", input)
        .await
        .failed(400, "InvalidInput");
}
