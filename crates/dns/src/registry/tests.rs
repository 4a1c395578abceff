mod reverse;

use super::*;
use crate::{
    probe::{Probe, question},
    range::VpcRange,
};
use hickory_proto::rr::{RData, RecordType};
use std::collections::BTreeSet;
use tombolo_model::{
    Change, Record as Stored, RecordKey, Scope, Timestamp,
    cloudmap::{
        DnsConfig, DnsRecord, Health, Instance, Namespace, NamespaceType, RecordType as Published,
        Service,
    },
};

/// A view under construction, and answers of a registry over it.
#[derive(Clone)]
struct Sample {
    view: View,
    scope: Scope,
}

impl Sample {
    fn new() -> Self {
        Self {
            view: View::default(),
            scope: Scope::new("111122223333", "us-west-2"),
        }
    }

    fn remove(&mut self, at: &str, id: &str) -> &mut Self {
        let key = RecordKey::Instance(format!("srv-{at}").into(), id.into());
        let revision = self.view.revision + 1;
        self.view
            .apply(revision, &Change::Delete(self.scope.clone(), key));
        self
    }

    fn put(&mut self, record: Stored) -> &mut Self {
        let revision = self.view.revision + 1;
        let change = Change::Put(self.scope.clone(), record);
        self.view.apply(revision, &change);
        self
    }

    fn namespace(&mut self, name: &str, kind: NamespaceType) -> &mut Self {
        self.namespace_in(name, kind, None)
    }

    fn in_vpc(&mut self, name: &str, vpc: &str) -> &mut Self {
        self.namespace_in(name, NamespaceType::DNS_PRIVATE, Some(vpc))
    }

    fn namespace_in(&mut self, name: &str, kind: NamespaceType, vpc: Option<&str>) -> &mut Self {
        self.put(Stored::Namespace(Arc::new(Namespace {
            id: format!("ns-{}-{name}", self.scope.region).into(),
            name: name.into(),
            http_name: name.into(),
            kind,
            vpc: vpc.map(Into::into),
            description: None,
            hosted_zone_id: None,
            soa_ttl: (name == "patient.local").then_some(77),
            creator_request_id: None,
            created_at: Timestamp(0),
            tags: Vec::new(),
            last_update: None,
        })))
    }

    fn private(&mut self, name: &str) -> &mut Self {
        self.namespace(name, NamespaceType::DNS_PRIVATE)
    }

    /// A service `name@namespace` with records of these types.
    fn service(
        &mut self,
        at: &str,
        kinds: &[Published],
        routing: Option<RoutingPolicy>,
    ) -> &mut Self {
        let (name, namespace) = at.split_once('@').expect("name@namespace");
        let dns_records = kinds.iter().map(|kind| DnsRecord {
            kind: *kind,
            ttl: 30,
        });
        self.put(Stored::Service(Arc::new(Service {
            id: format!("srv-{at}").into(),
            name: name.into(),
            namespace_id: format!("ns-{}-{namespace}", self.scope.region).into(),
            description: None,
            dns_config: (!kinds.is_empty()).then(|| DnsConfig {
                routing_policy: routing,
                dns_records: dns_records.collect(),
            }),
            health_check: None,
            custom_health_check: true,
            creator_request_id: None,
            created_at: Timestamp(0),
            tags: Vec::new(),
            attributes: Default::default(),
        })))
    }

    fn instance(
        &mut self,
        at: &str,
        id: &str,
        attributes: &[(&str, &str)],
        health: Health,
    ) -> &mut Self {
        self.put(Stored::Instance(Arc::new(Instance {
            service_id: format!("srv-{at}").into(),
            id: id.into(),
            attributes: attributes
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            creator_request_id: None,
            operation_id: String::new(),
            health,
            discovery_json: tombolo_model::Memo::default(),
        })))
    }

    fn healthy(&mut self, at: &str, id: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.instance(at, id, attributes, Health::Healthy)
    }

