//! The Resource Groups Tagging API.

use crate::harness::{ACCOUNT, Answer, Api, REGION, authorization};
use http::Request;
use serde_json::{Value, json};

fn tags(pairs: &[(&str, &str)]) -> Value {
    let tag = |(key, value): &(&str, &str)| json!({ "Key": key, "Value": value });
    pairs.iter().map(tag).collect()
}

fn mesh_tags(pairs: &[(&str, &str)]) -> Value {
    let tag = |(key, value): &(&str, &str)| json!({ "key": key, "value": value });
    pairs.iter().map(tag).collect()
}

/// A mesh, a node, a router with a route, a namespace and a service with tags, and some without.
async fn tagged(api: &Api) -> Vec<(String, Value)> {
    let mesh = |path: &'static str, name: &'static str, value: &'static str, spec: Value| {
        let body = json!({ name: value, "spec": spec, "tags": mesh_tags(&[("team", value)]) });
        api.mesh("PUT", path, body)
    };
    mesh("/meshes", "meshName", "m", json!({})).await.ok();
    let spec = json!({ "listeners": [{ "portMapping": { "port": 80, "protocol": "http" } }] });
    mesh("/meshes/m/virtualRouters", "virtualRouterName", "r", spec)
        .await
        .ok();
    mesh("/meshes/m/virtualNodes", "virtualNodeName", "n", json!({}))
        .await
        .ok();
    let action = json!({ "weightedTargets": [{ "virtualNode": "n", "weight": 1 }] });
    let spec = json!({ "httpRoute": { "match": { "prefix": "/" }, "action": action } });
    mesh("/meshes/m/virtualRouter/r/routes", "routeName", "x", spec)
        .await
        .ok();
    api.mesh("PUT", "/meshes", json!({ "meshName": "bare" }))
        .await
        .ok();
    let input = json!({ "Name": "ns", "Tags": tags(&[("team", "m"), ("stage", "")]) });
    let namespace = api.namespace("CreateHttpNamespace", input).await;
    api.namespace("CreateHttpNamespace", json!({ "Name": "bare" }))
        .await;
    let input = json!({ "Name": "s", "NamespaceId": namespace, "Tags": tags(&[("team", "s")]) });
    let service = api.service(input).await;
    let arn = |service: &str, path: &str| format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{path}");
    let mut all = vec![
        (arn("appmesh", "mesh/m"), tags(&[("team", "m")])),
        (
            arn("appmesh", "mesh/m/virtualNode/n"),
            tags(&[("team", "n")]),
        ),
        (
            arn("appmesh", "mesh/m/virtualRouter/r"),
            tags(&[("team", "r")]),
        ),
        (
            arn("appmesh", "mesh/m/virtualRouter/r/route/x"),
            tags(&[("team", "x")]),
        ),
        (
            arn("servicediscovery", &format!("namespace/{namespace}")),
            tags(&[("team", "m"), ("stage", "")]),
        ),
        (
            arn("servicediscovery", &format!("service/{service}")),
            tags(&[("team", "s")]),
        ),
    ];
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn found(answer: &Answer) -> Vec<(String, Value)> {
    let body = answer.ok();
    let list = body["ResourceTagMappingList"].as_array().expect("a list");
    let read = |item: &Value| {
        let arn = item["ResourceARN"].as_str().expect("an ARN").to_owned();
        (arn, item["Tags"].clone())
    };
    list.iter().map(read).collect()
}

#[tokio::test]
async fn resources_are_found_by_tags_types_and_arns() {
    let api = Api::new();
    let get = |input: Value| api.tagging("GetResources", input);
    assert_eq!(found(&get(json!({})).await), []);
    let all = tagged(&api).await;
    assert_eq!(found(&get(json!({})).await), all);
    let filter = |key: &str, values: &[&str]| json!({ "Key": key, "Values": values });
    for (input, expected) in [
        (json!({ "TagFilters": [{ "Key": "stage" }] }), "namespace/"),
        (
            json!({ "TagFilters": [filter("team", &["m"])] }),
            "mesh/m,namespace/",
        ),
        (
            json!({ "TagFilters": [filter("team", &["x", "s"])] }),
            "route/x,service/",
        ),
        (
            json!({ "TagFilters": [filter("team", &["m"]), filter("stage", &[""])] }),
            "namespace/",
        ),
        (json!({ "TagFilters": [filter("Team", &[])] }), ""),
        (json!({ "ResourceTypeFilters": ["appmesh:mesh"] }), "mesh/m"),
        (
            json!({ "ResourceTypeFilters": ["appmesh:virtualNode", "servicediscovery"] }),
            "virtualNode/n,namespace/,service/",
        ),
        (
            json!({ "ResourceTypeFilters": ["appmesh:mesh/virtualRouter/route", "ec2"] }),
            "route/x",
        ),
        (json!({ "ResourceTypeFilters": ["ec2:instance"] }), ""),
        (
            json!({ "ResourceARNList": [all[0].0, "arn:aws:ec2:r:1:instance/i"] }),
            "mesh/m",
        ),
        (
            json!({ "IncludeComplianceDetails": true, "ExcludeCompliantResources": true }),
            "",
        ),
    ] {
        let found = found(&get(input.clone()).await);
        let expected: Vec<&str> = expected
            .split(',')
            .filter(|part| !part.is_empty())
            .collect();
        assert_eq!(found.len(), expected.len(), "{input}: {found:?}");
        for ((arn, _), part) in found.iter().zip(expected) {
            assert!(arn.contains(part), "{input}: {arn} {part}");
        }
    }
    let details = get(json!({ "IncludeComplianceDetails": true })).await.ok();
    let details = &details["ResourceTagMappingList"][0]["ComplianceDetails"];
    assert_eq!(details, &json!({ "ComplianceStatus": true }));
}

