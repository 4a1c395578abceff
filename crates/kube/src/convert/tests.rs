use serde_json::{Value, json};

use super::*;
use crate::admit::{self, IpFamily};
use crate::crd::Kind;
use crate::testkit;

/// A cluster with the mesh `demo`, called `demo-aws` in the mesh API, around the namespaces `shop` and `stock`.
fn cluster() -> ClusterObjects {
    let mut objects = ClusterObjects::new();
    for namespace in ["shop", "stock"] {
        objects.put_namespace(namespace, [("mesh".to_owned(), "demo".to_owned())].into());
    }
    put(
        &mut objects,
        "Mesh",
        "/demo",
        json!({"awsName": "demo-aws", "meshOwner": "111122223333", "namespaceSelector": {"matchLabels": {"mesh": "demo"}}}),
    );
    objects
}

fn read(kind: &str, key: &str, spec: Value) -> Resource {
    let (namespace, name) = key.split_once('/').expect("a namespace and a name");
    let value = json!({"metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{key}")}, "spec": spec});
    testkit::resource(kind, value)
}

fn put(objects: &mut ClusterObjects, kind: &str, key: &str, spec: Value) -> Resource {
    let admitted = admit::create(read(kind, key, spec), objects, IpFamily::V4).expect("admitted");
    objects.put(admitted.clone());
    admitted
}

fn converted(resource: &Resource, objects: &ClusterObjects) -> Converted {
    convert(resource, objects)
        .expect("convertible")
        .expect("not a backend group")
}

fn spec(resource: &Resource, objects: &ClusterObjects) -> Value {
    let converted = converted(resource, objects);
    converted
        .resource
        .spec
        .check()
        .expect("within the model's bounds");
    converted.resource.spec.to_json()
}

fn to_node(name: &str) -> Value {
    json!({"virtualNodeRef": {"name": name}, "weight": 1})
}

#[test]
fn a_mesh_keeps_its_owner_apart_from_its_spec() {
    let objects = ClusterObjects::new();
    let mesh = read(
        "Mesh",
        "/m",
        json!({
            "awsName": "n", "meshOwner": "999988887777", "egressFilter": {"type": "ALLOW_ALL"},
            "meshServiceDiscovery": {"ipPreference": "IPv4_ONLY"}, "namespaceSelector": {},
        }),
    );
    let converted = converted(&mesh, &objects);
    assert_eq!(converted.mesh_owner.as_deref(), Some("999988887777"));
    assert_eq!(converted.resource.key, ResourceKey::mesh("n"));
    let expected = json!({"egressFilter": {"type": "ALLOW_ALL"}, "serviceDiscovery": {"ipPreference": "IPv4_ONLY"}});
    assert_eq!(converted.resource.spec.to_json(), expected);
}

