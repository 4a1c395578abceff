mod bounds;
mod stored;
mod tag;
mod update;

use super::*;
use crate::{
    Reason, Reply, Scope, Timestamp,
    apply::Command as AnyCommand,
    appmesh::Tag,
    cloudmap::{
        DnsConfig, DnsRecord, Health, HealthCheckConfig, HealthCheckType, NamespaceType,
        RecordType, RoutingPolicy, Service,
    },
};
use NamespaceType::{DNS_PRIVATE, DNS_PUBLIC, HTTP};
use std::collections::BTreeMap;

#[derive(Default)]
struct Registry {
    view: View,
    clock: u64,
}

impl Registry {
    fn run(&mut self, command: impl Into<Command>) -> Result<Reply, Rejection> {
        self.clock += 1;
        let context = Context {
            scope: scope(),
            now: Timestamp(self.clock),
            seed: self.clock,
            limits: crate::Limits::default(),
        };
        let command = AnyCommand::CloudMap(command.into());
        let applied = crate::apply(&self.view, &context, &command)?;
        for change in &applied.changes {
            self.view.apply(self.clock, change);
        }
        Ok(applied.reply)
    }

    #[track_caller]
    fn must(&mut self, command: impl Into<Command>) {
        self.run(command).expect("accepted");
    }

    /// The reason for which a command is rejected.
    #[track_caller]
    fn refuses(&mut self, command: impl Into<Command>) -> Reason {
        let command = command.into();
        let text = format!("{command:?}");
        match self.run(command) {
            Ok(reply) => panic!("{text} answers {reply:?}"),
            Err(rejection) => rejection.reason,
        }
    }

    /// The operation of a command that answers with one.
    #[track_caller]
    fn operation(&mut self, command: impl Into<Command>) -> Arc<str> {
        match self.run(command) {
            Ok(Reply::Operation(id)) => id,
            other => panic!("no operation but {other:?}"),
        }
    }

    /// Creates a namespace; answers with its id.
    #[track_caller]
    fn namespace(&mut self, name: &str, kind: NamespaceType) -> String {
        let operation = self.operation(namespace_of(kind, name));
        let operation = self.here().operation(&operation).expect("just created");
        operation.targets["NAMESPACE"].clone()
    }

    /// Creates a service; answers with it.
    #[track_caller]
    fn create(&mut self, service: CreateService) -> Arc<Service> {
        match self.run(service) {
            Ok(Reply::Service(service)) => service,
            other => panic!("no service but {other:?}"),
        }
    }

    /// Creates a service with records; answers with its id.
    #[track_caller]
    fn service(&mut self, name: &str, namespace: &str, records: &[(RecordType, u32)]) -> String {
        let service = self.create(CreateService {
            description: Some("first".into()),
            dns_config: (!records.is_empty()).then(|| dns_config(records)),
            ..service_of(namespace, name)
        });
        service.id.to_string()
    }

    fn here(&self) -> &ScopeView {
        self.view.scope(&scope()).expect("something was created")
    }

    /// The revision of the instances of a service.
    fn revision(&self, service: &str) -> u64 {
        self.here().instances(service).expect("some").revision
    }
}

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

fn namespace_of(kind: NamespaceType, name: &str) -> CreateNamespace {
    CreateNamespace {
        name: name.into(),
        kind,
        vpc: Some("vpc-1".into()),
        ..CreateNamespace::default()
    }
}

fn service_of(namespace_id: &str, name: &str) -> CreateService {
    CreateService {
        name: name.into(),
        namespace_id: namespace_id.into(),
        ..CreateService::default()
    }
}

fn records(records: &[(RecordType, u32)]) -> Vec<DnsRecord> {
    let record = |(kind, ttl): &(RecordType, u32)| DnsRecord {
        kind: *kind,
        ttl: *ttl,
    };
    records.iter().map(record).collect()
}

