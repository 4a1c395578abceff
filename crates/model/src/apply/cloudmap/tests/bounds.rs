//! What commands may say, whatever there is.

use super::*;
use crate::cloudmap::HealthCheckType;

fn namespace_of(kind: NamespaceType, name: &str) -> CreateNamespace {
    CreateNamespace {
        name: name.into(),
        kind,
        vpc: Some("vpc-1".into()),
        description: None,
        soa_ttl: None,
        creator_request_id: None,
        tags: Vec::new(),
    }
}

fn service_of(namespace_id: &str, name: &str) -> CreateService {
    CreateService {
        name: name.into(),
        namespace_id: namespace_id.into(),
        description: None,
        dns_config: None,
        health_check: None,
        custom_health_check: false,
        http_only: false,
        creator_request_id: None,
        tags: Vec::new(),
    }
}

fn characters(count: usize) -> Option<String> {
    Some("ä".repeat(count))
}

#[test]
fn names_of_namespaces_follow_their_type() {
    use NamespaceType::{DNS_PRIVATE, DNS_PUBLIC, HTTP};
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
    for (kind, name, is_legal) in [
        (HTTP, "!~", true),
        (HTTP, &*"x".repeat(1024), true),
        (HTTP, &*"x".repeat(1025), false),
        (HTTP, "", false),
        (HTTP, "a b", false),
        (HTTP, "ä", false),
        (HTTP, "arn:x", false),
        (DNS_PRIVATE, "a_b", true),
        (DNS_PRIVATE, &*"x".repeat(253), true),
        (DNS_PRIVATE, &*"x".repeat(254), false),
        (DNS_PRIVATE, "arn:x", false),
        (DNS_PUBLIC, "a.b", true),
        (DNS_PUBLIC, &*longest, true),
        (DNS_PUBLIC, &*format!("{longest}x"), false),
        (DNS_PUBLIC, "ab", false),
        (DNS_PUBLIC, "a..b", false),
        (DNS_PUBLIC, "a.b.", false),
        (DNS_PUBLIC, "-a.b", false),
        (DNS_PUBLIC, "a-.b", false),
        (DNS_PUBLIC, "a_.b", false),
        (DNS_PUBLIC, &*format!("{label}x.b"), false),
    ] {
        let made = empty().run(Command::CreateNamespace(namespace_of(kind, name)));
        assert_eq!(made.is_ok(), is_legal, "{kind:?} {name}: {made:?}");
    }
}

#[test]
fn names_of_services_are_labels() {
    let label = "x".repeat(63);
    for (name, is_legal) in [
        ("a", true),
        ("7", true),
        (".", true),
        ("_http._tcp", true),
        ("a-b_c", true),
        ("__", true),
        (&*format!("{label}.{label}"), true),
        (&*format!("{label}.{label}."), false),
        (&*format!("{label}.{label}.x"), false),
        (&*format!("{label}x"), false),
        ("", false),
        ("_", false),
        ("-", false),
        ("a-", false),
        ("-a", false),
        ("a..b", false),
        ("..", false),
        ("a b", false),
        ("ä", false),
    ] {
        let mut registry = empty();
        let namespace = registry.namespace("n", NamespaceType::HTTP);
        let made = registry.run(Command::CreateService(service_of(&namespace, name)));
        assert_eq!(made.is_ok(), is_legal, "{name}: {made:?}");
    }
}

