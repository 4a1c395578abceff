use super::*;
use crate::{Scope, Timestamp, apply::Command as AnyCommand};
use serde_json::json;

fn context() -> Context {
    Context {
        scope: Scope::new("111122223333", "us-west-2"),
        now: Timestamp(1_700_000_000_000),
        seed: 42,
        limits: crate::Limits::default(),
    }
}

fn run(view: &mut View, command: Command) -> Result<Reply, Rejection> {
    let applied = crate::apply(view, &context(), &AnyCommand::AppMesh(command))?;
    let revision = view.revision + 1;
    for change in &applied.changes {
        view.apply(revision, change);
    }
    Ok(applied.reply)
}

fn create(view: &mut View, key: ResourceKey, spec: serde_json::Value) -> Result<Reply, Rejection> {
    let spec = Spec::from_json(key.kind, spec).expect("a readable spec");
    run(
        view,
        Command::Create {
            key,
            spec,
            tags: Vec::new(),
            client_token: None,
        },
    )
}

/// A mesh `m` with nodes `red` and `blue`, router `r` with route `x`, and service `s.local`.
fn sample() -> View {
    let mut view = View::default();
    create(&mut view, ResourceKey::mesh("m"), json!({})).expect("mesh");
    for name in ["red", "blue"] {
        let spec = json!({
            "listeners": [{"portMapping": {"port": 9000, "protocol": "http"}}],
            "serviceDiscovery": {"awsCloudMap": {"namespaceName": "n", "serviceName": "s"}},
        });
        create(
            &mut view,
            ResourceKey::new("m", Kind::VirtualNode, name),
            spec,
        )
        .expect("node");
    }
    let spec = json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]});
    create(
        &mut view,
        ResourceKey::new("m", Kind::VirtualRouter, "r"),
        spec,
    )
    .expect("router");
    create(
        &mut view,
        ResourceKey::child("m", Kind::Route, "r", "x"),
        route(&["red", "blue"]),
    )
    .expect("route");
    let spec = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
    create(
        &mut view,
        ResourceKey::new("m", Kind::VirtualService, "s.local"),
        spec,
    )
    .expect("service");
    view
}

fn route(nodes: &[&str]) -> serde_json::Value {
    let targets: Vec<_> = nodes
        .iter()
        .map(|node| json!({"virtualNode": node, "weight": 1}))
        .collect();
    json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": targets}}})
}

fn refused(result: Result<Reply, Rejection>) -> Rejection {
    result.expect_err("should be refused")
}

#[test]
fn route_to_missing_node_is_rejected() {
    let mut view = sample();
    let key = ResourceKey::child("m", Kind::Route, "r", "y");
    let rejection = refused(create(&mut view, key, route(&["red", "green"])));
    assert_eq!(rejection.reason, Reason::NotFound);
    assert_eq!(
        rejection.field().as_deref(),
        Some("spec.httpRoute.action.weightedTargets[1].virtualNode")
    );
    assert!(
        rejection
            .message
            .contains("VirtualNode with name green is missing")
    );
}

#[test]
fn what_is_referred_to_is_kept() {
    let mut view = sample();
    for (key, word) in [
        (ResourceKey::mesh("m"), "resources"),
        (
            ResourceKey::new("m", Kind::VirtualNode, "red"),
            "target of route x",
        ),
        (
            ResourceKey::new("m", Kind::VirtualRouter, "r"),
            "still has route x",
        ),
    ] {
        let rejection = refused(run(&mut view, Command::Delete { key }));
        assert_eq!(rejection.reason, Reason::InUse);
        assert!(rejection.message.contains(word), "{}", rejection.message);
    }
    let route = ResourceKey::child("m", Kind::Route, "r", "x");
    run(&mut view, Command::Delete { key: route }).expect("nothing refers to a route");
    let router = ResourceKey::new("m", Kind::VirtualRouter, "r");
    let rejection = refused(run(&mut view, Command::Delete { key: router }));
    assert!(rejection.message.contains("VirtualService provider"));
}

