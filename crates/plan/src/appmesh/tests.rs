use super::*;
use crate::{
    plan::{Discovery, EgressPolicy, Handler, PathMatch, Protocol, SharedVirtualHost},
    sample::{
        MESH, NAMESPACE, Sample, caller, compile, is_invalidated_by, listening, node, provided,
        registered, route, routed, router, service, shares, weighted,
    },
};
use serde_json::{Value, json};

fn plan(sample: &Sample, name: &str) -> Plan {
    let planned = compile(sample.scope(), &node(name));
    planned.expect("the node exists").0
}

fn drop_all() -> Value {
    json!({"egressFilter": {"type": "DROP_ALL"}})
}

/// The virtual hosts of an outbound port.
fn hosts(plan: &Plan, port: u16) -> &[SharedVirtualHost] {
    let outbound = plan.outbound.iter().find(|outbound| outbound.port == port);
    match &outbound.expect("the port is planned").handler {
        Handler::Http(hosts) => hosts,
        Handler::Tcp(route) => panic!("{port} carries TCP: {route:?}"),
    }
}

fn route_names(plan: &Plan, port: u16) -> Vec<&str> {
    let routes = &hosts(plan, port)[0].routes;
    routes.iter().map(|route| route.name.as_str()).collect()
}

fn warnings(plan: &Plan) -> Vec<String> {
    let warnings = plan.warnings.iter();
    warnings
        .map(|warning| format!("{}: {}", warning.object, warning.message))
        .collect()
}

/// Two nodes behind a router on another port than theirs.
fn two_shades(mesh: Value) -> Sample {
    Sample::new(mesh)
        .with(&node("light"), registered(9000, "http", "shade"))
        .with(&node("dark"), registered(9100, "http", "shade"))
        .with(&router("shade"), listening(8081, "http"))
        .with(&service("shade.shop"), routed("shade"))
        .with(&node("web"), caller(&["shade.shop"]))
}

#[test]
fn router_with_weights_priorities_headers_retries_and_timeouts() {
    let checked = json!({
        "listeners": [{
            "portMapping": {"port": 9000, "protocol": "http"},
            "healthCheck": {
                "protocol": "http", "path": "/alive", "intervalMillis": 5000, "timeoutMillis": 2000,
                "healthyThreshold": 2, "unhealthyThreshold": 3,
            },
            "outlierDetection": {
                "maxServerErrors": 5, "maxEjectionPercent": 50,
                "interval": {"unit": "s", "value": 10},
                "baseEjectionDuration": {"unit": "ms", "value": 1500},
            },
        }],
        "serviceDiscovery": {"awsCloudMap": {
            "namespaceName": NAMESPACE, "serviceName": "shade",
            "attributes": [{"key": "tone", "value": "light"}, {"key": "tier", "value": "1"}],
        }},
    });
    let canary = json!({"priority": 1, "httpRoute": {
        "match": {
            "prefix": "/", "method": "GET",
            "headers": [
                {"name": "x-canary", "match": {"exact": "yes"}},
                {"name": "x-age", "match": {"range": {"start": 18, "end": 99}}},
                {"name": "x-bot", "invert": true},
            ],
            "queryParameters": [{"name": "beta", "match": {"exact": "1"}}, {"name": "debug"}],
        },
        "action": shares(&[("dark", 1)]),
        "retryPolicy": {
            "maxRetries": 3, "perRetryTimeout": {"unit": "ms", "value": 250},
            "httpRetryEvents": ["gateway-error", "client-error"],
            "tcpRetryEvents": ["connection-error"],
        },
        "timeout": {"perRequest": {"unit": "s", "value": 5}, "idle": {"unit": "s", "value": 0}},
    }});
    let exact = json!({"priority": 2, "httpRoute": {
        "match": {"path": {"exact": "/health"}}, "action": shares(&[("light", 1)]),
    }});
    let sample = two_shades(json!({}))
        .with(&node("light"), checked)
        .with(
            &route("shade", "everything"),
            weighted(&[("light", 3), ("dark", 1)]),
        )
        .with(&route("shade", "exact"), exact)
        .with(&route("shade", "canary"), canary);
    insta::assert_yaml_snapshot!(plan(&sample, "web"));
}

