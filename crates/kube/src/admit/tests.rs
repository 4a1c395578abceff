use serde_json::{Value, json};

use super::*;
use crate::testkit;

/// A mesh object from its parts.
fn object(kind: &str, name: &str, labels: Value, spec: Value) -> Resource {
    let value = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": labels},
        "spec": spec,
    });
    testkit::resource(kind, value)
}

fn mesh(name: &str, selector: Value) -> Resource {
    let mut mesh = object(
        "Mesh",
        name,
        json!({}),
        json!({"namespaceSelector": selector}),
    );
    mesh.metadata_mut().namespace = None;
    create(mesh, &ClusterObjects::new(), IpFamily::V4).expect("a mesh is admitted")
}

/// The namespace `shop`, labelled `mesh=m`, inside the mesh `m`.
fn cluster() -> ClusterObjects {
    let mut objects = ClusterObjects::new();
    objects.put_namespace("shop", [("mesh".to_owned(), "m".to_owned())].into());
    objects.put(mesh("m", json!({"matchLabels": {"mesh": "m"}})));
    objects
}

fn gateway(name: &str, spec: Value) -> Resource {
    create(
        object("VirtualGateway", name, json!({}), spec),
        &cluster(),
        IpFamily::V4,
    )
    .expect("a gateway is admitted")
}

fn with_gateway() -> ClusterObjects {
    let mut objects = cluster();
    objects.put(gateway("in", json!({"namespaceSelector": {}})));
    objects
}

fn http_gateway_route(http_route: Value) -> Value {
    let mut route =
        json!({"action": {"target": {"virtualService": {"virtualServiceRef": {"name": "s"}}}}});
    for (key, value) in http_route.as_object().expect("a map") {
        if key == "rewrite" {
            route["action"]["rewrite"] = value.clone();
        } else {
            route[key] = value.clone();
        }
    }
    json!({ "httpRoute": route })
}

fn denied(kind: &str, spec: Value, objects: &ClusterObjects) -> String {
    let result = create(
        object(kind, "x", json!({}), spec.clone()),
        objects,
        IpFamily::V4,
    );
    result.map_or_else(
        |denials| denials.to_string(),
        |_| panic!("{kind} {spec} was admitted"),
    )
}

#[test]
fn names_in_the_mesh_api_are_defaulted_by_kind() {
    let objects = with_gateway();
    for (kind, spec, name) in [
        ("VirtualNode", json!({}), Some("x_shop")),
        ("VirtualNode", json!({"awsName": ""}), Some("x_shop")),
        ("VirtualNode", json!({"awsName": "given"}), Some("given")),
        ("VirtualRouter", json!({}), Some("x_shop")),
        ("VirtualService", json!({}), Some("x.shop")),
        ("VirtualGateway", json!({}), Some("x_shop")),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {"prefix": "/"}})),
            Some("x_shop"),
        ),
        ("BackendGroup", json!({}), None),
    ] {
        let admitted =
            create(object(kind, "x", json!({}), spec), &objects, IpFamily::V4).expect("admitted");
        assert_eq!(admitted.aws_name(), name, "{kind}");
        let mesh_ref = admitted.mesh_ref().expect("a member");
        assert_eq!(
            (mesh_ref.name.as_str(), mesh_ref.uid.as_str()),
            ("m", "uid-m"),
            "{kind}"
        );
    }
    assert_eq!(mesh("m", json!({})).aws_name(), Some("m"));
}

#[test]
fn membership_is_denied_unless_exactly_one_mesh_selects_the_namespace() {
    let nowhere = ClusterObjects::new();
    assert!(denied("VirtualNode", json!({}), &nowhere).contains("namespace shop is not there"));

    let mut none = cluster();
    none.put(mesh("m", json!(null)));
    let message = denied("VirtualNode", json!({}), &none);
    assert!(
        message.contains("no mesh selects namespace shop, labelled {mesh=m}"),
        "{message}"
    );

    let mut two = cluster();
    two.put(mesh("everything", json!({})));
    let message = denied("VirtualNode", json!({}), &two);
    assert!(
        message.contains("several meshes select namespace shop: everything, m"),
        "{message}"
    );

    let mut ending = mesh("m", json!({}));
    ending.metadata_mut().deletion_timestamp = Some(testkit::TIME);
    let mut objects = cluster();
    objects.put(ending);
    assert!(denied("VirtualNode", json!({}), &objects).contains("is being deleted"));
}

