use super::*;
use crate::sample::{
    NAMESPACE, Sample, caller, listening, node, registered, route, routed, router, scope, service,
    shares, weighted,
};
use crate::{
    AppMesh, Plan,
    dialect::{Context, Reads, ServicePlan},
    plan::{Endpoint, EndpointQuery},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombolo_model::{
    Command, ScopeView,
    apply::{appmesh, cloudmap},
    appmesh::ResourceKey,
    cloudmap::Health,
    entropy::Entropy,
};
use tombolo_telemetry::Causes;
use tombolo_xds::Node;

type Receiver = watch::Receiver<Arc<Snapshot>>;

fn workload(name: &str) -> Workload {
    Workload {
        scope: scope(),
        key: RecordKey::Resource(node(name)),
    }
}

fn planner() -> Planner {
    Planner::new(Arc::new(AppMesh), Arc::default())
}

/// What a proxy of this node is given.
fn subscribe(planner: &mut Planner, sample: &Sample, name: &str) -> Receiver {
    let receiver = planner.follow(&sample.view, &workload(name));
    receiver.expect("the node exists")
}

fn update(planner: &mut Planner, sample: &Sample, changes: &[Change]) {
    let propagation = Arc::new(Propagation::new(sample.view.revision, &Causes::default()));
    planner.update(&sample.view, changes, &propagation);
}

fn recompile(planner: &mut Planner, sample: &Sample) -> usize {
    let propagation = Arc::new(Propagation::new(sample.view.revision, &Causes::default()));
    planner.recompile(&sample.view, &propagation)
}

/// A whole round.
fn verify(planner: &mut Planner, sample: &Sample) -> usize {
    (0..VERIFY_STEPS)
        .map(|_| planner.verify(&sample.view))
        .sum()
}

fn warnings(planner: &Planner, name: &str) -> Vec<Warning> {
    let published = planner.published.lock();
    published[&workload(name)].warnings.to_vec()
}

/// What a planner that kept nothing has for a node.
fn from_scratch(sample: &Sample, name: &str) -> Option<(Vec<Warning>, Arc<Snapshot>)> {
    let mut planner = planner();
    let receiver = planner.follow(&sample.view, &workload(name)).ok()?;
    Some((warnings(&planner, name), receiver.borrow().clone()))
}

/// Shades of one registry service, told apart by attribute, behind a router; `web` calls them, `aside`
/// calls something else.
fn shop() -> Sample {
    let shade = |tone: &str| {
        json!({
            "listeners": [{"portMapping": {"port": 9000, "protocol": "http"}}],
            "serviceDiscovery": {"awsCloudMap": {
                "namespaceName": NAMESPACE, "serviceName": "shade",
                "attributes": [{"key": "tone", "value": tone}],
            }},
        })
    };
    let mut sample = Sample::new(json!({}))
        .with(&node("light"), shade("light"))
        .with(&node("dark"), shade("dark"))
        .with(&router("shade"), listening(8081, "http"))
        .with(
            &route("shade", "all"),
            weighted(&[("light", 1), ("dark", 1)]),
        )
        .with(&service("shade.shop"), routed("shade"))
        .with(&node("stock"), registered(9000, "http", "stock"))
        .with(&router("stock"), listening(8082, "http"))
        .with(&route("stock", "all"), weighted(&[("stock", 1)]))
        .with(&service("stock.shop"), routed("stock"))
        .with(&node("web"), caller(&["shade.shop"]))
        .with(&node("aside"), caller(&["stock.shop"]));
    sample.namespace();
    sample.registry_service("shade");
    sample.registry_service("stock");
    sample
}

/// A planner with a proxy for each of these nodes.
struct Stage {
    planner: Planner,
    sample: Sample,
    proxies: BTreeMap<&'static str, Receiver>,
}

impl Stage {
    fn new(sample: Sample, names: &[&'static str]) -> Self {
        Self::with(planner(), sample, names)
    }

    fn with(mut planner: Planner, sample: Sample, names: &[&'static str]) -> Self {
        let proxies = names
            .iter()
            .map(|name| (*name, subscribe(&mut planner, &sample, name)))
            .collect();
        Self {
            planner,
            sample,
            proxies,
        }
    }

    /// Publishes changes; answers with those who were woken.
    fn publish(&mut self, changes: &[Change]) -> Vec<&'static str> {
        update(&mut self.planner, &self.sample, changes);
        let woken = self.proxies.iter_mut().filter_map(|(name, proxy)| {
            let woken = proxy.has_changed().expect("the node is still there");
            proxy.mark_unchanged();
            woken.then_some(*name)
        });
        woken.collect()
    }
}

#[test]
fn a_change_wakes_those_who_depend_on_it_and_nobody_else() {
    let mut stage = Stage::new(shop(), &["web", "aside", "light"]);

    let changes = stage.sample.put(
        &route("shade", "all"),
        weighted(&[("light", 9), ("dark", 1)]),
    );
    assert_eq!(stage.publish(&changes), ["web"]);

    let changes = stage.sample.put(&router("other"), listening(1, "http"));
    assert_eq!(stage.publish(&changes), [""; 0]);

    let changes = stage
        .sample
        .put(&node("stock"), registered(9001, "http", "stock"));
    assert_eq!(stage.publish(&changes), ["aside"]);

    let all = json!({"egressFilter": {"type": "ALLOW_ALL"}});
    let changes = stage
        .sample
        .put(&ResourceKey::mesh(crate::sample::MESH), all);
    assert_eq!(stage.publish(&changes), ["aside", "light", "web"]);
}

#[test]
fn an_update_that_changes_nothing_wakes_nobody() {
    let mut stage = Stage::new(shop(), &["web"]);
    let same = weighted(&[("light", 1), ("dark", 1)]);
    let changes = stage.sample.put(&route("shade", "all"), same);
    assert!(!changes.is_empty(), "the resource has a new version");
    assert_eq!(stage.publish(&changes), [""; 0]);
}

#[test]
fn an_instance_wakes_exactly_those_whose_endpoints_select_it() {
    let mut stage = Stage::new(shop(), &["web", "aside", "light"]);
    let light = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("tone", "light")];

    let changes = stage.sample.instance("shade", "a", &light);
    assert_eq!(stage.publish(&changes), ["web"]);

    // Registered again as it was.
    let changes = stage.sample.instance("shade", "a", &light);
    assert_eq!(stage.publish(&changes), [""; 0]);

    // No node selects this tone.
    let other = [("AWS_INSTANCE_IPV4", "10.0.0.9"), ("tone", "neon")];
    let changes = stage.sample.instance("shade", "z", &other);
    assert_eq!(stage.publish(&changes), [""; 0]);

    let changes = stage
        .sample
        .instance("stock", "a", &[("AWS_INSTANCE_IPV4", "10.0.0.2")]);
    assert_eq!(stage.publish(&changes), ["aside"]);
}

#[test]
fn an_instance_renews_its_endpoint_sets_and_shares_everything_else() {
    use tombolo_xds::Kind;
    let mut stage = Stage::new(shop(), &["web"]);
    let before = stage.proxies["web"].borrow().clone();
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("tone", "light")];
    let changes = stage.sample.instance("shade", "a", &attributes);
    stage.publish(&changes);
    let after = stage.proxies["web"].borrow().clone();
    for kind in [Kind::Cluster, Kind::Listener, Kind::Route] {
        assert!(after.same(&before, kind), "{kind}");
    }
    let changed: Vec<_> = after
        .iter()
        .filter(|resource| before.get(resource.kind(), resource.name()) != Some(resource))
        .map(|resource| resource.name().to_string())
        .collect();
    assert_eq!(changed, ["cds_egress_m_light_http_9000"]);
}