#[test]
fn node_provider_with_two_listeners_behind_a_node_with_its_own() {
    let store = json!({
        "listeners": [
            {"portMapping": {"port": 7000, "protocol": "grpc"}},
            {"portMapping": {"port": 7001, "protocol": "http2"}},
        ],
        "serviceDiscovery": {"awsCloudMap": {"namespaceName": NAMESPACE, "serviceName": "store"}},
    });
    let web = json!({
        "listeners": [{
            "portMapping": {"port": 8080, "protocol": "http"},
            "connectionPool": {"http": {"maxConnections": 12, "maxPendingRequests": 3}},
            "timeout": {"http": {"perRequest": {"unit": "s", "value": 30}}},
        }],
        "serviceDiscovery": {"dns": {"hostname": "web.shop"}},
        "backends": [{"virtualService": {"virtualServiceName": "Store.Shop"}}],
        "logging": {"accessLog": {"file": {
            "path": "/dev/stdout",
            "format": {"json": [{"key": "path", "value": "%REQ(:PATH)%"}]},
        }}},
    });
    let sample = Sample::new(drop_all())
        .with(&node("store"), store)
        .with(&service("Store.Shop"), provided("store"))
        .with(&node("web"), web);
    insta::assert_yaml_snapshot!(plan(&sample, "web"));
}

#[test]
fn tcp_routes_take_connections_by_weight() {
    let first = json!({"priority": 5, "tcpRoute": {
        "action": shares(&[("one", 90), ("two", 10), ("three", 0)]),
        "timeout": {"idle": {"unit": "s", "value": 20}},
    }});
    let second = json!({"tcpRoute": {"action": shares(&[("three", 1)])}});
    let sample = Sample::new(json!({}))
        .with(&node("one"), registered(6379, "tcp", "cache"))
        .with(&node("two"), registered(6380, "tcp", "cache"))
        .with(&node("three"), registered(6381, "tcp", "cache"))
        .with(&router("cache"), listening(6379, "tcp"))
        .with(&route("cache", "a-later"), second)
        .with(&route("cache", "first"), first)
        .with(&service("cache.shop"), routed("cache"))
        .with(&node("web"), caller(&["cache.shop"]));
    insta::assert_yaml_snapshot!(plan(&sample, "web"));
}

#[test]
fn dns_discovery_is_one_balancer_or_many_endpoints() {
    let dns = |port: u16, discovery: Value| {
        json!({
            "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
            "serviceDiscovery": {"dns": discovery},
        })
    };
    let each = json!({
        "hostname": "each.shop", "responseType": "ENDPOINTS", "ipPreference": "IPv4_ONLY",
    });
    let sample = Sample::new(json!({"serviceDiscovery": {"ipPreference": "IPv6_PREFERRED"}}))
        .with(&node("balanced"), dns(8000, json!({"hostname": "lb.shop"})))
        .with(&node("each"), dns(8001, each))
        .with(&service("balanced.shop"), provided("balanced"))
        .with(&service("each.shop"), provided("each"))
        .with(&node("web"), caller(&["balanced.shop", "each.shop"]));
    insta::assert_yaml_snapshot!(plan(&sample, "web"));
}

#[test]
fn allow_all_passes_what_no_backend_claims() {
    let sample = two_shades(json!({"egressFilter": {"type": "ALLOW_ALL"}}))
        .with(&route("shade", "all"), weighted(&[("light", 1)]));
    insta::assert_yaml_snapshot!(plan(&sample, "web"));
}

#[test]
fn absent_egress_filter_refuses_as_drop_all_does() {
    for mesh in [json!({}), drop_all()] {
        let plan = plan(&two_shades(mesh), "web");
        assert_eq!(plan.egress, EgressPolicy::Deny);
        let domains = hosts(&plan, 8081).iter().flat_map(|host| &host.domains);
        assert_eq!(
            domains.collect::<Vec<_>>(),
            ["shade.shop", "*.amazonaws.com"]
        );
    }
}