#[tokio::test]
async fn pages_end_by_resources_or_by_tags() {
    let api = Api::new();
    let all = tagged(&api).await;
    let many: Vec<_> = (0..49).map(|n| (format!("k{n}"), "v")).collect();
    let many: Vec<_> = many.iter().map(|(key, value)| (&**key, *value)).collect();
    for (arn, _) in &all[..3] {
        let path = format!(
            "/tag?resourceArn={}",
            arn.replace('/', "%2F").replace(':', "%3A")
        );
        api.mesh("PUT", &path, json!({ "tags": mesh_tags(&many) }))
            .await
            .ok();
    }
    for (limits, sizes) in [
        (json!({ "ResourcesPerPage": 4 }), vec![4, 2]),
        (json!({ "ResourcesPerPage": 6 }), vec![6]),
        // Three resources have 50 tags each, the others 1 or 2.
        (json!({ "TagsPerPage": 100 }), vec![2, 4]),
        (
            json!({ "TagsPerPage": 100, "ResourcesPerPage": 3 }),
            vec![2, 3, 1],
        ),
        (json!({ "TagsPerPage": 500 }), vec![6]),
    ] {
        let (mut seen, mut arns, mut token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let mut input = limits.clone();
            input["PaginationToken"] = token.into();
            let page = api.tagging("GetResources", input).await;
            let found = found(&page);
            seen.push(found.len());
            arns.extend(found.into_iter().map(|(arn, _)| arn));
            token = page.ok()["PaginationToken"]
                .as_str()
                .expect("text")
                .to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, sizes, "{limits}");
        let expected: Vec<_> = all.iter().map(|(arn, _)| arn.clone()).collect();
        assert_eq!(arns, expected, "{limits}");
    }
}

#[tokio::test]
async fn inputs_beyond_the_model_are_refused() {
    let api = Api::new();
    let arn = "arn:aws:appmesh:r:1:mesh/m";
    for input in [
        json!({ "PaginationToken": "x" }),
        json!({ "PaginationToken": "a".repeat(2049) }),
        json!({ "ResourcesPerPage": 0 }),
        json!({ "ResourcesPerPage": 101 }),
        json!({ "TagsPerPage": 99 }),
        json!({ "TagsPerPage": 501 }),
        json!({ "TagFilters": [{}] }),
        json!({ "TagFilters": [{ "Key": "" }] }),
        json!({ "TagFilters": [{ "Key": "k".repeat(129) }] }),
        json!({ "TagFilters": [{ "Key": "k", "Values": vec!["v"; 21] }] }),
        json!({ "TagFilters": vec![json!({ "Key": "k" }); 51] }),
        json!({ "ResourceTypeFilters": ["x".repeat(257)] }),
        json!({ "ResourceARNList": [] }),
        json!({ "ResourceARNList": ["x"] }),
        json!({ "ResourceARNList": vec![arn; 101] }),
        json!({ "ResourceARNList": [arn], "ResourcesPerPage": 1 }),
        json!({ "ResourceARNList": [arn], "TagFilters": [] }),
        json!({ "ExcludeCompliantResources": true }),
    ] {
        let answer = api.tagging("GetResources", input).await;
        answer.failed(400, "InvalidParameterException");
    }
    let answer = api
        .tagging("GetResources", json!({ "TagFilters": "x" }))
        .await;
    answer.failed(400, "SerializationException");
    let answer = api.tagging("GetTagKeys", json!({})).await;
    answer.failed(400, "UnknownOperationException");
}

/// The protocol of newer SDKs for this service.
#[tokio::test]
async fn cbor_says_the_same_as_json() {
    let api = Api::new();
    let all = tagged(&api).await;
    let path = "/service/ResourceGroupsTaggingAPI_20170126/operation/GetResources";
    let send = async |body: Vec<u8>| {
        let request = Request::post(path)
            .header("authorization", authorization(REGION, "tagging"))
            .header("content-type", "application/cbor")
            .header("smithy-protocol", "rpc-v2-cbor");
        let request = request.body(body.into()).expect("legal");
        let (head, body) = api.server.handle(request).await.into_parts();
        let body = http_body_util::BodyExt::collect(body)
            .await
            .expect("read")
            .to_bytes();
        let value: Value = ciborium::from_reader(&body[..]).expect("CBOR");
        (head, value)
    };
    let mut input = Vec::new();
    ciborium::into_writer(&json!({ "ResourcesPerPage": 1 }), &mut input).expect("written");
    let (head, body) = send(input).await;
    assert_eq!(head.status, 200, "{body}");
    assert_eq!(head.headers["smithy-protocol"], "rpc-v2-cbor");
    assert_eq!(head.headers["content-type"], "application/cbor");
    let expected = json!({ "ResourceARN": all[0].0, "Tags": all[0].1 });
    assert_eq!(body["ResourceTagMappingList"], json!([expected]));
    let (head, body) = send(Vec::new()).await;
    assert_eq!(head.status, 200, "no body is no member: {body}");
    for (bad, code) in [
        (&b"\xff"[..], "SerializationException"),
        (b"\x01", "SerializationException"),
        (b"\xa1\x70ResourcesPerPage\x00", "InvalidParameterException"),
    ] {
        let (head, body) = send(bad.to_vec()).await;
        assert_eq!(
            (head.status.as_u16(), body["__type"].as_str()),
            (400, Some(code)),
            "{body}"
        );
        assert_eq!(head.headers["x-amzn-errortype"], code);
    }
}
