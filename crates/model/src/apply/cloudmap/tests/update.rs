//! Changes of namespaces, of services and of the attributes of services.

use super::*;
use RecordType::{A, AAAA, CNAME, SRV};

fn update(id: &str, kind: NamespaceType, description: Option<&str>) -> UpdateNamespace {
    UpdateNamespace {
        id: id.into(),
        kind,
        namespace: NamespaceChange {
            description: description.map(Into::into),
            soa_ttl: None,
        },
        updater_request_id: None,
    }
}

#[test]
fn a_namespace_changes_what_is_given_and_keeps_the_rest() {
    let mut registry = Registry::default();
    let id = registry.namespace("a.local", DNS_PRIVATE);
    for (description, soa_ttl, expected) in [
        (
            Some("of the test"),
            Some(30),
            (Some("of the test"), Some(30)),
        ),
        (None, None, (Some("of the test"), Some(30))),
        (None, Some(0), (Some("of the test"), Some(0))),
        (Some(""), None, (None, Some(0))),
    ] {
        let mut update = update(&id, DNS_PRIVATE, description);
        update.namespace.soa_ttl = soa_ttl;
        let operation = registry.operation(update);
        let namespace = registry.here().namespace(&id).expect("it stays");
        assert_eq!(
            (namespace.description.as_deref(), namespace.soa_ttl),
            expected
        );
        let operation = registry.here().operation(&operation).expect("just made");
        assert_eq!(operation.kind, OperationType::UpdateNamespace);
        assert_eq!(operation.targets["NAMESPACE"], id);
    }
    for kind in [HTTP, DNS_PUBLIC] {
        let reason = registry.refuses(update(&id, kind, Some("x")));
        assert_eq!(reason, Reason::Invalid, "{kind:?}");
    }
    let reason = registry.refuses(update("ns-none", HTTP, Some("x")));
    assert_eq!(reason, Reason::NamespaceNotFound);
}

#[test]
fn an_update_that_is_asked_for_again_runs_once() {
    let mut registry = Registry::default();
    let id = registry.namespace("a", HTTP);
    let other = registry.namespace("b", HTTP);
    let told = |id: &str, token: &str, description: &str| UpdateNamespace {
        updater_request_id: Some(token.into()),
        ..update(id, HTTP, Some(description))
    };
    let description = |registry: &Registry, id: &str| {
        let namespace = registry.here().namespace(id).expect("it stays");
        namespace.description.clone().expect("it was given")
    };
    let first = registry.operation(told(&id, "t", "one"));
    assert_eq!(registry.operation(told(&id, "t", "one")), first, "a retry");
    // The same token for another change, as of a client that always sends the same one.
    let second = registry.operation(told(&id, "t", "two"));
    assert_ne!(second, first);
    assert_eq!(description(&registry, &id), "two");
    // Back to the first content after somebody else's change: done, not taken for the first update.
    registry.operation(told(&id, "u", "three"));
    let back = registry.operation(told(&id, "t", "one"));
    assert!(back != first && back != second);
    assert_eq!(description(&registry, &id), "one");
    // An update without a token is one in between, too.
    registry.operation(update(&id, HTTP, Some("four")));
    assert_ne!(registry.operation(told(&id, "t", "one")), back);
    assert_eq!(description(&registry, &id), "one");
    assert_ne!(registry.operation(told(&other, "t", "one")), back);
    assert_eq!(description(&registry, &other), "one");
}