#[test]
fn routes_are_tried_by_priority_then_by_what_is_more_specific() {
    let prefix = |prefix: &str, priority: Option<u32>| {
        let mut spec = json!({"httpRoute": {
            "match": {"prefix": prefix}, "action": shares(&[("light", 1)]),
        }});
        if let Some(priority) = priority {
            spec["priority"] = priority.into();
        }
        spec
    };
    let regex = json!({"httpRoute": {
        "match": {"path": {"regex": "/a.*"}}, "action": shares(&[("light", 1)]),
    }});
    let header = json!({"httpRoute": {
        "match": {"prefix": "/", "headers": [{"name": "x"}]}, "action": shares(&[("light", 1)]),
    }});
    let sample = two_shades(json!({}))
        .with(&route("shade", "a-all"), prefix("/", None))
        .with(&route("shade", "b-long"), prefix("/long/path", None))
        .with(&route("shade", "c-regex"), regex)
        .with(&route("shade", "d-header"), header)
        .with(&route("shade", "y-hundred"), prefix("/", Some(100)))
        .with(&route("shade", "z-zero"), prefix("/", Some(0)));
    assert_eq!(
        route_names(&plan(&sample, "web"), 8081),
        [
            "z-zero",
            "y-hundred",
            "c-regex",
            "b-long",
            "d-header",
            "a-all"
        ]
    );
}

#[test]
fn targets_without_any_weight_get_nothing() {
    let zero = weighted(&[("light", 0), ("dark", 0)]);
    let sample = two_shades(json!({})).with(&route("shade", "all"), zero);
    let plan = plan(&sample, "web");
    assert_eq!(hosts(&plan, 8081)[0].routes[0].targets, []);
}

#[test]
fn a_target_keeps_its_own_port_behind_a_router_on_another() {
    let sample = two_shades(json!({})).with(&route("shade", "all"), weighted(&[("dark", 1)]));
    let plan = plan(&sample, "web");
    let target = &hosts(&plan, 8081)[0].routes[0].targets[0].cluster;
    assert_eq!(&**target, "cds_egress_m_dark_http_9100");
    let Discovery::Registry(query) = &plan.clusters[target].discovery else {
        panic!("found in the registry");
    };
    assert_eq!((query.port, query.service.as_str()), (9100, "shade"));
}

#[test]
fn routes_of_a_port_are_planned_on_that_port_alone() {
    let ports = json!({"listeners": [
        {"portMapping": {"port": 8081, "protocol": "http"}},
        {"portMapping": {"port": 8082, "protocol": "http"}},
    ]});
    let on = |port: u16, target: &str| {
        json!({"httpRoute": {
            "match": {"prefix": "/", "port": port}, "action": shares(&[(target, 1)]),
        }})
    };
    let sample = two_shades(json!({}))
        .with(&router("shade"), ports)
        .with(&route("shade", "first"), on(8081, "light"))
        .with(&route("shade", "second"), on(8082, "dark"));
    let plan = plan(&sample, "web");
    assert_eq!(route_names(&plan, 8081), ["first"]);
    assert_eq!(route_names(&plan, 8082), ["second"]);
}

#[test]
fn grpc_routes_match_the_service_and_the_method() {
    let call = |matcher: Value| json!({"grpcRoute": {"match": matcher, "action": shares(&[("store", 1)])}});
    let sample = Sample::new(json!({}))
        .with(&node("store"), registered(7000, "grpc", "store"))
        .with(&router("store"), listening(7000, "grpc"))
        .with(&route("store", "all"), call(json!({})))
        .with(
            &route("store", "method"),
            call(json!({"serviceName": "a.B", "methodName": "Get"})),
        )
        .with(
            &route("store", "service"),
            call(json!({"serviceName": "a.B"})),
        )
        .with(&service("store.shop"), routed("store"))
        .with(&node("web"), caller(&["store.shop"]));
    let plan = plan(&sample, "web");
    let paths: Vec<_> = hosts(&plan, 7000)[0]
        .routes
        .iter()
        .map(|route| (route.matcher.grpc, route.matcher.path.clone()))
        .collect();
    assert_eq!(
        paths,
        [
            (true, PathMatch::Exact("/a.B/Get".into())),
            (true, PathMatch::Prefix("/a.B/".into())),
            (true, PathMatch::Prefix("/".into())),
        ]
    );
    assert_eq!(
        plan.clusters["cds_egress_m_store_grpc_7000"].protocol,
        Protocol::Grpc
    );
}

#[test]
fn what_is_referred_to_in_vain_is_left_out_and_reported() {
    let sample = two_shades(json!({}))
        .with(&route("shade", "all"), weighted(&[("light", 1)]))
        .with(&service("orphan.shop"), json!({}))
        .with(
            &node("web"),
            caller(&["shade.shop", "orphan.shop", "later.shop"]),
        );
    let plan = plan(&sample, "web");
    assert_eq!(
        warnings(&plan),
        [
            "mesh/m/virtualNode/light: the Cloud Map namespace shop.local does not exist yet",
            "mesh/m/virtualService/orphan.shop: has no provider, so calls to it are refused",
            "mesh/m/virtualNode/web: virtual service later.shop does not exist yet",
        ]
    );
    assert_eq!(hosts(&plan, 8081)[0].domains, ["shade.shop"]);
}

