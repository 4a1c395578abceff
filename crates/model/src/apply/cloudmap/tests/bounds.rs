//! Bounds of commands that do not depend on the state.

use super::*;

fn characters(count: usize) -> Option<String> {
    Some("ä".repeat(count))
}

fn check(resource_path: Option<String>, threshold: Option<u32>) -> Option<HealthCheckConfig> {
    Some(HealthCheckConfig {
        kind: HealthCheckType::HTTP,
        resource_path,
        failure_threshold: threshold,
    })
}

#[test]
fn names_of_namespaces_follow_their_type() {
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
        let made = Registry::default().run(namespace_of(kind, name));
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
        let mut registry = Registry::default();
        let namespace = registry.namespace("n", HTTP);
        let made = registry.run(service_of(&namespace, name));
        assert_eq!(made.is_ok(), is_legal, "{name}: {made:?}");
    }
}

/// The caller learns what is invalid in the input, not what exists.
#[test]
fn bounds_are_checked_before_existence() {
    let namespace = |edit: fn(&mut CreateNamespace)| {
        let mut command = namespace_of(DNS_PRIVATE, "n");
        edit(&mut command);
        Command::from(command)
    };
    let change = |edit: fn(&mut UpdateNamespace)| {
        let mut command = UpdateNamespace {
            id: "ns-none".into(),
            kind: DNS_PRIVATE,
            ..UpdateNamespace::default()
        };
        edit(&mut command);
        Command::from(command)
    };
    let service = |edit: fn(&mut CreateService)| {
        let mut command = service_of("ns-none", "s");
        edit(&mut command);
        Command::from(command)
    };
    let update = |edit: fn(&mut ServiceChange)| {
        let mut command = UpdateService {
            id: "srv-none".into(),
            ..UpdateService::default()
        };
        edit(&mut command.service);
        Command::from(command)
    };
    let register =
        |id: &str, attributes: &[(&str, &str)]| Command::from(register("srv-none", id, attributes));
    let attribute = |key: &str, value: &str| {
        Command::from(UpdateServiceAttributes {
            service_id: "srv-none".into(),
            attributes: pairs(&[(key, value)]),
        })
    };
    let illegal = [
        namespace(|it| it.vpc = characters(65)),
        namespace(|it| it.vpc = None),
        namespace(|it| it.soa_ttl = Some(1 << 31)),
        namespace(|it| it.creator_request_id = characters(65)),
        namespace(|it| it.description = characters(1025)),
        change(|it| it.namespace.description = characters(1025)),
        change(|it| it.namespace.soa_ttl = Some(1 << 31)),
        change(|it| it.updater_request_id = characters(65)),
        change(|it| it.kind = HTTP),
        service(|it| it.name = "a b".into()),
        service(|it| it.description = characters(1025)),
        service(|it| it.creator_request_id = characters(65)),
        service(|it| it.dns_config = Some(dns_config(&[]))),
        service(|it| it.dns_config = Some(dns_config(&[(RecordType::A, 1 << 31)]))),
        service(|it| it.health_check = check(characters(256), None)),
        service(|it| it.health_check = check(None, Some(0))),
        update(|it| it.description = characters(1025)),
        update(|it| it.dns_records = records(&[(RecordType::A, 1 << 31)])),
        update(|it| it.health_check = check(characters(256), None)),
        attribute(&"k".repeat(256), ""),
        attribute("k", &"v".repeat(1025)),
        DeleteServiceAttributes {
            service_id: "srv-none".into(),
            keys: vec!["k".repeat(256)],
        }
        .into(),
        register(&"i".repeat(65), &[("k", "v")]),
        register("ä", &[("k", "v")]),
        register("i", &[]),
        register("i", &[("a b", "v")]),
        register("i", &[("k", " v")]),
        DeregisterInstance {
            service_id: "srv-none".into(),
            instance_id: "i".repeat(65),
        }
        .into(),
        UpdateInstanceCustomHealthStatus {
            service_id: "srv-none".into(),
            instance_id: "i".repeat(65),
            status: Health::Healthy,
        }
        .into(),
    ];
    for command in illegal {
        let text = format!("{command:?}");
        let reason = Registry::default().refuses(command);
        assert_eq!(reason, Reason::Invalid, "{text}");
    }
    // At the bound itself, only the missing thing is wrong; bounds count characters, not bytes.
    let longest = update(|it| {
        it.description = characters(1024);
        it.dns_records = records(&[(RecordType::A, i32::MAX as u32)]);
        it.health_check = check(characters(255), Some(10));
    });
    let reason = Registry::default().refuses(longest);
    assert_eq!(reason, Reason::ServiceNotFound);
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
    let mut registry = Registry::default();
    let namespace = registry.namespace("n.example", DNS_PUBLIC);
    let http = registry.namespace("http", HTTP);
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
fn callers_set_the_health_of_custom_checks_only() {
    let (mut registry, service) = sample();
    let namespace = registry.namespace("b.local", DNS_PRIVATE);
    let plain = registry.service("plain", &namespace, &[]);
    for (service, reason) in [
        (&*service, Reason::InstanceNotFound),
        (&*plain, Reason::CustomHealthNotFound),
        ("srv-none", Reason::ServiceNotFound),
    ] {
        let command = UpdateInstanceCustomHealthStatus {
            service_id: service.into(),
            instance_id: "i".into(),
            status: Health::Unhealthy,
        };
        assert_eq!(registry.refuses(command), reason, "{service}");
    }
}

#[test]
fn a_service_with_other_records_is_no_retry() {
    let mut registry = Registry::default();
    let namespace = registry.namespace("n.local", DNS_PRIVATE);
    let create = |ttl| CreateService {
        dns_config: Some(dns_config(&[(RecordType::A, ttl)])),
        creator_request_id: Some("t".into()),
        ..service_of(&namespace, "s")
    };
    let first = registry.create(create(60));
    assert_eq!(registry.create(create(60)).id, first.id);
    let reason = registry.refuses(create(61));
    let token = Some("t".to_owned());
    assert!(
        matches!(reason, Reason::ServiceExists { creator_request_id, .. } if creator_request_id == token)
    );
}

#[test]
fn a_namespace_of_another_type_is_no_retry() {
    let mut registry = Registry::default();
    let create = |kind| CreateNamespace {
        creator_request_id: Some("t".into()),
        ..namespace_of(kind, "n")
    };
    let first = registry.operation(create(DNS_PRIVATE));
    assert_eq!(registry.operation(create(DNS_PRIVATE)), first);
    let reason = registry.refuses(create(HTTP));
    assert!(matches!(reason, Reason::NamespaceExists { .. }));
}