#[test]
fn a_gateway_route_needs_exactly_one_gateway_of_its_own_mesh() {
    let route = || http_gateway_route(json!({"match": {"prefix": "/"}}));
    let mut objects = cluster();
    let message = denied("GatewayRoute", route(), &objects);
    assert!(
        message.contains("no virtual gateway selects this route"),
        "{message}"
    );

    objects.put(gateway("blind", json!({})));
    assert!(
        denied("GatewayRoute", route(), &objects).contains("no virtual gateway"),
        "an absent selector selects nothing"
    );

    objects.put(gateway(
        "other",
        json!({"namespaceSelector": {}, "gatewayRouteSelector": {"matchLabels": {"a": "b"}}}),
    ));
    assert!(
        denied("GatewayRoute", route(), &objects).contains("no virtual gateway"),
        "the route is not labelled a=b"
    );

    objects.put(gateway("in", json!({"namespaceSelector": {}})));
    let admitted = create(
        object("GatewayRoute", "x", json!({}), route()),
        &objects,
        IpFamily::V4,
    )
    .expect("admitted");
    let Resource::GatewayRoute(admitted) = admitted else {
        panic!("a gateway route")
    };
    let gateway_ref = admitted.spec.virtual_gateway_ref.expect("a member");
    assert_eq!(
        (gateway_ref.name.as_str(), gateway_ref.namespace.as_deref()),
        ("in", Some("shop"))
    );

    objects.put(gateway("in2", json!({"namespaceSelector": {}})));
    let message = denied("GatewayRoute", route(), &objects);
    assert!(
        message.contains("several virtual gateways select this route: shop/in, shop/in2"),
        "{message}"
    );

    let mut foreign = with_gateway();
    let Some(Resource::VirtualGateway(gateway)) =
        foreign.get(Kind::VirtualGateway, "shop", "in").cloned()
    else {
        panic!("a gateway")
    };
    let mut gateway = gateway;
    gateway.spec.mesh_ref.as_mut().expect("a member").name = "elsewhere".to_owned();
    foreign.put(Resource::VirtualGateway(gateway));
    let message = denied("GatewayRoute", route(), &foreign);
    assert!(
        message.contains("gateway shop/in that selects this route is in mesh elsewhere"),
        "{message}"
    );
}

#[test]
fn membership_written_by_hand_is_denied() {
    let mesh_ref = json!({"name": "m", "uid": "uid-m"});
    for kind in [
        "VirtualNode",
        "VirtualRouter",
        "VirtualService",
        "VirtualGateway",
        "BackendGroup",
    ] {
        let message = denied(kind, json!({ "meshRef": mesh_ref }), &cluster());
        assert!(
            message.contains("spec.meshRef: is read-only; remove it"),
            "{kind}: {message}"
        );
    }
    let mut route = http_gateway_route(json!({"match": {"prefix": "/"}}));
    route["virtualGatewayRef"] = json!({"name": "in", "uid": "uid-in"});
    assert!(
        denied("GatewayRoute", route, &with_gateway())
            .contains("spec.virtualGatewayRef: is read-only")
    );
}