    fn v4(&mut self, at: &str, id: &str, address: &str) -> &mut Self {
        self.healthy(at, id, &[("AWS_INSTANCE_IPV4", address)])
    }

    fn unhealthy_v4(&mut self, at: &str, id: &str, address: &str) -> &mut Self {
        let attributes = [("AWS_INSTANCE_IPV4", address)];
        self.instance(at, id, &attributes, Health::Unhealthy)
    }

    fn registry(&self, config: Config) -> Arc<Registry> {
        let view = Arc::new(self.view.clone());
        Arc::new(Registry::from_source(move || view.clone(), config))
    }

    fn ask(&self, name: &str, kind: RecordType) -> String {
        ask(&self.registry(Config::default()), name, kind, 1)
    }
}

fn ask(zone: &Arc<Registry>, name: &str, kind: RecordType, seed: u64) -> String {
    Probe::new(zone.clone()).seed(seed).ask(name, kind)
}

#[test]
fn names_exist_where_records_are_and_between() {
    use RecordType::{A, AAAA, ANY, NS, SOA, SRV};
    let mut sample = Sample::new();
    sample
        .private("Color.local")
        .private("patient.local")
        .private("deep.inner.color.local")
        .service("Front@Color.local", &[Published::A], None)
        .service("a.b@Color.local", &[Published::A, Published::AAAA], None)
        .service("idle@Color.local", &[Published::A], None)
        .service("_http._tcp@Color.local", &[Published::SRV], None)
        .service("api@Color.local", &[], None)
        .v4("Front@Color.local", "i", "10.0.0.1")
        .v4("a.b@Color.local", "i", "10.0.0.2")
        .v4("api@Color.local", "i", "10.0.0.3")
        .healthy(
            "_http._tcp@Color.local",
            "10.0.0.9",
            &[
                ("AWS_INSTANCE_IPV4", "10.0.0.9"),
                ("AWS_INSTANCE_PORT", "8080"),
            ],
        );
    let srv = "SRV 1 1 8080 10.0.0.9._http._tcp.Color.local. 30 + A 10.0.0.9 30";
    let table = [
        ("front.color.local", A, "A 10.0.0.1 30"),
        ("FRONT.COLOR.LOCAL", A, "A 10.0.0.1 30"),
        ("front.color.local", ANY, "A 10.0.0.1 30"),
        ("front.color.local", AAAA, "nodata 15"),
        ("front.color.local", SRV, "nodata 15"),
        ("x.front.color.local", A, "nxdomain 15"),
        ("a.b.color.local", A, "A 10.0.0.2 30"),
        ("a.b.color.local", AAAA, "nodata 15"),
        ("b.color.local", A, "nodata 15"),
        ("c.b.color.local", A, "nxdomain 15"),
        ("nobody.color.local", A, "nxdomain 15"),
        ("nobody.patient.local", A, "nxdomain 77"),
        ("idle.color.local", A, "nxdomain 15"),
        ("api.color.local", A, "nxdomain 15"),
        ("color.local", A, "nodata 15"),
        // A name that ends like the question's is told in its case.
        ("color.local", NS, "NS ns.color.local. 60"),
        ("ns.color.local", A, "nodata 15"),
        ("inner.color.local", A, "nodata 15"),
        ("x.inner.color.local", A, "nxdomain 15"),
        ("_http._tcp.color.local", SRV, srv),
        ("_tcp.color.local", SRV, "nodata 15"),
        ("10.0.0.9._http._tcp.color.local", A, "A 10.0.0.9 30"),
        ("10.0.0.9._http._tcp.color.local", AAAA, "nodata 15"),
        ("0.0.9._http._tcp.color.local", A, "nodata 15"),
        ("10.0.0.8._http._tcp.color.local", A, "nxdomain 15"),
        ("local", A, "not mine"),
        ("example.com", A, "not mine"),
        ("othercolor.local", A, "not mine"),
    ];
    for (name, kind, expected) in table {
        assert_eq!(sample.ask(name, kind), expected, "{name} {kind}");
    }
    let soa = sample.ask("color.local", SOA);
    let revision = sample.view.revision;
    assert!(
        soa.starts_with("SOA ns.color.local. hostmaster.color.local. "),
        "{soa}"
    );
    assert!(soa.contains(&format!(" {revision} ")), "{soa}");
    assert!(soa.ends_with(" 15 15"), "{soa}");
}