#[test]
fn every_field_of_a_virtual_node_arrives_in_the_spelling_of_the_mesh_api() {
    let mut objects = cluster();
    put(&mut objects, "VirtualService", "stock/items", json!({}));
    let file = json!({"certificateChain": "/c.pem", "privateKey": "/k.pem"});
    let node = put(
        &mut objects,
        "VirtualNode",
        "shop/front",
        json!({
            "podSelector": {"matchLabels": {"app": "front"}},
            "listeners": [{
                "portMapping": {"port": 8080, "protocol": "http"},
                "healthCheck": {
                    "protocol": "http", "path": "/ping", "healthyThreshold": 2, "unhealthyThreshold": 3,
                    "timeoutMillis": 2000, "intervalMillis": 5000,
                },
                "connectionPool": {"http": {"maxConnections": 10, "maxPendingRequests": 5}},
                "outlierDetection": {
                    "maxServerErrors": 5, "maxEjectionPercent": 50,
                    "interval": {"unit": "s", "value": 10}, "baseEjectionDuration": {"unit": "ms", "value": 10000},
                },
                "timeout": {"http": {"perRequest": {"unit": "s", "value": 60}}},
                "tls": {
                    "mode": "STRICT",
                    "certificate": {"acm": {"certificateARN": "arn:aws:acm:us-west-2:111122223333:certificate/1"}},
                    "validation": {"trust": {"file": {"certificateChain": "/ca.pem"}}},
                },
            }],
            "serviceDiscovery": {"awsCloudMap": {
                "namespaceName": "shop.local", "serviceName": "front", "attributes": [{"key": "color", "value": "blue"}],
            }},
            "backends": [{"virtualService": {
                "virtualServiceRef": {"name": "items", "namespace": "stock"},
                "clientPolicy": {"tls": {
                    "certificate": {"file": file},
                    "validation": {
                        "trust": {"acm": {"certificateAuthorityARNs": ["arn:aws:acm-pca:us-west-2:111122223333:certificate-authority/1"]}},
                        "subjectAlternativeNames": {"match": {"exact": ["items.stock"]}},
                    },
                }},
            }}],
            "backendDefaults": {"clientPolicy": {"tls": {
                "enforce": false, "ports": [443], "validation": {"trust": {"sds": {"secretName": "spiffe://demo"}}},
            }}},
            "logging": {"accessLog": {"file": {"path": "/dev/stdout", "format": {"json": [{"key": "k", "value": "%PROTOCOL%"}]}}}},
        }),
    );
    let converted = converted(&node, &objects);
    assert_eq!(
        converted.resource.key.to_string(),
        "mesh/demo-aws/virtualNode/front_shop"
    );
    assert_eq!(converted.mesh_owner.as_deref(), Some("111122223333"));
    insta::assert_json_snapshot!(spec(&node, &objects));
}

