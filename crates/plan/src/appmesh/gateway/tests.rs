use crate::{
    plan::{
        EgressPolicy, Gateway, GatewayListener, PathMatch, PathRewrite, Plan, Protocol, Route,
        SERVICE_HEADER, ValueMatch,
    },
    sample::{
        Sample, compile, gateway, gateway_route, is_invalidated_by, listening, node, provided,
        registered, route, routed, router, service, weighted,
    },
};
use serde_json::{Value, json};
use tombolo_model::appmesh::ResourceKey;

fn plan(sample: &Sample) -> Plan {
    let planned = compile(sample.scope(), &gateway("edge"));
    planned.expect("the gateway exists").0
}

fn gateway_of(plan: &Plan) -> &Gateway {
    plan.gateway.as_ref().expect("it is a gateway's plan")
}

/// The listener of a gateway that has one.
fn listener(plan: &Plan) -> &GatewayListener {
    let [listener] = gateway_of(plan).listeners.as_slice() else {
        panic!("one listener: {plan:?}");
    };
    listener
}

fn only(plan: &Plan) -> &Route {
    let [route] = listener(plan).routes.as_slice() else {
        panic!("one route: {plan:?}");
    };
    route
}

fn on(ports: &[(u16, &str)]) -> Value {
    let listeners: Vec<Value> = ports
        .iter()
        .map(|(port, protocol)| json!({"portMapping": {"port": port, "protocol": protocol}}))
        .collect();
    json!({ "listeners": listeners })
}

/// A gateway on port 8088 before a service that a router provides, and one that a node provides.
fn shop() -> Sample {
    Sample::new(json!({}))
        .with(&node("light"), registered(9000, "http", "shade"))
        .with(&node("dark"), registered(9000, "http", "shade"))
        .with(&router("shade"), listening(8081, "http"))
        .with(
            &route("shade", "all"),
            weighted(&[("light", 3), ("dark", 1)]),
        )
        .with(&service("Shade.shop"), routed("shade"))
        .with(&node("store"), registered(7000, "grpc", "store"))
        .with(&service("store.shop"), provided("store"))
        .with(&gateway("edge"), on(&[(8088, "http")]))
}

/// A route of HTTP requests to a service.
fn http(matcher: Value, rewrite: Option<Value>, to: &str) -> Value {
    let mut action = json!({"target": {"virtualService": {"virtualServiceName": to}}});
    if let Some(rewrite) = rewrite {
        action["rewrite"] = rewrite;
    }
    json!({"httpRoute": {"match": matcher, "action": action}})
}

fn to_shade(matcher: Value, rewrite: Option<Value>) -> Sample {
    let spec = http(matcher, rewrite, "Shade.shop");
    shop().with(&gateway_route("edge", "one"), spec)
}

#[test]
fn a_gateway_sends_requests_back_to_itself_where_the_routes_of_the_service_wait() {
    let plan = plan(&to_shade(json!({"prefix": "/shades"}), None));
    insta::assert_yaml_snapshot!(plan);
}

#[test]
fn paths_and_hosts_are_rewritten_unless_somebody_says_otherwise() {
    let prefix = |from: &str, to: &str| {
        Some(PathRewrite::Prefix {
            from: from.into(),
            to: to.into(),
        })
    };
    let whole = |to: &str| Some(PathRewrite::Full(to.into()));
    let kept = json!({"hostname": {"defaultTargetHostname": "DISABLED"}});
    let regex = json!({"path": {"regex": "/a.*"}});
    for (matcher, rewrite, host, path) in [
        (json!({"prefix": "/a"}), None, true, prefix("/a", "/")),
        (json!({"prefix": "/a/"}), None, true, prefix("/a/", "/")),
        (json!({"prefix": "/"}), None, true, None),
        (
            json!({"prefix": "/a"}),
            Some(kept),
            false,
            prefix("/a", "/"),
        ),
        (
            json!({"prefix": "/a"}),
            Some(json!({"prefix": {"defaultPrefix": "DISABLED"}})),
            true,
            None,
        ),
        (
            json!({"prefix": "/a/"}),
            Some(json!({"prefix": {"value": "/b/"}})),
            true,
            prefix("/a/", "/b/"),
        ),
        (json!({"path": {"exact": "/a"}}), None, true, None),
        (
            regex,
            Some(json!({"path": {"exact": "/b"}})),
            true,
            whole("/b"),
        ),
        (
            json!({"hostname": {"exact": "www.example.com"}}),
            None,
            true,
            None,
        ),
    ] {
        let case = format!("{matcher} {rewrite:?}");
        let plan = plan(&to_shade(matcher, rewrite));
        let changes = &only(&plan).rewrite;
        assert_eq!(changes.path, path, "{case}");
        assert_eq!(
            changes.host.as_deref(),
            host.then_some("Shade.shop"),
            "{case}"
        );
    }
}