#[test]
fn proxies_of_one_node_share_one_snapshot() {
    let mut stage = Stage::new(shop(), &["web"]);
    let second = subscribe(&mut stage.planner, &stage.sample, "web");
    assert!(Arc::ptr_eq(
        &second.borrow(),
        &stage.proxies["web"].borrow()
    ));
}

#[test]
fn callers_of_one_node_share_its_endpoints() {
    use tombolo_xds::Kind;
    let sample = shop().with(&node("also"), caller(&["shade.shop"]));
    let mut stage = Stage::new(sample, &["web", "also"]);
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("tone", "light")];
    let changes = stage.sample.instance("shade", "a", &attributes);
    assert_eq!(stage.publish(&changes), ["also", "web"]);
    let set = |name: &str| {
        let snapshot = stage.proxies[name].borrow().clone();
        let set = snapshot.get(Kind::Endpoint, "cds_egress_m_light_http_9000");
        set.expect("the set is there").clone()
    };
    assert!(Arc::ptr_eq(&set("web"), &set("also")));
}

#[test]
fn callers_of_one_service_share_its_clusters_and_each_route_is_encoded_once() {
    use tombolo_xds::Kind;
    let sample = shop().with(&node("also"), caller(&["shade.shop", "stock.shop"]));
    let mut stage = Stage::new(sample, &["web", "also"]);
    let get = |stage: &Stage, name: &str, kind, resource: &str| {
        let snapshot = stage.proxies[name].borrow().clone();
        snapshot.get(kind, resource).expect("it is there").clone()
    };
    let light = "cds_egress_m_light_http_9000";
    let shared = |stage: &Stage| {
        Arc::ptr_eq(
            &get(stage, "web", Kind::Cluster, light),
            &get(stage, "also", Kind::Cluster, light),
        )
    };
    assert!(shared(&stage));
    let changes = stage.sample.put(
        &route("shade", "all"),
        weighted(&[("light", 9), ("dark", 1)]),
    );
    let table = get(&stage, "also", Kind::Route, "rds_egress_http_8082");
    assert_eq!(stage.publish(&changes), ["also", "web"]);
    assert!(shared(&stage));
    let after = get(&stage, "also", Kind::Route, "rds_egress_http_8082");
    assert!(Arc::ptr_eq(&table, &after), "another service's table");
}

