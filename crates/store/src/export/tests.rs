use super::*;
use crate::FullState;
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use tombolo_model::{
    Record, Scope, Timestamp,
    appmesh::{Kind, Metadata, Resource, ResourceKey, Spec, Tag},
    cloudmap::{
        Health, Instance, Namespace, NamespaceType, Operation, OperationType, Service,
        UpdateRequest,
    },
};

fn scope() -> Scope {
    Scope::new("011122223333", "us-west-2")
}

fn resource(key: ResourceKey, spec: serde_json::Value) -> Record {
    Record::Resource(Arc::new(Resource {
        metadata: Metadata {
            arn: format!("arn:aws:appmesh:us-west-2:011122223333:{key}"),
            uid: "6b1c".into(),
            version: 7,
            created_at: Timestamp(1_700_000_000_123),
            last_updated_at: Timestamp(1_700_000_000_456),
            mesh_owner: "011122223333".into(),
            resource_owner: "011122223333".into(),
        },
        spec: Spec::from_json(key.kind, spec).expect("a readable spec"),
        tags: vec![Tag {
            key: "on".into(),
            value: "yes".into(),
        }],
        created_by: Some("0123".into()),
        updated_by: None,
        key,
    }))
}

/// One record of each type, with texts that YAML would read as something else.
fn state() -> FullState {
    let service = Service {
        id: "srv-1".into(),
        name: "1e3".into(),
        namespace_id: "ns-1".into(),
        description: Some("two\nlines: and # more".into()),
        dns_config: None,
        health_check: None,
        custom_health_check: true,
        creator_request_id: Some("null".into()),
        created_at: Timestamp(5),
        tags: Vec::new(),
        attributes: [("owner".into(), "~".into())].into(),
    };
    let namespace = Namespace {
        id: "ns-1".into(),
        name: "color.local".into(),
        http_name: "color.local".into(),
        kind: NamespaceType::DNS_PRIVATE,
        vpc: Some("vpc-1".into()),
        description: None,
        hosted_zone_id: Some("Z1".into()),
        soa_ttl: Some(15),
        creator_request_id: None,
        created_at: Timestamp(4),
        tags: Vec::new(),
        last_update: Some("0001".into()),
    };
    let node = serde_json::json!({
        "listeners": [{"portMapping": {"port": 80, "protocol": "http"}}],
        "serviceDiscovery": {"dns": {"hostname": "h"}},
    });
    let records = [
        resource(ResourceKey::mesh("m"), serde_json::json!({})),
        resource(ResourceKey::new("m", Kind::VirtualNode, "n"), node),
        Record::Namespace(Arc::new(namespace)),
        Record::Service(Arc::new(service)),
        instance("~", [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("on", "0o17")]),
        Record::Operation(Arc::new(Operation {
            id: "0001".into(),
            kind: OperationType::RegisterInstance,
            targets: BTreeMap::from([("INSTANCE".into(), "~".into())]),
            at: Timestamp(6),
            request: Some(UpdateRequest {
                token: "0x1".into(),
                description: Some("".into()),
                soa_ttl: Some(0),
            }),
        })),
    ];
    FullState {
        revision: 42,
        records: records
            .into_iter()
            .map(|record| (scope(), record))
            .collect(),
    }
}

fn instance<'a>(id: &str, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Record {
    let attributes = attributes.into_iter();
    Record::Instance(Arc::new(Instance {
        service_id: "srv-1".into(),
        id: id.into(),
        attributes: attributes.map(|(k, v)| (k.into(), v.into())).collect(),
        creator_request_id: None,
        operation_id: "0001".into(),
        health: Health::Unhealthy,
        discovery_json: tombolo_model::Memo::default(),
    }))
}

fn written(state: &FullState) -> String {
    let mut bytes = Vec::new();
    write(state, &mut bytes).expect("memory takes everything");
    String::from_utf8(bytes).expect("YAML is text")
}

#[test]
fn a_state_comes_back_and_gives_the_same_text() {
    for state in [state(), FullState::default()] {
        let text = written(&state);
        let back = read(&text).unwrap_or_else(|problems| panic!("{problems:?} in\n{text}"));
        assert_eq!(back, state);
        assert_eq!(
            FullState::of(&back.clone().into_view()),
            state,
            "in the order of views"
        );
        assert_eq!(written(&back), text);
    }
}