fn dns_config(of: &[(RecordType, u32)]) -> DnsConfig {
    DnsConfig {
        routing_policy: Some(RoutingPolicy::Weighted),
        dns_records: records(of),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

fn tags(tags: &[(&str, &str)]) -> Vec<Tag> {
    let tag = |(key, value): &(&str, &str)| Tag {
        key: (*key).into(),
        value: (*value).into(),
    };
    tags.iter().map(tag).collect()
}

fn demo(token: &str) -> CreateNamespace {
    CreateNamespace {
        creator_request_id: Some(token.into()),
        ..namespace_of(DNS_PRIVATE, "demo.local")
    }
}

/// A namespace with one service of A records and custom health.
fn sample() -> (Registry, Arc<str>) {
    let mut registry = Registry::default();
    registry.must(demo("t"));
    let namespace = registry.here().namespace_by_name("demo.local");
    let namespace = namespace.expect("just created").id.to_string();
    let service = registry.create(CreateService {
        dns_config: Some(dns_config(&[(RecordType::A, 300)])),
        custom_health_check: true,
        ..service_of(&namespace, "colorapp")
    });
    (registry, service.id.clone())
}

fn register(service: &str, id: &str, attributes: &[(&str, &str)]) -> RegisterInstance {
    RegisterInstance {
        service_id: service.into(),
        instance_id: id.into(),
        attributes: pairs(attributes),
        creator_request_id: None,
    }
}

const IPV4: &[(&str, &str)] = &[("AWS_INSTANCE_IPV4", "10.0.0.1")];

#[test]
fn a_namespace_name_is_taken_once_and_a_retry_is_recognized() {
    let (mut registry, _) = sample();
    let again = registry.operation(demo("t"));
    assert!(registry.here().operation(&again).is_some());
    let reason = registry.refuses(demo("u"));
    assert!(
        matches!(reason, Reason::NamespaceExists { creator_request_id: Some(t), .. } if t == "t")
    );
}

#[test]
fn registering_again_replaces_and_deregistering_removes() {
    let (mut registry, service) = sample();
    let color = |color| [IPV4[0], ("color", color)];
    registry.must(register(&service, "one", &color("red")));
    let first = registry.revision(&service);
    registry.must(register(&service, "one", &color("blue")));
    assert!(registry.revision(&service) > first);
    let instance = registry.here().instance(&service, "one").expect("there");
    assert!(instance.carries([("color", "blue")]));
    let gone = DeregisterInstance {
        service_id: service.to_string(),
        instance_id: "one".into(),
    };
    registry.must(gone.clone());
    assert_eq!(registry.refuses(gone), Reason::InstanceNotFound);
}

#[test]
fn ids_and_arns_name_the_same() {
    let (mut registry, service) = sample();
    let by_arn = |scope: &Scope| register(&crate::arn::of_service(scope, &service), "i", IPV4);
    registry.must(by_arn(&scope()));
    assert!(registry.here().instance(&service, "i").is_some());
    let elsewhere = by_arn(&Scope::new("111122223333", "eu-west-1"));
    assert_eq!(registry.refuses(elsewhere), Reason::ServiceNotFound);
    for id in [String::new(), "x".repeat(256)] {
        let service = DeleteService { id: id.clone() };
        assert_eq!(registry.refuses(service), Reason::Invalid);
        assert_eq!(registry.refuses(DeleteNamespace { id }), Reason::Invalid);
    }
}

#[test]
fn parents_with_children_are_kept() {
    let (mut registry, service) = sample();
    registry.must(register(&service, "one", IPV4));
    let namespace = registry.here().service(&service).expect("there");
    let id = namespace.namespace_id.to_string();
    assert_eq!(registry.refuses(DeleteNamespace { id }), Reason::InUse);
    let id = service.to_string();
    assert_eq!(registry.refuses(DeleteService { id }), Reason::InUse);
}

#[test]
fn attributes_must_fit_the_records() {
    let (mut registry, service) = sample();
    for attributes in [
        &[("color", "red")][..],
        &[("AWS_INSTANCE_IPV4", "not an address")],
        &[IPV4[0], ("AWS_INSTANCE_PORT", "70000")],
        &[],
    ] {
        let reason = registry.refuses(register(&service, "x", attributes));
        assert_eq!(reason, Reason::Invalid, "{attributes:?}");
    }
}

#[test]
fn old_operations_are_deleted() {
    let (mut registry, service) = sample();
    for _ in 0..MAX_OPERATIONS + 5 {
        registry.must(register(&service, "x", IPV4));
    }
    assert_eq!(registry.here().operation_count(), MAX_OPERATIONS);
}

#[test]
fn health_alone_does_not_raise_the_revision_of_the_instances() {
    let (mut registry, service) = sample();
    registry.must(register(&service, "one", IPV4));
    let before = registry.revision(&service);
    registry.must(UpdateInstanceCustomHealthStatus {
        service_id: service.to_string(),
        instance_id: "one".into(),
        status: Health::Unhealthy,
    });
    let instance = registry.here().instance(&service, "one").expect("there");
    assert_eq!(instance.health, Health::Unhealthy);
    assert_eq!(registry.revision(&service), before);
    registry.must(register(&service, "one", IPV4));
    assert!(registry.revision(&service) > before);
}