#[test]
fn deleting_children_first_empties_the_mesh() {
    let mut view = sample();
    for key in [
        ResourceKey::new("m", Kind::VirtualService, "s.local"),
        ResourceKey::child("m", Kind::Route, "r", "x"),
        ResourceKey::new("m", Kind::VirtualRouter, "r"),
        ResourceKey::new("m", Kind::VirtualNode, "red"),
        ResourceKey::new("m", Kind::VirtualNode, "blue"),
        ResourceKey::mesh("m"),
    ] {
        run(&mut view, Command::Delete { key }).expect("unused");
    }
}

#[test]
fn a_retry_with_the_same_token_changes_nothing() {
    let mut view = sample();
    let create = |token: &str, filter: &str| Command::Create {
        key: ResourceKey::mesh("n"),
        spec: Spec::from_json(Kind::Mesh, json!({"egressFilter": {"type": filter}}))
            .expect("a readable spec"),
        tags: Vec::new(),
        client_token: Some(token.into()),
    };
    run(&mut view, create("t", "ALLOW_ALL")).expect("new");
    let revision = view.revision;
    run(&mut view, create("t", "ALLOW_ALL")).expect("a retry");
    assert_eq!(view.revision, revision, "nothing changed");
    for command in [create("t", "DROP_ALL"), create("u", "ALLOW_ALL")] {
        assert_eq!(refused(run(&mut view, command)).reason, Reason::Conflict);
    }
}

#[test]
fn updates_count_versions_and_replace_the_spec() {
    let mut view = sample();
    let key = ResourceKey::child("m", Kind::Route, "r", "x");
    let spec = Spec::from_json(Kind::Route, route(&["blue"])).expect("a readable spec");
    let update = Command::Update {
        key: key.clone(),
        spec: spec.clone(),
        client_token: None,
    };
    let Ok(Reply::Resource(resource)) = run(&mut view, update) else {
        panic!("an update")
    };
    assert_eq!((resource.metadata.version, &resource.spec), (2, &spec));
}

#[test]
fn specs_are_answered_as_they_were_sent() {
    let sent = json!({
        "listeners": [{"portMapping": {"port": 1, "protocol": "http2"},
            "timeout": {"http2": {"perRequest": {"unit": "s", "value": 60}}}}],
        "serviceDiscovery": {"dns": {"hostname": "x", "responseType": "ENDPOINTS"}},
        "backends": [],
    });
    let spec = Spec::from_json(Kind::VirtualNode, sent.clone()).expect("a readable spec");
    assert_eq!(spec.to_json(), sent);
}

#[test]
fn bounds_are_enforced_and_named() {
    let mut view = sample();
    let key = ResourceKey::child("m", Kind::Route, "r", "y");
    let mut spec = route(&["red"]);
    spec["httpRoute"]["action"]["weightedTargets"][0]["weight"] = json!(101);
    let rejection = refused(create(&mut view, key, spec));
    assert_eq!(
        rejection.message,
        "spec.httpRoute.action.weightedTargets[0].weight: 101 is out of range; it must be from 0 to 100"
    );
    let node = ResourceKey::new("m", Kind::VirtualNode, "odd/name");
    assert_eq!(
        refused(create(&mut view, node, json!({}))).reason,
        Reason::Invalid
    );
}

#[test]
fn weights_add_up_to_100_at_most() {
    let mut view = sample();
    let key = ResourceKey::child("m", Kind::Route, "r", "y");
    let mut spec = route(&["red", "red"]);
    let targets = &mut spec["httpRoute"]["action"]["weightedTargets"];
    targets[0]["weight"] = json!(60);
    targets[1]["weight"] = json!(41);
    let rejection = refused(create(&mut view, key.clone(), spec.clone()));
    assert_eq!(
        rejection.message,
        "spec.httpRoute.action.weightedTargets: the weights add up to 101; at most 100 are allowed"
    );
    spec["httpRoute"]["action"]["weightedTargets"][1]["weight"] = json!(40);
    create(&mut view, key, spec).expect("60 and 40 are 100");
}