#[test]
fn a_creation_with_a_known_token_and_other_content_is_no_retry() {
    let mut registry = Registry::default();
    let namespace = |description: &str, soa_ttl, tag| CreateNamespace {
        description: Some(description.into()),
        soa_ttl,
        creator_request_id: Some("t".into()),
        tags: tags(&[("k", tag)]),
        ..namespace_of(DNS_PRIVATE, "a.local")
    };
    let operation = registry.operation(namespace("one", Some(5), "v"));
    assert_eq!(
        registry.operation(namespace("one", Some(5), "v")),
        operation
    );
    let made = registry.here().operation(&operation).expect("just created");
    let id = made.targets["NAMESPACE"].clone();
    for other in [
        namespace("two", Some(5), "v"),
        namespace("one", None, "v"),
        namespace("one", Some(5), "w"),
    ] {
        let exists = Reason::NamespaceExists {
            id: id.clone(),
            creator_request_id: Some("t".into()),
        };
        assert_eq!(registry.refuses(other), exists);
    }
    let service = |description: &str, tags: &[Tag]| CreateService {
        description: Some(description.into()),
        creator_request_id: Some("t".into()),
        tags: tags.to_vec(),
        ..service_of(&id, "s")
    };
    registry.must(service("one", &[]));
    registry.must(service("one", &[]));
    for other in [service("two", &[]), service("one", &tags(&[("k", "")]))] {
        let reason = registry.refuses(other);
        assert!(matches!(reason, Reason::ServiceExists { .. }), "{reason:?}");
    }
}

fn replace(id: &str, new: &[(RecordType, u32)]) -> UpdateService {
    UpdateService {
        id: id.into(),
        service: ServiceChange {
            dns_records: records(new),
            ..ServiceChange::default()
        },
    }
}

fn replace_check(
    id: &str,
    new: &[(RecordType, u32)],
    check: Option<HealthCheckConfig>,
) -> UpdateService {
    let mut update = replace(id, new);
    update.service.health_check = check;
    update
}

fn check(kind: HealthCheckType) -> HealthCheckConfig {
    HealthCheckConfig {
        kind,
        resource_path: None,
        failure_threshold: None,
    }
}

#[test]
fn records_of_a_service_change_their_ttl_or_go() {
    for (before, after, is_legal) in [
        (&[(A, 60)][..], &[(A, 5)][..], true),
        (&[(A, 60), (AAAA, 60)], &[(AAAA, 1), (A, 0)], true),
        (&[(A, 60), (AAAA, 60)], &[(AAAA, 60)], true),
        (&[(SRV, 60)], &[], true),
        (&[], &[], true),
        (&[], &[(A, 60)], false),
        (&[(A, 60)], &[(A, 60), (AAAA, 60)], false),
        (&[(A, 60)], &[(SRV, 60)], false),
        (&[(A, 60)], &[(A, 1), (A, 2)], false),
        (&[(CNAME, 60)], &[(CNAME, 2_147_483_647)], true),
        (&[(CNAME, 60)], &[(CNAME, 2_147_483_648)], false),
    ] {
        let mut registry = Registry::default();
        let namespace = registry.namespace("a.local", DNS_PRIVATE);
        let id = registry.service("s", &namespace, before);
        let command = replace(&id, after);
        if !is_legal {
            assert_eq!(registry.refuses(command), Reason::Invalid, "{after:?}");
            continue;
        }
        let operation = registry.operation(command);
        let operation = registry.here().operation(&operation).expect("just made");
        assert_eq!(operation.kind, OperationType::UpdateService);
        assert_eq!(
            (
                operation.targets.get("SERVICE"),
                operation.targets.get("NAMESPACE")
            ),
            (Some(&id), Some(&namespace))
        );
        let service = registry.here().service(&id).expect("it stays");
        let now = service.dns_config.as_ref();
        assert_eq!(
            now.map_or(&[][..], |config| &config.dns_records),
            records(after)
        );
        // The API cannot change it.
        let policy = now.map(|config| config.routing_policy);
        assert_eq!(policy, now.map(|_| Some(RoutingPolicy::Weighted)));
    }
}

#[test]
fn a_description_goes_when_it_is_empty() {
    let mut registry = Registry::default();
    let namespace = registry.namespace("a.local", DNS_PRIVATE);
    let id = registry.service("s", &namespace, &[(A, 60)]);
    for (description, expected) in [
        (None, Some("first")),
        (Some("second"), Some("second")),
        (Some(""), None),
    ] {
        let mut update = replace(&id, &[(A, 60)]);
        update.service.description = description.map(Into::into);
        registry.operation(update);
        let service = registry.here().service(&id).expect("it stays");
        assert_eq!(service.description.as_deref(), expected);
    }
}