#[test]
fn each_rule_denies_with_its_field() {
    let target = json!([{"virtualNodeRef": {"name": "n"}, "weight": 1}]);
    let http = |route_match: Value| json!({"routes": [{"name": "r", "httpRoute": {"match": route_match, "action": {"weightedTargets": target}}}]});
    let listener = |extra: Value| {
        let mut listener = json!({"portMapping": {"port": 80, "protocol": "http"}});
        for (key, value) in extra.as_object().expect("a map") {
            listener[key] = value.clone();
        }
        json!({"listeners": [listener], "serviceDiscovery": {"dns": {"hostname": "x"}}})
    };
    let backend = |name: &str, namespace: Value| json!({"virtualService": {"virtualServiceRef": {"name": name, "namespace": namespace}}});
    let arn = "arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualService/s";
    let pools = json!({"http": {"maxConnections": 1}, "tcp": {"maxConnections": 1}});
    let file = json!({"certificateChain": "/c", "privateKey": "/k"});
    let acm_trust = json!({"trust": {"acm": {"certificateAuthorityARNs": ["arn"]}}});
    let cases = [
        (
            "VirtualNode",
            json!({"listeners": []}),
            "spec.serviceDiscovery: is required",
        ),
        (
            "VirtualNode",
            json!({"backends": [backend("s", json!(null)), backend("s", json!("shop"))]}),
            "spec.backends[1].virtualService: is the same as spec.backends[0]",
        ),
        (
            "VirtualNode",
            json!({"backends": [{"virtualService": {"virtualServiceARN": arn}}, {"virtualService": {"virtualServiceARN": arn}}]}),
            "spec.backends[1].virtualService: is the same as",
        ),
        (
            "VirtualNode",
            json!({"backends": [{"virtualService": {}}]}),
            "spec.backends[0].virtualService: needs virtualServiceRef or virtualServiceARN",
        ),
        (
            "VirtualNode",
            listener(json!({"connectionPool": pools})),
            "spec.listeners[0].connectionPool: needs exactly one of",
        ),
        (
            "VirtualNode",
            listener(
                json!({"healthCheck": {"intervalMillis": 1, "protocol": "http", "timeoutMillis": 2000, "healthyThreshold": 2, "unhealthyThreshold": 2}}),
            ),
            "spec.listeners[0].healthCheck.intervalMillis: 1 is out of range; it must be from 5000 to 300000",
        ),
        (
            "VirtualNode",
            listener(json!({"tls": {"mode": "STRICT", "certificate": {}}})),
            "spec.listeners[0].tls.certificate: needs exactly one of acm, file, sds; none is given",
        ),
        (
            "VirtualNode",
            listener(
                json!({"tls": {"mode": "STRICT", "certificate": {"file": file}, "validation": acm_trust}}),
            ),
            "spec.listeners[0].tls.validation.trust.acm: is not possible on a listener",
        ),
        (
            "VirtualNode",
            json!({"serviceDiscovery": {}}),
            "spec.serviceDiscovery: needs exactly one of awsCloudMap, dns",
        ),
        (
            "VirtualNode",
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]}}),
            "spec.podSelector.matchExpressions[0].operator: \"Is\" is not an operator",
        ),
        (
            "VirtualNode",
            json!({"logging": {"accessLog": {"file": {"path": "", "format": {"text": "a", "json": []}}}}}),
            "spec.logging.accessLog.file.path: must not be empty; spec.logging.accessLog.file.format: needs exactly one of",
        ),
        (
            "VirtualRouter",
            json!({"listeners": []}),
            "spec.listeners: has 0 items",
        ),
        (
            "VirtualRouter",
            json!({"routes": [{"name": "r"}]}),
            "spec.routes[0]: needs exactly one of grpcRoute, httpRoute, http2Route, tcpRoute; none is given",
        ),
        (
            "VirtualRouter",
            json!({"routes": [{"name": "r", "tcpRoute": {"action": {"weightedTargets": target}}}, {"name": "r", "tcpRoute": {"action": {"weightedTargets": target}}}]}),
            "spec.routes[1].name: \"r\" is the name of spec.routes[0] too",
        ),
        (
            "VirtualRouter",
            http(json!({})),
            "spec.routes[0].httpRoute.match: needs exactly one of prefix, path; none",
        ),
        (
            "VirtualRouter",
            http(json!({"prefix": "/", "path": {"exact": "/a"}})),
            "spec.routes[0].httpRoute.match: needs exactly one of prefix, path; 2",
        ),
        (
            "VirtualRouter",
            http(json!({"path": {}})),
            "spec.routes[0].httpRoute.match.path: needs exactly one of exact, regex",
        ),
        (
            "VirtualRouter",
            http(json!({"prefix": "/", "headers": []})),
            "spec.routes[0].httpRoute.match.headers: has 0 items; it must have 1 to 10",
        ),
        (
            "VirtualRouter",
            json!({"routes": [{"name": "r", "tcpRoute": {"action": {"weightedTargets": []}}}]}),
            "weightedTargets: has 0 items; it must have 1 to 10",
        ),
        (
            "VirtualRouter",
            json!({"routes": [{"name": "r", "tcpRoute": {"action": {"weightedTargets": [
                {"virtualNodeRef": {"name": "n"}, "weight": 60}, {"virtualNodeRef": {"name": "m"}, "weight": 41},
            ]}}}]}),
            "weightedTargets: the weights add up to 101",
        ),
        (
            "VirtualRouter",
            json!({"routes": [{"name": "r", "priority": 1001, "tcpRoute": {"action": {"weightedTargets": [{"virtualNodeRef": {"name": "n"}, "weight": 101}]}}}]}),
            "weightedTargets[0].weight: 101 is out of range",
        ),
        (
            "VirtualService",
            json!({"provider": {}}),
            "spec.provider: needs exactly one of virtualNode, virtualRouter",
        ),
        (
            "VirtualGateway",
            json!({"listeners": [{"portMapping": {"port": 80, "protocol": "tcp"}}]}),
            "spec.listeners[0].portMapping.protocol: tcp is not possible on a gateway",
        ),
        (
            "VirtualGateway",
            json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}, "connectionPool": {"http": {"maxConnections": 1}, "grpc": {"maxRequests": 1}}}]}),
            "spec.listeners[0].connectionPool: needs exactly one of",
        ),
        (
            "GatewayRoute",
            json!({}),
            "spec: needs exactly one of grpcRoute, httpRoute, http2Route; none",
        ),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {}})),
            "spec.httpRoute.match: needs at least one of prefix, path and hostname",
        ),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {"prefix": "/", "path": {"exact": "/a"}}})),
            "spec.httpRoute.match: must not have both prefix and path",
        ),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {"hostname": {}}})),
            "spec.httpRoute.match.hostname: needs exactly one of exact, suffix",
        ),
        (
            "GatewayRoute",
            http_gateway_route(
                json!({"match": {"prefix": "/", "headers": [{"name": "h", "match": {}}]}}),
            ),
            "spec.httpRoute.match.headers[0].match: needs exactly one of",
        ),
        (
            "GatewayRoute",
            http_gateway_route(
                json!({"match": {"prefix": "/", "headers": [{"name": "h", "match": {"range": {"start": 2, "end": 2}}}]}}),
            ),
            "spec.httpRoute.match.headers[0].match.range: end must be greater than start; 2 is not",
        ),
        (
            "GatewayRoute",
            http_gateway_route(
                json!({"match": {"prefix": "/", "headers": [{"name": "h"}], "queryParameters": [{"name": "q", "match": {}}]}}),
            ),
            "spec.httpRoute.match.queryParameters[0].match: needs exact",
        ),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {"prefix": "/"}, "rewrite": {}})),
            "spec.httpRoute.action.rewrite: is empty",
        ),
        (
            "GatewayRoute",
            http_gateway_route(
                json!({"match": {"prefix": "/"}, "rewrite": {"prefix": {"value": "/a/"}, "path": {"exact": "/b"}}}),
            ),
            "spec.httpRoute.action.rewrite: must not have both prefix and path",
        ),
        (
            "GatewayRoute",
            http_gateway_route(
                json!({"match": {"prefix": "/"}, "rewrite": {"prefix": {"value": "/a", "defaultPrefix": "ENABLED"}}}),
            ),
            "spec.httpRoute.action.rewrite.prefix: needs exactly one of defaultPrefix, value; 2 are given; spec.httpRoute.action.rewrite.prefix.value: \"/a\" must start and end with /",
        ),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {"prefix": "a"}})),
            "spec.httpRoute.match.prefix: \"a\" must start with /",
        ),
        (
            "GatewayRoute",
            json!({"grpcRoute": {"match": {}, "action": {"target": {"virtualService": {"virtualServiceRef": {"name": "s"}}}}}}),
            "spec.grpcRoute.match: needs serviceName or hostname",
        ),
        (
            "GatewayRoute",
            json!({"grpcRoute": {"match": {"serviceName": "a.B", "metadata": [{"name": "k", "match": {"exact": "a", "prefix": "b"}}]}, "action": {"target": {"virtualService": {"virtualServiceRef": {"name": "s"}}}}}}),
            "spec.grpcRoute.match.metadata[0].match: needs exactly one of exact, prefix, regex, suffix, range; 2 are given",
        ),
    ];
    let objects = with_gateway();
    for (kind, spec, expected) in cases {
        let message = denied(kind, spec.clone(), &objects);
        assert!(
            message.contains(expected),
            "{kind} {spec}\nexpected {expected}\n     got {message}"
        );
    }
}