#[test]
fn a_backend_may_be_named_by_its_arn() {
    let arn = "arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualService/shade.shop";
    let sample = two_shades(json!({})).with(&node("web"), caller(&[arn]));
    assert_eq!(
        hosts(&plan(&sample, "web"), 8081)[0].domains,
        ["shade.shop"]
    );
}

#[test]
fn two_tcp_backends_on_one_port_cannot_be_told_apart() {
    let sample = Sample::new(json!({}))
        .with(&node("one"), registered(6379, "tcp", "one"))
        .with(&node("two"), registered(6379, "tcp", "two"))
        .with(&service("one.shop"), provided("one"))
        .with(&service("two.shop"), provided("two"))
        .with(&node("web"), caller(&["one.shop", "two.shop"]));
    let plan = plan(&sample, "web");
    assert_eq!(plan.outbound.len(), 1);
    let told = warnings(&plan);
    assert!(
        told.iter()
            .any(|w| w.starts_with("mesh/m/virtualService/two.shop: port 6379 is already taken")),
        "{told:?}"
    );
}

#[test]
fn a_node_that_does_not_exist_has_no_plan() {
    assert!(compile(Sample::new(json!({})).scope(), &node("nobody")).is_none());
}

#[test]
fn dependencies_are_what_the_plan_was_made_from_and_no_more() {
    let sample = two_shades(json!({}))
        .with(&route("shade", "all"), weighted(&[("light", 1)]))
        .with(&node("aside"), registered(80, "http", "aside"));
    let (_, dependencies) = compile(sample.scope(), &node("web")).expect("it exists");
    for key in [
        ResourceKey::mesh(MESH),
        node("web"),
        service("shade.shop"),
        router("shade"),
        route("shade", "all"),
        route("shade", "not-there-yet"),
        node("light"),
    ] {
        assert!(is_invalidated_by(&dependencies, &key), "{key}");
    }
    // "dark" exists, but no route leads to it.
    for key in [
        node("dark"),
        node("aside"),
        service("other.shop"),
        router("other"),
        route("other", "all"),
        ResourceKey::mesh("other"),
    ] {
        assert!(!is_invalidated_by(&dependencies, &key), "{key}");
    }
}

mod endpoints_of_the_registry {
    use super::*;
    use crate::plan::{AddressFamily, EndpointQuery};
    use std::collections::BTreeSet;
    use tombolo_model::{Command, apply::cloudmap, cloudmap::Health};