#[test]
fn every_condition_of_a_route_is_planned() {
    let plan = plan(&to_shade(
        json!({
            "path": {"regex": "/a[0-9]+"},
            "method": "POST",
            "headers": [{"name": "x", "invert": true, "match": {"range": {"start": 1, "end": 9}}}],
            "queryParameters": [{"name": "q", "match": {"exact": "v"}}, {"name": "there"}],
            "hostname": {"suffix": ".example.com"},
        }),
        None,
    ));
    let matcher = &only(&plan).matcher;
    assert_eq!(matcher.path, PathMatch::Regex("/a[0-9]+".into()));
    let headers: Vec<_> = matcher
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.invert, header.value.clone()))
        .collect();
    assert_eq!(
        headers,
        [
            ("x", true, ValueMatch::Range(1, 9)),
            (":method", false, ValueMatch::Exact("POST".into())),
            (
                ":authority",
                false,
                ValueMatch::Regex(r"(?i).*\.example\.com(:[0-9]+)?".into())
            ),
        ]
    );
    assert_eq!(
        matcher.query,
        [("q".into(), Some("v".into())), ("there".into(), None)]
    );
}

#[test]
fn routes_are_tried_by_priority_then_by_host_then_by_the_longest_prefix() {
    let spec = |matcher: Value, priority: Option<u32>| {
        let mut spec = http(matcher, None, "Shade.shop");
        if let Some(priority) = priority {
            spec["priority"] = priority.into();
        }
        spec
    };
    let name = |name: &str| gateway_route("edge", name);
    let exact = json!({"hostname": {"exact": "a.example.com"}});
    let suffix = json!({"hostname": {"suffix": ".example.com"}});
    let sample = shop()
        .with(&name("a-all"), spec(json!({"prefix": "/"}), None))
        .with(&name("b-long"), spec(json!({"prefix": "/long"}), None))
        .with(&name("c-suffix"), spec(suffix, None))
        .with(&name("d-exact"), spec(exact, None))
        .with(&name("e-late"), spec(json!({"prefix": "/x"}), Some(1000)))
        .with(&name("f-first"), spec(json!({"prefix": "/"}), Some(0)));
    let plan = plan(&sample);
    let names: Vec<_> = listener(&plan).routes.iter().map(|r| &*r.name).collect();
    assert_eq!(
        names,
        [
            "f-first", "e-late", "d-exact", "c-suffix", "b-long", "a-all"
        ]
    );
    // All lead to one service, whose routes are there once.
    assert_eq!(gateway_of(&plan).service_routes.len(), 1);
}