/// App Mesh, except for what panics.
struct Panicky {
    workload: RecordKey,
    service: RecordKey,
    panics: Arc<std::sync::atomic::AtomicBool>,
}

impl Panicky {
    fn check(&self, key: &RecordKey) {
        let panics = self.panics.load(std::sync::atomic::Ordering::Relaxed);
        assert!(
            !panics || ![&self.workload, &self.service].contains(&key),
            "injected"
        );
    }
}

impl Dialect for Panicky {
    fn workload_of(&self, node: &Node) -> Result<(Option<Scope>, RecordKey), SubscribeError> {
        AppMesh.workload_of(node)
    }

    fn compile(
        &self,
        scope: &ScopeView,
        workload: &RecordKey,
        context: &mut Context<'_>,
    ) -> Option<Plan> {
        self.check(workload);
        AppMesh.compile(scope, workload, context)
    }

    fn compile_service(
        &self,
        scope: &ScopeView,
        service: &RecordKey,
        reads: &mut Reads,
    ) -> ServicePlan {
        self.check(service);
        AppMesh.compile_service(scope, service, reads)
    }

    fn endpoints(
        &self,
        scope: &ScopeView,
        query: &EndpointQuery,
        reads: &mut Reads,
    ) -> Vec<Endpoint> {
        AppMesh.endpoints(scope, query, reads)
    }
}

