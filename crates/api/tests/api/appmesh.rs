//! The App Mesh door.

use crate::harness::{ACCOUNT, Api, REGION};
use serde_json::{Value, json};

struct Case {
    collection: &'static str,
    name_member: &'static str,
    list: &'static str,
    name: &'static str,
    spec: Value,
    arn: &'static str,
}

/// One resource of each kind, in an order in which they can be made.
fn cases() -> Vec<Case> {
    let listeners = json!([{ "portMapping": { "port": 9080, "protocol": "http" } }]);
    let case = |collection, name_member, list, name, spec, arn| Case {
        collection,
        name_member,
        list,
        name,
        spec,
        arn,
    };
    vec![
        case(
            "/meshes",
            "meshName",
            "meshes",
            "demo",
            json!({ "egressFilter": { "type": "ALLOW_ALL" } }),
            "mesh/demo",
        ),
        case(
            "/meshes/demo/virtualNodes",
            "virtualNodeName",
            "virtualNodes",
            "front",
            json!({
                "listeners": [{
                    "portMapping": { "port": 9080, "protocol": "http" },
                    "timeout": { "http": { "perRequest": { "unit": "ms", "value": 250 } } },
                    "tls": {
                        "mode": "STRICT",
                        "certificate": { "file": { "certificateChain": "/c.pem", "privateKey": "/k.pem" } },
                    },
                }],
                "serviceDiscovery": { "dns": { "hostname": "front.local" } },
                "backends": [{ "virtualService": { "virtualServiceName": "dangling.local" } }],
            }),
            "mesh/demo/virtualNode/front",
        ),
        case(
            "/meshes/demo/virtualRouters",
            "virtualRouterName",
            "virtualRouters",
            "router",
            json!({ "listeners": listeners }),
            "mesh/demo/virtualRouter/router",
        ),
        case(
            "/meshes/demo/virtualRouter/router/routes",
            "routeName",
            "routes",
            "all",
            json!({ "httpRoute": {
                "match": { "prefix": "/" },
                "action": { "weightedTargets": [{ "virtualNode": "front", "weight": 1 }] },
            }}),
            "mesh/demo/virtualRouter/router/route/all",
        ),
        case(
            "/meshes/demo/virtualServices",
            "virtualServiceName",
            "virtualServices",
            "front.default.svc.cluster.local",
            json!({ "provider": { "virtualRouter": { "virtualRouterName": "router" } } }),
            "mesh/demo/virtualService/front.default.svc.cluster.local",
        ),
        case(
            "/meshes/demo/virtualGateways",
            "virtualGatewayName",
            "virtualGateways",
            "door",
            json!({ "listeners": listeners }),
            "mesh/demo/virtualGateway/door",
        ),
        case(
            "/meshes/demo/virtualGateway/door/gatewayRoutes",
            "gatewayRouteName",
            "gatewayRoutes",
            "in",
            json!({ "httpRoute": {
                "match": { "prefix": "/" },
                "action": { "target": { "virtualService": { "virtualServiceName": "front.default.svc.cluster.local" } } },
            }}),
            "mesh/demo/virtualGateway/door/gatewayRoute/in",
        ),
    ]
}

