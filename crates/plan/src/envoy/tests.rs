use super::*;
use crate::{
    plan::Endpoint,
    sample::{
        NAMESPACE, Sample, caller, compile, gateway, listening, node, provided, registered, route,
        routed, router, service, shares, weighted,
    },
};
use prost::Message;
use serde_json::json;
use tombolo_model::appmesh::ResourceKey;
use tombolo_xds::{
    Kind, Snapshot,
    envoy::pb::envoy::{
        config::{
            accesslog::v3::access_log,
            cluster::v3::{Cluster, cluster::ClusterDiscoveryType, cluster::DiscoveryType},
            core::v3::{HealthStatus, Metadata, address::Address, substitution_format_string},
            endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier},
            listener::v3::{Listener, filter::ConfigType},
            route::v3::{RouteConfiguration, route::Action, route_action::ClusterSpecifier},
        },
        extensions::{
            access_loggers::file::v3::{FileAccessLog, file_access_log},
            filters::network::{
                http_connection_manager::v3::HttpConnectionManager, tcp_proxy::v3::TcpProxy,
            },
        },
    },
    envoy::pb::google::protobuf::value,
    resource::Body,
};

fn snapshot(sample: &Sample, name: &str) -> Snapshot {
    of(sample, &node(name))
}

fn of(sample: &Sample, workload: &ResourceKey) -> Snapshot {
    let (plan, _) = compile(sample.scope(), workload).expect("it exists");
    let mut snapshot = Snapshot::builder(1);
    update(None, &plan, &mut snapshot);
    for (name, cluster) in &plan.clusters {
        if matches!(cluster.discovery, crate::plan::Discovery::Registry(_)) {
            snapshot.insert(endpoints(name, &[]));
        }
    }
    snapshot.build()
}

fn get<M: Body>(snapshot: &Snapshot, name: &str) -> M {
    let resource = snapshot.get(M::KIND, name).expect(name);
    resource.decode().expect("our own bytes")
}

/// A node with three kinds of backends and two listeners.
fn busy() -> Sample {
    let web = json!({
        "listeners": [
            {"portMapping": {"port": 8080, "protocol": "http"}},
            {"portMapping": {"port": 9999, "protocol": "tcp"}},
        ],
        "serviceDiscovery": {"awsCloudMap": {"namespaceName": NAMESPACE, "serviceName": "web"}},
        "backends": [
            {"virtualService": {"virtualServiceName": "shade.shop"}},
            {"virtualService": {"virtualServiceName": "cache.shop"}},
            {"virtualService": {"virtualServiceName": "outside.shop"}},
        ],
    });
    let outside = json!({
        "listeners": [{"portMapping": {"port": 8443, "protocol": "http2"}}],
        "serviceDiscovery": {"dns": {"hostname": "outside.example"}},
    });
    Sample::new(json!({"egressFilter": {"type": "ALLOW_ALL"}}))
        .with(&node("light"), registered(9000, "http", "shade"))
        .with(&node("dark"), registered(9000, "http", "shade"))
        .with(&router("shade"), listening(8081, "http"))
        .with(
            &route("shade", "all"),
            weighted(&[("light", 3), ("dark", 1)]),
        )
        .with(&service("shade.shop"), routed("shade"))
        .with(&node("one"), registered(6379, "tcp", "cache"))
        .with(&node("two"), registered(6379, "tcp", "cache"))
        .with(&router("cache"), listening(6379, "tcp"))
        .with(
            &route("cache", "all"),
            json!({"tcpRoute": {"action": shares(&[("one", 1), ("two", 0)])}}),
        )
        .with(&service("cache.shop"), routed("cache"))
        .with(&node("outside"), outside)
        .with(&service("outside.shop"), provided("outside"))
        .with(&node("web"), web)
}

#[test]
fn a_plan_becomes_resources_that_refer_to_nothing_missing() {
    let snapshot = snapshot(&busy(), "web");
    assert_eq!(snapshot.missing().next(), None);
    let names = |kind| -> Vec<String> {
        snapshot
            .resources(kind)
            .keys()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        names(Kind::Listener),
        ["lds_egress_0.0.0.0_15001", "lds_ingress_0.0.0.0_15000"]
    );
    assert_eq!(
        names(Kind::Route),
        [
            "rds_egress_http_8081",
            "rds_egress_http_8443",
            "rds_ingress_http_8080"
        ]
    );
    assert_eq!(
        names(Kind::Endpoint),
        [
            "cds_egress_m_dark_http_9000",
            "cds_egress_m_light_http_9000",
            "cds_egress_m_one_tcp_6379",
            "cds_egress_m_two_tcp_6379",
        ]
    );
}

