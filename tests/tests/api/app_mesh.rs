//! App Mesh through boto3.

use crate::server_and_boto;
use serde_json::{Value, json};
use tombolo_tests::{ACCOUNT, REGION, boto::Boto};

/// A resource of one kind: its name in boto3, and two specs.
struct Sample {
    kind: &'static str,
    /// The member of the list output.
    listed: &'static str,
    name: (&'static str, &'static str),
    /// The parent, if it is not the mesh.
    parent: Option<(&'static str, &'static str)>,
    path: &'static str,
    first: Value,
    second: Value,
}

impl Sample {
    /// The parameters with its name.
    fn named(&self) -> Value {
        let mut params = self.parents();
        params[self.name.0] = self.name.1.into();
        params
    }

    /// The parameters with the names of its parents.
    fn parents(&self) -> Value {
        let mut params = json!({});
        if self.kind != "Mesh" {
            params["meshName"] = "shop".into();
        }
        if let Some((name, value)) = self.parent {
            params[name] = value.into();
        }
        params
    }

    fn with_spec(&self, spec: &Value) -> Value {
        let mut params = self.named();
        params["spec"] = spec.clone();
        params
    }

    /// The only member of the output.
    fn member(&self) -> String {
        let mut name = self.kind.to_owned();
        name[..1].make_ascii_lowercase();
        name
    }
}

fn node(hostname: &str, port: u16) -> Value {
    json!({
        "listeners": [{
            "portMapping": {"port": port, "protocol": "http"},
            "healthCheck": {
                "protocol": "http", "path": "/alive", "intervalMillis": 5000, "timeoutMillis": 2000,
                "healthyThreshold": 2, "unhealthyThreshold": 2,
            },
        }],
        "serviceDiscovery": {"dns": {"hostname": hostname}},
        "backends": [{"virtualService": {"virtualServiceName": "stock.shop.local"}}],
    })
}

/// One resource of each kind, each depending only on earlier ones.
fn samples() -> Vec<Sample> {
    let route = |weight: u32| {
        json!({
            "priority": 7,
            "httpRoute": {
                "match": {"prefix": "/", "headers": [{"name": "x-beta", "match": {"exact": "1"}}]},
                "action": {"weightedTargets": [{"virtualNode": "front", "weight": weight}]},
                "retryPolicy": {
                    "maxRetries": 2, "perRetryTimeout": {"unit": "ms", "value": 900},
                    "httpRetryEvents": ["gateway-error"],
                },
            },
        })
    };
    let gateway_route = |prefix: &str| {
        json!({"httpRoute": {
            "match": {"prefix": prefix},
            "action": {"target": {"virtualService": {"virtualServiceName": "stock.shop.local"}}},
        }})
    };
    let listening =
        |port: u16| json!({"listeners": [{"portMapping": {"port": port, "protocol": "http"}}]});
    vec![
        Sample {
            kind: "Mesh",
            listed: "meshes",
            name: ("meshName", "shop"),
            parent: None,
            path: "mesh/shop",
            first: json!({}),
            second: json!({"egressFilter": {"type": "ALLOW_ALL"}}),
        },
        Sample {
            kind: "VirtualNode",
            listed: "virtualNodes",
            name: ("virtualNodeName", "front"),
            parent: None,
            path: "mesh/shop/virtualNode/front",
            first: node("front.shop.local", 8080),
            second: node("front-2.shop.local", 8081),
        },
        Sample {
            kind: "VirtualRouter",
            listed: "virtualRouters",
            name: ("virtualRouterName", "stock"),
            parent: None,
            path: "mesh/shop/virtualRouter/stock",
            first: listening(80),
            second: listening(8080),
        },
        Sample {
            kind: "Route",
            listed: "routes",
            name: ("routeName", "all"),
            parent: Some(("virtualRouterName", "stock")),
            path: "mesh/shop/virtualRouter/stock/route/all",
            first: route(100),
            second: route(50),
        },
        Sample {
            kind: "VirtualService",
            listed: "virtualServices",
            name: ("virtualServiceName", "stock.shop.local"),
            parent: None,
            path: "mesh/shop/virtualService/stock.shop.local",
            first: json!({"provider": {"virtualRouter": {"virtualRouterName": "stock"}}}),
            second: json!({"provider": {"virtualNode": {"virtualNodeName": "front"}}}),
        },
        Sample {
            kind: "VirtualGateway",
            listed: "virtualGateways",
            name: ("virtualGatewayName", "door"),
            parent: None,
            path: "mesh/shop/virtualGateway/door",
            first: listening(8088),
            second: listening(8089),
        },
        Sample {
            kind: "GatewayRoute",
            listed: "gatewayRoutes",
            name: ("gatewayRouteName", "all"),
            parent: Some(("virtualGatewayName", "door")),
            path: "mesh/shop/virtualGateway/door/gatewayRoute/all",
            first: gateway_route("/"),
            second: gateway_route("/stock"),
        },
    ]
}

