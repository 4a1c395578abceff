//! Whatever is asked of the registry in whatever order, its state stays whole. Commands are drawn from a
//! seed, which a failure prints; `TOMBOLO_SEED` runs one again.

use std::collections::{BTreeMap, BTreeSet};
use tombolo_model::{
    Command, Context, Limits, Scope, ScopeView, Timestamp, View,
    apply::cloudmap::{self, Tagged},
    appmesh::Tag,
    cloudmap::{
        DnsConfig, DnsRecord, Health, HealthCheckConfig, HealthCheckType, NamespaceType,
        RecordType, RoutingPolicy,
    },
    entropy::Entropy,
};

const SEEDS: u64 = 200;
const COMMANDS: usize = 150;
/// The number of commands.
const KINDS: usize = 14;

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

struct Draw(Entropy);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }

    /// Few names, so that commands meet.
    fn name(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.below(3))
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| draw(self))
    }

    /// One of what is there, or nothing.
    fn id<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> String {
        let ids: Vec<&str> = ids.chain(["none"]).collect();
        self.pick(&ids).to_owned()
    }

    fn namespace(&mut self, view: &ScopeView) -> String {
        self.id(view.namespaces().map(|namespace| &*namespace.id))
    }

    fn service(&mut self, view: &ScopeView) -> String {
        self.id(view.services().map(|service| &*service.id))
    }

    fn kind(&mut self) -> NamespaceType {
        use NamespaceType::{DNS_PRIVATE, DNS_PUBLIC, HTTP};
        self.pick(&[DNS_PUBLIC, DNS_PRIVATE, HTTP])
    }

    fn records(&mut self) -> Vec<DnsRecord> {
        use RecordType::{A, AAAA, CNAME, SRV};
        let kinds: &[RecordType] = self.pick(&[&[][..], &[A], &[A, AAAA], &[SRV], &[CNAME]]);
        let ttl = self.below(3) as u32;
        let records = kinds.iter().map(|kind| DnsRecord { kind: *kind, ttl });
        records.collect()
    }

    fn check(&mut self) -> Option<HealthCheckConfig> {
        self.maybe(|draw| HealthCheckConfig {
            kind: draw.pick(&[HealthCheckType::HTTP, HealthCheckType::TCP]),
            resource_path: None,
            failure_threshold: draw.maybe(|draw| 1 + draw.below(11) as u32),
        })
    }

    fn tags(&mut self) -> Vec<Tag> {
        let count = self.pick(&[0, 1, 2, 30]);
        let tag = |_| Tag {
            key: format!("k{}", self.below(100)),
            value: String::new(),
        };
        (0..count).map(tag).collect()
    }

    fn texts(&mut self) -> BTreeMap<String, String> {
        let count = self.pick(&[0, 1, 2, 15]);
        let pair = |_| (format!("k{}", self.below(50)), String::new());
        (0..count).map(pair).collect()
    }

    fn command(&mut self, view: &ScopeView) -> cloudmap::Command {
        use cloudmap::Command;
        match self.below(20) {
            0 => Command::CreateNamespace(cloudmap::CreateNamespace {
                name: format!("{}.example", self.name("n")),
                kind: self.kind(),
                vpc: Some("vpc-1".into()),
                description: None,
                soa_ttl: self.maybe(|draw| draw.below(3) as u32),
                creator_request_id: self.maybe(|draw| draw.name("t")),
                tags: self.tags(),
            }),
            1 => Command::UpdateNamespace(cloudmap::UpdateNamespace {
                id: self.namespace(view),
                kind: self.kind(),
                namespace: cloudmap::NamespaceChange {
                    description: self.maybe(|draw| draw.name("d")),
                    soa_ttl: self.maybe(|draw| draw.below(3) as u32),
                },
                updater_request_id: self.maybe(|draw| draw.name("t")),
            }),
            2 => Command::DeleteNamespace(cloudmap::DeleteNamespace {
                id: self.namespace(view),
            }),
            3..=4 => {
                let records = self.records();
                Command::CreateService(cloudmap::CreateService {
                    name: self.name("s"),
                    namespace_id: self.namespace(view),
                    description: None,
                    dns_config: (!records.is_empty()).then_some(DnsConfig {
                        routing_policy: Some(RoutingPolicy::Weighted),
                        dns_records: records,
                    }),
                    health_check: self.check(),
                    custom_health_check: self.below(2) == 0,
                    http_only: self.below(4) == 0,
                    creator_request_id: self.maybe(|draw| draw.name("t")),
                    tags: self.tags(),
                })
            }
            5..=6 => Command::UpdateService(cloudmap::UpdateService {
                id: self.service(view),
                service: cloudmap::ServiceChange {
                    description: self.maybe(|draw| draw.name("d")),
                    dns_records: self.records(),
                    health_check: self.check(),
                },
            }),
            7 => Command::DeleteService(cloudmap::DeleteService {
                id: self.service(view),
            }),
            8 => Command::UpdateServiceAttributes(cloudmap::UpdateServiceAttributes {
                service_id: self.service(view),
                attributes: self.texts(),
            }),
            9 => Command::DeleteServiceAttributes(cloudmap::DeleteServiceAttributes {
                service_id: self.service(view),
                keys: self.texts().into_keys().collect(),
            }),
            10 => Command::AddTags(cloudmap::AddTags {
                resource: self.tagged(view),
                tags: self.tags(),
            }),
            11 => Command::RemoveTags(cloudmap::RemoveTags {
                resource: self.tagged(view),
                tag_keys: self.texts().into_keys().collect(),
            }),
            12..=15 => {
                let known = [
                    ("AWS_INSTANCE_IPV4", "10.0.0.1"),
                    ("AWS_INSTANCE_IPV6", "fd00::1"),
                    ("AWS_INSTANCE_PORT", "80"),
                    ("AWS_INSTANCE_CNAME", "a.example"),
                ];
                let mut attributes = self.texts();
                for (key, value) in known {
                    if self.below(4) > 0 {
                        attributes.insert(key.into(), value.into());
                    }
                }
                Command::RegisterInstance(cloudmap::RegisterInstance {
                    service_id: self.service(view),
                    instance_id: self.name("i"),
                    attributes,
                    creator_request_id: self.maybe(|draw| draw.name("t")),
                })
            }
            16 => Command::DeregisterInstance(cloudmap::DeregisterInstance {
                service_id: self.service(view),
                instance_id: self.name("i"),
            }),
            17..=18 => Command::UpdateInstanceCustomHealthStatus(
                cloudmap::UpdateInstanceCustomHealthStatus {
                    service_id: self.service(view),
                    instance_id: self.name("i"),
                    status: self.pick(&[Health::Healthy, Health::Unhealthy]),
                },
            ),
            _ => {
                let service_id = self.service(view);
                let instance_id = self.name("i");
                let instance = view.instance(&service_id, &instance_id);
                Command::RecordHealth(cloudmap::RecordHealth {
                    operation_id: instance.map_or_else(String::new, |i| i.operation_id.clone()),
                    service_id,
                    instance_id,
                    health: self.pick(&[Health::Healthy, Health::Unhealthy]),
                })
            }
        }
    }

    fn tagged(&mut self, view: &ScopeView) -> Tagged {
        match self.below(2) {
            0 => Tagged::Namespace(self.namespace(view)),
            _ => Tagged::Service(self.service(view)),
        }
    }
}

