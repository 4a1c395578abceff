use super::*;
use crate::sample::{
    MESH, NAMESPACE, Sample, caller, create_namespace, create_service, listening, node, provided,
    put, register, registered, route, routed, router, scope, service, shares, weighted,
};
use crate::{
    AppMesh, Plan,
    dialect::{Context, Dependencies, ServicePlan},
    plan::{Endpoint, EndpointQuery},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombolo_model::{
    Command, ScopeView,
    apply::{appmesh, cloudmap},
    appmesh::ResourceKey,
    cloudmap::Health,
};
use tombolo_telemetry::{Causes, metrics::seconds};
use tombolo_xds::{Code, Kind, Node, Resource};

fn workload(name: &str) -> Workload {
    Workload {
        scope: scope(),
        key: RecordKey::Resource(node(name)),
    }
}

fn planner() -> Planner {
    Planner::new(Arc::new(AppMesh), Arc::default())
}

/// The snapshot that a proxy of this node gets.
fn subscribe(planner: &mut Planner, sample: &Sample, name: &str) -> Snapshots {
    let receiver = planner.subscribe(&sample.view, &workload(name));
    receiver.expect("the node exists")
}

fn update(planner: &mut Planner, sample: &Sample, changes: &[Change]) {
    planner.update(&sample.view, changes, &propagation(sample));
}

fn propagation(sample: &Sample) -> Arc<Propagation> {
    let revision = sample.view.revision;
    Arc::new(Propagation::new(revision, &Causes::default(), seconds()))
}

/// A whole round.
fn check_drift(planner: &mut Planner, sample: &Sample) -> usize {
    (0..DRIFT_CHECK_STEPS)
        .map(|_| planner.check_drift(&sample.view))
        .sum()
}

fn warnings(planner: &Planner, name: &str) -> Vec<Warning> {
    let published = planner.published.workloads.lock();
    published[&workload(name)].warnings.to_vec()
}

/// The snapshot of a node from a planner without a cache.
fn from_scratch(sample: &Sample, name: &str) -> Option<(Vec<Warning>, Arc<Snapshot>)> {
    let mut planner = planner();
    let receiver = planner.subscribe(&sample.view, &workload(name)).ok()?;
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

/// The cluster of the node `light`.
const LIGHT: &str = "cds_egress_m_light_http_9000";

/// A planner with a proxy for each of these nodes.
struct Stage {
    planner: Planner,
    sample: Sample,
    proxies: BTreeMap<&'static str, Snapshots>,
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

    /// Puts a resource and publishes the change; answers with those who were woken.
    fn put(&mut self, key: &ResourceKey, spec: Value) -> Vec<&'static str> {
        let changes = self.sample.put(key, spec);
        self.publish(&changes)
    }

    /// Registers an instance and publishes the change; answers with those who were woken.
    fn instance(
        &mut self,
        service: &str,
        id: &str,
        attributes: &[(&str, &str)],
    ) -> Vec<&'static str> {
        let changes = self.sample.instance(service, id, attributes);
        self.publish(&changes)
    }

    /// A resource that a proxy has.
    fn get(&self, proxy: &str, kind: Kind, name: &str) -> Arc<Resource> {
        let snapshot = self.proxies[proxy].borrow().clone();
        snapshot.get(kind, name).expect("it is there").clone()
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
    let shifted = weighted(&[("light", 9), ("dark", 1)]);
    assert_eq!(stage.put(&route("shade", "all"), shifted), ["web"]);
    assert_eq!(stage.put(&router("other"), listening(1, "http")), [""; 0]);
    let moved = registered(9001, "http", "stock");
    assert_eq!(stage.put(&node("stock"), moved), ["aside"]);
    let all = json!({"egressFilter": {"type": "ALLOW_ALL"}});
    let woken = stage.put(&ResourceKey::mesh(MESH), all);
    assert_eq!(woken, ["aside", "light", "web"]);
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
    assert_eq!(stage.instance("shade", "a", &light), ["web"]);
    // Registered again as it was.
    assert_eq!(stage.instance("shade", "a", &light), [""; 0]);
    // No node selects this tone.
    let other = [("AWS_INSTANCE_IPV4", "10.0.0.9"), ("tone", "neon")];
    assert_eq!(stage.instance("shade", "z", &other), [""; 0]);
    let stock = [("AWS_INSTANCE_IPV4", "10.0.0.2")];
    assert_eq!(stage.instance("stock", "a", &stock), ["aside"]);
}

#[test]
fn an_instance_renews_its_endpoint_sets_and_shares_everything_else() {
    let mut stage = Stage::new(shop(), &["web"]);
    let before = stage.proxies["web"].borrow().clone();
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("tone", "light")];
    stage.instance("shade", "a", &attributes);
    let after = stage.proxies["web"].borrow().clone();
    for kind in [Kind::Cluster, Kind::Listener, Kind::Route] {
        assert_eq!(after.difference(&before, kind).count(), 0, "{kind}");
    }
    let changed = after.difference(&before, Kind::Endpoint);
    let changed: Vec<&str> = changed.map(|name| &**name).collect();
    assert_eq!(changed, [LIGHT]);
}