/// The caller learns what is broken about the input, not what there is.
#[test]
fn broken_bounds_are_told_before_what_is_missing() {
    let check = |path: Option<String>, threshold| HealthCheckConfig {
        kind: HealthCheckType::HTTP,
        resource_path: path,
        failure_threshold: threshold,
    };
    let records = |ttl| {
        vec![DnsRecord {
            kind: RecordType::A,
            ttl,
        }]
    };
    let create = |edit: fn(&mut CreateService)| {
        let mut command = service_of("ns-none", "s");
        edit(&mut command);
        Command::CreateService(command)
    };
    let update = |service: UpdateService| Command::UpdateService(service);
    let plain = UpdateService {
        id: "srv-none".into(),
        description: None,
        dns_records: Vec::new(),
        health_check: None,
    };
    let change = UpdateNamespace {
        id: "ns-none".into(),
        kind: NamespaceType::DNS_PRIVATE,
        description: None,
        soa_ttl: None,
        updater_request_id: None,
    };
    let attribute = |key: &str, value: &str| Command::UpdateServiceAttributes {
        service_id: "srv-none".into(),
        attributes: [(key.to_owned(), value.to_owned())].into(),
    };
    let illegal = [
        create(|service| service.name = "a b".into()),
        create(|service| service.description = characters(1025)),
        create(|service| service.creator_request_id = characters(65)),
        create(|service| {
            service.dns_config = Some(DnsConfig {
                routing_policy: None,
                dns_records: Vec::new(),
            });
        }),
        create(|service| {
            service.dns_config = Some(DnsConfig {
                routing_policy: None,
                dns_records: vec![DnsRecord {
                    kind: RecordType::A,
                    ttl: 1 << 31,
                }],
            });
        }),
        Command::CreateService(CreateService {
            health_check: Some(check(characters(256), None)),
            ..service_of("ns-none", "s")
        }),
        Command::CreateService(CreateService {
            health_check: Some(check(None, Some(0))),
            ..service_of("ns-none", "s")
        }),
        update(UpdateService {
            description: characters(1025),
            ..plain.clone()
        }),
        update(UpdateService {
            dns_records: records(1 << 31),
            ..plain.clone()
        }),
        update(UpdateService {
            health_check: Some(check(characters(256), None)),
            ..plain
        }),
        Command::UpdateNamespace(UpdateNamespace {
            description: characters(1025),
            ..change.clone()
        }),
        Command::UpdateNamespace(UpdateNamespace {
            soa_ttl: Some(1 << 31),
            ..change.clone()
        }),
        Command::UpdateNamespace(UpdateNamespace {
            updater_request_id: characters(65),
            ..change
        }),
        attribute(&"k".repeat(256), ""),
        attribute("k", &"v".repeat(1025)),
        Command::DeleteServiceAttributes {
            service_id: "srv-none".into(),
            keys: vec!["k".repeat(256)],
        },
        register("srv-none", &"i".repeat(65), &[("k", "v")]),
        register("srv-none", "ä", &[("k", "v")]),
        register("srv-none", "i", &[]),
        register("srv-none", "i", &[("a b", "v")]),
        register("srv-none", "i", &[("k", " v")]),
        Command::DeregisterInstance {
            service_id: "srv-none".into(),
            instance_id: "i".repeat(65),
        },
        Command::SetHealth {
            service_id: "srv-none".into(),
            instance_id: "i".repeat(65),
            health: Health::Healthy,
        },
        Command::CreateNamespace(CreateNamespace {
            vpc: characters(65),
            ..namespace_of(NamespaceType::DNS_PRIVATE, "n")
        }),
        Command::CreateNamespace(CreateNamespace {
            vpc: None,
            ..namespace_of(NamespaceType::DNS_PRIVATE, "n")
        }),
        Command::CreateNamespace(CreateNamespace {
            soa_ttl: Some(1 << 31),
            ..namespace_of(NamespaceType::DNS_PRIVATE, "n")
        }),
        Command::CreateNamespace(CreateNamespace {
            creator_request_id: characters(65),
            ..namespace_of(NamespaceType::HTTP, "n")
        }),
        Command::CreateNamespace(CreateNamespace {
            description: characters(1025),
            ..namespace_of(NamespaceType::HTTP, "n")
        }),
    ];
    for command in illegal {
        let text = format!("{command:?}");
        assert_eq!(empty().refuses(command), Reason::Invalid, "{text}");
    }
    // At the bound itself, only the missing thing is wrong; bounds count characters, not bytes.
    let longest = Command::UpdateService(UpdateService {
        id: "srv-none".into(),
        description: characters(1024),
        dns_records: records(i32::MAX as u32),
        health_check: Some(check(characters(255), Some(10))),
    });
    assert_eq!(empty().refuses(longest), Reason::ServiceNotFound);
}