fn make(boto: &mut Boto, sample: &Sample) -> Value {
    let operation = format!("Create{}", sample.kind);
    boto.call("appmesh", &operation, sample.with_spec(&sample.first))[sample.member()].take()
}

#[test]
fn every_kind_is_created_described_listed_updated_and_deleted() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let samples = samples();
    for sample in &samples {
        let made = make(&mut boto, sample);
        let arn = format!("arn:aws:appmesh:{REGION}:{ACCOUNT}:{}", sample.path);
        assert_eq!(made["metadata"]["arn"], arn.as_str());
        assert_eq!(made["metadata"]["version"], 1);
        assert_eq!(made["metadata"]["meshOwner"], ACCOUNT);
        assert_eq!(made["status"]["status"], "ACTIVE");
        assert_eq!(
            made["spec"], sample.first,
            "a spec is answered as it was sent"
        );

        let describe = format!("Describe{}", sample.kind);
        let described = boto.call("appmesh", &describe, sample.named());
        assert_eq!(described[sample.member()], made);

        let list = format!(
            "List{}{}",
            sample.kind,
            if sample.kind == "Mesh" { "es" } else { "s" }
        );
        let listed = boto.call("appmesh", &list, sample.parents());
        let listed = listed[sample.listed].as_array().expect("a list");
        assert_eq!(listed.len(), 1, "{list}");
        assert_eq!(listed[0]["arn"], arn.as_str());
        assert_eq!(listed[0][sample.name.0], sample.name.1);

        let update = format!("Update{}", sample.kind);
        let updated = boto.call("appmesh", &update, sample.with_spec(&sample.second));
        let updated = &updated[sample.member()];
        assert_eq!(updated["spec"], sample.second);
        assert_eq!(updated["metadata"]["version"], 2);
        for kept in ["arn", "uid", "createdAt"] {
            assert_eq!(updated["metadata"][kept], made["metadata"][kept], "{kept}");
        }
    }
    for sample in samples.iter().rev() {
        let delete = format!("Delete{}", sample.kind);
        let deleted = boto.call("appmesh", &delete, sample.named());
        assert_eq!(deleted[sample.member()]["status"]["status"], "DELETED");
        let gone = boto.fail(
            "appmesh",
            &format!("Describe{}", sample.kind),
            sample.named(),
        );
        assert_eq!(
            (gone.code.as_str(), gone.status),
            ("NotFoundException", 404),
            "{gone:?}"
        );
    }
}

