mod sidecars;

use serde_json::{Value, json};

use super::*;
use crate::admit::{self, IpFamily};
use crate::{Codec, testkit};

/// A cluster with the node `front` for `app=front`, with Cloud Map, and the gateway `in` for `app=in`.
fn cluster() -> ClusterObjects {
    let mut objects = ClusterObjects::new();
    objects.put_namespace("shop", [(SWITCH.to_owned(), "enabled".to_owned())].into());
    let mesh = json!({"metadata": {"name": "demo"}, "spec": {"meshOwner": "111122223333", "namespaceSelector": {}}});
    put(&mut objects, "Mesh", mesh);
    node(
        &mut objects,
        "front",
        json!({
            "podSelector": {"matchLabels": {"app": "front"}},
            "listeners": [
                {"portMapping": {"port": 8080, "protocol": "http"}},
                {"portMapping": {"port": 9090, "protocol": "tcp"}},
            ],
            "serviceDiscovery": {"awsCloudMap": {"namespaceName": "shop.local", "serviceName": "front"}},
        }),
    );
    let gateway = json!({
        "metadata": {"name": "in", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "in"}}},
    });
    put(&mut objects, "VirtualGateway", gateway);
    objects
}

fn put(objects: &mut ClusterObjects, kind: &str, value: Value) {
    let admitted =
        admit::create(testkit::resource(kind, value), objects, IpFamily::V4).expect("admitted");
    objects.put(admitted);
}

fn node(objects: &mut ClusterObjects, name: &str, spec: Value) {
    let node = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    put(objects, "VirtualNode", node);
}

fn config() -> InjectConfig {
    let mut config = InjectConfig::new("proxy:1", "redirect:1", "us-west-2", "111122223333");
    config.xds_endpoint = Some("10.0.0.1:18000".to_owned());
    config.extra_env = vec![
        ("TOMBOLO_B".to_owned(), "2".to_owned()),
        ("TOMBOLO_A".to_owned(), "1".to_owned()),
    ];
    config
}

fn pod(labels: Value, annotations: Value) -> Pod {
    testkit::pod(json!({
        "metadata": {"name": "p", "labels": labels, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }))
}

fn front(annotations: Value) -> Pod {
    pod(json!({"app": "front"}), annotations)
}

#[track_caller]
fn injected(pod: &Pod, config: &InjectConfig) -> Pod {
    match inject(pod, "shop", &cluster(), config) {
        Ok(Injection::Injected { pod, .. }) => *pod,
        other => panic!("not injected: {other:?}"),
    }
}

#[track_caller]
fn denied(pod: &Pod, config: &InjectConfig) -> String {
    denied_in(&cluster(), pod, config)
}

#[track_caller]
fn denied_in(objects: &ClusterObjects, pod: &Pod, config: &InjectConfig) -> String {
    let violation = inject(pod, "shop", objects, config).expect_err("denied");
    violation.to_string()
}

fn container<'a>(pod: &'a Pod, name: &str) -> &'a Container {
    let spec = pod.spec.as_ref().expect("a spec");
    let all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    all.into_iter()
        .find(|container| container.name == name)
        .unwrap_or_else(|| panic!("no container {name}"))
}

fn env<'a>(pod: &'a Pod, in_container: &str, name: &str) -> Option<&'a str> {
    let variables = container(pod, in_container).env.as_ref()?;
    variables
        .iter()
        .find(|variable| variable.name == name)?
        .value
        .as_deref()
}

fn names(pod: &Pod) -> Vec<&str> {
    pod.spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| container.name.as_str())
        .collect()
}

#[test]
fn a_virtual_nodes_pod_gets_redirection_proxy_and_daemon() {
    let mut config = config();
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    let pod = injected(&front(json!({})), &config);
    assert_eq!(names(&pod), ["app", "envoy", "xray-daemon"]);
    insta::assert_yaml_snapshot!(pod);
}

