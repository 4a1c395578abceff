//! Tags of namespaces and services.

use super::*;

fn numbered(count: usize) -> Vec<Tag> {
    let tag = |i| Tag {
        key: format!("k{i}"),
        value: String::new(),
    };
    (0..count).map(tag).collect()
}

#[test]
fn tags_come_change_and_go_on_both_kinds() {
    let (mut registry, service) = sample();
    let namespace = registry.namespace("b", HTTP);
    for resource in [
        Tagged::Namespace(namespace.clone()),
        Tagged::Service(service.to_string()),
    ] {
        let add = |pairs| AddTags {
            resource: resource.clone(),
            tags: tags(pairs),
        };
        registry.must(add(&[("b", "1"), ("a", "2")]));
        registry.must(add(&[("b", "3"), ("c", "")]));
        registry.must(RemoveTags {
            resource: resource.clone(),
            tag_keys: vec!["a".into(), "none".into()],
        });
        let held = match &resource {
            Tagged::Namespace(id) => &registry.here().namespace(id).expect("it stays").tags,
            Tagged::Service(id) => &registry.here().service(id).expect("it stays").tags,
        };
        assert_eq!(*held, tags(&[("b", "3"), ("c", "")]), "{resource:?}");
    }
    for resource in [
        Tagged::Namespace(service.to_string()),
        Tagged::Service(namespace),
        Tagged::Service("srv-none".into()),
    ] {
        let add = AddTags {
            resource: resource.clone(),
            tags: Vec::new(),
        };
        assert_eq!(registry.refuses(add), Reason::ResourceNotFound);
        let take = RemoveTags {
            resource,
            tag_keys: Vec::new(),
        };
        assert_eq!(registry.refuses(take), Reason::ResourceNotFound);
    }
}

#[test]
fn a_resource_has_as_many_tags_as_it_may_have() {
    let (mut registry, service) = sample();
    let add = |tags| AddTags {
        resource: Tagged::Service(service.to_string()),
        tags,
    };
    registry.must(add(numbered(50)));
    registry.must(add(numbered(50)));
    assert_eq!(
        registry.refuses(add(tags(&[("more", "")]))),
        Reason::TooManyTags
    );
    assert_eq!(registry.refuses(add(numbered(51))), Reason::TooManyTags);
    assert_eq!(registry.refuses(add(numbered(201))), Reason::Invalid);
    let long = "x".repeat(129);
    let longer = "x".repeat(257);
    for tag in [("", "v"), (&*long, "v"), ("aws:k", "v"), ("k", &*longer)] {
        assert_eq!(
            registry.refuses(add(tags(&[tag]))),
            Reason::Invalid,
            "{tag:?}"
        );
    }
    for keys in [vec![String::new()], vec![long], vec!["k".into(); 201]] {
        let command = RemoveTags {
            resource: Tagged::Service(service.to_string()),
            tag_keys: keys,
        };
        assert_eq!(registry.refuses(command), Reason::Invalid);
    }
}

#[test]
fn new_resources_are_tagged_with_one_value_per_key() {
    let mut registry = Registry::default();
    let create = |name, tags| CreateNamespace {
        tags,
        ..namespace_of(HTTP, name)
    };
    registry.operation(create("a", tags(&[("k", "1"), ("k", "2")])));
    let namespace = registry.here().namespace_by_name("a").expect("just made");
    assert_eq!(namespace.tags, tags(&[("k", "2")]));
    for (given, reason) in [
        (numbered(51), Reason::TooManyTags),
        (tags(&[("", "")]), Reason::Invalid),
    ] {
        assert_eq!(registry.refuses(create("b", given)), reason);
    }
}