#[test]
fn proxies_of_one_node_share_one_snapshot() {
    let mut stage = Stage::new(shop(), &["web"]);
    let second = subscribe(&mut stage.planner, &stage.sample, "web");
    let first = &stage.proxies["web"];
    assert!(Arc::ptr_eq(&second.borrow(), &first.borrow()));
}

#[test]
fn callers_of_one_service_share_its_clusters_and_endpoints_and_each_route_is_encoded_once() {
    let sample = shop().with(&node("also"), caller(&["shade.shop", "stock.shop"]));
    let mut stage = Stage::new(sample, &["web", "also"]);
    let is_shared = |stage: &Stage, kind| {
        let [web, also] = ["web", "also"].map(|proxy| stage.get(proxy, kind, LIGHT));
        Arc::ptr_eq(&web, &also)
    };
    assert!(is_shared(&stage, Kind::Cluster));
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("tone", "light")];
    assert_eq!(stage.instance("shade", "a", &attributes), ["also", "web"]);
    assert!(is_shared(&stage, Kind::Endpoint));
    let table = |stage: &Stage| stage.get("also", Kind::Route, "rds_egress_http_8082");
    let before = table(&stage);
    let shifted = weighted(&[("light", 9), ("dark", 1)]);
    assert_eq!(stage.put(&route("shade", "all"), shifted), ["also", "web"]);
    assert!(is_shared(&stage, Kind::Cluster));
    assert!(Arc::ptr_eq(&before, &table(&stage)), "another service's");
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
    fn workload_of(&self, node: &Node) -> Result<(Option<Scope>, RecordKey), Status> {
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
        dependencies: &mut Dependencies,
    ) -> ServicePlan {
        self.check(service);
        AppMesh.compile_service(scope, service, dependencies)
    }

    fn endpoints(
        &self,
        scope: &ScopeView,
        query: &EndpointQuery,
        dependencies: &mut Dependencies,
    ) -> Vec<Endpoint> {
        AppMesh.endpoints(scope, query, dependencies)
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
    assert_eq!(stage.instance("shade", "a", &attributes), ["also", "web"]);
    // A proxy of another workload that cannot be planned is told to come back.
    let refused = Planner::new(
        Arc::new(Panicky {
            workload: RecordKey::Resource(node("web")),
            service: RecordKey::Resource(service("stock.shop")),
            panics: panics.clone(),
        }),
        Arc::default(),
    )
    .subscribe(&stage.sample.view, &workload("web"))
    .expect_err("it cannot be planned");
    assert_eq!(refused.code(), Code::Unavailable);

    // With the next change, or the next verification, all is as it should be.
    panics.store(false, std::sync::atomic::Ordering::Relaxed);
    check_drift(&mut stage.planner, &stage.sample);
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
    assert_eq!(stage.planner.check_drift(&stage.sample.view), 0);
    let known: Vec<_> = stage
        .planner
        .published
        .workloads
        .lock()
        .keys()
        .cloned()
        .collect();
    assert_eq!(known, [workload("web")]);
    stage.proxies.clear();
    assert_eq!(stage.planner.check_drift(&stage.sample.view), 0);
    assert!(stage.planner.scopes.is_empty(), "nothing is kept");
}

#[test]
fn warnings_go_when_their_reason_goes() {
    let sample = Sample::new(json!({}))
        .with(&node("light"), registered(9000, "http", "shade"))
        .with(&service("shade.shop"), provided("light"))
        .with(&node("web"), caller(&["shade.shop", "stock.shop"]));
    let mut stage = Stage::new(sample, &["web"]);
    let count = |stage: &Stage| warnings(&stage.planner, "web").len();
    assert_eq!(count(&stage), 2, "{:?}", warnings(&stage.planner, "web"));

    stage.put(&service("stock.shop"), provided("light"));
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
    rng: fastrand::Rng,
    planner: Planner,
    sample: Sample,
    proxies: BTreeMap<&'static str, Snapshots>,
}

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const SERVICES: [&str; 3] = ["x.shop", "y.shop", "z.shop"];
const ROUTERS: [&str; 2] = ["r", "s"];
const TONES: [&str; 2] = ["light", "dark"];