#[test]
fn a_listener_tells_connections_apart_by_the_port_they_were_going_to() {
    let listener = get::<Listener>(&snapshot(&busy(), "web"), "lds_egress_0.0.0.0_15001");
    let ports: Vec<_> = listener
        .filter_chains
        .iter()
        .map(|chain| {
            let matcher = chain
                .filter_chain_match
                .as_ref()
                .expect("each chain has a port");
            matcher.destination_port.as_ref().expect("a port").value
        })
        .collect();
    assert_eq!(ports, [15000, 15001, 6379, 8081, 8443]);
    assert_eq!(
        listener.listener_filters[0].name,
        "envoy.filters.listener.original_dst"
    );
    assert!(
        listener.default_filter_chain.is_some(),
        "ALLOW_ALL passes other ports"
    );
}

#[test]
fn a_node_that_calls_nobody_still_has_a_listener_that_refuses() {
    let sample = Sample::new(json!({})).with(&node("quiet"), caller(&[]));
    let snapshot = snapshot(&sample, "quiet");
    assert_eq!(snapshot.missing().next(), None);
    let listener = get::<Listener>(&snapshot, "lds_egress_0.0.0.0_15001");
    assert!(listener.default_filter_chain.is_none());
    assert!(!listener.filter_chains.is_empty(), "Envoy demands one");
    assert!(
        listener
            .filter_chains
            .iter()
            .all(|chain| chain.filters.is_empty()),
        "a chain without filters closes"
    );
    assert!(
        snapshot
            .get(Kind::Listener, "lds_ingress_0.0.0.0_15000")
            .is_none()
    );
}

#[test]
fn connections_to_the_listeners_themselves_are_closed() {
    let snapshot = snapshot(&busy(), "web");
    for name in ["lds_ingress_0.0.0.0_15000", "lds_egress_0.0.0.0_15001"] {
        let listener = get::<Listener>(&snapshot, name);
        for (chain, port) in listener.filter_chains.iter().zip([15000, 15001]) {
            let matcher = chain.filter_chain_match.as_ref().expect("it has a match");
            let matched = matcher.destination_port.as_ref().map(|port| port.value);
            assert_eq!((matched, chain.filters.len()), (Some(port), 0), "{name}");
        }
    }
}

#[test]
fn what_passes_through_may_be_silent_for_as_long_as_envoy_allows_by_default() {
    let listener = get::<Listener>(&snapshot(&busy(), "web"), "lds_egress_0.0.0.0_15001");
    let chain = listener.default_filter_chain.expect("ALLOW_ALL");
    let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else {
        panic!("a filter has its configuration");
    };
    let proxy = TcpProxy::decode(any.value.as_slice()).expect("our own bytes");
    assert_eq!(proxy.idle_timeout, None, "zero would switch it off");
}