#[test]
fn multivalue_answers_with_up_to_eight_healthy_instances() {
    let mut sample = Sample::new();
    sample.private("n").service("s@n", &[Published::A], None);
    for last in 0..20 {
        sample.v4("s@n", &format!("i{last}"), &format!("10.0.0.{last}"));
    }
    for last in 100..140 {
        sample.unhealthy_v4("s@n", &format!("i{last}"), &format!("10.0.0.{last}"));
    }
    let registry = sample.registry(Config::default());
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let answer = ask(&registry, "s.n", RecordType::A, seed);
        let values: BTreeSet<String> = answer.split(", ").map(Into::into).collect();
        assert_eq!(values.len(), 8, "seed {seed}: {answer}");
        seen.extend(values);
    }
    assert_eq!(seen.len(), 20, "every healthy instance and no other");
}

#[test]
fn without_a_healthy_instance_all_are_answered() {
    let mut sample = Sample::new();
    sample.private("n").service("s@n", &[Published::A], None);
    for last in 1..=2 {
        sample.unhealthy_v4("s@n", &format!("i{last}"), &format!("10.0.0.{last}"));
    }
    assert_eq!(
        sample.ask("s.n", RecordType::A),
        "A 10.0.0.1 30, A 10.0.0.2 30"
    );
}

#[test]
fn weighted_answers_with_one_of_all_healthy_ones() {
    let mut sample = Sample::new();
    sample
        .private("n")
        .service("s@n", &[Published::A], Some(RoutingPolicy::Weighted));
    for last in 0..5 {
        sample.v4("s@n", &format!("i{last}"), &format!("10.0.0.{last}"));
    }
    let registry = sample.registry(Config::default());
    let answers: BTreeSet<String> = (0..200)
        .map(|seed| ask(&registry, "s.n", RecordType::A, seed))
        .collect();
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(|answer| !answer.contains(',')));
}

#[test]
fn aliases_are_answered_for_every_type() {
    let mut sample = Sample::new();
    sample
        .private("n")
        .service("c@n", &[Published::CNAME], Some(RoutingPolicy::Weighted))
        .service("elb@n", &[Published::A], Some(RoutingPolicy::Weighted))
        .healthy("c@n", "i", &[("AWS_INSTANCE_CNAME", "example.com")])
        .healthy("elb@n", "i", &[("AWS_ALIAS_DNS_NAME", "lb.example.com.")]);
    for kind in [
        RecordType::A,
        RecordType::CNAME,
        RecordType::ANY,
        RecordType::AAAA,
    ] {
        assert_eq!(sample.ask("c.n", kind), "CNAME example.com. 30", "{kind}");
    }
}

#[test]
fn an_alias_shows_its_targets_addresses_as_its_own() {
    let mut sample = Sample::new();
    sample.private("n").service("lb@n", &[Published::A], None);
    for (name, target) in [
        ("in", "LB.n."),
        ("gone", "nobody.n"),
        ("out", "lb.example.com"),
        ("circle", "circle.n"),
        ("mixed", "lb.n"),
    ] {
        let at = format!("{name}@n");
        sample
            .service(&at, &[Published::A], Some(RoutingPolicy::Weighted))
            .healthy(&at, "i", &[("AWS_ALIAS_DNS_NAME", target)]);
    }
    sample
        .v4("lb@n", "i", "10.0.0.1")
        .v4("mixed@n", "j", "10.0.0.2");
    let registry = sample.registry(Config::default());
    let alone = Probe::new(registry.clone()).alone();
    for (name, kind, expected) in [
        ("in.n", RecordType::A, "A 10.0.0.1 30"),
        ("in.n", RecordType::AAAA, "nodata 15"),
        ("in.n", RecordType::ANY, "CNAME LB.n. 60"),
        // The name that the alias belongs to exists.
        ("gone.n", RecordType::A, "nodata 15"),
        ("circle.n", RecordType::A, "Server Failure"),
        // Where nobody else can be asked, the client has to.
        ("out.n", RecordType::A, "CNAME lb.example.com. 60"),
    ] {
        assert_eq!(alone.ask(name, kind), expected, "{name} {kind}");
    }
    let mixed: BTreeSet<String> = (0..50)
        .map(|seed| ask(&registry, "mixed.n", RecordType::A, seed))
        .collect();
    assert_eq!(mixed.len(), 2, "{mixed:?}");
}