/// A text of any characters, including those with a meaning in YAML.
fn text(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        "\n\t\r :#'\"-?&*!|>%@`{}[],~\u{85}\u{2028}\u{feff}\0\u{7f}"
            .chars()
            .collect::<Vec<_>>(),
    );
    let one = prop_oneof![any::<char>(), special, prop::char::range(' ', '~')];
    prop::collection::vec(one, length).prop_map(|all| all.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_comes_back(
        key in text(1..20),
        value in text(0..20),
        id in text(1..20).prop_filter("ends keys", |id| !id.contains('\0')),
    ) {
        let mut state = state();
        let instance = instance(&id, [(key.as_str(), value.as_str())]);
        state.records[4] = (scope(), instance);
        let text = written(&state);
        match read(&text) {
            Ok(back) => prop_assert_eq!(back, state),
            Err(problems) => prop_assert!(false, "{:?} in\n{}", problems, text),
        }
    }
}

#[test]
fn problems_have_their_lines() {
    let text = written(&state());
    let line_of = |part: &str| {
        let nth = text.lines().position(|line| line.contains(part));
        nth.unwrap_or_else(|| panic!("no {part:?} in\n{text}")) + 1
    };
    let first = |text: &str| -> String {
        let problems = read(text).expect_err("broken");
        problems.first().expect("at least one").to_string()
    };
    for (part, instead, said) in [
        (
            "custom_health_check: true",
            "custom_health_check: 7",
            "Service.custom_health_check",
        ),
        (
            "custom_health_check: true",
            "custom_check: true",
            "missing field",
        ),
        (
            "soa_ttl: 15",
            "soa_ttl: 15\n  weight: 3",
            "Namespace.weight",
        ),
        ("port: 80", "port: 99999", "Resource.spec"),
        ("region: us-west-2", "region: [", "not YAML"),
        ("region: us-west-2", "region: us/west", "is not 1 to 64"),
        ("region: us-west-2", "region: &a us-west-2", "anchors"),
        ("soa_ttl: 15", "soa_ttl: 15\n  soa_ttl: 16", "given twice"),
    ] {
        let broken = text.replacen(part, instead, 1);
        assert_ne!(broken, text, "{part}");
        let problem = first(&broken);
        assert!(problem.contains(said), "{problem}");
        let (line, _) = problem.split_once(':').expect("a line");
        let line: usize = line.parse().expect("a number");
        assert!(
            line.abs_diff(line_of(part)) <= 8,
            "{problem}: expected near {}",
            line_of(part)
        );
    }
    let weight = text.replacen("soa_ttl: 15", "soa_ttl: 15\n  weight: 3", 1);
    assert!(first(&weight).starts_with(&format!("{}: ", line_of("soa_ttl: 15") + 1)));
}

#[test]
fn what_is_not_whole_is_refused() {
    let said = |change: fn(&mut FullState)| -> String {
        let mut state = state();
        change(&mut state);
        let problems = read(&written(&state)).expect_err("not whole");
        problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect()
    };
    for (change, expected) in [
        (
            (|state| drop(state.records.remove(0))) as fn(&mut FullState),
            "m is not present",
        ),
        (
            |state| drop(state.records.remove(2)),
            "no namespace with the id ns-1",
        ),
        (
            |state| drop(state.records.remove(3)),
            "no service with the id srv-1",
        ),
        (
            |state| state.records.push(state.records[4].clone()),
            "there twice",
        ),
        (
            |state| {
                state.records[1] = (
                    scope(),
                    resource(
                        ResourceKey::new("m", Kind::VirtualNode, "a/b"),
                        serde_json::json!({}),
                    ),
                )
            },
            "must not contain",
        ),
        (
            |state| state.records[4] = (scope(), instance("a\0b", [])),
            "cannot be an id",
        ),
    ] {
        let said = said(change);
        assert!(said.contains(expected), "{said}");
    }
    let text = written(&state());
    let cut = text.rsplit_once("---").expect("several").0;
    let problems = read(cut).expect_err("cut off");
    assert!(problems[0].message.contains("cut off"), "{problems:?}");
    for foreign in [
        "",
        "kind: Pod\n",
        "- 1\n",
        "format: tombolo-export/9\nrevision: 1\nrecords: 0\n",
    ] {
        assert!(read(foreign).is_err(), "{foreign}");
    }
}