#[test]
fn numbers_are_no_wider_than_clients_can_read() {
    let timeout = |value: u64| {
        json!({"listeners": [{"portMapping": {"port": 1, "protocol": "http"},
            "timeout": {"http": {"idle": {"unit": "s", "value": value}}}}]})
    };
    let read = |value| Spec::from_json(Kind::VirtualNode, timeout(value));
    assert!(read(i64::MAX as u64).is_ok());
    let error = read(i64::MAX as u64 + 1).expect_err("64 bits are too many");
    assert!(error.to_string().contains("expected i64"), "{error}");
}

fn update(view: &mut View, key: ResourceKey, spec: serde_json::Value) -> Result<Reply, Rejection> {
    let spec = Spec::from_json(key.kind, spec).expect("a readable spec");
    let client_token = None;
    run(
        view,
        Command::Update {
            key,
            spec,
            client_token,
        },
    )
}

fn listeners(ports: &[u16]) -> serde_json::Value {
    let listener = |port| json!({"portMapping": {"port": port, "protocol": "http"}});
    ports.iter().map(listener).collect()
}

fn node(ports: &[u16]) -> serde_json::Value {
    json!({"listeners": listeners(ports), "serviceDiscovery": {"dns": {"hostname": "h"}}})
}

/// The sample with gateway `g`, whose gateway route `x` leads to `s.local`.
fn sample_with_gateway() -> View {
    let mut view = sample();
    let gateway = ResourceKey::new("m", Kind::VirtualGateway, "g");
    create(&mut view, gateway, json!({"listeners": listeners(&[8080])})).expect("gateway");
    let route = ResourceKey::child("m", Kind::GatewayRoute, "g", "x");
    create(&mut view, route, gateway_route(json!({"prefix": "/"}))).expect("gateway route");
    view
}

fn gateway_route(matcher: serde_json::Value) -> serde_json::Value {
    json!({"http2Route": {
        "match": matcher,
        "action": {"target": {"virtualService": {"virtualServiceName": "s.local"}}},
    }})
}

#[test]
fn a_match_on_the_port_alone_matches_any_path() {
    let mut view = sample_with_gateway();
    for member in ["httpRoute", "http2Route"] {
        let mut spec = route(&["red"]);
        let mut inner = spec["httpRoute"].take();
        inner["match"] = json!({"port": 80});
        let key = ResourceKey::child("m", Kind::Route, "r", member);
        create(&mut view, key, json!({ member: inner })).expect("any path");
    }
    let key = ResourceKey::child("m", Kind::GatewayRoute, "g", "y");
    create(&mut view, key, gateway_route(json!({"port": 8080}))).expect("any path");
    let key = ResourceKey::child("m", Kind::GatewayRoute, "g", "z");
    let rejection = refused(create(&mut view, key, gateway_route(json!({}))));
    assert_eq!(rejection.field().as_deref(), Some("spec.http2Route.match"));
}

