mod bounds;
mod stored;
mod tag;
mod update;

use super::*;
use crate::{
    Reason, Scope, Timestamp,
    apply::Command as AnyCommand,
    cloudmap::{DnsRecord, RecordType, RoutingPolicy},
};

struct Registry {
    view: View,
    clock: u64,
}

impl Registry {
    fn run(&mut self, command: Command) -> Result<Reply, Rejection> {
        self.clock += 1;
        let context = Context {
            scope: scope(),
            now: Timestamp(self.clock),
            seed: self.clock,
            limits: crate::Limits::default(),
        };
        let applied = crate::apply(&self.view, &context, &AnyCommand::CloudMap(command))?;
        for change in &applied.changes {
            self.view.apply(self.clock, change);
        }
        Ok(applied.reply)
    }

    /// The reason for which a command is refused.
    #[track_caller]
    fn refuses(&mut self, command: Command) -> Reason {
        let text = format!("{command:?}");
        match self.run(command) {
            Ok(reply) => panic!("{text} answers {reply:?}"),
            Err(rejection) => rejection.reason,
        }
    }

    /// The operation of a command that answers with one.
    #[track_caller]
    fn operation(&mut self, command: Command) -> Arc<str> {
        match self.run(command) {
            Ok(Reply::Operation(id)) => id,
            other => panic!("no operation but {other:?}"),
        }
    }

    #[track_caller]
    fn namespace(&mut self, name: &str, kind: NamespaceType) -> String {
        let operation = self.operation(Command::CreateNamespace(CreateNamespace {
            name: name.into(),
            kind,
            vpc: Some("vpc-1".into()),
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        }));
        let operation = self.here().operation(&operation).expect("just made");
        operation.targets["NAMESPACE"].clone()
    }

    #[track_caller]
    fn service(&mut self, name: &str, namespace_id: &str, records: &[(RecordType, u32)]) -> String {
        let records = records.iter().map(|(kind, ttl)| DnsRecord {
            kind: *kind,
            ttl: *ttl,
        });
        let reply = self.run(Command::CreateService(CreateService {
            name: name.into(),
            namespace_id: namespace_id.into(),
            description: Some("first".into()),
            dns_config: (records.len() > 0).then(|| DnsConfig {
                routing_policy: Some(RoutingPolicy::Weighted),
                dns_records: records.collect(),
            }),
            health_check: None,
            custom_health_check: false,
            http_only: false,
            creator_request_id: None,
            tags: Vec::new(),
        }));
        match reply {
            Ok(Reply::Service(service)) => service.id.to_string(),
            other => panic!("no service but {other:?}"),
        }
    }

    fn here(&self) -> &ScopeView {
        self.view.scope(&scope()).expect("something was created")
    }
}

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

fn namespace(name: &str, token: &str) -> Command {
    Command::CreateNamespace(CreateNamespace {
        name: name.into(),
        kind: NamespaceType::DNS_PRIVATE,
        vpc: Some("vpc-1".into()),
        description: None,
        soa_ttl: None,
        creator_request_id: Some(token.into()),
        tags: Vec::new(),
    })
}

fn empty() -> Registry {
    Registry {
        view: View::default(),
        clock: 0,
    }
}

/// A namespace with one service of A records and custom health.
fn sample() -> (Registry, Arc<str>) {
    let mut registry = empty();
    registry
        .run(namespace("demo.local", "t"))
        .expect("a namespace");
    let namespace_id = registry
        .here()
        .namespaces()
        .next()
        .expect("one")
        .id
        .to_string();
    let reply = registry.run(Command::CreateService(CreateService {
        name: "colorapp".into(),
        namespace_id,
        description: None,
        dns_config: Some(DnsConfig {
            routing_policy: Some(RoutingPolicy::MultiValue),
            dns_records: vec![DnsRecord {
                kind: RecordType::A,
                ttl: 300,
            }],
        }),
        health_check: None,
        custom_health_check: true,
        http_only: false,
        creator_request_id: None,
        tags: Vec::new(),
    }));
    let Ok(Reply::Service(service)) = reply else {
        panic!("a service")
    };
    (registry, service.id.clone())
}

