use serde_json::json;

use super::*;
use crate::crd::Resource;
use crate::testkit::{self, pod};

fn running(ip: &str, ready: bool) -> Pod {
    pod(json!({
        "metadata": {"name": "front-1", "namespace": "shop", "labels": {"app": "front", "k8s.io/pod": "forged"}},
        "spec": {"containers": []},
        "status": {"podIP": ip, "phase": "Running", "conditions": [
            {"type": "Ready", "status": "False"},
            {"type": "ContainersReady", "status": if ready { "True" } else { "False" }},
        ]},
    }))
}

fn node() -> VirtualNode {
    let node = json!({
        "metadata": {"name": "front", "namespace": "shop"},
        "spec": {
            "listeners": [
                {"portMapping": {"port": 8081, "protocol": "http"}},
                {"portMapping": {"port": 9091, "protocol": "tcp"}},
            ],
            "serviceDiscovery": {"awsCloudMap": {
                "namespaceName": "shop.local", "serviceName": "front",
                "attributes": [{"key": "app", "value": "overridden"}, {"key": "AVAILABILITY_ZONE", "value": "forged"}],
            }},
        },
    });
    match testkit::resource("VirtualNode", node) {
        Resource::VirtualNode(node) => node,
        other => unreachable!("{other:?}"),
    }
}

fn owner() -> Owner {
    Owner {
        mesh: "m".to_owned(),
        virtual_node: "front_shop".to_owned(),
    }
}

fn instance_of(ip: &str) -> Instance {
    instance(&running(ip, true), &node(), &owner(), None).expect("has an address")
}

#[test]
fn readiness_of_containers_decides_not_readiness_of_the_pod() {
    assert_eq!(classify(&running("10.0.0.1", true)), PodClass::Ready);
    assert_eq!(classify(&running("10.0.0.1", false)), PodClass::NotReady);
}

#[test]
fn pods_that_end_or_have_no_address_are_ignored() {
    assert_eq!(classify(&Pod::default()), PodClass::Ignored);
    assert_eq!(classify(&running("", true)), PodClass::Ignored);
    let mut ending = running("10.0.0.1", true);
    ending.metadata.deletion_timestamp = Some(testkit::TIME);
    assert_eq!(classify(&ending), PodClass::Ignored);
    for (policy, phase, class) in [
        ("Never", "Failed", PodClass::Ignored),
        ("Never", "Succeeded", PodClass::Ignored),
        ("Never", "Running", PodClass::NotReady),
        ("OnFailure", "Succeeded", PodClass::Ignored),
        ("OnFailure", "Failed", PodClass::NotReady),
        ("Always", "Succeeded", PodClass::NotReady),
    ] {
        let ended = pod(json!({
            "spec": {"containers": [], "restartPolicy": policy},
            "status": {"podIP": "10.0.0.1", "phase": phase},
        }));
        assert_eq!(classify(&ended), class, "{policy} {phase}");
    }
}

#[test]
fn core_attributes_override_the_nodes_which_override_the_labels() {
    let host = Labels::from([
        (
            "failure-domain.beta.kubernetes.io/region".to_owned(),
            "eu-west-1".to_owned(),
        ),
        (
            "topology.kubernetes.io/zone".to_owned(),
            "eu-west-1b".to_owned(),
        ),
    ]);
    let instance = instance(&running("10.0.0.1", true), &node(), &owner(), Some(&host))
        .expect("has an address");
    assert_eq!(instance.id, "10.0.0.1");
    let expected: BTreeMap<String, String> = [
        ("AVAILABILITY_ZONE", "eu-west-1b"),
        ("AWS_INSTANCE_IPV4", "10.0.0.1"),
        ("AWS_INSTANCE_PORT", "8081"),
        ("REGION", "eu-west-1"),
        ("app", "overridden"),
        ("appmesh.k8s.aws/mesh", "m"),
        ("appmesh.k8s.aws/virtualNode", "front_shop"),
        ("k8s.io/namespace", "shop"),
        ("k8s.io/pod", "front-1"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    assert_eq!(instance.attributes, expected);
}

#[test]
fn an_ipv6_pod_is_registered_as_such_and_a_node_without_listeners_has_no_port() {
    let mut node = node();
    node.spec.listeners = None;
    let instance =
        instance(&running("fd00::1", true), &node, &owner(), None).expect("has an address");
    assert_eq!(
        instance.attributes.get(INSTANCE_IPV6).map(String::as_str),
        Some("fd00::1")
    );
    assert!(!instance.attributes.contains_key(INSTANCE_IPV4));
    assert!(!instance.attributes.contains_key(INSTANCE_PORT));
}

#[test]
fn a_new_ready_pod_is_registered_healthy_and_then_left_alone() {
    let pods = [(PodClass::Ready, instance_of("10.0.0.1"))];
    let first = diff(&owner(), &pods, &[], false);
    assert_eq!(
        first.register[0]
            .attributes
            .get(INIT_HEALTH_STATUS)
            .map(String::as_str),
        Some("HEALTHY")
    );
    assert!(diff(&owner(), &pods, &first.register, false).is_settled());
}

#[test]
fn changed_attributes_register_again_and_keep_the_initial_health() {
    let mut registered = instance_of("10.0.0.1");
    registered
        .attributes
        .insert(INIT_HEALTH_STATUS.to_owned(), "UNHEALTHY".to_owned());
    registered
        .attributes
        .insert("app".to_owned(), "old".to_owned());
    let changes = diff(
        &owner(),
        &[(PodClass::Ready, instance_of("10.0.0.1"))],
        &[registered],
        false,
    );
    assert_eq!(changes.register.len(), 1);
    assert_eq!(
        changes.register[0]
            .attributes
            .get(INIT_HEALTH_STATUS)
            .map(String::as_str),
        Some("UNHEALTHY")
    );
}

#[test]
fn instances_of_other_nodes_are_left_alone() {
    let mut foreign = instance_of("10.9.9.9");
    foreign
        .attributes
        .insert(VIRTUAL_NODE.to_owned(), "front_other".to_owned());
    let mut by_hand = instance_of("10.8.8.8");
    by_hand.attributes.remove(MESH);
    let gone = instance_of("10.0.0.7");
    let changes = diff(&owner(), &[], &[foreign, by_hand, gone], false);
    assert_eq!(changes.deregister, ["10.0.0.7"]);
    assert!(changes.register.is_empty());
}

#[test]
fn a_pod_that_is_not_ready_leaves_unless_health_is_reported() {
    let pods = [
        (PodClass::NotReady, instance_of("10.0.0.1")),
        (PodClass::NotReady, instance_of("10.0.0.2")),
    ];
    let registered = [instance_of("10.0.0.1")];
    assert_eq!(
        diff(&owner(), &pods, &registered, false).deregister,
        ["10.0.0.1"]
    );
    let with_health = diff(&owner(), &pods, &registered, true);
    assert!(
        with_health.is_settled(),
        "it stays, and the one that never was ready is not registered"
    );
    assert_eq!(with_health.health, [("10.0.0.1".to_owned(), false)]);
}