#[test]
fn a_gateways_pod_has_its_own_proxy_fitted_out() {
    let mut pod = pod(json!({"app": "in"}), json!({}));
    let own = json!({"name": "envoy", "image": "old:1", "env": [
        {"name": "ENVOY_LOG_LEVEL", "value": "trace"}, {"name": "OWN", "value": "kept"},
    ]});
    pod.spec.as_mut().expect("a spec").containers =
        vec![Codec::from_json(&own).expect("container")];
    insta::assert_yaml_snapshot!(injected(&pod, &config()));

    let skip = "appmesh.k8s.aws/virtualGatewaySkipImageOverride".to_owned();
    pod.metadata.annotations = Some([(skip, "enabled".to_owned())].into());
    assert_eq!(
        container(&injected(&pod, &config()), "envoy")
            .image
            .as_deref(),
        Some("old:1")
    );
}

#[test]
fn a_gateways_pod_without_a_proxy_is_left_as_it_is() {
    let pod = pod(json!({"app": "in"}), json!({}));
    let mut config = config();
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    let untouched = Injection::Untouched(NotInjected::GatewayWithoutProxy);
    assert_eq!(inject(&pod, "shop", &cluster(), &config), Ok(untouched));
}

#[test]
fn annotation_and_namespace_decide_whether_a_pod_is_injected() {
    let switch = |value: &str| json!({ SWITCH: value });
    let stranger = json!({"app": "stranger"});
    for (namespace, annotation, selected, expected) in [
        (
            None,
            json!({}),
            true,
            Ok(Some(NotInjected::NamespaceNotLabelled)),
        ),
        (
            Some("Enabled"),
            json!({}),
            true,
            Ok(Some(NotInjected::NamespaceNotLabelled)),
        ),
        (
            Some("disabled"),
            json!({}),
            true,
            Ok(Some(NotInjected::Disabled)),
        ),
        (Some("disabled"), switch("enabled"), true, Ok(None)),
        (
            Some("enabled"),
            switch("DISABLED"),
            false,
            Ok(Some(NotInjected::Disabled)),
        ),
        (Some("enabled"), json!({}), true, Ok(None)),
        (
            Some("enabled"),
            json!({}),
            false,
            Ok(Some(NotInjected::BareAndNotSelected)),
        ),
        (
            Some("enabled"),
            switch("if-selected"),
            false,
            Ok(Some(NotInjected::NotSelected)),
        ),
        (Some("enabled"), switch("if-selected"), true, Ok(None)),
    ] {
        let mut objects = cluster();
        let label = namespace.map(|value| (SWITCH.to_owned(), value.to_owned()));
        objects.put_namespace("shop", label.into_iter().collect());
        let labels = if selected {
            json!({"app": "front"})
        } else {
            stranger.clone()
        };
        let result = inject(
            &pod(labels, annotation.clone()),
            "shop",
            &objects,
            &config(),
        );
        let outcome = result.map(|injection| match injection {
            Injection::Untouched(why) => Some(why),
            Injection::Injected { .. } => None,
        });
        assert_eq!(
            outcome, expected,
            "namespace {namespace:?}, annotation {annotation}, selected {selected}"
        );
    }
}

#[test]
fn a_pod_of_a_controller_that_nothing_selects_is_denied_with_its_labels() {
    let mut owned = pod(json!({"app": "stranger"}), json!({}));
    let owner = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true},
    ]}});
    owned.metadata.owner_references = testkit::pod(owner).metadata.owner_references;
    let expected =
        "no virtual node or gateway of namespace shop selects a pod labelled {app=stranger}";
    let message = denied(&owned, &config());
    assert!(message.contains(expected), "{message}");

    let bare = pod(json!({"app": "stranger"}), json!({}));
    let mut strict = config();
    strict.strict = true;
    let message = denied(&bare, &strict);
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_pod_that_two_select_is_denied_with_both_names() {
    let mut objects = cluster();
    node(
        &mut objects,
        "twin",
        json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
    );
    for (app, names) in [
        ("front", "VirtualNode shop/front and VirtualNode shop/twin"),
        ("in", "VirtualNode shop/twin and VirtualGateway shop/in"),
    ] {
        let pod = pod(json!({ "app": app }), json!({}));
        let violation = denied_in(&objects, &pod, &config());
        assert!(violation.contains(names), "{violation}");
    }
}