impl Case {
    fn item(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    fn creation(&self) -> Value {
        json!({ self.name_member: self.name, "spec": self.spec, "clientToken": "t-1" })
    }
}

async fn filled() -> Api {
    let api = Api::new();
    for case in cases() {
        api.mesh("PUT", case.collection, case.creation()).await.ok();
    }
    api
}

#[tokio::test]
async fn every_kind_is_created_described_updated_listed_and_deleted() {
    let api = Api::new();
    for case in cases() {
        let created = api.mesh("PUT", case.collection, case.creation()).await;
        assert_eq!(created.header("content-type"), "application/json");
        assert_eq!(created.header("x-amzn-requestid").len(), 36);
        let created = created.ok();
        assert_eq!(created[case.name_member], case.name, "not wrapped");
        assert_eq!(created["meshName"], "demo");
        assert_eq!(created["spec"], case.spec, "as it was sent");
        assert_eq!(created["status"], json!({ "status": "ACTIVE" }));
        let metadata = &created["metadata"];
        let arn = format!("arn:aws:appmesh:{REGION}:{ACCOUNT}:{}", case.arn);
        assert_eq!(metadata["arn"], arn);
        assert_eq!(metadata["version"], 1);
        assert_eq!(metadata["meshOwner"], ACCOUNT);
        assert_eq!(metadata["resourceOwner"], ACCOUNT);
        assert!(metadata["createdAt"].is_f64(), "{metadata}");
        assert!(metadata["uid"].is_string());
        assert_eq!(
            api.mesh("GET", &case.item(), Value::Null).await.ok(),
            created
        );

        let body = json!({ "spec": case.spec, "clientToken": "t-2" });
        let updated = api.mesh("PUT", &case.item(), body).await.ok();
        assert_eq!(updated["metadata"]["version"], 2);
        assert_eq!(updated["metadata"]["uid"], metadata["uid"]);

        let list = api.mesh("GET", case.collection, Value::Null).await.ok();
        let item = &list[case.list][0];
        assert_eq!(item[case.name_member], case.name);
        assert_eq!((&item["arn"], &item["version"]), (&json!(arn), &json!(2)));
        assert!(item.get("spec").is_none() && item.get("uid").is_none());
        assert!(list.get("nextToken").is_none());
    }
    for case in cases().iter().rev() {
        // What others refer to can go only after them; the service refers to the router.
        if case.list == "routes" || case.list == "virtualServices" {
            continue;
        }
        if case.list == "virtualRouters" {
            api.mesh(
                "DELETE",
                "/meshes/demo/virtualServices/front.default.svc.cluster.local",
                Value::Null,
            )
            .await
            .ok();
            api.mesh(
                "DELETE",
                "/meshes/demo/virtualRouter/router/routes/all",
                Value::Null,
            )
            .await
            .ok();
        }
        let deleted = api.mesh("DELETE", &case.item(), Value::Null).await.ok();
        assert_eq!(deleted["status"], json!({ "status": "DELETED" }));
        let version = if case.list == "meshes" { 2 } else { 3 };
        assert_eq!(deleted["metadata"]["version"], version);
        api.mesh("GET", &case.item(), Value::Null)
            .await
            .failed(404, "NotFoundException");
    }
}

#[tokio::test]
async fn a_mesh_needs_no_spec_and_keeps_an_empty_one_empty() {
    let api = Api::new();
    let made = api
        .mesh("PUT", "/meshes", json!({ "meshName": "a" }))
        .await
        .ok();
    assert_eq!(made["spec"], json!({}));
    let body = json!({ "meshName": "b", "spec": {}, "surprise": 1 });
    let made = api.mesh("PUT", "/meshes", body).await.ok();
    assert_eq!(made["spec"], json!({}));
}

#[tokio::test]
async fn a_repeated_call_is_answered_alike_and_another_one_conflicts() {
    let api = filled().await;
    for case in cases() {
        let again = api.mesh("PUT", case.collection, case.creation()).await.ok();
        assert_eq!(again["metadata"]["version"], 1);
        let mut other = case.creation();
        other["clientToken"] = "t-9".into();
        api.mesh("PUT", case.collection, other)
            .await
            .failed(409, "ConflictException");
    }
}

#[tokio::test]
async fn what_is_still_needed_cannot_go() {
    let api = filled().await;
    for path in [
        "/meshes/demo",
        "/meshes/demo/virtualNodes/front",
        "/meshes/demo/virtualRouters/router",
        "/meshes/demo/virtualServices/front.default.svc.cluster.local",
        "/meshes/demo/virtualGateways/door",
    ] {
        api.mesh("DELETE", path, Value::Null)
            .await
            .failed(409, "ResourceInUseException");
    }
}

#[tokio::test]
async fn absent_parents_and_resources_are_named() {
    let api = filled().await;
    for (method, path, text) in [
        (
            "GET",
            "/meshes/none",
            "Mesh with name none is not present for account",
        ),
        ("GET", "/meshes/none/virtualNodes", "Mesh with name none"),
        (
            "GET",
            "/meshes/demo/virtualNodes/x",
            "VirtualNode with name x is not present under mesh demo",
        ),
        (
            "DELETE",
            "/meshes/demo/virtualNodes/x",
            "VirtualNode with name x is not present under mesh demo",
        ),
        (
            "GET",
            "/meshes/demo/virtualRouter/x/routes",
            "VirtualRouter with name x",
        ),
        (
            "GET",
            "/meshes/demo/virtualRouter/x/routes/all",
            "VirtualRouter with name x",
        ),
        (
            "GET",
            "/meshes/demo/virtualGateway/x/gatewayRoutes/y",
            "VirtualGateway with name x",
        ),
        (
            "GET",
            "/meshes/a%2Fb/virtualNodes/c%20d",
            "Mesh with name a/b",
        ),
    ] {
        let body = api
            .mesh(method, path, Value::Null)
            .await
            .failed(404, "NotFoundException");
        let message = body["message"].as_str().expect("a message");
        assert!(message.starts_with(text), "{path}: {message}");
    }
}

#[tokio::test]
async fn input_that_breaks_the_model_is_refused_with_its_path() {
    let api = filled().await;
    let node = |spec: Value| json!({ "virtualNodeName": "n", "spec": spec });
    let listener = |port: Value, protocol: &str| {
        node(json!({ "listeners": [{ "portMapping": { "port": port, "protocol": protocol } }] }))
    };
    for (body, path) in [
        (json!({ "spec": {} }), "virtualNodeName"),
        (json!({ "virtualNodeName": "n" }), "spec"),
        (
            json!({ "virtualNodeName": "a/b", "spec": {} }),
            "virtualNodeName",
        ),
        (
            json!({ "virtualNodeName": "n", "spec": {}, "clientToken": "x y" }),
            "clientToken",
        ),
        (
            json!({ "virtualNodeName": "n", "spec": {}, "tags": [{ "key": "", "value": "" }] }),
            "tags[0].key",
        ),
        (
            listener(json!(0), "http"),
            "spec.listeners[0].portMapping.port",
        ),
        (
            listener(json!(80), "smtp"),
            "spec.listeners[0].portMapping.protocol",
        ),
        (node(json!({ "listeners": [{}] })), "spec.listeners[0]"),
    ] {
        let failure = api
            .mesh("PUT", "/meshes/demo/virtualNodes", body.clone())
            .await;
        let message = failure.failed(400, "BadRequestException")["message"].to_string();
        assert!(message.contains(path), "{body}: {message}");
    }
}

#[tokio::test]
async fn what_is_not_the_json_of_the_operation_is_a_serialization_error() {
    let api = filled().await;
    for body in [
        "{",
        "[]",
        "null",
        r#"{"virtualNodeName":7,"spec":{}}"#,
        r#"{"virtualNodeName":"n","spec":[]}"#,
        r#"{"virtualNodeName":"n","spec":{"listeners":{}}}"#,
        r#"{"virtualNodeName":"n","spec":{}} {}"#,
    ] {
        let path = "/meshes/demo/virtualNodes";
        let answer = api.mesh_text("PUT", path, body.to_owned()).await;
        answer.failed(400, "SerializationException");
    }
}

#[tokio::test]
async fn only_ones_own_account_owns_meshes() {
    let api = filled().await;
    let path = |owner| format!("/meshes/demo/virtualNodes/front?meshOwner={owner}");
    api.mesh("GET", &path(ACCOUNT), Value::Null).await.ok();
    api.mesh("GET", &path("999999999999"), Value::Null)
        .await
        .failed(404, "NotFoundException");
    api.mesh("GET", &path("me"), Value::Null)
        .await
        .failed(400, "BadRequestException");
}

#[tokio::test]
async fn pages_cover_a_list_that_changes_meanwhile() {
    let api = filled().await;
    let path = "/meshes/demo/virtualServices";
    for name in ["a", "b", "c", "d", "e"] {
        let body = json!({ "virtualServiceName": name, "spec": {} });
        api.mesh("PUT", path, body).await.ok();
    }
    let page = |token: String| {
        let api = &api;
        async move {
            let target = format!("{path}?limit=2{token}");
            api.mesh("GET", &target, Value::Null).await.ok()
        }
    };
    let names = |page: &Value| -> Vec<String> {
        let items = page["virtualServices"].as_array().expect("a list").iter();
        items
            .map(|i| i["virtualServiceName"].as_str().expect("a name").to_owned())
            .collect()
    };
    let first = page(String::new()).await;
    assert_eq!(names(&first), ["a", "b"]);
    api.mesh("DELETE", &format!("{path}/b"), Value::Null)
        .await
        .ok();
    let token = first["nextToken"].as_str().expect("there is more");
    let second = page(format!("&nextToken={token}")).await;
    assert_eq!(names(&second), ["c", "d"]);
    assert_ne!(second["nextToken"], first["nextToken"], "tokens advance");
    let token = second["nextToken"].as_str().expect("there is more");
    let last = page(format!("&nextToken={token}")).await;
    assert_eq!(names(&last), ["e", "front.default.svc.cluster.local"]);
    assert!(last.get("nextToken").is_none());

    for query in ["limit=0", "limit=101", "limit=x", "nextToken=ffff"] {
        let target = format!("{path}?{query}");
        api.mesh("GET", &target, Value::Null)
            .await
            .failed(400, "BadRequestException");
    }
    let target = format!("/meshes?nextToken={token}");
    api.mesh("GET", &target, Value::Null)
        .await
        .failed(400, "BadRequestException");
}

#[tokio::test]
async fn tags_are_added_overwritten_listed_and_removed() {
    let api = filled().await;
    let arn =
        format!("arn%3Aaws%3Aappmesh%3A{REGION}%3A{ACCOUNT}%3Amesh%2Fdemo%2FvirtualNode%2Ffront");
    let tags = json!({ "tags": [{ "key": "b", "value": "1" }, { "key": "a", "value": "" }] });
    let put = format!("/tag?resourceArn={arn}");
    assert_eq!(api.mesh("PUT", &put, tags).await.ok(), json!({}));
    let tags = json!({ "tags": [{ "key": "b", "value": "2" }] });
    api.mesh("PUT", &put, tags).await.ok();
    let list = format!("/tags?resourceArn={arn}&limit=1");
    let first = api.mesh("GET", &list, Value::Null).await.ok();
    assert_eq!(first["tags"], json!([{ "key": "a", "value": "" }]));
    let token = first["nextToken"].as_str().expect("there is more");
    let second = api
        .mesh("GET", &format!("{list}&nextToken={token}"), Value::Null)
        .await
        .ok();
    assert_eq!(second, json!({ "tags": [{ "key": "b", "value": "2" }] }));
    let untag = format!("/untag?resourceArn={arn}");
    api.mesh("PUT", &untag, json!({ "tagKeys": ["a", "never"] }))
        .await
        .ok();
    let left = api
        .mesh("GET", &format!("/tags?resourceArn={arn}"), Value::Null)
        .await
        .ok();
    assert_eq!(left, json!({ "tags": [{ "key": "b", "value": "2" }] }));

    let many: Vec<Value> = (0..50)
        .map(|i| json!({ "key": format!("k{i}"), "value": "" }))
        .collect();
    let many = json!({ "tags": many });
    api.mesh("PUT", &put, many)
        .await
        .failed(400, "TooManyTagsException");
}

#[tokio::test]
async fn tags_of_nothing_are_refused() {
    let api = filled().await;
    let arn = |region: &str, path: &str| format!("arn:aws:appmesh:{region}:{ACCOUNT}:{path}");
    for (arn, status, code) in [
        (arn(REGION, "mesh/none"), 404, "NotFoundException"),
        (arn("mars-1", "mesh/demo"), 404, "NotFoundException"),
        ("mesh/demo".to_owned(), 400, "BadRequestException"),
        ("nonsense".to_owned(), 400, "BadRequestException"),
    ] {
        let target = format!("/tags?resourceArn={arn}");
        api.mesh("GET", &target, Value::Null)
            .await
            .failed(status, code);
        let target = format!("/tag?resourceArn={arn}");
        api.mesh("PUT", &target, json!({ "tags": [] }))
            .await
            .failed(status, code);
    }
    api.mesh("GET", "/tags", Value::Null)
        .await
        .failed(400, "BadRequestException");
}

#[tokio::test]
async fn too_many_tags_at_creation_are_a_bad_request() {
    let api = Api::new();
    let tags: Vec<Value> = (0..51)
        .map(|i| json!({ "key": format!("k{i}"), "value": "" }))
        .collect();
    let body = json!({ "meshName": "m", "tags": tags });
    api.mesh("PUT", "/meshes", body)
        .await
        .failed(400, "BadRequestException");
}