#[test]
fn a_health_check_comes_changes_and_goes() {
    let mut registry = Registry::default();
    let public = registry.namespace("a.example", DNS_PUBLIC);
    let id = registry.service("s", &public, &[(A, 60)]);
    let with = |check| replace_check(&id, &[(A, 60)], check);
    let slow = HealthCheckConfig {
        resource_path: Some("/slow".into()),
        failure_threshold: Some(10),
        ..check(HealthCheckType::HTTP)
    };
    for wanted in [
        Some(check(HealthCheckType::HTTP)),
        Some(slow.clone()),
        None,
        Some(check(HealthCheckType::TCP)),
    ] {
        registry.operation(with(wanted.clone()));
        let service = registry.here().service(&id).expect("it stays");
        assert_eq!(service.health_check, wanted);
    }
    for illegal in [
        slow.clone(),
        HealthCheckConfig {
            kind: HealthCheckType::TCP,
            ..slow
        },
        HealthCheckConfig {
            failure_threshold: Some(11),
            ..check(HealthCheckType::TCP)
        },
    ] {
        let reason = registry.refuses(with(Some(illegal.clone())));
        assert_eq!(reason, Reason::Invalid, "{illegal:?}");
    }
}

#[test]
fn services_that_cannot_have_a_health_check_get_none() {
    let mut registry = Registry::default();
    let private = registry.namespace("a.local", DNS_PRIVATE);
    let public = registry.namespace("a.example", DNS_PUBLIC);
    let http = registry.namespace("http", HTTP);
    let of_private = registry.service("s", &private, &[(A, 60)]);
    let of_public = registry.service("s", &public, &[(CNAME, 60)]);
    let of_http = registry.service("s", &http, &[]);
    let custom = registry.create(CreateService {
        custom_health_check: true,
        ..service_of(&public, "custom")
    });
    for (id, records) in [
        (&*of_private, &[(A, 60)][..]),
        (&*of_public, &[(CNAME, 60)]),
        (&*of_http, &[]),
        (&*custom.id, &[]),
    ] {
        let command = replace_check(id, records, Some(check(HealthCheckType::TCP)));
        assert_eq!(registry.refuses(command), Reason::Invalid, "{id}");
    }
    // A custom health check outlives every update; services of HTTP namespaces have none at all.
    registry.must(replace(&custom.id, &[]));
    let custom = registry.here().service(&custom.id).expect("it stays");
    assert!(custom.custom_health_check);
    let reason = registry.refuses(replace(&of_http, &[]));
    assert_eq!(reason, Reason::Invalid);
    let reason = registry.refuses(replace("srv-none", &[]));
    assert_eq!(reason, Reason::ServiceNotFound);
}

#[test]
fn attributes_of_a_service_are_merged_up_to_the_limit() {
    let (mut registry, id) = sample();
    let add = |pairs: Vec<(String, &str)>| UpdateServiceAttributes {
        service_id: id.to_string(),
        attributes: pairs.into_iter().map(|(k, v)| (k, v.into())).collect(),
    };
    let take = |keys: &[&str]| DeleteServiceAttributes {
        service_id: id.to_string(),
        keys: keys.iter().map(|key| (*key).into()).collect(),
    };
    let many = |range: std::ops::Range<usize>| range.map(|i| (format!("k{i:02}"), "v")).collect();
    registry.must(add(many(0..30)));
    let one_more = add(vec![("more".into(), "v")]);
    assert_eq!(registry.refuses(one_more), Reason::ServiceAttributesLimit);
    registry.must(add(vec![("k00".into(), "other")]));
    registry.must(take(&["k01", "none"]));
    registry.must(add(vec![("more".into(), "")]));
    let service: &Service = registry.here().service(&id).expect("it stays");
    assert_eq!(service.attributes.len(), 30);
    assert_eq!(
        (&*service.attributes["k00"], &*service.attributes["more"]),
        ("other", "")
    );
    assert!(!service.attributes.contains_key("k01"));

    assert_eq!(registry.refuses(add(many(0..31))), Reason::Invalid);
    assert_eq!(registry.refuses(add(vec![])), Reason::Invalid);
    assert_eq!(registry.refuses(take(&[])), Reason::Invalid);
    // Nothing to change is nothing to store.
    let revision = registry.view.revision;
    registry.must(take(&["none"]));
    assert_eq!(registry.view.revision, revision);
}