#[test]
fn errors_are_those_that_boto3_knows() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let samples = samples();
    for sample in &samples {
        make(&mut boto, sample);
    }
    let mut fails = |operation: &str, params: Value, class: &str, status: u64, word: &str| {
        let raised = boto.fail("appmesh", operation, params);
        assert_eq!(
            (raised.class.as_str(), raised.status),
            (class, status),
            "{operation}: {raised:?}"
        );
        assert!(
            raised.message.contains(word),
            "{operation}: {raised:?} does not say {word:?}"
        );
    };
    fails(
        "CreateMesh",
        json!({"meshName": "shop"}),
        "ConflictException",
        409,
        "shop",
    );
    fails(
        "DeleteMesh",
        json!({"meshName": "shop"}),
        "ResourceInUseException",
        409,
        "",
    );
    let router = json!({"meshName": "shop", "virtualRouterName": "stock"});
    fails(
        "DeleteVirtualRouter",
        router,
        "ResourceInUseException",
        409,
        "",
    );
    let nowhere = json!({
        "meshName": "nowhere", "virtualNodeName": "n", "spec": {},
    });
    fails(
        "CreateVirtualNode",
        nowhere,
        "NotFoundException",
        404,
        "nowhere",
    );
    let astray = json!({
        "meshName": "shop", "virtualRouterName": "stock", "routeName": "astray",
        "spec": {"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": "missing", "weight": 1}]},
        }},
    });
    fails("CreateRoute", astray, "NotFoundException", 404, "missing");
    let huge = json!({
        "meshName": "shop", "virtualRouterName": "stock", "routeName": "huge",
        "spec": {"httpRoute": {
            "match": {"prefix": "no-slash"},
            "action": {"weightedTargets": [{"virtualNode": "front", "weight": 1}]},
        }},
    });
    fails("CreateRoute", huge, "BadRequestException", 400, "prefix");
}

#[test]
fn a_retried_creation_with_its_token_is_the_same_creation() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let params = json!({"meshName": "shop", "clientToken": "a-token"});
    let first = boto.call("appmesh", "CreateMesh", params.clone());
    let again = boto.call("appmesh", "CreateMesh", params);
    assert_eq!(first, again);
}

#[test]
fn tags_are_added_listed_and_removed() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let tags = json!([{"key": "team", "value": "blue"}]);
    let made = boto.call(
        "appmesh",
        "CreateMesh",
        json!({"meshName": "shop", "tags": tags}),
    );
    let arn = &made["mesh"]["metadata"]["arn"];
    let more = json!({"resourceArn": arn, "tags": [{"key": "tier", "value": "1"}]});
    boto.call("appmesh", "TagResource", more);
    let listed = boto.call(
        "appmesh",
        "ListTagsForResource",
        json!({"resourceArn": arn}),
    );
    let both = json!([{"key": "team", "value": "blue"}, {"key": "tier", "value": "1"}]);
    assert_eq!(listed["tags"], both);
    boto.call(
        "appmesh",
        "UntagResource",
        json!({"resourceArn": arn, "tagKeys": ["team"]}),
    );
    let listed = boto.call(
        "appmesh",
        "ListTagsForResource",
        json!({"resourceArn": arn}),
    );
    assert_eq!(listed["tags"], json!([{"key": "tier", "value": "1"}]));
}

#[test]
fn listings_come_in_pages() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let mut expected: Vec<String> = (0..23).map(|i| format!("mesh-{i:02}")).collect();
    for name in &expected {
        boto.call("appmesh", "CreateMesh", json!({ "meshName": name }));
    }
    let pages = boto.pages("appmesh", "ListMeshes", json!({}), 10);
    let sizes: Vec<usize> = pages
        .iter()
        .map(|page| page["meshes"].as_array().expect("a list").len())
        .collect();
    assert_eq!(sizes, [10, 10, 3]);
    let mut names: Vec<String> = pages
        .iter()
        .flat_map(|page| page["meshes"].as_array().expect("a list"))
        .map(|mesh| mesh["meshName"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn regions_do_not_see_each_other() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    boto.call("appmesh", "CreateMesh", json!({"meshName": "shop"}));
    let elsewhere = boto.call_in("eu-central-1", "appmesh", "ListMeshes", json!({}));
    assert_eq!(elsewhere["meshes"], json!([]));
    let made = boto.call_in(
        "eu-central-1",
        "appmesh",
        "CreateMesh",
        json!({"meshName": "shop"}),
    );
    let arn = made["mesh"]["metadata"]["arn"].as_str().expect("an ARN");
    assert!(arn.starts_with("arn:aws:appmesh:eu-central-1:"), "{arn}");
}
