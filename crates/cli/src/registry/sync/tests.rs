use super::{
    MARK,
    plan::{Step, steps},
    snapshot::{Instance, Namespace, Service, Snapshot},
};
use std::collections::BTreeMap;
use tombolo_model::cloudmap::Health;

const SOURCE: &str = "servicediscovery.us-west-2.amazonaws.com";

fn instance(attributes: &[(&str, &str)]) -> Instance {
    let attributes = attributes.iter();
    Instance {
        attributes: attributes
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        health: None,
    }
}

fn imported(address: &str) -> Instance {
    instance(&[("AWS_INSTANCE_IPV4", address), (MARK, SOURCE)])
}

fn registry(is_marked: bool, instances: &[(&str, Instance)]) -> Snapshot {
    let service = Service {
        id: "srv-1".into(),
        is_marked,
        instances: instances
            .iter()
            .map(|(id, it)| ((*id).into(), it.clone()))
            .collect(),
        ..Service::default()
    };
    let namespace = Namespace {
        id: "ns-1".into(),
        is_marked,
        services: BTreeMap::from([("color".into(), service)]),
        ..Namespace::default()
    };
    Snapshot {
        namespaces: BTreeMap::from([("shop.local".into(), namespace)]),
    }
}

fn told(source: &Snapshot, destination: &Snapshot) -> Vec<String> {
    let steps = steps(source, destination, SOURCE);
    steps.iter().map(Step::to_string).collect()
}

#[test]
fn an_empty_registry_gets_everything_with_the_mark() {
    let address = ("AWS_INSTANCE_IPV4", "10.0.0.1");
    let source = registry(
        false,
        &[("a", instance(&[address, ("AWS_EC2_INSTANCE_ID", "i-1")]))],
    );
    let planned = steps(&source, &Snapshot::default(), SOURCE);
    let told: Vec<String> = planned.iter().map(Step::to_string).collect();
    assert_eq!(
        told,
        [
            "create namespace shop.local",
            "create service color of shop.local",
            "register a in service color of shop.local"
        ]
    );
    let [
        Step::CreateNamespace { create },
        _,
        Step::Register { register, .. },
    ] = planned.as_slice()
    else {
        panic!("{planned:?}");
    };
    assert_eq!(create.tags[0].value, SOURCE);
    assert_eq!(register.attributes, imported("10.0.0.1").attributes);
}

#[test]
fn what_is_as_it_should_be_costs_no_call() {
    let source = registry(
        false,
        &[("a", instance(&[("AWS_INSTANCE_IPV4", "10.0.0.1")]))],
    );
    assert_eq!(
        told(&source, &registry(true, &[("a", imported("10.0.0.1"))])),
        [""; 0]
    );
}

#[test]
fn changes_are_followed_and_what_registered_here_stays() {
    let source = registry(
        false,
        &[
            ("moved", instance(&[("AWS_INSTANCE_IPV4", "10.0.0.9")])),
            ("both", instance(&[("AWS_INSTANCE_IPV4", "10.0.0.2")])),
        ],
    );
    let destination = registry(
        true,
        &[
            ("moved", imported("10.0.0.1")),
            ("both", instance(&[("AWS_INSTANCE_IPV4", "10.0.0.3")])),
            ("gone", imported("10.0.0.4")),
            ("ours", instance(&[("AWS_INSTANCE_IPV4", "10.0.0.5")])),
            ("of another", instance(&[(MARK, "elsewhere")])),
        ],
    );
    assert_eq!(
        told(&source, &destination),
        [
            "register moved in service color of shop.local",
            "deregister gone from service color of shop.local"
        ]
    );
}

#[test]
fn what_is_gone_at_the_source_goes_unless_others_use_it() {
    let other = Snapshot {
        namespaces: BTreeMap::from([("other.local".into(), Namespace::default())]),
    };
    let create = "create namespace other.local";
    let alone = registry(true, &[("a", imported("10.0.0.1"))]);
    assert_eq!(
        told(&other, &alone),
        [
            create,
            "deregister a from service color of shop.local",
            "delete service color of shop.local",
            "delete namespace shop.local"
        ]
    );
    let shared = registry(
        true,
        &[("a", imported("10.0.0.1")), ("ours", Instance::default())],
    );
    assert_eq!(
        told(&other, &shared),
        [create, "deregister a from service color of shop.local"]
    );
    let never_imported = registry(false, &[("ours", Instance::default())]);
    assert_eq!(told(&other, &never_imported), [create]);
}

#[test]
fn health_that_others_report_is_reported_here() {
    let with = |health, instance: Instance| {
        let health = Some(health);
        registry(true, &[("a", Instance { health, ..instance })])
    };
    let source = with(
        Health::Unhealthy,
        instance(&[("AWS_INSTANCE_IPV4", "10.0.0.1")]),
    );
    let destination = with(Health::Healthy, imported("10.0.0.1"));
    assert_eq!(
        told(&source, &destination),
        ["a in service color of shop.local is Unhealthy"]
    );
}