#[test]
fn private_names_are_for_their_vpc() {
    let mut sample = Sample::new();
    let mut vpc = |name: &str, vpc: &str, address: &str| {
        sample.in_vpc(name, vpc);
        let at = format!("s@{name}");
        sample
            .service(&at, &[Published::A], None)
            .v4(&at, "i", address);
    };
    vpc("one.local", "vpc-1", "10.0.0.1");
    vpc("two.local", "vpc-2", "10.0.0.2");
    vpc("three.local", "vpc-3", "10.0.0.3");
    // A private name hides the public one of the same zone.
    vpc("split.example", "vpc-1", "10.0.0.4");
    sample.scope = Scope::new("444455556666", "eu-west-1");
    sample
        .namespace("split.example", NamespaceType::DNS_PUBLIC)
        .service("s@split.example", &[Published::A], None)
        .v4("s@split.example", "i", "192.0.2.4")
        .service("t@split.example", &[Published::A], None)
        .v4("t@split.example", "i", "192.0.2.5");
    let views = [
        "vpc-1=10.1.0.0/16",
        "vpc-1=10.9.0.0/16",
        "vpc-2=10.2.0.0/16",
    ]
    .map(|text| text.parse::<VpcRange>().expect("a range"));
    let views = Arc::new(Views::new(views));
    let registry = sample.registry(Config {
        views: views.clone(),
        ..Config::default()
    });
    let ask = |from: &str, name: &str, kind| {
        let from = from.parse().expect("an address");
        Probe::new(registry.clone())
            .views(&views)
            .from(from)
            .ask(name, kind)
    };
    let reverse = "1.0.0.10.in-addr.arpa";
    for (from, name, expected) in [
        ("10.1.0.1", "s.one.local", "A 10.0.0.1 30"),
        ("10.9.0.1", "s.one.local", "A 10.0.0.1 30"),
        ("10.2.0.1", "s.one.local", "not mine"),
        ("10.3.0.1", "s.one.local", "not mine"),
        ("10.2.0.1", "s.two.local", "A 10.0.0.2 30"),
        // Nobody is in this VPC.
        ("10.1.0.1", "s.three.local", "not mine"),
        ("10.1.0.1", "s.split.example", "A 10.0.0.4 30"),
        ("10.1.0.1", "t.split.example", "nxdomain 15"),
        ("10.2.0.1", "s.split.example", "A 192.0.2.4 30"),
        ("192.0.2.1", "s.split.example", "A 192.0.2.4 30"),
        ("::ffff:10.2.0.1", "s.two.local", "A 10.0.0.2 30"),
    ] {
        assert_eq!(ask(from, name, RecordType::A), expected, "{from} {name}");
    }
    assert_eq!(
        ask("10.1.0.1", reverse, RecordType::PTR),
        "PTR s.one.local. 30"
    );
    assert_eq!(ask("10.2.0.1", reverse, RecordType::PTR), "not mine");
}