#[test]
fn listeners_take_ipv6_too_where_a_preference_is_set() {
    let preference = json!({"serviceDiscovery": {"ipPreference": "IPv6_PREFERRED"}});
    let gateway_spec = json!({"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]});
    for (mesh, expected) in [(json!({}), "0.0.0.0"), (preference, "::")] {
        let sample = Sample::new(mesh)
            .with(&node("web"), registered(8080, "http", "web"))
            .with(&gateway("in"), gateway_spec.clone());
        for key in [node("web"), gateway("in")] {
            let snapshot = of(&sample, &key);
            for listener in snapshot.resources(Kind::Listener).values() {
                let listener: Listener = listener.decode().expect("our own bytes");
                let Some(Address::SocketAddress(socket)) = listener.address.and_then(|a| a.address)
                else {
                    panic!("listeners have a socket address");
                };
                if listener.name != "lds_egress_127.0.0.1_15001" {
                    let bound = (socket.address.as_str(), socket.ipv4_compat);
                    assert_eq!(bound, (expected, expected == "::"), "{}", listener.name);
                }
            }
        }
    }
}

#[test]
fn a_host_stays_ejected_for_its_time_and_is_checked_as_often_without_traffic_as_with() {
    let mut backend = registered(9000, "http", "shade");
    let listener = &mut backend["listeners"][0];
    listener["outlierDetection"] = json!({
        "maxServerErrors": 5, "interval": {"unit": "s", "value": 10},
        "baseEjectionDuration": {"unit": "s", "value": 30}, "maxEjectionPercent": 50,
    });
    listener["healthCheck"] = json!({
        "protocol": "http", "path": "/", "intervalMillis": 5000, "timeoutMillis": 2000,
        "healthyThreshold": 2, "unhealthyThreshold": 2,
    });
    let snapshot = snapshot(&busy().with(&node("light"), backend), "web");
    let cluster = get::<Cluster>(&snapshot, "cds_egress_m_light_http_9000");
    let check = &cluster.health_checks[0];
    assert_eq!(check.no_traffic_interval, check.interval);
    let outlier = cluster.outlier_detection.expect("it was asked for");
    let uneject = outlier.successful_active_health_check_uneject_host;
    assert_eq!(uneject.map(|uneject| uneject.value), Some(false));
}

#[test]
fn weights_are_passed_on_as_they_were_given() {
    let routes = get::<RouteConfiguration>(&snapshot(&busy(), "web"), "rds_egress_http_8081");
    let host = &routes.virtual_hosts[0];
    assert_eq!(host.domains, ["shade.shop"]);
    assert!(
        routes.ignore_port_in_host_matching,
        "callers put the port into the host"
    );
    let Some(Action::Route(action)) = &host.routes[0].action else {
        panic!("it forwards");
    };
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action.cluster_specifier else {
        panic!("by weight");
    };
    let shares: Vec<_> = weighted
        .clusters
        .iter()
        .map(|share| {
            (
                share.name.as_str(),
                share.weight.as_ref().map(|weight| weight.value),
            )
        })
        .collect();
    assert_eq!(
        shares,
        [
            ("cds_egress_m_light_http_9000", Some(3)),
            ("cds_egress_m_dark_http_9000", Some(1)),
        ]
    );
}

#[test]
fn a_route_that_leads_nowhere_answers_503() {
    let sample = busy().with(
        &route("shade", "all"),
        weighted(&[("light", 0), ("dark", 0)]),
    );
    let routes = get::<RouteConfiguration>(&snapshot(&sample, "web"), "rds_egress_http_8081");
    let Some(Action::DirectResponse(answer)) = &routes.virtual_hosts[0].routes[0].action else {
        panic!("it answers by itself");
    };
    assert_eq!(answer.status, 503);
}

#[test]
fn clusters_find_their_endpoints_where_the_plan_says() {
    let snapshot = snapshot(&busy(), "web");
    for (name, expected) in [
        ("cds_egress_m_light_http_9000", DiscoveryType::Eds),
        ("cds_egress_m_outside_http2_8443", DiscoveryType::LogicalDns),
        ("cds_ingress_m_web_http_8080", DiscoveryType::Static),
        ("cds_egress_m_passthrough", DiscoveryType::OriginalDst),
    ] {
        let found = get::<Cluster>(&snapshot, name).cluster_discovery_type;
        assert_eq!(
            found,
            Some(ClusterDiscoveryType::Type(expected.into())),
            "{name}"
        );
    }
}

#[test]
fn an_unhealthy_endpoint_is_marked_and_an_empty_set_is_a_resource() {
    let endpoint = |address: &str, healthy| Endpoint {
        address: address.parse().expect("an address"),
        port: 9000,
        healthy,
    };
    let set = [endpoint("10.0.0.1", true), endpoint("fd00::2", false)];
    let assignment: ClusterLoadAssignment = endpoints("c", &set).decode().expect("our own bytes");
    let hosts = &assignment.endpoints[0].lb_endpoints;
    let seen: Vec<_> = hosts
        .iter()
        .map(|host| {
            let Some(HostIdentifier::Endpoint(endpoint)) = &host.host_identifier else {
                panic!("endpoints are given in full");
            };
            (
                format!("{:?}", endpoint.address).contains("fd00::2"),
                host.health_status(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (false, HealthStatus::Unknown),
            (true, HealthStatus::Unhealthy)
        ]
    );

    let empty: ClusterLoadAssignment = endpoints("c", &[]).decode().expect("our own bytes");
    assert_eq!(
        (empty.cluster_name.as_str(), empty.endpoints.len()),
        ("c", 0)
    );
}

#[test]
fn the_same_plan_gives_the_same_versions() {
    assert_eq!(snapshot(&busy(), "web"), snapshot(&busy(), "web"));
}

#[test]
fn a_json_log_of_many_members_is_encoded_in_order() {
    let members: serde_json::Value = (0..20)
        .map(|n| json!({"key": format!("key{n}"), "value": format!("%VALUE{n}%")}))
        .collect();
    let mut web = registered(8080, "http", "web");
    web["logging"] = json!({"accessLog": {"file": {
        "path": "/dev/stdout", "format": {"json": members},
    }}});
    let sample = Sample::new(json!({})).with(&node("web"), web);
    let one = snapshot(&sample, "web");
    for _ in 0..8 {
        assert_eq!(one, snapshot(&sample, "web"));
    }
    let listener = get::<Listener>(&one, "lds_ingress_0.0.0.0_15000");
    let chain = listener.filter_chains.last().expect("a chain");
    let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else {
        panic!("a filter has its configuration");
    };
    let manager = HttpConnectionManager::decode(&*any.value).expect("our own bytes");
    let Some(access_log::ConfigType::TypedConfig(any)) = &manager.access_log[0].config_type else {
        panic!("a log has its configuration");
    };
    let log = FileAccessLog::decode(&*any.value).expect("our own bytes");
    let Some(file_access_log::AccessLogFormat::LogFormat(format)) = log.access_log_format else {
        panic!("a format");
    };
    let Some(substitution_format_string::Format::JsonFormat(format)) = format.format else {
        panic!("JSON");
    };
    assert_eq!(
        (log.path.as_str(), format.fields.len()),
        ("/dev/stdout", 20)
    );
}

#[test]
fn every_resource_names_the_object_that_it_comes_from() {
    let snapshot = snapshot(&busy(), "web");
    let object = |metadata: Option<Metadata>| {
        let metadata = metadata.expect("metadata");
        let Some(value::Kind::StringValue(object)) =
            metadata.filter_metadata["tombolo"].fields["object"]
                .kind
                .clone()
        else {
            panic!("text");
        };
        object
    };
    let shade = get::<Cluster>(&snapshot, "cds_egress_m_light_http_9000");
    assert_eq!(object(shade.metadata), "mesh/m/virtualNode/light");
    let egress = get::<Listener>(&snapshot, "lds_egress_0.0.0.0_15001");
    assert_eq!(object(egress.metadata.clone()), "mesh/m/virtualNode/web");
    let cache = egress
        .filter_chains
        .iter()
        .find(|chain| chain.name == "port_6379");
    let cache = cache.expect("the chain is there").metadata.clone();
    assert_eq!(object(cache), "mesh/m/virtualRouter/cache/route/all");
    let table = get::<RouteConfiguration>(&snapshot, "rds_egress_http_8081");
    assert_eq!(table.metadata, None, "its listener's");
    let [shade, outside] = &table.virtual_hosts[..2] else {
        panic!("more than one host");
    };
    let [route] = &shade.routes[..] else {
        panic!("one route");
    };
    let service = "mesh/m/virtualService/shade.shop";
    assert_eq!(object(shade.metadata.clone()), service);
    let all = "mesh/m/virtualRouter/shade/route/all";
    assert_eq!(object(route.metadata.clone()), all);
    assert_eq!(outside.name, "amazonaws");
    assert_eq!(outside.metadata, None, "its listener's");
    assert_eq!(outside.routes[0].metadata, None, "its host's");
}

#[test]
fn a_plan_that_changes_step_by_step_gives_the_resources_of_its_last_step() {
    let quiet = Sample::new(json!({})).with(&node("web"), caller(&[]));
    let plan = |sample: &Sample| compile(sample.scope(), &node("web")).expect("it exists").0;
    let gateway_plan = compile(
        Sample::new(json!({}))
            .with(
                &gateway("in"),
                json!({"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]}),
            )
            .scope(),
        &gateway("in"),
    );
    let gateway_plan = gateway_plan.expect("it exists").0;
    let steps = [
        plan(&busy()),
        plan(&quiet),
        gateway_plan,
        plan(&busy()),
        plan(&quiet),
    ];
    let mut step_by_step = Snapshot::builder(1);
    let mut previous = None;
    for plan in &steps {
        update(previous, plan, &mut step_by_step);
        let mut at_once = Snapshot::builder(1);
        update(None, plan, &mut at_once);
        assert_eq!(*step_by_step.snapshot(), at_once.build());
        previous = Some(plan);
    }
}