#[test]
fn a_router_gives_its_listeners_and_all_its_routes_sorted_by_name() {
    let mut objects = cluster();
    put(
        &mut objects,
        "VirtualNode",
        "shop/red",
        json!({"awsName": "red"}),
    );
    put(&mut objects, "VirtualNode", "shop/blue", json!({}));
    let router = put(
        &mut objects,
        "VirtualRouter",
        "shop/color",
        json!({
            "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
            "routes": [
                {
                    "name": "z", "priority": 10,
                    "httpRoute": {
                        "match": {
                            "prefix": "/", "method": "GET", "port": 8080,
                            "headers": [{"name": "h", "match": {"range": {"start": 1, "end": 9}}, "invert": true}],
                            "queryParameters": [{"name": "q", "match": {"exact": "1"}}],
                        },
                        "action": {"weightedTargets": [
                            {"virtualNodeRef": {"name": "red"}, "weight": 3, "port": 8080},
                            {"virtualNodeRef": {"name": "blue"}, "weight": 0},
                        ]},
                        "retryPolicy": {
                            "maxRetries": 2, "perRetryTimeout": {"unit": "ms", "value": 100},
                            "httpRetryEvents": ["server-error"], "tcpRetryEvents": ["connection-error"],
                        },
                        "timeout": {"idle": {"unit": "s", "value": 1}},
                    },
                },
                {"name": "a", "grpcRoute": {
                    "match": {"serviceName": "color.Color", "methodName": "Get", "metadata": [{"name": "m"}]},
                    "action": {"weightedTargets": [to_node("red")]},
                    "retryPolicy": {
                        "maxRetries": 1, "perRetryTimeout": {"unit": "s", "value": 1},
                        "grpcRetryEvents": ["deadline-exceeded"],
                    },
                }},
                {"name": "m", "tcpRoute": {"match": {"port": 9}, "action": {"weightedTargets": [to_node("red")]}}},
                {"name": "n", "http2Route": {"match": {"path": {"regex": "/.*"}}, "action": {"weightedTargets": [to_node("red")]}}},
            ],
        }),
    );
    let converted = converted(&router, &objects);
    let routes: Value = converted
        .routes
        .iter()
        .map(|route| {
            route.spec.check().expect("within the model's bounds");
            (route.key.to_string(), route.spec.to_json())
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    insta::assert_json_snapshot!(
        json!({"router": converted.resource.spec.to_json(), "routes": routes})
    );
}

#[test]
fn a_gateway_route_is_a_child_of_its_gateway() {
    let mut objects = cluster();
    put(
        &mut objects,
        "VirtualGateway",
        "stock/in",
        json!({"awsName": "ingress", "namespaceSelector": {}}),
    );
    put(
        &mut objects,
        "VirtualService",
        "shop/color",
        json!({"awsName": "color.example"}),
    );
    let route = put(
        &mut objects,
        "GatewayRoute",
        "shop/all",
        json!({"priority": 7, "httpRoute": {
            "match": {"prefix": "/a/", "hostname": {"suffix": ".example"}},
            "action": {
                "target": {"virtualService": {"virtualServiceRef": {"name": "color"}}, "port": 8080},
                "rewrite": {"prefix": {"value": "/b/"}, "hostname": {"defaultTargetHostname": "DISABLED"}},
            },
        }}),
    );
    let key = converted(&route, &objects).resource.key;
    assert_eq!(
        key.to_string(),
        "mesh/demo-aws/virtualGateway/ingress/gatewayRoute/all_shop"
    );
    assert_eq!(
        spec(&route, &objects),
        json!({"priority": 7, "httpRoute": {
            "match": {"prefix": "/a/", "hostname": {"suffix": ".example"}},
            "action": {
                "target": {"virtualService": {"virtualServiceName": "color.example"}, "port": 8080},
                "rewrite": {"prefix": {"value": "/b/"}, "hostname": {"defaultTargetHostname": "DISABLED"}},
            },
        }})
    );
}

#[test]
fn a_service_names_its_provider_or_nobody() {
    let mut objects = cluster();
    put(&mut objects, "VirtualNode", "shop/n", json!({}));
    put(
        &mut objects,
        "VirtualRouter",
        "stock/r",
        json!({"awsName": "router"}),
    );
    for (provider, expected) in [
        (json!(null), json!({})),
        (
            json!({"virtualNode": {"virtualNodeRef": {"name": "n"}}}),
            json!({"provider": {"virtualNode": {"virtualNodeName": "n_shop"}}}),
        ),
        (
            json!({"virtualRouter": {"virtualRouterRef": {"name": "r", "namespace": "stock"}}}),
            json!({"provider": {"virtualRouter": {"virtualRouterName": "router"}}}),
        ),
        (
            json!({"virtualRouter": {
                "virtualRouterRef": {"name": "missing"},
                "virtualRouterARN": "arn:aws:appmesh:eu-west-1:999988887777:mesh/other@999988887777/virtualRouter/far",
            }}),
            json!({"provider": {"virtualRouter": {"virtualRouterName": "far"}}}),
        ),
    ] {
        let service = put(
            &mut objects,
            "VirtualService",
            "shop/s",
            json!({ "provider": provider }),
        );
        assert_eq!(spec(&service, &objects), expected);
    }
}

#[test]
fn references_that_lead_nowhere_name_the_field_and_the_target() {
    let mut objects = cluster();
    objects.put_namespace("far", [("mesh".to_owned(), "far".to_owned())].into());
    put(
        &mut objects,
        "Mesh",
        "/far",
        json!({"namespaceSelector": {"matchLabels": {"mesh": "far"}}}),
    );
    put(&mut objects, "VirtualNode", "far/n", json!({}));
    for (reference, expected) in [
        (
            json!({"virtualNodeRef": {"name": "gone"}}),
            "spec.provider.virtualNode.virtualNodeRef: VirtualNode shop/gone is not there; create it, or correct the reference",
        ),
        (
            json!({"virtualNodeRef": {"name": "n", "namespace": "far"}}),
            "spec.provider.virtualNode.virtualNodeRef: VirtualNode far/n is in mesh far, this object in mesh demo; both must share one mesh",
        ),
    ] {
        let service = put(
            &mut objects,
            "VirtualService",
            "shop/s",
            json!({"provider": {"virtualNode": reference}}),
        );
        let error = convert(&service, &objects).expect_err("leads nowhere");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.violation().to_string(), error.to_string());
    }
}

#[test]
fn an_arn_of_another_type_is_refused_without_looking_at_the_cluster() {
    for (provider, expected) in [
        (
            json!({"virtualNodeARN": "arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualRouter/r"}),
            "spec.provider.virtualNode.virtualNodeARN: \"arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualRouter/r\" does not name a virtualNode; \
             write arn:aws:appmesh:<region>:<account>:mesh/<mesh>/virtualNode/<name>",
        ),
        (
            json!({"virtualNodeARN": "n"}),
            "spec.provider.virtualNode.virtualNodeARN: \"n\" does not name a virtualNode",
        ),
    ] {
        let service = read(
            "VirtualService",
            "shop/s",
            json!({"provider": {"virtualNode": provider}}),
        );
        let violations = service.check();
        assert_eq!(violations.len(), 1);
        let violation = &violations[0];
        assert!(violation.to_string().starts_with(expected), "{violation}");
    }
}

#[test]
fn a_mesh_that_was_recreated_is_not_taken_for_the_old_one() {
    let mut objects = cluster();
    let node = put(&mut objects, "VirtualNode", "shop/n", json!({}));
    let mut mesh = objects.mesh("demo").expect("a mesh").clone();
    mesh.metadata.uid = Some("another".to_owned());
    objects.put(Resource::Mesh(mesh));
    let problem = |objects: &ClusterObjects| match convert(&node, objects) {
        Err(ConvertError::Reference(error)) => error.problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(&objects), TargetProblem::Recreated);
    objects.remove(Kind::Mesh, "", "demo");
    assert_eq!(problem(&objects), TargetProblem::Missing);
}

#[test]
fn an_object_that_was_not_admitted_is_not_converted() {
    let error =
        convert(&read("VirtualNode", "shop/n", json!({})), &cluster()).expect_err("not admitted");
    assert_eq!(
        error.to_string(),
        "spec.awsName: is not set; the object was not admitted"
    );
}

#[test]
fn groups_add_their_services_once_in_order_and_keep_the_policies_of_named_backends() {
    let mut objects = cluster();
    for key in ["shop/a", "shop/b", "stock/c", "stock/d"] {
        put(&mut objects, "VirtualService", key, json!({}));
    }
    put(
        &mut objects,
        "BackendGroup",
        "stock/some",
        json!({"virtualservices": [{"name": "d"}, {"name": "a", "namespace": "shop"}]}),
    );
    let policy = json!({"tls": {"validation": {"trust": {"sds": {"secretName": "s"}}}}});
    let node = put(
        &mut objects,
        "VirtualNode",
        "shop/n",
        json!({
            "backends": [{"virtualService": {"virtualServiceRef": {"name": "a"}, "clientPolicy": policy}}],
            "backendGroups": [{"name": "some", "namespace": "stock"}, {"name": "*"}],
        }),
    );
    let spec = spec(&node, &objects);
    let names: Vec<&str> = spec["backends"]
        .as_array()
        .expect("backends")
        .iter()
        .filter_map(|backend| backend["virtualService"]["virtualServiceName"].as_str())
        .collect();
    assert_eq!(
        names,
        ["a.shop", "d.stock", "b.shop"],
        "a group's own namespace is where its members are"
    );
    assert_eq!(
        spec["backends"][0]["virtualService"]["clientPolicy"],
        policy
    );

    let lost = put(
        &mut objects,
        "VirtualNode",
        "shop/lost",
        json!({"backendGroups": [{"name": "none"}]}),
    );
    let error = convert(&lost, &objects).expect_err("no such group");
    assert!(
        error
            .to_string()
            .starts_with("spec.backendGroups[0]: BackendGroup shop/none is not there"),
        "{error}"
    );
    let group = objects
        .get(Kind::BackendGroup, "stock", "some")
        .expect("a group");
    assert_eq!(convert(group, &objects), Ok(None));
}

#[test]
fn the_key_of_an_object_is_known_without_the_targets_of_its_references() {
    let mut objects = cluster();
    let node = put(
        &mut objects,
        "VirtualNode",
        "shop/n",
        json!({"backends": [{"virtualService": {"virtualServiceRef": {"name": "gone"}}}]}),
    );
    assert!(convert(&node, &objects).is_err());
    let key = key(&node, &objects).expect("known").expect("not a group");
    assert_eq!(key.to_string(), "mesh/demo-aws/virtualNode/n_shop");
}