#[test]
fn a_compilation_that_panics_touches_its_own_workload_or_service_alone() {
    let panics = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let dialect = Panicky {
        workload: RecordKey::Resource(node("web")),
        service: RecordKey::Resource(service("stock.shop")),
        panics: panics.clone(),
    };
    let planner = Planner::new(Arc::new(dialect), Arc::default());
    let sample = shop().with(&node("also"), caller(&["shade.shop"]));
    let mut stage = Stage::with(planner, sample, &["web", "also", "aside"]);
    let before = stage.proxies["web"].borrow().clone();
    let same_as_scratch = |stage: &Stage, name: &'static str| {
        let (_, expected) = from_scratch(&stage.sample, name).expect("it exists");
        *stage.proxies[name].borrow().clone() == *expected
    };

    panics.store(true, std::sync::atomic::Ordering::Relaxed);
    // A route that web, also and a change of a service that aside calls.
    let mut changes = stage.sample.put(
        &route("shade", "all"),
        weighted(&[("light", 9), ("dark", 1)]),
    );
    changes.extend(
        stage
            .sample
            .put(&route("stock", "all"), weighted(&[("dark", 1)])),
    );
    assert_eq!(stage.publish(&changes), ["also"]);
    assert!(same_as_scratch(&stage, "also"));
    assert_eq!(*stage.proxies["web"].borrow().clone(), *before);
    // Its endpoints go on being what they are.
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("tone", "light")];
    let changes = stage.sample.instance("shade", "a", &attributes);
    assert_eq!(stage.publish(&changes), ["also", "web"]);
    // A proxy of another workload that cannot be planned is told to come back.
    let refused = Planner::new(
        Arc::new(Panicky {
            workload: RecordKey::Resource(node("web")),
            service: RecordKey::Resource(service("stock.shop")),
            panics: panics.clone(),
        }),
        Arc::default(),
    )
    .follow(&stage.sample.view, &workload("web"))
    .expect_err("it cannot be planned");
    assert_eq!(refused.code, SubscribeErrorCode::Unavailable);

    // With the next change, or the next verification, all is as it should be.
    panics.store(false, std::sync::atomic::Ordering::Relaxed);
    verify(&mut stage.planner, &stage.sample);
    for name in ["web", "also", "aside"] {
        assert!(same_as_scratch(&stage, name), "{name}");
    }
}

#[test]
fn proxies_of_a_deleted_node_are_let_go_and_keep_what_they_have() {
    let mut stage = Stage::new(shop(), &["web"]);
    let delete = appmesh::Command::Delete { key: node("web") };
    let (changes, _) = stage
        .sample
        .run(Command::AppMesh(delete))
        .expect("nobody refers to it");
    update(&mut stage.planner, &stage.sample, &changes);
    let proxy = &stage.proxies["web"];
    assert!(
        proxy.has_changed().is_err(),
        "its stream ends, and it asks again"
    );
    assert!(!proxy.borrow().is_empty());
}

#[test]
fn a_workload_without_proxies_is_forgotten_at_the_next_recheck() {
    let mut stage = Stage::new(shop(), &["web", "aside"]);
    stage.proxies.remove("aside");
    assert_eq!(stage.planner.verify(&stage.sample.view), 0);
    let known: Vec<_> = stage.planner.published.lock().keys().cloned().collect();
    assert_eq!(known, [workload("web")]);
    stage.proxies.clear();
    assert_eq!(stage.planner.verify(&stage.sample.view), 0);
    assert!(stage.planner.scopes.is_empty(), "nothing is kept");
}

#[test]
fn warnings_go_when_their_reason_goes() {
    let sample = Sample::new(json!({}))
        .with(&node("light"), registered(9000, "http", "shade"))
        .with(&service("shade.shop"), crate::sample::provided("light"))
        .with(&node("web"), caller(&["shade.shop", "stock.shop"]));
    let mut stage = Stage::new(sample, &["web"]);
    let count = |stage: &Stage| warnings(&stage.planner, "web").len();
    assert_eq!(count(&stage), 2, "{:?}", warnings(&stage.planner, "web"));

    let changes = stage
        .sample
        .put(&service("stock.shop"), crate::sample::provided("light"));
    stage.publish(&changes);
    assert_eq!(count(&stage), 1, "{:?}", warnings(&stage.planner, "web"));

    let changes = stage.sample.namespace();
    stage.publish(&changes);
    assert_eq!(count(&stage), 0, "{:?}", warnings(&stage.planner, "web"));
}

/// After any sequence of commands, what was published step by step is what a compilation from scratch
/// gives, and nobody was woken for nothing.
#[test]
fn publishing_step_by_step_equals_compiling_from_scratch() {
    for seed in 0..60 {
        Walk::new(seed).run(50);
    }
}