#[test]
fn each_listener_has_the_routes_of_its_port_and_its_own_way_back() {
    let to = |port: u16, service: &str| {
        let mut spec = http(json!({"prefix": "/", "port": port}), None, service);
        spec["httpRoute"]["action"]["target"]["port"] =
            json!(if service == "store.shop" { 7000 } else { 8081 });
        spec
    };
    let sample = shop()
        .with(&gateway("edge"), on(&[(8088, "http"), (8089, "http2")]))
        .with(&gateway_route("edge", "one"), to(8088, "Shade.shop"))
        .with(&gateway_route("edge", "two"), to(8089, "store.shop"));
    let plan = plan(&sample);
    let found: Vec<_> = gateway_of(&plan)
        .listeners
        .iter()
        .map(|listener| {
            let route = &listener.routes[0];
            let mark = &route.rewrite.set_headers[0];
            assert_eq!(mark.0, SERVICE_HEADER);
            (
                listener.port,
                listener.protocol,
                &*route.targets[0].cluster,
                mark.1.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                8088,
                Protocol::Http1,
                "cds_ingress_m_edge_self_redirect_8088_http_15001",
                "shade.shop:8081"
            ),
            (
                8089,
                Protocol::Http2,
                "cds_ingress_m_edge_self_redirect_8089_http2_15001",
                "store.shop:7000"
            ),
        ]
    );
    assert_eq!(plan.egress, EgressPolicy::Deny);
}

#[test]
fn grpc_routes_match_the_service_and_change_the_host_alone() {
    let spec = json!({"grpcRoute": {
        "match": {"serviceName": "a.B", "metadata": [{"name": "m", "match": {"exact": "v"}}]},
        "action": {"target": {"virtualService": {"virtualServiceName": "store.shop"}}},
    }});
    let sample = shop()
        .with(&gateway("edge"), on(&[(8088, "grpc")]))
        .with(&gateway_route("edge", "one"), spec);
    let plan = plan(&sample);
    let route = only(&plan);
    assert!(route.matcher.grpc);
    assert_eq!(route.matcher.path, PathMatch::Prefix("/a.B/".into()));
    assert_eq!(route.rewrite.host.as_deref(), Some("store.shop"));
    assert_eq!(route.rewrite.path, None);
}

#[test]
fn a_target_that_cannot_be_served_is_left_out_and_reported() {
    let mut sample = shop()
        .with(&node("cache"), registered(6379, "tcp", "cache"))
        .with(&service("cache.shop"), provided("cache"))
        .with(&service("orphan.shop"), json!({}));
    for (name, service, port) in [
        ("a", "cache.shop", None),
        ("b", "orphan.shop", None),
        ("c", "Shade.shop", Some(1)),
    ] {
        let mut spec = http(json!({"prefix": "/"}), None, service);
        if let Some(port) = port {
            spec["httpRoute"]["action"]["target"]["port"] = json!(port);
        }
        sample = sample.with(&gateway_route("edge", name), spec);
    }
    let plan = plan(&sample);
    assert_eq!(listener(&plan).routes, []);
    let warnings: Vec<String> = plan
        .warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.object, warning.message))
        .filter(|warning| !warning.contains("namespace"))
        .collect();
    assert_eq!(
        warnings,
        [
            "mesh/m/virtualGateway/edge/gatewayRoute/a: virtual service cache.shop speaks TCP on port 6379: a \
             gateway cannot choose by requests there",
            "mesh/m/virtualService/orphan.shop: has no provider, so calls to it are refused",
            "mesh/m/virtualGateway/edge/gatewayRoute/c: virtual service Shade.shop is not provided on port 1",
        ]
    );
}

#[test]
fn a_gateway_depends_on_its_routes_and_on_all_behind_them() {
    let sample = to_shade(json!({"prefix": "/"}), None);
    let (_, dependencies) = compile(sample.scope(), &gateway("edge")).expect("it exists");
    let concern: [ResourceKey; 6] = [
        gateway("edge"),
        gateway_route("edge", "not-there-yet"),
        service("Shade.shop"),
        router("shade"),
        route("shade", "not-there-yet"),
        node("dark"),
    ];
    for key in concern {
        assert!(is_invalidated_by(&dependencies, &key), "{key}");
    }
    for key in [
        gateway("other"),
        gateway_route("other", "one"),
        node("store"),
        service("store.shop"),
    ] {
        assert!(!is_invalidated_by(&dependencies, &key), "{key}");
    }
}