#[test]
fn http_namespaces_have_names_only_when_asked_for() {
    let mut sample = Sample::new();
    sample
        .namespace("web", NamespaceType::HTTP)
        .namespace("not a/../name", NamespaceType::HTTP)
        .service("s@web", &[], None)
        .healthy(
            "s@web",
            "i",
            &[
                ("AWS_INSTANCE_IPV4", "10.0.0.1"),
                ("AWS_INSTANCE_PORT", "80"),
            ],
        );
    assert_eq!(sample.ask("s.web", RecordType::A), "not mine");
    let config = Config {
        resolve_http_namespaces: true,
        ..Config::default()
    };
    let registry = sample.registry(config);
    assert_eq!(ask(&registry, "s.web", RecordType::A, 1), "A 10.0.0.1 5");
    let srv = ask(&registry, "s.web", RecordType::SRV, 1);
    assert_eq!(srv, "SRV 1 1 80 i.s.web. 5 + A 10.0.0.1 5");
}

#[test]
fn a_service_can_be_at_the_apex() {
    let mut sample = Sample::new();
    sample
        .private("n.local")
        .service(".@n.local", &[Published::A], None);
    assert_eq!(sample.ask("n.local", RecordType::A), "nodata 15");
    sample.v4(".@n.local", "i", "10.0.0.1");
    assert_eq!(sample.ask("n.local", RecordType::A), "A 10.0.0.1 30");
    assert_eq!(sample.ask("n.local", RecordType::NS), "NS ns.n.local. 60");
}

#[test]
fn an_inner_zone_hides_the_outer_one() {
    let mut sample = Sample::new();
    sample
        .private("local")
        .private("b.local")
        .service("a.b@local", &[Published::A], None)
        .service("x@b.local", &[Published::A], None)
        .v4("a.b@local", "i", "10.0.0.1")
        .v4("x@b.local", "i", "10.0.0.2");
    assert_eq!(sample.ask("a.b.local", RecordType::A), "nxdomain 15");
    assert_eq!(sample.ask("x.b.local", RecordType::A), "A 10.0.0.2 30");
}

#[test]
fn namespaces_of_all_scopes_are_answered() {
    let mut sample = Sample::new();
    sample
        .private("one")
        .service("s@one", &[Published::A], None)
        .v4("s@one", "i", "10.0.0.1");
    sample.scope = Scope::new("444455556666", "eu-west-1");
    sample
        .private("two")
        .service("s@two", &[Published::A], None)
        .v4("s@two", "i", "10.0.0.2");
    // The same name again: what the first does not have, the second adds.
    sample
        .private("one")
        .service("t@one", &[Published::A], None)
        .v4("t@one", "i", "10.0.0.3");
    assert_eq!(sample.ask("s.one", RecordType::A), "A 10.0.0.1 30");
    assert_eq!(sample.ask("s.two", RecordType::A), "A 10.0.0.2 30");
    assert_eq!(sample.ask("t.one", RecordType::A), "A 10.0.0.3 30");
}

#[test]
fn the_name_server_has_its_addresses() {
    let mut sample = Sample::new();
    sample.private("n");
    let config = Config {
        addresses: vec![IpAddr::from([192, 0, 2, 53])],
        ..Config::default()
    };
    let registry = sample.registry(config);
    assert_eq!(ask(&registry, "ns.n", RecordType::A, 1), "A 192.0.2.53 60");
    assert_eq!(ask(&registry, "ns.n", RecordType::AAAA, 1), "nodata 15");
}

/// A registry over views that change.
struct Changing {
    current: Arc<ArcSwap<View>>,
    registry: Arc<Registry>,
}

impl Changing {
    fn new() -> Self {
        let current = Arc::new(ArcSwap::from_pointee(View::default()));
        let view = current.clone();
        let registry = Registry::from_source(move || view.load_full(), Config::default());
        Self {
            current,
            registry: Arc::new(registry),
        }
    }

    /// The answer when the view is this.
    fn ask(&self, sample: &Sample, name: &str, kind: RecordType) -> String {
        self.current.store(Arc::new(sample.view.clone()));
        ask(&self.registry, name, kind, 1)
    }
}