#[test]
fn a_second_listener_is_refused_while_a_route_names_no_port() {
    let provided_by_node = json!({"provider": {"virtualNode": {"virtualNodeName": "red"}}});
    for (kind, name, spec, says) in [
        (
            Kind::VirtualRouter,
            "r",
            json!({"listeners": listeners(&[80, 81])}),
            "Route must define a port match criteria if the Virtual Router has multiple listeners: route x",
        ),
        (
            Kind::VirtualNode,
            "red",
            node(&[9000, 9001]),
            "route x of virtual router r",
        ),
        (
            Kind::VirtualGateway,
            "g",
            json!({"listeners": listeners(&[8080, 8081])}),
            "Gateway route must define a match port if the parent Virtual Gateway has multiple listeners: \
             gateway route x",
        ),
    ] {
        let mut view = sample_with_gateway();
        let key = ResourceKey::new("m", kind, name);
        let rejection = refused(update(&mut view, key, spec));
        assert_eq!(rejection.reason, Reason::Invalid);
        assert_eq!(rejection.field().as_deref(), Some("spec.listeners"));
        assert!(rejection.message.contains(says), "{rejection}");
    }
    // The provider of a service that a gateway route leads to.
    let mut view = sample_with_gateway();
    let mut to_port = route(&["blue"]);
    to_port["httpRoute"]["match"]["port"] = json!(80);
    let key = ResourceKey::child("m", Kind::Route, "r", "x");
    update(&mut view, key, to_port).expect("the router has the port");
    let router = ResourceKey::new("m", Kind::VirtualRouter, "r");
    let two = json!({"listeners": listeners(&[80, 81])});
    let rejection = refused(update(&mut view, router.clone(), two.clone()));
    let says = "gateway route x of virtual gateway g, which leads to virtual service s.local";
    assert!(rejection.message.contains(says), "{rejection}");
    let service = ResourceKey::new("m", Kind::VirtualService, "s.local");
    update(&mut view, service.clone(), provided_by_node).expect("the node has one listener");
    update(&mut view, router, two).expect("no route is left that names no port");
    let provided_by_router = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
    let rejection = refused(update(&mut view, service, provided_by_router));
    assert_eq!(rejection.reason, Reason::Invalid);
    assert_eq!(
        rejection.field().as_deref(),
        Some("spec.provider.virtualRouter.virtualRouterName")
    );
    assert!(rejection.message.contains("gateway route x"), "{rejection}");
}

#[test]
fn messages_name_the_path_that_the_caller_wrote() {
    let mut view = sample_with_gateway();
    let grpc = |matcher: serde_json::Value| {
        let mut spec = route(&["red"]);
        let mut inner = spec["httpRoute"].take();
        inner["match"] = matcher;
        json!({ "grpcRoute": inner })
    };
    let key = ResourceKey::child("m", Kind::Route, "r", "y");
    for port in [0, 3] {
        let rejection = refused(create(&mut view, key.clone(), grpc(json!({"port": port}))));
        let field = "spec.grpcRoute.match.port";
        assert_eq!(rejection.field().as_deref(), Some(field));
        assert!(rejection.message.starts_with(field), "{rejection}");
    }
    let key = ResourceKey::child("m", Kind::GatewayRoute, "g", "y");
    let mut missing = gateway_route(json!({"prefix": "/"}));
    let target = &mut missing["http2Route"]["action"]["target"];
    target["virtualService"]["virtualServiceName"] = json!("none.local");
    let rejection = refused(create(&mut view, key.clone(), missing));
    assert_eq!(
        rejection.field().as_deref(),
        Some("spec.http2Route.action.target.virtualService.virtualServiceName")
    );
    let mut zero = gateway_route(json!({"prefix": "/"}));
    zero["http2Route"]["action"]["target"]["port"] = json!(0);
    let rejection = refused(create(&mut view, key, zero));
    assert_eq!(
        rejection.field().as_deref(),
        Some("spec.http2Route.action.target.port")
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut view = sample();
    let spec = json!({
        "listeners": [
            {"portMapping": {"port": 0, "protocol": "http"}, "connectionPool": {"http2": {"maxRequests": 0}}},
            {"portMapping": {"port": 0, "protocol": "tcp"}},
        ],
        "logging": {"accessLog": {"file": {"path": ""}}},
    });
    let key = ResourceKey::new("m", Kind::VirtualNode, "bad");
    let rejection = refused(create(&mut view, key, spec));
    let violations: Vec<String> = rejection
        .violations
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        violations,
        [
            "spec.listeners[0].portMapping.port: 0 is out of range; it must be from 1 to 65535",
            "spec.listeners[0].connectionPool.http2.maxRequests: 0 is out of range; it must be from 1 to 2147483647",
            "spec.listeners[0].connectionPool: must be for the listener's protocol, http",
            "spec.listeners[1].portMapping.port: 0 is out of range; it must be from 1 to 65535",
            "spec.listeners[1].portMapping.port: 0 is used by another listener",
            "spec.serviceDiscovery: is required, because spec.listeners is given: give awsCloudMap or dns",
            "spec.logging.accessLog.file.path: must not be empty",
        ]
    );
    assert_eq!(rejection.message, violations.join("; "));
}
