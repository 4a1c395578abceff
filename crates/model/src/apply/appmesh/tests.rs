use super::*;
use crate::{Scope, Timestamp, apply::Command as AnyCommand};
use serde_json::{Value, json};

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

fn create(view: &mut View, key: ResourceKey, spec: Value) -> Result<Reply, Rejection> {
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

fn update(view: &mut View, key: ResourceKey, spec: Value) -> Result<Reply, Rejection> {
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

fn delete(view: &mut View, key: ResourceKey) -> Result<Reply, Rejection> {
    run(view, Command::Delete { key })
}

fn node_key(name: &str) -> ResourceKey {
    ResourceKey::new("m", Kind::VirtualNode, name)
}

fn router_key() -> ResourceKey {
    ResourceKey::new("m", Kind::VirtualRouter, "r")
}

fn route_key(name: &str) -> ResourceKey {
    ResourceKey::child("m", Kind::Route, "r", name)
}

fn service_key() -> ResourceKey {
    ResourceKey::new("m", Kind::VirtualService, "s.local")
}

fn gateway_key() -> ResourceKey {
    ResourceKey::new("m", Kind::VirtualGateway, "g")
}

fn gateway_route_key(name: &str) -> ResourceKey {
    ResourceKey::child("m", Kind::GatewayRoute, "g", name)
}

fn listeners(ports: &[u16]) -> Value {
    let listener = |port| json!({"portMapping": {"port": port, "protocol": "http"}});
    ports.iter().map(listener).collect()
}

fn node(ports: &[u16]) -> Value {
    json!({"listeners": listeners(ports), "serviceDiscovery": {"dns": {"hostname": "h"}}})
}

fn with_listeners(ports: &[u16]) -> Value {
    json!({ "listeners": listeners(ports) })
}

fn provided_by_router() -> Value {
    json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}})
}

/// A mesh `m` with nodes `red` and `blue`, router `r` with route `x`, and service `s.local`.
fn sample() -> View {
    let mut view = View::default();
    for (key, spec) in [
        (ResourceKey::mesh("m"), json!({})),
        (node_key("red"), node(&[9000])),
        (node_key("blue"), node(&[9000])),
        (router_key(), with_listeners(&[80])),
        (route_key("x"), route(&["red", "blue"])),
        (service_key(), provided_by_router()),
    ] {
        create(&mut view, key, spec).expect("legal");
    }
    view
}

/// The sample with gateway `g`, whose gateway route `x` leads to `s.local`.
fn sample_with_gateway() -> View {
    let mut view = sample();
    create(&mut view, gateway_key(), with_listeners(&[8080])).expect("gateway");
    let spec = gateway_route(json!({"prefix": "/"}));
    create(&mut view, gateway_route_key("x"), spec).expect("gateway route");
    view
}

fn gateway_route(matcher: Value) -> Value {
    json!({"http2Route": {
        "match": matcher,
        "action": {"target": {"virtualService": {"virtualServiceName": "s.local"}}},
    }})
}

fn route(nodes: &[&str]) -> Value {
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
    let rejection = refused(create(&mut view, route_key("y"), route(&["red", "green"])));
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
    let mut view = sample_with_gateway();
    for (key, word) in [
        (ResourceKey::mesh("m"), "resources"),
        (node_key("red"), "target of route x"),
        (router_key(), "still has route x"),
        (service_key(), "GATEWAY_ROUTE: [x]"),
        (gateway_key(), "still has gateway route x"),
    ] {
        let rejection = refused(delete(&mut view, key));
        assert_eq!(rejection.reason, Reason::InUse);
        assert!(rejection.message.contains(word), "{}", rejection.message);
    }
    delete(&mut view, route_key("x")).expect("nothing refers to a route");
    let rejection = refused(delete(&mut view, router_key()));
    assert!(rejection.message.contains("VirtualService provider"));
}