#[test]
fn a_selector_that_is_absent_selects_no_pod_and_other_namespaces_do_not_count() {
    let mut objects = cluster();
    node(&mut objects, "external", json!({}));
    objects.put_namespace("other", [(SWITCH.to_owned(), "enabled".to_owned())].into());
    let labels = [("app".to_owned(), "front".to_owned())].into();
    assert_eq!(
        workload_of(&labels, "shop", &objects)
            .expect("one")
            .expect("front")
            .key
            .name,
        "front"
    );
    assert_eq!(workload_of(&labels, "other", &objects), Ok(None));
}

#[test]
fn a_node_outside_every_mesh_cannot_take_a_pod() {
    let mut objects = cluster();
    let stray = json!({"metadata": {"name": "s", "namespace": "shop"}, "spec": {"podSelector": {"matchLabels": {"app": "s"}}}});
    objects.put(testkit::resource("VirtualNode", stray));
    let violation = denied_in(&objects, &pod(json!({"app": "s"}), json!({})), &config());
    let expected = "VirtualNode shop/s selects the pod, but it is in no mesh";
    assert!(violation.contains(expected), "{violation}");
}

#[test]
fn a_mesh_of_another_account_is_named_with_its_owner() {
    let mut config = config();
    let arn = |config: &InjectConfig| {
        env(
            &injected(&front(json!({})), config),
            "envoy",
            "APPMESH_RESOURCE_ARN",
        )
        .map(str::to_owned)
    };
    assert_eq!(
        arn(&config).as_deref(),
        Some("mesh/demo/virtualNode/front_shop")
    );
    config.account_id = "444455556666".to_owned();
    assert_eq!(
        arn(&config).as_deref(),
        Some("mesh/demo@111122223333/virtualNode/front_shop")
    );
}

#[test]
fn annotations_adjust_redirection() {
    let pod = injected(
        &front(json!({
            "appmesh.k8s.aws/ports": "1,2", "appmesh.k8s.aws/egressIgnoredIPs": "10.0.0.9",
            "appmesh.k8s.aws/egressIgnoredPorts": "22,3306", "appmesh.k8s.aws/ipv6": "disabled",
        })),
        &config(),
    );
    for (name, value) in [
        ("APPMESH_APP_PORTS", "1,2"),
        ("APPMESH_EGRESS_IGNORED_IP", "10.0.0.9"),
        ("APPMESH_EGRESS_IGNORED_PORTS", "22,3306"),
        ("APPMESH_ENABLE_IPV6", "0"),
    ] {
        assert_eq!(env(&pod, PROXY_INIT, name), Some(value), "{name}");
    }
}

#[test]
fn a_network_plugin_gets_annotations_instead_of_an_init_container() {
    let cni = "appmesh.k8s.aws/appmeshCNI";
    let fargate = json!({"app": "front", "eks.amazonaws.com/fargate-profile": "p"});
    for (labels, annotations, uses_plugin) in [
        (json!({"app": "front"}), json!({}), false),
        (
            json!({"app": "front"}),
            json!({ cni: "enabled", "appmesh.k8s.aws/ignoredUID": "7" }),
            true,
        ),
        (fargate.clone(), json!({}), true),
        (fargate, json!({ cni: "disabled" }), false),
    ] {
        let pod = injected(&pod(labels, annotations), &config());
        let inits = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.init_containers.as_ref())
            .map_or(0, Vec::len);
        assert_eq!(inits == 0, uses_plugin);
        let get = |name: &str| annotation::get(&pod, name);
        let expected = |value| uses_plugin.then_some(value);
        assert_eq!(get("appmesh.k8s.aws/proxyEgressPort"), expected("15001"));
        assert_eq!(get("appmesh.k8s.aws/proxyIngressPort"), expected("15000"));
        assert_eq!(get("appmesh.k8s.aws/ignoredUID"), expected("1337"));
        assert_eq!(get("appmesh.k8s.aws/ports"), expected("8080,9090"));
    }
}