    fn query(attributes: &[(&str, &str)], family: AddressFamily) -> EndpointQuery {
        EndpointQuery {
            namespace: NAMESPACE.into(),
            service: "shade".into(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            port: 9000,
            family,
        }
    }

    fn registry() -> Sample {
        let mut sample = Sample::new(json!({}));
        sample.namespace();
        sample.registry_service("shade");
        sample.instance(
            "shade",
            "a",
            &[
                ("AWS_INSTANCE_IPV4", "10.0.0.1"),
                ("AWS_INSTANCE_PORT", "1"),
                ("tone", "light"),
            ],
        );
        sample.instance(
            "shade",
            "b",
            &[
                ("AWS_INSTANCE_IPV4", "10.0.0.2"),
                ("AWS_INSTANCE_IPV6", "fd00::2"),
                ("tone", "dark"),
            ],
        );
        sample.instance(
            "shade",
            "c",
            &[
                ("AWS_INSTANCE_IPV6", "fd00::3"),
                ("tone", "dark"),
                ("tier", "1"),
            ],
        );
        sample
    }

    fn found(sample: &Sample, query: &EndpointQuery) -> BTreeSet<String> {
        let endpoints =
            super::cloudmap::endpoints(sample.scope(), query, &mut Dependencies::default());
        endpoints
            .iter()
            .map(|endpoint| {
                assert_eq!(
                    endpoint.port, 9000,
                    "the listener's port, not the instance's"
                );
                endpoint.address.to_string()
            })
            .collect()
    }

    #[test]
    fn instances_must_carry_every_attribute_of_the_query() {
        let sample = registry();
        let any = AddressFamily::Any;
        assert_eq!(found(&sample, &query(&[], any)).len(), 3);
        assert_eq!(
            found(&sample, &query(&[("tone", "light")], any)),
            ["10.0.0.1".into()].into()
        );
        let both = [("tone", "dark"), ("tier", "1")];
        assert_eq!(
            found(&sample, &query(&both, any)),
            ["fd00::3".into()].into()
        );
        assert!(found(&sample, &query(&[("tone", "none")], any)).is_empty());
    }

    #[test]
    fn the_address_family_is_a_preference_or_a_condition() {
        let sample = registry();
        let addresses = |family| {
            found(&sample, &query(&[], family))
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            addresses(AddressFamily::V4Preferred),
            ["10.0.0.1", "10.0.0.2", "fd00::3"]
        );
        assert_eq!(
            addresses(AddressFamily::V6Preferred),
            ["10.0.0.1", "fd00::2", "fd00::3"]
        );
        assert_eq!(addresses(AddressFamily::V4Only), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(addresses(AddressFamily::V6Only), ["fd00::2", "fd00::3"]);
    }

    #[test]
    fn an_unhealthy_instance_stays_an_endpoint_that_is_marked() {
        let mut sample = registry();
        let command = cloudmap::UpdateInstanceCustomHealthStatus {
            service_id: sample.service_id("shade"),
            instance_id: "a".into(),
            status: Health::Unhealthy,
        };
        sample
            .run(Command::CloudMap(command.into()))
            .expect("the service has a custom health check");
        let endpoints = super::cloudmap::endpoints(
            sample.scope(),
            &query(&[], AddressFamily::Any),
            &mut Dependencies::default(),
        );
        let healthy: Vec<bool> = endpoints.iter().map(|endpoint| endpoint.healthy).collect();
        assert_eq!(healthy, [false, true, true]);
    }
}

/// A client policy that enforces TLS, on these ports or on all.
fn enforced(ports: Option<&[u16]>) -> Value {
    let trust = json!({"trust": {"file": {"certificateChain": "/ca.pem"}}});
    let mut tls = json!({"validation": trust});
    if let Some(ports) = ports {
        tls["ports"] = json!(ports);
    }
    json!({ "tls": tls })
}

#[test]
fn an_enforced_client_policy_refuses_rather_than_sends_plaintext() {
    let mut by_default = caller(&["shade.shop"]);
    by_default["backendDefaults"] = json!({"clientPolicy": enforced(None)});
    let mut by_backend = caller(&["shade.shop"]);
    by_backend["backends"][0]["virtualService"]["clientPolicy"] = enforced(Some(&[8081]));
    for web in [by_default.clone(), by_backend] {
        let sample = two_shades(drop_all())
            .with(
                &route("shade", "all"),
                weighted(&[("light", 1), ("dark", 1)]),
            )
            .with(&node("web"), web)
            .with_namespace();
        let plan = plan(&sample, "web");
        let routes = &hosts(&plan, 8081)[0].routes;
        assert!(routes.iter().all(|route| route.targets.is_empty()));
        assert!(
            warnings(&plan)[0]
                .starts_with("mesh/m/virtualNode/web: its client policy enforces TLS"),
            "{:?}",
            warnings(&plan)
        );
    }

    // Other ports, and policies that enforce nothing, stay what they were.
    let mut elsewhere = caller(&["shade.shop"]);
    elsewhere["backendDefaults"] = json!({"clientPolicy": enforced(Some(&[443]))});
    let mut lenient = by_default;
    lenient["backendDefaults"]["clientPolicy"]["tls"]["enforce"] = json!(false);
    for web in [elsewhere, lenient] {
        let sample = two_shades(drop_all())
            .with(&route("shade", "all"), weighted(&[("light", 1)]))
            .with(&node("web"), web)
            .with_namespace();
        let plan = plan(&sample, "web");
        assert_eq!(hosts(&plan, 8081)[0].routes[0].targets.len(), 1);
        assert_eq!(warnings(&plan), [""; 0]);
    }
}

#[test]
fn an_enforced_client_policy_closes_connections_too() {
    let mut web = caller(&["cache.shop"]);
    web["backendDefaults"] = json!({"clientPolicy": enforced(None)});
    let sample = Sample::new(drop_all())
        .with(&node("cache"), registered(6379, "tcp", "cache"))
        .with(&service("cache.shop"), provided("cache"))
        .with(&node("web"), web);
    let plan = plan(&sample, "web");
    let Handler::Tcp(route) = &plan.outbound[0].handler else {
        panic!("TCP");
    };
    assert!(route.targets.is_empty());
}

#[test]
fn the_ports_of_the_sidecar_itself_are_nobody_elses() {
    let sample = Sample::new(drop_all())
        .with(&node("back"), registered(15001, "http", "back"))
        .with(&service("back.shop"), provided("back"))
        .with(&node("web"), caller(&["back.shop"]))
        .with_namespace();
    let of_web = plan(&sample, "web");
    assert!(of_web.outbound.is_empty());
    assert_eq!(
        warnings(&of_web),
        [
            "mesh/m/virtualService/back.shop: port 15001 is the sidecar's own: calls to it are refused"
        ]
    );
    let of_back = plan(&sample, "back");
    assert!(of_back.inbound.is_empty());
    assert_eq!(
        warnings(&of_back),
        ["mesh/m/virtualNode/back: port 15001 is the sidecar's own: the listener is left out"]
    );
}

#[test]
fn tcp_backends_on_one_port_are_told_apart_by_the_addresses_of_their_names() {
    let of = |sample: &Sample| {
        let plan = plan(sample, "web");
        let outbound = plan.outbound.iter().map(|outbound| {
            let Handler::Tcp(route) = &outbound.handler else {
                panic!("TCP");
            };
            let destinations = outbound.destinations.iter().map(ToString::to_string);
            (route.name.clone(), destinations.collect::<Vec<_>>())
        });
        (outbound.collect::<Vec<_>>(), warnings(&plan))
    };
    let mut sample = Sample::new(drop_all())
        .with(&node("one"), registered(6379, "tcp", "one"))
        .with(&node("two"), registered(6379, "tcp", "two"))
        .with(&service("one.shop.local"), provided("one"))
        .with(&service("two.shop.local"), provided("two"))
        .with(&node("web"), caller(&["one.shop.local", "two.shop.local"]))
        .with_namespace();
    sample.registry_service("one");
    sample.registry_service("two");
    let (outbound, told) = of(&sample);
    assert_eq!(outbound, [("one.shop.local".into(), vec![])]);
    assert_eq!(told.len(), 1, "{told:?}");

    sample.instance("two", "a", &[("AWS_INSTANCE_IPV4", "10.0.0.2")]);
    let (outbound, told) = of(&sample);
    assert_eq!(told, [""; 0]);
    let expected = [
        ("one.shop.local".into(), vec![]),
        ("two.shop.local".into(), vec!["10.0.0.2".into()]),
    ];
    assert_eq!(outbound, expected);

    // The order of the backends decides who takes the rest.
    sample.instance("one", "a", &[("AWS_INSTANCE_IPV4", "10.0.0.1")]);
    let sample = sample.with(&node("web"), caller(&["two.shop.local", "one.shop.local"]));
    let (outbound, _) = of(&sample);
    let expected = [
        ("two.shop.local".into(), vec![]),
        ("one.shop.local".into(), vec!["10.0.0.1".into()]),
    ];
    assert_eq!(outbound, expected);
}

#[test]
fn requests_and_connections_share_a_port_where_addresses_tell_them_apart() {
    let mut sample = Sample::new(drop_all())
        .with(&node("cache"), registered(80, "tcp", "cache"))
        .with(&node("back"), registered(80, "http", "back"))
        .with(&service("cache.shop.local"), provided("cache"))
        .with(&service("back.shop.local"), provided("back"))
        .with(
            &node("web"),
            caller(&["cache.shop.local", "back.shop.local"]),
        )
        .with_namespace();
    sample.registry_service("cache");
    sample.instance("cache", "a", &[("AWS_INSTANCE_IPV6", "fd00::1")]);
    let plan = plan(&sample, "web");
    let by_address: Vec<_> = plan
        .outbound
        .iter()
        .map(|outbound| (outbound.port, outbound.destinations.len()))
        .collect();
    assert_eq!(by_address, [(80, 1), (80, 0)]);
    assert!(matches!(plan.outbound[1].handler, Handler::Http(_)));
    assert_eq!(warnings(&plan), [""; 0]);
}
