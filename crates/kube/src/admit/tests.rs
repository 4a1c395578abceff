use serde_json::{Value, json};
use tombolo_document::{Limits, yaml};

use super::*;
use crate::testkit;

/// A mesh object from its parts.
fn object(kind: &str, name: &str, spec: Value) -> Resource {
    let value = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": spec,
    });
    testkit::resource(kind, value)
}

fn mesh(name: &str, selector: Value) -> Resource {
    let mut mesh = object("Mesh", name, json!({"namespaceSelector": selector}));
    mesh.metadata_mut().namespace = None;
    create(mesh, &ClusterObjects::new(), IpFamily::V4).expect("a mesh is admitted")
}

/// The object `x` after admission.
fn admitted(kind: &str, spec: Value, objects: &ClusterObjects) -> Resource {
    create(object(kind, "x", spec), objects, IpFamily::V4).expect("admitted")
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
        object("VirtualGateway", name, spec),
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

fn gateway_route() -> Value {
    let target = json!({"virtualService": {"virtualServiceRef": {"name": "s"}}});
    json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"target": target}}})
}

fn denied(kind: &str, spec: Value, objects: &ClusterObjects) -> String {
    let result = create(object(kind, "x", spec.clone()), objects, IpFamily::V4);
    result.map_or_else(
        |violations| violations.to_string(),
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
        ("GatewayRoute", gateway_route(), Some("x_shop")),
        ("BackendGroup", json!({}), None),
    ] {
        let admitted = admitted(kind, spec, &objects);
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
    let mut objects = cluster();
    let message = denied("GatewayRoute", gateway_route(), &objects);
    assert!(
        message.contains("no virtual gateway selects this route"),
        "{message}"
    );

    objects.put(gateway("blind", json!({})));
    assert!(
        denied("GatewayRoute", gateway_route(), &objects).contains("no virtual gateway"),
        "an absent selector selects nothing"
    );

    objects.put(gateway(
        "other",
        json!({"namespaceSelector": {}, "gatewayRouteSelector": {"matchLabels": {"a": "b"}}}),
    ));
    assert!(
        denied("GatewayRoute", gateway_route(), &objects).contains("no virtual gateway"),
        "the route is not labelled a=b"
    );

    objects.put(gateway("in", json!({"namespaceSelector": {}})));
    let admitted = admitted("GatewayRoute", gateway_route(), &objects);
    let Resource::GatewayRoute(admitted) = admitted else {
        panic!("a gateway route")
    };
    let gateway_ref = admitted.spec.virtual_gateway_ref.expect("a member");
    assert_eq!(
        (gateway_ref.name.as_str(), gateway_ref.namespace.as_deref()),
        ("in", Some("shop"))
    );

    objects.put(gateway("in2", json!({"namespaceSelector": {}})));
    let message = denied("GatewayRoute", gateway_route(), &objects);
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
    let message = denied("GatewayRoute", gateway_route(), &foreign);
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
    let mut route = gateway_route();
    route["virtualGatewayRef"] = json!({"name": "in", "uid": "uid-in"});
    assert!(
        denied("GatewayRoute", route, &with_gateway())
            .contains("spec.virtualGatewayRef: is read-only")
    );
}

#[test]
fn each_rule_denies_with_its_field() {
    let (documents, error) = yaml::read(include_str!("denied.yaml"), &Limits::default());
    assert_eq!(error, None);
    let objects = with_gateway();
    let cases = documents[0].value.as_array().expect("a list");
    for case in cases {
        let text = |key: &str| case[key].as_str().expect("text");
        let message = denied(text("kind"), case["spec"].clone(), &objects);
        assert!(
            message.contains(text("violation")),
            "{case}\n got {message}"
        );
    }
}

#[test]
fn all_reasons_are_given_together() {
    let spec = json!({
        "meshRef": {"name": "m", "uid": "u"},
        "listeners": [{"portMapping": {"port": 0, "protocol": "http"}}],
    });
    let violations = create(
        object("VirtualNode", "x", spec),
        &ClusterObjects::new(),
        IpFamily::V4,
    );
    let fields: Vec<String> = violations
        .expect_err("denied")
        .0
        .iter()
        .map(|violation| violation.field.to_string())
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
        ("GatewayRoute", gateway_route()),
        ("BackendGroup", json!({})),
    ] {
        let written = object(kind, "x", spec);
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
        let mut route = gateway_route();
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
        let old = admitted(kind, old, &objects);
        let violations =
            update(&old, object(kind, "x", new.clone()), IpFamily::V4).expect_err("denied");
        assert_eq!(violations.0[0].field.to_string(), field, "{kind} {new}");
    }
    let named = admitted("VirtualNode", json!({}), &objects);
    let found = json!({"serviceDiscovery": cloud_map("a")});
    update(&named, object("VirtualNode", "x", found), IpFamily::V4)
        .expect("Cloud Map may be set later");
}