#[test]
fn pods_add_variables_but_cannot_override_the_controllers() {
    let mut config = config();
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    let pod = injected(
        &front(json!({
            "appmesh.k8s.aws/sidecarEnv": "A=1, B=2, AWS_REGION=forged, XRAY_SAMPLING_RATE=0.255, TOMBOLO_A=forged",
            "appmesh.k8s.aws/sidecarEnvJson": "[{\"B\": \"x=1,y\"}, {\"C\": \"3\"}]",
        })),
        &config,
    );
    for (name, value) in [
        ("A", "1"),
        ("B", "x=1,y"),
        ("C", "3"),
        ("AWS_REGION", "us-west-2"),
        ("TOMBOLO_A", "1"),
        ("XRAY_SAMPLING_RATE", "0.26"),
    ] {
        assert_eq!(env(&pod, SIDECAR, name), Some(value), "{name}");
    }
    let variables = container(&pod, SIDECAR).env.as_ref().expect("variables");
    let mut names: Vec<&str> = variables
        .iter()
        .map(|variable| variable.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), variables.len(), "no variable is given twice");
}

#[test]
fn secrets_and_volumes_are_mounted_read_only() {
    let pod = injected(
        &front(json!({
            "appmesh.k8s.aws/secretMounts": "tls:/certs, ca:/ca",
            "appmesh.k8s.aws/volumeMounts": "conf:/conf",
        })),
        &config(),
    );
    let mounts: Vec<(&str, &str, Option<bool>)> = container(&pod, SIDECAR)
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| {
            (
                mount.name.as_str(),
                mount.mount_path.as_str(),
                mount.read_only,
            )
        })
        .collect();
    assert_eq!(
        mounts,
        [
            ("tls", "/certs", Some(true)),
            ("ca", "/ca", Some(true)),
            ("conf", "/conf", Some(true))
        ]
    );
    let volumes = pod.spec.and_then(|spec| spec.volumes).expect("volumes");
    let secrets: Vec<&str> = volumes
        .iter()
        .filter(|volume| volume.secret.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    assert_eq!(
        secrets,
        ["tls", "ca"],
        "a volume of the pod's own is not added"
    );
}

#[test]
fn malformed_annotations_are_denied_by_name() {
    let mut config = config();
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    for (name, value, expected) in [
        ("secretMounts", "tls", "\"tls\" is not a mount"),
        ("secretMounts", "tls:/a:ro", "\"tls:/a:ro\" is not a mount"),
        ("volumeMounts", ":/a", "\":/a\" is not a mount"),
        ("sidecarEnv", "A=b=c", "\"A=b=c\" is not NAME=value"),
        ("sidecarEnv", "A=1,2", "\"2\" is not NAME=value"),
        (
            "sidecarEnvJson",
            "{\"A\": 1",
            "write a list of maps of text",
        ),
        (
            "sidecarEnvJson",
            "[{\"A\": 1}]",
            "the value of A is not text",
        ),
        (
            "sidecarEnv",
            "XRAY_SAMPLING_RATE=2",
            "must be a number from 0 to 1",
        ),
        (
            "xrayAgentConfigMount",
            "a:/a,b:/b",
            "has 2 mounts; the daemon takes one",
        ),
        ("ports", "http", "\"http\" is not a port"),
        ("egressIgnoredPorts", "0", "\"0\" is not a port"),
        ("egressIgnoredIPs", "10.0.0", "\"10.0.0\" is not an address"),
        (
            "egressIgnoredIPs",
            "::1/129",
            "\"::1/129\" is not an address",
        ),
        ("cpuRequest", "lots", "\"lots\" is not a quantity"),
        ("memoryLimit", "-1Mi", "\"-1Mi\" is not a quantity"),
        ("cpuLimit", "inf", "\"inf\" is not a quantity"),
    ] {
        let annotation = format!("appmesh.k8s.aws/{name}");
        let message = denied(&front(json!({ annotation.as_str(): value })), &config);
        assert!(
            message.starts_with(&format!("metadata.annotations[{annotation}]: ")),
            "{message}"
        );
        assert!(message.contains(expected), "{name}={value}: {message}");
    }
}