#[test]
fn deleting_children_first_empties_the_mesh() {
    let mut view = sample();
    for key in [
        service_key(),
        route_key("x"),
        router_key(),
        node_key("red"),
        node_key("blue"),
        ResourceKey::mesh("m"),
    ] {
        delete(&mut view, key).expect("unused");
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
    let spec = Spec::from_json(Kind::Route, route(&["blue"])).expect("a readable spec");
    let Ok(Reply::Resource(resource)) = update(&mut view, route_key("x"), spec.to_json()) else {
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
    let mut spec = route(&["red"]);
    spec["httpRoute"]["action"]["weightedTargets"][0]["weight"] = json!(101);
    let rejection = refused(create(&mut view, route_key("y"), spec));
    assert_eq!(
        rejection.message,
        "spec.httpRoute.action.weightedTargets[0].weight: 101 is out of range; it must be from 0 to 100"
    );
    let rejection = refused(create(&mut view, node_key("odd/name"), json!({})));
    assert_eq!(rejection.reason, Reason::Invalid);
}

#[test]
fn weights_add_up_to_100_at_most() {
    let mut view = sample();
    let mut spec = route(&["red", "red"]);
    let targets = &mut spec["httpRoute"]["action"]["weightedTargets"];
    targets[0]["weight"] = json!(60);
    targets[1]["weight"] = json!(41);
    let rejection = refused(create(&mut view, route_key("y"), spec.clone()));
    assert_eq!(
        rejection.message,
        "spec.httpRoute.action.weightedTargets: the weights add up to 101; at most 100 are allowed"
    );
    spec["httpRoute"]["action"]["weightedTargets"][1]["weight"] = json!(40);
    create(&mut view, route_key("y"), spec).expect("60 and 40 are 100");
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

#[test]
fn a_match_on_the_port_alone_matches_any_path() {
    let mut view = sample_with_gateway();
    for member in ["httpRoute", "http2Route"] {
        let mut spec = route(&["red"]);
        let mut inner = spec["httpRoute"].take();
        inner["match"] = json!({"port": 80});
        create(&mut view, route_key(member), json!({ member: inner })).expect("any path");
    }
    let spec = gateway_route(json!({"port": 8080}));
    create(&mut view, gateway_route_key("y"), spec).expect("any path");
    let spec = gateway_route(json!({}));
    let rejection = refused(create(&mut view, gateway_route_key("z"), spec));
    assert_eq!(rejection.field().as_deref(), Some("spec.http2Route.match"));
}

#[test]
fn a_second_listener_is_refused_while_a_route_names_no_port() {
    let provided_by_node = json!({"provider": {"virtualNode": {"virtualNodeName": "red"}}});
    for (key, spec, says) in [
        (
            router_key(),
            with_listeners(&[80, 81]),
            "Route must define a port match criteria if the Virtual Router has multiple listeners: route x",
        ),
        (
            node_key("red"),
            node(&[9000, 9001]),
            "route x of virtual router r",
        ),
        (
            gateway_key(),
            with_listeners(&[8080, 8081]),
            "Gateway route must define a match port if the parent Virtual Gateway has multiple listeners: \
             gateway route x",
        ),
    ] {
        let mut view = sample_with_gateway();
        let rejection = refused(update(&mut view, key, spec));
        assert_eq!(rejection.reason, Reason::Invalid);
        assert_eq!(rejection.field().as_deref(), Some("spec.listeners"));
        assert!(rejection.message.contains(says), "{rejection}");
    }
    // The provider of a service to which a gateway route leads.
    let mut view = sample_with_gateway();
    let mut to_port = route(&["blue"]);
    to_port["httpRoute"]["match"]["port"] = json!(80);
    update(&mut view, route_key("x"), to_port).expect("the router has the port");
    let two = with_listeners(&[80, 81]);
    let rejection = refused(update(&mut view, router_key(), two.clone()));
    let says = "gateway route x of virtual gateway g, which leads to virtual service s.local";
    assert!(rejection.message.contains(says), "{rejection}");
    update(&mut view, service_key(), provided_by_node).expect("the node has one listener");
    update(&mut view, router_key(), two).expect("no route is left that names no port");
    let rejection = refused(update(&mut view, service_key(), provided_by_router()));
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
    let grpc = |matcher: Value| {
        let mut spec = route(&["red"]);
        let mut inner = spec["httpRoute"].take();
        inner["match"] = matcher;
        json!({ "grpcRoute": inner })
    };
    for port in [0, 3] {
        let rejection = refused(create(
            &mut view,
            route_key("y"),
            grpc(json!({"port": port})),
        ));
        let field = "spec.grpcRoute.match.port";
        assert_eq!(rejection.field().as_deref(), Some(field));
        assert!(rejection.message.starts_with(field), "{rejection}");
    }
    let key = gateway_route_key("y");
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
    let rejection = refused(create(&mut view, node_key("bad"), spec));
    let violations = rejection.violations.iter();
    let violations: Vec<String> = violations.map(ToString::to_string).collect();
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

/// Controllers that renumber a router and its routes update the router first.
#[test]
fn a_listener_whose_port_a_route_names_may_be_removed() {
    let mut view = sample();
    let mut to_port = route(&["blue"]);
    to_port["httpRoute"]["match"]["port"] = json!(80);
    to_port["httpRoute"]["action"]["weightedTargets"][0]["port"] = json!(9000);
    update(&mut view, route_key("x"), to_port.clone()).expect("both ports exist");
    update(&mut view, router_key(), with_listeners(&[81])).expect("renumbered");
    update(&mut view, node_key("blue"), node(&[9001])).expect("renumbered");
    let rejection = refused(update(&mut view, route_key("x"), to_port));
    assert_eq!(
        rejection.field().as_deref(),
        Some("spec.httpRoute.match.port")
    );
}