#[test]
fn instances_carry_what_their_service_publishes() {
    use RecordType::{A, AAAA, CNAME, SRV};
    const V4: (&str, &str) = ("AWS_INSTANCE_IPV4", "10.0.0.1");
    const V6: (&str, &str) = ("AWS_INSTANCE_IPV6", "fd00::1");
    const PORT: (&str, &str) = ("AWS_INSTANCE_PORT", "80");
    const ALIAS: (&str, &str) = ("AWS_ALIAS_DNS_NAME", "lb.example.com.");
    const MACHINE: (&str, &str) = ("AWS_EC2_INSTANCE_ID", "i-0123456789abcdef0");
    const SICK: (&str, &str) = ("AWS_INIT_HEALTH_STATUS", "UNHEALTHY");
    let mut registry = empty();
    let namespace = registry.namespace("n.example", NamespaceType::DNS_PUBLIC);
    let http = registry.namespace("http", NamespaceType::HTTP);
    let services = [
        registry.service("a", &namespace, &[(A, 1)]),
        registry.service("both", &namespace, &[(A, 1), (AAAA, 1)]),
        registry.service("srv", &namespace, &[(SRV, 1)]),
        registry.service("cname", &namespace, &[(CNAME, 1)]),
        registry.service("http", &http, &[]),
    ];
    let [a, both, srv, cname, http] = &services;
    for (service, attributes, is_legal) in [
        (a, &[V4][..], true),
        (a, &[V6], false),
        (a, &[ALIAS], true),
        (a, &[ALIAS, V4], false),
        (a, &[("AWS_ALIAS_DNS_NAME", "a..b")], false),
        (a, &[MACHINE], false),
        (both, &[V4, V6], true),
        (both, &[V4], false),
        (both, &[ALIAS], true),
        (srv, &[PORT, V4], true),
        (srv, &[PORT, V6], true),
        (srv, &[PORT], false),
        (srv, &[V4], false),
        (srv, &[ALIAS], false),
        (cname, &[("AWS_INSTANCE_CNAME", "www.example.com")], true),
        (cname, &[("AWS_INSTANCE_CNAME", "")], false),
        (cname, &[("AWS_INSTANCE_CNAME", "a b")], false),
        (cname, &[V4], false),
        (cname, &[ALIAS], false),
        (http, &[MACHINE], true),
        (http, &[MACHINE, SICK], true),
        (http, &[MACHINE, V4], false),
        (http, &[MACHINE, ("color", "red")], false),
        (http, &[("color", "red")], true),
        (http, &[("AWS_INIT_HEALTH_STATUS", "SICK")], false),
        (http, &[("AWS_INSTANCE_PORT", "65536")], false),
    ] {
        let made = registry.run(register(service, "i", attributes));
        assert_eq!(made.is_ok(), is_legal, "{attributes:?}: {made:?}");
    }
}

#[test]
fn health_is_told_where_it_is_custom() {
    let (mut registry, service) = sample();
    let namespace = registry.namespace("b.local", NamespaceType::DNS_PRIVATE);
    let plain = registry.service("plain", &namespace, &[]);
    let tell = |service: &str| Command::SetHealth {
        service_id: service.into(),
        instance_id: "i".into(),
        health: Health::Unhealthy,
    };
    for (id, reason) in [
        (&*service, Reason::InstanceNotFound),
        (&*plain, Reason::CustomHealthNotFound),
        ("srv-none", Reason::ServiceNotFound),
    ] {
        assert_eq!(registry.refuses(tell(id)), reason, "{id}");
    }
}

#[test]
fn a_service_that_publishes_something_else_is_no_retry() {
    let mut registry = empty();
    let namespace = registry.namespace("n.local", NamespaceType::DNS_PRIVATE);
    let create = |ttl| {
        Command::CreateService(CreateService {
            dns_config: Some(DnsConfig {
                routing_policy: None,
                dns_records: vec![DnsRecord {
                    kind: RecordType::A,
                    ttl,
                }],
            }),
            creator_request_id: Some("t".into()),
            ..service_of(&namespace, "s")
        })
    };
    let mut id = |ttl| match registry.run(create(ttl)) {
        Ok(Reply::Service(service)) => Ok(service.id.clone()),
        other => Err(other),
    };
    let first = id(60).expect("a service");
    assert_eq!(id(60).expect("the same"), first);
    let Err(Err(rejection)) = id(61) else {
        panic!("not as asked for");
    };
    let creator_request_id = Some("t".to_owned());
    assert!(
        matches!(rejection.reason, Reason::ServiceExists { creator_request_id: told, .. }
            if told == creator_request_id)
    );
}

#[test]
fn a_namespace_of_another_type_is_no_retry() {
    let mut registry = empty();
    let create = |kind| {
        Command::CreateNamespace(CreateNamespace {
            creator_request_id: Some("t".into()),
            ..namespace_of(kind, "n")
        })
    };
    let first = registry.operation(create(NamespaceType::DNS_PRIVATE));
    assert_eq!(
        registry.operation(create(NamespaceType::DNS_PRIVATE)),
        first
    );
    assert!(matches!(
        registry.refuses(create(NamespaceType::HTTP)),
        Reason::NamespaceExists { .. }
    ));
}