#[test]
fn all_reasons_are_given_together() {
    let spec = json!({
        "meshRef": {"name": "m", "uid": "u"},
        "listeners": [{"portMapping": {"port": 0, "protocol": "http"}}],
    });
    let denials = create(
        object("VirtualNode", "x", json!({}), spec),
        &ClusterObjects::new(),
        IpFamily::V4,
    );
    let fields: Vec<String> = denials
        .expect_err("denied")
        .0
        .iter()
        .map(|denial| denial.field.to_string())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.listeners[0].portMapping.port",
            "spec.serviceDiscovery",
            "spec.meshRef",
            "metadata.namespace"
        ]
    );
}

#[test]
fn applying_the_same_manifest_again_changes_nothing() {
    let objects = with_gateway();
    for (kind, spec) in [
        (
            "VirtualNode",
            json!({"serviceDiscovery": {"awsCloudMap": {"namespaceName": "n", "serviceName": "s"}}}),
        ),
        (
            "GatewayRoute",
            http_gateway_route(json!({"match": {"prefix": "/"}})),
        ),
        ("BackendGroup", json!({})),
    ] {
        let written = object(kind, "x", json!({}), spec);
        let admitted = create(written.clone(), &objects, IpFamily::V4).expect("admitted");
        let again = update(&admitted, written, IpFamily::V4).expect("admitted again");
        assert_eq!(again, admitted, "{kind}");
    }
}