#[test]
fn every_change_is_answered_at_once() {
    let changing = Changing::new();
    let mut sample = Sample::new();
    let expect = |sample: &Sample, expected: &str| {
        assert_eq!(changing.ask(sample, "s.n", RecordType::A), expected);
    };
    expect(&sample, "not mine");
    expect(sample.private("n"), "nxdomain 15");
    expect(sample.service("s@n", &[Published::A], None), "nxdomain 15");
    expect(sample.v4("s@n", "i", "10.0.0.1"), "A 10.0.0.1 30");
    expect(sample.v4("s@n", "i", "10.0.0.2"), "A 10.0.0.2 30");
    expect(sample.private("other"), "A 10.0.0.2 30");
    let both = "A 10.0.0.2 30, A 10.0.0.3 30";
    expect(sample.v4("s@n", "j", "10.0.0.3"), both);
    let moved = sample.unhealthy_v4("s@n", "j", "10.0.0.3");
    expect(moved, "A 10.0.0.2 30");
}

#[tokio::test]
async fn what_a_store_acknowledged_is_answered() {
    use tombolo_model::{
        Command, Reply,
        apply::cloudmap::{
            Command as Registering, CreateNamespace, CreateService, NamespaceChange,
            RegisterInstance, ServiceChange, UpdateNamespace, UpdateService,
        },
    };
    let store = Store::memory();
    let registry = Arc::new(Registry::new(store.clone(), Config::default()));
    let scope = Scope::new("111122223333", "us-west-2");
    let commit = async |command| {
        let committed = store
            .commit(scope.clone(), Command::CloudMap(command))
            .await;
        committed.unwrap_or_else(|_| panic!("rejected")).reply
    };
    commit(Registering::CreateNamespace(CreateNamespace {
        name: "n.local".into(),
        kind: NamespaceType::DNS_PRIVATE,
        vpc: Some("vpc-1".into()),
        description: None,
        soa_ttl: None,
        creator_request_id: None,
        tags: Vec::new(),
    }))
    .await;
    let view = store.view();
    let namespace = view
        .scope(&scope)
        .and_then(|state| state.namespace_by_name("n.local"));
    let service = CreateService {
        name: "s".into(),
        namespace_id: namespace.expect("acknowledged").id.to_string(),
        description: None,
        dns_config: Some(DnsConfig {
            routing_policy: None,
            dns_records: vec![DnsRecord {
                kind: Published::A,
                ttl: 30,
            }],
        }),
        health_check: None,
        custom_health_check: false,
        http_only: false,
        creator_request_id: None,
        tags: Vec::new(),
    };
    let Reply::Service(service) = commit(Registering::CreateService(service)).await else {
        panic!("no service");
    };
    for last in 1..=8 {
        let address = format!("10.0.0.{last}");
        commit(Registering::RegisterInstance(RegisterInstance {
            service_id: service.id.to_string(),
            instance_id: format!("i{last}"),
            attributes: [("AWS_INSTANCE_IPV4".into(), address.clone())].into(),
            creator_request_id: None,
        }))
        .await;
        let answer = ask(&registry, "s.n.local", RecordType::A, last);
        assert!(answer.contains(&format!("A {address} 30")), "{answer}");
    }
    let records = |ttl| DnsRecord {
        kind: Published::A,
        ttl,
    };
    for (dns_records, expected) in [(vec![records(7)], "A 10.0.0.1 7"), (vec![], "nxdomain 15")] {
        commit(Registering::UpdateService(UpdateService {
            id: service.id.to_string(),
            service: ServiceChange {
                dns_records,
                ..ServiceChange::default()
            },
        }))
        .await;
        let answer = ask(&registry, "s.n.local", RecordType::A, 1);
        assert!(answer.contains(expected), "{answer}");
    }
    commit(Registering::UpdateNamespace(UpdateNamespace {
        id: service.namespace_id.to_string(),
        kind: NamespaceType::DNS_PRIVATE,
        namespace: NamespaceChange {
            soa_ttl: Some(3),
            ..NamespaceChange::default()
        },
        updater_request_id: None,
    }))
    .await;
    let answer = ask(&registry, "s.n.local", RecordType::A, 1);
    assert_eq!(answer, "nxdomain 3");
}