fn register(service: &str, id: &str, pairs: &[(&str, &str)]) -> Command {
    Command::RegisterInstance(RegisterInstance {
        service_id: service.into(),
        instance_id: id.into(),
        attributes: pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        creator_request_id: None,
    })
}

#[test]
fn a_namespace_name_is_taken_once_and_a_retry_is_recognised() {
    let (mut registry, _) = sample();
    let Ok(Reply::Operation(again)) = registry.run(namespace("demo.local", "t")) else {
        panic!("a retry succeeds")
    };
    assert!(registry.here().operation(&again).is_some());
    let rejection = registry
        .run(namespace("demo.local", "u"))
        .expect_err("taken");
    assert!(
        matches!(rejection.reason, Reason::NamespaceExists { creator_request_id: Some(t), .. } if t == "t")
    );
}

#[test]
fn registering_again_replaces_and_deregistering_removes() {
    let (mut registry, service) = sample();
    let a = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("color", "red")];
    let b = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("color", "blue")];
    registry.run(register(&service, "one", &a)).expect("new");
    let first = registry.here().instances(&service).expect("some").revision;
    registry
        .run(register(&service, "one", &b))
        .expect("replaced");
    let instances = registry.here().instances(&service).expect("some");
    assert!(instances.revision > first);
    assert!(instances.by_id["one"].carries([("color", "blue")]));
    let gone = Command::DeregisterInstance {
        service_id: service.to_string(),
        instance_id: "one".into(),
    };
    registry.run(gone.clone()).expect("there");
    assert_eq!(
        registry.run(gone).expect_err("gone").reason,
        Reason::InstanceNotFound
    );
}

#[test]
fn parents_with_children_are_kept() {
    let (mut registry, service) = sample();
    registry
        .run(register(
            &service,
            "one",
            &[("AWS_INSTANCE_IPV4", "10.0.0.1")],
        ))
        .expect("new");
    let delete = Command::DeleteService {
        id: service.to_string(),
    };
    assert_eq!(
        registry.run(delete).expect_err("in use").reason,
        Reason::InUse
    );
    let id = registry
        .here()
        .namespaces()
        .next()
        .expect("one")
        .id
        .to_string();
    let delete = Command::DeleteNamespace { id };
    assert_eq!(
        registry.run(delete).expect_err("in use").reason,
        Reason::InUse
    );
}

#[test]
fn attributes_must_fit_the_records() {
    let (mut registry, service) = sample();
    for pairs in [
        &[("color", "red")][..],
        &[("AWS_INSTANCE_IPV4", "not an address")][..],
        &[
            ("AWS_INSTANCE_IPV4", "10.0.0.1"),
            ("AWS_INSTANCE_PORT", "70000"),
        ][..],
        &[][..],
    ] {
        let rejection = registry
            .run(register(&service, "x", pairs))
            .expect_err("illegal");
        assert_eq!(rejection.reason, Reason::Invalid, "{pairs:?}");
    }
}

#[test]
fn old_operations_are_forgotten() {
    let (mut registry, service) = sample();
    for _ in 0..MAX_OPERATIONS + 5 {
        registry
            .run(register(
                &service,
                "x",
                &[("AWS_INSTANCE_IPV4", "10.0.0.1")],
            ))
            .expect("fine");
    }
    assert_eq!(registry.here().operation_count(), MAX_OPERATIONS);
}

#[test]
fn health_alone_does_not_raise_the_revision_of_the_instances() {
    let (mut registry, service) = sample();
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1")];
    registry
        .run(register(&service, "one", &attributes))
        .expect("new");
    let before = registry.here().instances(&service).expect("some").revision;
    registry
        .run(Command::SetHealth {
            service_id: service.to_string(),
            instance_id: "one".into(),
            health: Health::Unhealthy,
        })
        .expect("there");
    let instances = registry.here().instances(&service).expect("some");
    assert_eq!(instances.by_id["one"].health, Health::Unhealthy);
    assert_eq!(instances.revision, before);
    registry
        .run(register(&service, "one", &attributes))
        .expect("again");
    assert!(registry.here().instances(&service).expect("some").revision > before);
}