#[test]
fn what_cannot_change_is_denied_by_field() {
    let objects = with_gateway();
    let cloud_map =
        |service: &str| json!({"awsCloudMap": {"namespaceName": "n", "serviceName": service}});
    let route = |reference: Value| {
        let mut route = http_gateway_route(json!({"match": {"prefix": "/"}}));
        route["virtualGatewayRef"] = reference;
        route
    };
    for (kind, old, new, field) in [
        (
            "VirtualNode",
            json!({}),
            json!({"awsName": "other"}),
            "spec.awsName",
        ),
        (
            "VirtualService",
            json!({}),
            json!({"meshRef": {"name": "n", "uid": "u"}}),
            "spec.meshRef",
        ),
        (
            "BackendGroup",
            json!({}),
            json!({"meshRef": {"name": "n", "uid": "u"}}),
            "spec.meshRef",
        ),
        (
            "VirtualNode",
            json!({"serviceDiscovery": cloud_map("a")}),
            json!({"serviceDiscovery": cloud_map("b")}),
            "spec.serviceDiscovery.awsCloudMap",
        ),
        (
            "VirtualNode",
            json!({"serviceDiscovery": cloud_map("a")}),
            json!({}),
            "spec.serviceDiscovery.awsCloudMap",
        ),
        (
            "GatewayRoute",
            route(json!(null)),
            route(json!({"name": "other", "uid": "u"})),
            "spec.virtualGatewayRef",
        ),
    ] {
        let old =
            create(object(kind, "x", json!({}), old), &objects, IpFamily::V4).expect("admitted");
        let denials = update(
            &old,
            object(kind, "x", json!({}), new.clone()),
            IpFamily::V4,
        )
        .expect_err("denied");
        assert_eq!(denials.0[0].field.to_string(), field, "{kind} {new}");
    }
    let named = create(
        object("VirtualNode", "x", json!({}), json!({})),
        &objects,
        IpFamily::V4,
    )
    .expect("admitted");
    let found = json!({"serviceDiscovery": cloud_map("a")});
    update(
        &named,
        object("VirtualNode", "x", json!({}), found),
        IpFamily::V4,
    )
    .expect("Cloud Map may be set later");
}

#[test]
fn the_address_family_of_the_cluster_overrules_the_mesh() {
    let preference = |family, spec: Value| {
        let mesh = create(
            object("Mesh", "m", json!({}), spec),
            &ClusterObjects::new(),
            family,
        )
        .expect("admitted");
        let Resource::Mesh(mesh) = mesh else {
            panic!("a mesh")
        };
        mesh.spec
            .mesh_service_discovery
            .and_then(|discovery| discovery.ip_preference)
    };
    let v6 = json!({"meshServiceDiscovery": {"ipPreference": "IPv6_ONLY"}});
    assert_eq!(preference(IpFamily::V4, json!({})), None);
    assert_eq!(preference(IpFamily::V4, v6), Some(IpPreference::IPv4_ONLY));
    assert_eq!(
        preference(IpFamily::V6, json!({})),
        Some(IpPreference::IPv6_ONLY)
    );
}

#[test]
fn what_the_mesh_api_would_refuse_later_is_denied_now() {
    let objects = cluster();
    let listener = |port: u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    let dns = json!({"dns": {"hostname": "x"}});
    let message = denied(
        "VirtualNode",
        json!({"listeners": [listener(80), listener(80)], "serviceDiscovery": dns}),
        &objects,
    );
    assert_eq!(
        message,
        "spec.listeners[1].portMapping.port: 80 is used by another listener"
    );
    let route = |name: &str, prefix: &str| {
        let target = json!([{"virtualNodeRef": {"name": "not-there-yet"}, "weight": 1}]);
        json!({"name": name, "httpRoute": {"match": {"prefix": prefix}, "action": {"weightedTargets": target}}})
    };
    let message = denied(
        "VirtualRouter",
        json!({"routes": [route("b", "/"), route("a", "a")]}),
        &objects,
    );
    assert_eq!(
        message,
        "spec.routes[1].httpRoute.match.prefix: \"a\" must start with /"
    );
    let arn = json!({"virtualNode": {"virtualNodeARN": "arn:aws:s3:::bucket"}});
    let message = denied("VirtualService", json!({ "provider": arn }), &objects);
    assert!(
        message.contains("spec.provider.virtualNode.virtualNodeARN"),
        "{message}"
    );
}