#[test]
fn the_address_family_of_the_cluster_overrules_the_mesh() {
    let preference = |family, spec: Value| {
        let mesh =
            create(object("Mesh", "m", spec), &ClusterObjects::new(), family).expect("admitted");
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

#[test]
fn both_halves_of_admission_are_the_whole() {
    let objects = with_gateway();
    for (kind, spec) in [
        ("VirtualNode", json!({})),
        ("GatewayRoute", gateway_route()),
        ("BackendGroup", json!({})),
    ] {
        let written = object(kind, "x", spec);
        let whole = create(written.clone(), &objects, IpFamily::V4).expect("admitted");
        let first = default(written.clone(), &objects, IpFamily::V4).expect("a member");
        assert_eq!(first, whole, "{kind}");
        validate(&first).expect("valid");
        let again = default_update(&first, written, &objects, IpFamily::V4);
        assert_eq!(again, whole, "{kind}");
        validate_update(&first, &again, &objects).expect("valid");
    }
    let invalid = json!({"listeners": [{"portMapping": {"port": 0, "protocol": "http"}}]});
    let first = default(object("VirtualNode", "x", invalid), &objects, IpFamily::V4);
    let first = first.expect("the first half leaves values to the schema");
    assert!(validate(&first).is_err());
}

#[test]
fn what_came_while_nobody_admitted_becomes_a_member_later() {
    let objects = cluster();
    let stray = object("VirtualNode", "x", json!({}));
    let member = default_update(&stray, stray.clone(), &objects, IpFamily::V4);
    assert_eq!(
        member.mesh_ref().map(|mesh_ref| mesh_ref.name.as_str()),
        Some("m")
    );
    assert_eq!(member.aws_name(), Some("x_shop"));
    validate_update(&stray, &member, &objects).expect("it may be given a mesh that is there");

    let mut forged = member.clone();
    forged
        .mesh_ref_mut()
        .expect("a slot")
        .as_mut()
        .expect("a member")
        .uid = "other".to_owned();
    let denial = validate_update(&stray, &forged, &objects).expect_err("denied");
    assert_eq!(denial.0[0].field.to_string(), "spec.meshRef");
    let denial = validate_update(&member, &forged, &objects).expect_err("denied");
    assert_eq!(denial.0[0].field.to_string(), "spec.meshRef");

    let nowhere = default_update(&stray, stray.clone(), &ClusterObjects::new(), IpFamily::V4);
    assert_eq!(
        nowhere.mesh_ref(),
        None,
        "an update is not refused for that"
    );
}

#[test]
fn finalizers_can_always_be_removed() {
    let objects = cluster();
    let invalid = json!({"listeners": [{"portMapping": {"port": 0, "protocol": "http"}}]});
    let old = object("VirtualNode", "x", invalid.clone());
    let mut changed = old.clone();
    changed.metadata_mut().finalizers = Some(Vec::new());
    validate_update(&old, &changed, &objects).expect("its spec is the same");
    let mut ending = object("VirtualNode", "x", json!({"awsName": "other"}));
    assert!(
        validate_update(
            &admitted("VirtualNode", json!({}), &objects),
            &ending,
            &objects
        )
        .is_err()
    );
    ending.metadata_mut().deletion_timestamp = Some(testkit::TIME);
    validate_update(&old, &ending, &objects).expect("it is being deleted");
}

#[test]
fn surprises_are_said() {
    let mut objects = cluster();
    let front = json!({"podSelector": {"matchLabels": {"app": "front"}}});
    let Ok(node) = create(
        object("VirtualNode", "front", front.clone()),
        &objects,
        IpFamily::V4,
    ) else {
        panic!("admitted")
    };
    assert_eq!(warnings(&node, &objects), Vec::<String>::new());
    objects.put(node.clone());
    assert_eq!(
        warnings(&node, &objects),
        Vec::<String>::new(),
        "not about itself"
    );

    let narrow = json!({"podSelector": {"matchLabels": {"app": "front", "version": "2"}}});
    let narrow = admitted("VirtualNode", narrow, &objects);
    assert_eq!(
        warnings(&narrow, &objects),
        [
            "spec.podSelector: VirtualNode shop/front selects pods that this selects too; they will be denied"
        ]
    );
    let other = json!({"podSelector": {"matchLabels": {"app": "back"}}});
    let other = admitted("VirtualNode", other, &objects);
    assert_eq!(warnings(&other, &objects), Vec::<String>::new());
    let twin = json!({"awsName": "front_shop"});
    assert_eq!(
        warnings(&admitted("VirtualNode", twin, &objects), &objects),
        [
            "spec.awsName: VirtualNode shop/front is called front_shop too; the two will overwrite each other"
        ]
    );
}