fn assert_tags(tags: &[Tag]) {
    let keys: BTreeSet<&str> = tags.iter().map(|tag| tag.key.as_str()).collect();
    assert_eq!(keys.len(), tags.len(), "each key once");
    assert!(tags.len() <= 50);
}

/// Everything is within its bounds and in what is there, and every index leads to it.
fn assert_whole(scope: &ScopeView) {
    for namespace in scope.namespaces() {
        let found = scope.namespace_by_name(&namespace.http_name);
        assert_eq!(found.map(|found| &found.id), Some(&namespace.id));
        assert_tags(&namespace.tags);
    }
    for service in scope.services() {
        let namespace = scope.namespace(&service.namespace_id);
        let namespace = namespace.expect("a service is in a namespace");
        let found = scope.service_by_name(&namespace.id, &service.name);
        assert_eq!(found.map(|found| &found.id), Some(&service.id));
        assert_tags(&service.tags);
        assert!(service.attributes.len() <= 30);
        if let Some(config) = &service.dns_config {
            assert_ne!(namespace.kind, NamespaceType::HTTP);
            assert!(!config.dns_records.is_empty());
            assert!(config.routing_policy.is_some());
        }
        if let Some(check) = &service.health_check {
            assert!(!service.custom_health_check);
            assert_ne!(namespace.kind, NamespaceType::DNS_PRIVATE);
            assert!(check.failure_threshold.is_none_or(|n| n <= 10));
        }
        let instances = scope.instances(&service.id);
        for (id, instance) in instances.into_iter().flat_map(|all| &all.by_id) {
            assert_eq!((&instance.service_id, &instance.id), (&service.id, id));
            assert!(!instance.attributes.is_empty());
        }
    }
}

#[test]
fn no_sequence_of_commands_leaves_the_registry_broken() {
    let only = std::env::var("TOMBOLO_SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok());
    let (mut carried_out, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let run = std::panic::catch_unwind(|| walk(seed));
        let (yes, no) = run.unwrap_or_else(|_| panic!("TOMBOLO_SEED={seed} fails"));
        carried_out.extend(yes);
        refused.extend(no);
    }
    // Otherwise the walk would prove nothing: each of the commands came to pass, and each was refused.
    if only.is_none() {
        assert_eq!(carried_out.len(), KINDS, "{carried_out:?}");
        assert_eq!(refused.len(), KINDS, "{refused:?}");
    }
}

/// The generated commands, by name.
fn name(command: &cloudmap::Command) -> String {
    let text = format!("{command:?}");
    let end = text.find(|c: char| !c.is_alphabetic());
    text[..end.unwrap_or(text.len())].to_owned()
}

fn walk(seed: u64) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut draw = Draw(Entropy::new(seed));
    let mut view = View::default();
    let (mut carried_out, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for step in 0..COMMANDS {
        let empty = ScopeView::default();
        let command = draw.command(view.scope(&scope()).unwrap_or(&empty));
        let name = name(&command);
        let command = Command::CloudMap(command);
        let context = Context {
            scope: scope(),
            now: Timestamp(step as u64),
            seed: step as u64,
            limits: Limits::default(),
        };
        let decided = tombolo_model::apply(&view, &context, &command);
        // A decision is a function: asked again, it is the same.
        let again = tombolo_model::apply(&view, &context, &command);
        match (decided, again) {
            (Ok(applied), Ok(same)) => {
                assert_eq!(applied.changes, same.changes);
                let revision = view.revision + 1;
                for change in &applied.changes {
                    view.apply(revision, change);
                }
                carried_out.insert(name);
            }
            (Err(rejection), Err(same)) => {
                assert_eq!(rejection, same);
                assert!(!rejection.message.is_empty());
                refused.insert(name);
            }
            _ => panic!("decided one way, then the other"),
        }
        if let Some(scope) = view.scope(&scope()) {
            assert_whole(scope);
        }
    }
    (carried_out, refused)
}