#[test]
fn containers_that_a_pod_brings_are_kept() {
    let mut pod = front(json!({"appmesh.k8s.aws/volumeMounts": "conf:/conf"}));
    let spec = pod.spec.as_mut().expect("a spec");
    let own = |name: &str| {
        Container::from_json(&json!({"name": name, "image": "own:1"})).expect("container")
    };
    spec.containers.push(own(SIDECAR));
    spec.init_containers = Some(vec![own(PROXY_INIT)]);
    let pod = injected(&pod, &config());
    assert_eq!(names(&pod), ["app", "envoy"]);
    assert_eq!(container(&pod, SIDECAR).image.as_deref(), Some("own:1"));
    assert_eq!(container(&pod, PROXY_INIT).image.as_deref(), Some("own:1"));
    assert_eq!(
        container(&pod, SIDECAR)
            .volume_mounts
            .as_ref()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_proxy_that_holds_the_application_back_comes_first() {
    let mut config = config();
    config.sidecar.post_start = Some(vec!["wait".to_owned()]);
    let pod = injected(&front(json!({})), &config);
    assert_eq!(names(&pod), ["envoy", "app"]);
}

#[test]
fn served_secrets_are_mounted_unless_the_pod_opts_out() {
    let mut config = config();
    config.sds_socket = Some("/run/spire/sockets/agent.sock".to_owned());
    let with = injected(&front(json!({})), &config);
    assert_eq!(
        env(&with, SIDECAR, "APPMESH_SDS_SOCKET_PATH"),
        Some("/run/spire/sockets/agent.sock")
    );
    assert_eq!(
        container(&with, SIDECAR)
            .volume_mounts
            .as_ref()
            .map(Vec::len),
        Some(1)
    );
    let without = injected(&front(json!({"appmesh.k8s.aws/sds": "disabled"})), &config);
    assert_eq!(env(&without, SIDECAR, "APPMESH_SDS_SOCKET_PATH"), None);
    assert_eq!(container(&without, SIDECAR).volume_mounts, None);
}

#[test]
fn the_host_stands_in_for_the_addresses_of_tracers_and_statistics() {
    let mut config = config();
    config.statsd = Some(Statsd {
        address: "ref:status.hostIP".to_owned(),
        port: 8125,
        socket_path: None,
    });
    config.tracing = Tracing::Jaeger {
        address: "ref:status.hostIP".to_owned(),
        port: 9411,
    };
    let pod = injected(&front(json!({})), &config);
    assert_eq!(
        env(&pod, SIDECAR, "STATSD_ADDRESS"),
        None,
        "it comes from the pod's status"
    );
    assert_eq!(env(&pod, SIDECAR, "JAEGER_TRACER_ADDRESS"), None);
}

#[test]
fn resources_follow_annotations_for_the_proxy_and_the_configuration_for_the_init_container() {
    let pod = injected(
        &front(json!({"appmesh.k8s.aws/cpuRequest": "1", "appmesh.k8s.aws/memoryLimit": "1Gi"})),
        &config(),
    );
    let requests = |name: &str| {
        let resources = container(&pod, name).resources.as_ref().expect("resources");
        resources.requests.as_ref().expect("requests")["cpu"]
            .0
            .clone()
    };
    assert_eq!(
        (requests(SIDECAR).as_str(), requests(PROXY_INIT).as_str()),
        ("1", "10m")
    );
    let limits = container(&pod, SIDECAR)
        .resources
        .as_ref()
        .and_then(|resources| resources.limits.as_ref());
    assert_eq!(limits.expect("limits")["memory"].0, "1Gi");
}