/// A random walk through small meshes: few names, so that commands meet.
struct Walk {
    seed: u64,
    entropy: Entropy,
    planner: Planner,
    sample: Sample,
    proxies: BTreeMap<&'static str, Receiver>,
}

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const SERVICES: [&str; 3] = ["x.shop", "y.shop", "z.shop"];
const ROUTERS: [&str; 2] = ["r", "s"];
const TONES: [&str; 2] = ["light", "dark"];

impl Walk {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            entropy: Entropy::new(seed),
            planner: planner(),
            sample: Sample::new(json!({})),
            proxies: BTreeMap::new(),
        }
    }

    fn run(mut self, steps: usize) {
        for step in 0..steps {
            // Several commands at once, as a watcher that is a little late sees them.
            let mut changes = Vec::new();
            for _ in 0..self.below(3) + 1 {
                let command = self.command();
                if let Ok((more, _)) = self.sample.run(command) {
                    changes.extend(more);
                }
            }
            let before: BTreeMap<_, _> = self
                .proxies
                .iter()
                .map(|(name, proxy)| (*name, proxy.borrow().clone()))
                .collect();
            update(&mut self.planner, &self.sample, &changes);
            for name in NODES {
                self.check(name, before.get(name), step);
            }
            assert_eq!(
                verify(&mut self.planner, &self.sample),
                0,
                "seed {}",
                self.seed
            );
        }
        assert_eq!(recompile(&mut self.planner, &self.sample), 0);
        self.proxies.clear();
        self.planner.verify(&self.sample.view);
        assert!(self.planner.scopes.is_empty(), "nothing is kept");
    }

    fn check(&mut self, name: &'static str, before: Option<&Arc<Snapshot>>, step: usize) {
        let place = format!("seed {}, step {step}, node {name}", self.seed);
        let expected = from_scratch(&self.sample, name);
        if let Some(proxy) = self.proxies.get_mut(name) {
            match proxy.has_changed() {
                Ok(woken) => {
                    let now = proxy.borrow_and_update().clone();
                    let (told, expected) = expected.as_ref().expect(&place);
                    assert_eq!(*now, **expected, "{place}");
                    now.check_consistency().expect(&place);
                    let before = before.expect("it was there before");
                    assert_eq!(woken, **before != *now, "{place}");
                    assert_eq!(warnings(&self.planner, name), *told, "{place}");
                }
                // Its node was deleted, perhaps made again since.
                Err(_) => drop(self.proxies.remove(name)),
            }
        }
        if !self.proxies.contains_key(name) && expected.is_some() {
            let proxy = subscribe(&mut self.planner, &self.sample, name);
            self.proxies.insert(name, proxy);
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.entropy.next_u64() % bound
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[usize::try_from(self.below(words.len() as u64)).expect("small")]
    }

    fn command(&mut self) -> Command {
        match self.below(20) {
            0..=3 => self.put_node(),
            4..=5 => {
                let key = router(self.pick(&ROUTERS));
                let port = [80, 8081][usize::from(self.below(2) == 1)];
                self.put(key, listening(port, "http"))
            }
            6..=8 => self.put_route(),
            9..=10 => {
                let key = service(self.pick(&SERVICES));
                let provider = match self.below(4) {
                    0 => json!({}),
                    1 => crate::sample::provided(self.pick(&NODES)),
                    _ => routed(self.pick(&ROUTERS)),
                };
                self.put(key, provider)
            }
            11..=12 => self.delete(),
            13 => {
                let kind = ["ALLOW_ALL", "DROP_ALL"][usize::from(self.below(2) == 1)];
                let key = ResourceKey::mesh(crate::sample::MESH);
                self.put(key, json!({"egressFilter": {"type": kind}}))
            }
            _ => self.registry(),
        }
    }

    fn put(&mut self, key: ResourceKey, spec: Value) -> Command {
        let spec =
            tombolo_model::appmesh::Spec::from_json(key.kind, spec).expect("a readable spec");
        let client_token = None;
        Command::AppMesh(if self.sample.view.resource(&scope(), &key).is_some() {
            appmesh::Command::Update {
                key,
                spec,
                client_token,
            }
        } else {
            appmesh::Command::Create {
                key,
                spec,
                tags: Vec::new(),
                client_token,
            }
        })
    }

    fn put_node(&mut self) -> Command {
        let key = node(self.pick(&NODES));
        let backends: Vec<&str> = SERVICES
            .into_iter()
            .filter(|_| self.below(2) == 0)
            .collect();
        let mut spec = caller(&backends);
        if self.below(4) > 0 {
            let protocol =
                ["http", "http", "tcp", "grpc"][usize::try_from(self.below(4)).expect("small")];
            let port = 9000 + self.below(2);
            spec["listeners"] = json!([{"portMapping": {"port": port, "protocol": protocol}}]);
            let service = self.pick(&TONES);
            let mut discovery = json!({"namespaceName": NAMESPACE, "serviceName": service});
            if self.below(2) == 0 {
                discovery["attributes"] = json!([{"key": "tone", "value": self.pick(&TONES)}]);
            }
            spec["serviceDiscovery"] = json!({ "awsCloudMap": discovery });
        }
        self.put(key, spec)
    }

    fn put_route(&mut self) -> Command {
        let key = route(self.pick(&ROUTERS), self.pick(&["all", "some"]));
        let (one, two) = (self.pick(&NODES), self.pick(&NODES));
        let weight = u32::try_from(self.below(3)).expect("small");
        let mut targets = vec![(one, weight)];
        if two != one {
            targets.push((two, 1));
        }
        let prefix = ["/", "/some"][usize::from(self.below(2) == 1)];
        let spec = json!({"httpRoute": {"match": {"prefix": prefix}, "action": shares(&targets)}});
        self.put(key, spec)
    }

    fn delete(&mut self) -> Command {
        let key = match self.below(4) {
            0 => node(self.pick(&NODES)),
            1 => service(self.pick(&SERVICES)),
            2 => router(self.pick(&ROUTERS)),
            _ => route(self.pick(&ROUTERS), self.pick(&["all", "some"])),
        };
        Command::AppMesh(appmesh::Command::Delete { key })
    }

    fn registry(&mut self) -> Command {
        let namespace = self.sample.scope().namespace_by_name(NAMESPACE).cloned();
        let Some(namespace) = namespace else {
            return Command::CloudMap(cloudmap::Command::CreateNamespace(
                cloudmap::CreateNamespace {
                    name: NAMESPACE.into(),
                    kind: tombolo_model::cloudmap::NamespaceType::HTTP,
                    vpc: None,
                    description: None,
                    soa_ttl: None,
                    creator_request_id: None,
                    tags: Vec::new(),
                },
            ));
        };
        let name = self.pick(&TONES);
        let known = self
            .sample
            .scope()
            .service_by_name(&namespace.id, name)
            .cloned();
        let Some(known) = known else {
            return Command::CloudMap(cloudmap::Command::CreateService(cloudmap::CreateService {
                name: name.into(),
                namespace_id: namespace.id.to_string(),
                description: None,
                dns_config: None,
                health_check: None,
                custom_health_check: true,
                http_only: false,
                creator_request_id: None,
                tags: Vec::new(),
            }));
        };
        let service_id = known.id.to_string();
        let instance_id = format!("i-{}", self.below(3));
        Command::CloudMap(match self.below(10) {
            0..=4 => {
                let address = format!("10.0.0.{}", self.below(4) + 1);
                let attributes = [
                    ("AWS_INSTANCE_IPV4".to_owned(), address),
                    ("tone".to_owned(), self.pick(&TONES).to_owned()),
                ];
                cloudmap::Command::RegisterInstance(cloudmap::RegisterInstance {
                    service_id,
                    instance_id,
                    attributes: attributes.into(),
                    creator_request_id: None,
                })
            }
            5..=6 => cloudmap::Command::DeregisterInstance {
                service_id,
                instance_id,
            },
            7 => cloudmap::Command::SetHealth {
                service_id,
                instance_id,
                health: [Health::Healthy, Health::Unhealthy][usize::from(self.below(2) == 1)],
            },
            8 => cloudmap::Command::DeleteService { id: service_id },
            _ => cloudmap::Command::DeleteNamespace {
                id: namespace.id.to_string(),
            },
        })
    }
}