impl Walk {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: fastrand::Rng::with_seed(seed),
            planner: planner(),
            sample: Sample::new(json!({})),
            proxies: BTreeMap::new(),
        }
    }

    fn run(mut self, steps: usize) {
        for step in 0..steps {
            // Several commands at once, as a watcher that is a little late sees them.
            let mut changes = Vec::new();
            for _ in 0..self.rng.u8(..3) + 1 {
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
                check_drift(&mut self.planner, &self.sample),
                0,
                "seed {}",
                self.seed
            );
        }
        let propagation = propagation(&self.sample);
        assert_eq!(self.planner.recompile(&self.sample.view, &propagation), 0);
        self.proxies.clear();
        self.planner.check_drift(&self.sample.view);
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
                    assert_eq!(now.missing().next(), None, "{place}");
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

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        self.rng.choice(words).expect("there are words")
    }

    fn command(&mut self) -> Command {
        match self.rng.u8(..20) {
            0..=3 => self.put_node(),
            4..=5 => {
                let key = router(self.pick(&ROUTERS));
                let port = [80, 8081][self.rng.usize(..2)];
                put(&self.sample.view, &key, listening(port, "http"))
            }
            6..=8 => self.put_route(),
            9..=10 => {
                let key = service(self.pick(&SERVICES));
                let provider = match self.rng.u8(..4) {
                    0 => json!({}),
                    1 => provided(self.pick(&NODES)),
                    _ => routed(self.pick(&ROUTERS)),
                };
                put(&self.sample.view, &key, provider)
            }
            11..=12 => self.delete(),
            13 => {
                let kind = ["ALLOW_ALL", "DROP_ALL"][self.rng.usize(..2)];
                let key = ResourceKey::mesh(MESH);
                put(
                    &self.sample.view,
                    &key,
                    json!({"egressFilter": {"type": kind}}),
                )
            }
            _ => self.registry(),
        }
    }

    fn put_node(&mut self) -> Command {
        let key = node(self.pick(&NODES));
        let backends: Vec<&str> = SERVICES.into_iter().filter(|_| self.rng.bool()).collect();
        let mut spec = caller(&backends);
        if self.rng.u8(..4) > 0 {
            let protocol = ["http", "http", "tcp", "grpc"][self.rng.usize(..4)];
            let port = self.rng.u16(9000..9002);
            spec["listeners"] = json!([{"portMapping": {"port": port, "protocol": protocol}}]);
            let service = self.pick(&TONES);
            let mut discovery = json!({"namespaceName": NAMESPACE, "serviceName": service});
            if self.rng.bool() {
                discovery["attributes"] = json!([{"key": "tone", "value": self.pick(&TONES)}]);
            }
            spec["serviceDiscovery"] = json!({ "awsCloudMap": discovery });
        }
        put(&self.sample.view, &key, spec)
    }

    fn put_route(&mut self) -> Command {
        let key = route(self.pick(&ROUTERS), self.pick(&["all", "some"]));
        let (one, two) = (self.pick(&NODES), self.pick(&NODES));
        let weight = self.rng.u32(..3);
        let mut targets = vec![(one, weight)];
        if two != one {
            targets.push((two, 1));
        }
        let prefix = ["/", "/some"][self.rng.usize(..2)];
        let spec = json!({"httpRoute": {"match": {"prefix": prefix}, "action": shares(&targets)}});
        put(&self.sample.view, &key, spec)
    }

    fn delete(&mut self) -> Command {
        let key = match self.rng.u8(..4) {
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
            return create_namespace();
        };
        let name = self.pick(&TONES);
        let scope = self.sample.scope();
        let Some(known) = scope.service_by_name(&namespace.id, name) else {
            return create_service(namespace.id.to_string(), name);
        };
        let service_id = known.id.to_string();
        let instance_id = format!("i-{}", self.rng.u8(..3));
        Command::CloudMap(match self.rng.u8(..10) {
            0..=4 => {
                let address = format!("10.0.0.{}", self.rng.u8(1..5));
                let tone = self.pick(&TONES);
                let attributes = [("AWS_INSTANCE_IPV4", &*address), ("tone", tone)];
                return register(service_id, &instance_id, &attributes);
            }
            5..=6 => cloudmap::DeregisterInstance {
                service_id,
                instance_id,
            }
            .into(),
            7 => cloudmap::UpdateInstanceCustomHealthStatus {
                service_id,
                instance_id,
                status: [Health::Healthy, Health::Unhealthy][self.rng.usize(..2)],
            }
            .into(),
            8 => cloudmap::DeleteService { id: service_id }.into(),
            _ => cloudmap::DeleteNamespace {
                id: namespace.id.to_string(),
            }
            .into(),
        })
    }
}
