//! The compiled results of one account and region, and which of them a change makes stale.

use super::{Compiled, guarded};
use crate::{
    dialect::{Context, Dialect, Reads, ServicePlan, Topic},
    envoy,
    plan::{Discovery, EndpointQuery, Plan, SharedCluster, Warning},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, LazyLock},
};
use tombolo_model::{RecordKey, Scope, ScopeView, View};
use tombolo_xds::{Kind, Resource, Snapshot, snapshot::Builder};

/// What everything is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    dialect: &'a dyn Dialect,
    scope: &'a ScopeView,
    revision: u64,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(dialect: &'a dyn Dialect, view: &'a View, scope: &Scope) -> Self {
        static EMPTY: LazyLock<ScopeView> = LazyLock::new(ScopeView::default);
        Self {
            dialect,
            scope: view.scope(scope).unwrap_or(&EMPTY),
            revision: view.revision,
        }
    }
}

/// The compiled results. Each is kept for as long as a workload that has proxies uses it.
#[derive(Default)]
pub(super) struct Cache {
    services: Results<RecordKey, Arc<ServicePlan>>,
    endpoints: Results<EndpointsKey, Arc<Resource>>,
    workloads: HashMap<RecordKey, Workload>,
    dependents: Dependents,
    /// The clusters of all services, by name, so that services which lead to the same node share its cluster.
    clusters: HashMap<Arc<str>, SharedCluster>,
}

/// A cluster and which endpoints it has.
type EndpointsKey = Arc<(Arc<str>, EndpointQuery)>;

/// Names a result.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Item {
    Service(RecordKey),
    Endpoints(EndpointsKey),
    Workload(RecordKey),
}

/// What was compiled for a workload.
#[derive(Default)]
struct Workload {
    plan: Plan,
    reads: Reads,
    services: BTreeSet<RecordKey>,
    endpoints: HashMap<Arc<str>, EndpointsKey>,
    snapshot: Arc<Snapshot>,
    warnings: Arc<[Warning]>,
}

/// What a change makes stale of a workload.
#[derive(Default)]
struct Stale {
    plan: bool,
    endpoints: Vec<EndpointsKey>,
}

impl Cache {
    pub(super) fn is_empty(&self) -> bool {
        self.workloads.is_empty()
    }

    /// The newest snapshot of a workload and its warnings.
    pub(super) fn result(&self, key: &RecordKey) -> Option<(Arc<Snapshot>, Arc<[Warning]>)> {
        let workload = self.workloads.get(key)?;
        Some((workload.snapshot.clone(), workload.warnings.clone()))
    }

    /// Compiles again what read one of these records, before or after the change; returns the workloads that differ.
    pub(super) fn update(&mut self, inputs: Inputs<'_>, records: &[RecordKey]) -> Vec<RecordKey> {
        let mut items = HashSet::new();
        for record in records {
            Reads::touched(Some(inputs.scope), record, &mut |topic| {
                items.extend(self.dependents.of(&topic).cloned());
            });
        }
        self.recompile(inputs, items)
    }

    /// Compiles everything again; returns the workloads that differ.
    pub(super) fn recompile_all(&mut self, inputs: Inputs<'_>) -> Vec<RecordKey> {
        let services = self.services.0.keys().cloned().map(Item::Service);
        let endpoints = self.endpoints.0.keys().cloned().map(Item::Endpoints);
        let workloads = self.workloads.keys().cloned().map(Item::Workload);
        let items = services.chain(endpoints).chain(workloads).collect();
        self.recompile(inputs, items)
    }

    /// Compiles a workload and all that it uses again; returns the workloads that differ.
    pub(super) fn recompile_workload(
        &mut self,
        inputs: Inputs<'_>,
        key: &RecordKey,
    ) -> Vec<RecordKey> {
        let Some(workload) = self.workloads.get(key) else {
            return Vec::new();
        };
        let services = workload.services.iter().cloned().map(Item::Service);
        let endpoints = workload.endpoints.values().cloned().map(Item::Endpoints);
        let mut items: HashSet<Item> = services.chain(endpoints).collect();
        items.insert(Item::Workload(key.clone()));
        self.recompile(inputs, items)
    }

    fn recompile(&mut self, inputs: Inputs<'_>, items: HashSet<Item>) -> Vec<RecordKey> {
        let mut workloads: BTreeMap<RecordKey, Stale> = BTreeMap::new();
        for item in items {
            match item {
                Item::Service(key) => {
                    if self.compile_service(inputs, &key) {
                        for user in self.services.users(&key) {
                            workloads.entry(user.clone()).or_default().plan = true;
                        }
                    }
                }
                Item::Endpoints(key) => {
                    if self.select_endpoints(inputs, &key) {
                        for user in self.endpoints.users(&key) {
                            let stale = workloads.entry(user.clone()).or_default();
                            stale.endpoints.push(key.clone());
                        }
                    }
                }
                Item::Workload(key) => workloads.entry(key).or_default().plan = true,
            }
        }
        let mut differ = Vec::new();
        for (key, stale) in workloads {
            let Some(before) = self.result(&key) else {
                continue;
            };
            if self.refresh(inputs, &key, stale) == Compiled::Missing {
                self.forget(&key);
            }
            let differs = self.result(&key).is_none_or(|after| after != before);
            if differs {
                differ.push(key);
            }
        }
        differ
    }

    fn refresh(&mut self, inputs: Inputs<'_>, key: &RecordKey, stale: Stale) -> Compiled {
        if let Some(workload) = self.workloads.get_mut(key) {
            let mut edit = workload.snapshot.edit(inputs.revision);
            for endpoints in stale
                .endpoints
                .iter()
                .filter_map(|key| self.endpoints.get(key))
            {
                edit.insert(endpoints.clone());
            }
            workload.snapshot = Arc::new(edit.build());
        }
        if stale.plan {
            self.compile(inputs, key)
        } else {
            Compiled::Published
        }
    }

    /// Compiles a workload.
    pub(super) fn compile(&mut self, inputs: Inputs<'_>, key: &RecordKey) -> Compiled {
        let (mut reads, mut services) = (Reads::default(), BTreeSet::new());
        let compiled = guarded(key, || {
            let mut service = |name: &RecordKey| {
                services.insert(name.clone());
                self.service(inputs, name)
            };
            let mut context = Context {
                reads: &mut reads,
                services: &mut service,
            };
            inputs.dialect.compile(inputs.scope, key, &mut context)
        });
        let before = self.workloads.remove(key);
        let Some(Some(plan)) = compiled else {
            let used = before.as_ref().map(|before| &before.services);
            services.retain(|service| used.is_none_or(|used| !used.contains(service)));
            self.workloads
                .extend(before.map(|before| (key.clone(), before)));
            self.release_services(key, &services);
            return match compiled {
                Some(_) => Compiled::Missing,
                None => Compiled::Failed,
            };
        };
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        self.dependents
            .replace(Item::Workload(key.clone()), &before.reads, &reads);
        for service in services.difference(&before.services) {
            self.services.add_user(service, key);
        }
        let mut edit = before.snapshot.edit(inputs.revision);
        envoy::update((!is_new).then_some(&before.plan), &plan, &mut edit);
        let endpoints = self.hold_endpoints(inputs, key, before.endpoints, &plan, &mut edit);
        let workload = Workload {
            warnings: plan.warnings.clone().into(),
            snapshot: Arc::new(edit.build()),
            plan,
            reads,
            endpoints,
            services: services.clone(),
        };
        self.workloads.insert(key.clone(), workload);
        // Clusters that only it had are seen to be unused.
        drop((before.plan, before.snapshot));
        let unused = before.services.difference(&services).cloned().collect();
        self.release_services(key, &unused);
        Compiled::Published
    }

    /// Replaces the endpoints that a workload had by those of its plan.
    fn hold_endpoints(
        &mut self,
        inputs: Inputs<'_>,
        workload: &RecordKey,
        mut before: HashMap<Arc<str>, EndpointsKey>,
        plan: &Plan,
        edit: &mut Builder,
    ) -> HashMap<Arc<str>, EndpointsKey> {
        let mut endpoints = HashMap::with_capacity(before.len());
        for (name, cluster) in &plan.clusters {
            let Discovery::Registry(query) = &cluster.discovery else {
                continue;
            };
            let key = match before.remove(name) {
                Some(key) if key.1 == *query => key,
                replaced => {
                    let key: EndpointsKey = Arc::new((name.clone(), query.clone()));
                    if self.endpoints.get(&key).is_none() {
                        self.select_endpoints(inputs, &key);
                    }
                    self.endpoints.add_user(&key, workload);
                    edit.insert(self.endpoints.0[&key].value.clone());
                    if let Some(replaced) = replaced {
                        self.release_endpoints(workload, &replaced);
                    }
                    key
                }
            };
            endpoints.insert(name.clone(), key);
        }
        for (name, key) in before {
            edit.remove(Kind::Endpoint, &name);
            self.release_endpoints(workload, &key);
        }
        endpoints
    }

    fn release_endpoints(&mut self, workload: &RecordKey, key: &EndpointsKey) {
        let dependents = &mut self.dependents;
        self.endpoints
            .release(key, workload, Item::Endpoints, dependents);
    }

    fn release_services(&mut self, workload: &RecordKey, services: &BTreeSet<RecordKey>) {
        let dependents = &mut self.dependents;
        let mut dropped = false;
        for key in services {
            dropped |= self
                .services
                .release(key, workload, Item::Service, dependents);
        }
        if dropped {
            self.clusters.retain(|_, cluster| cluster.is_shared());
        }
    }

    /// A service, compiled if it was not.
    fn service(&mut self, inputs: Inputs<'_>, key: &RecordKey) -> Arc<ServicePlan> {
        if self.services.get(key).is_none() {
            self.compile_service(inputs, key);
        }
        self.services.0[key].value.clone()
    }

    /// Compiles a service; true if it differs from before.
    fn compile_service(&mut self, inputs: Inputs<'_>, key: &RecordKey) -> bool {
        let mut reads = Reads::default();
        let compiled = guarded(key, || {
            let dialect = inputs.dialect;
            dialect.compile_service(inputs.scope, key, &mut reads)
        });
        let compiled = compiled.map(|mut plan| {
            self.share(&mut plan, self.services.get(key).cloned().as_deref());
            Arc::new(plan)
        });
        let failed = || {
            let warning = Warning {
                object: key.to_string(),
                message: "cannot be compiled: see the log of the control plane".into(),
            };
            Arc::new(ServicePlan {
                exists: true,
                warnings: vec![warning],
                ..ServicePlan::default()
            })
        };
        let dependents = &mut self.dependents;
        self.services
            .put(key, (compiled, reads), failed, Item::Service, dependents)
    }

    /// Replaces the parts of a service that are as before, or as in another service, by those.
    fn share(&mut self, plan: &mut ServicePlan, before: Option<&ServicePlan>) {
        for (port, handler) in &mut plan.ports {
            if let Some(same) = before.and_then(|before| before.ports.get(port))
                && same == handler
            {
                handler.clone_from(same);
            }
        }
        for (name, cluster) in &mut plan.clusters {
            match self.clusters.get(name) {
                Some(known) if known == cluster => cluster.clone_from(known),
                _ => drop(self.clusters.insert(name.clone(), cluster.clone())),
            }
        }
    }

    /// Selects the endpoints of a cluster; true if they differ from before.
    fn select_endpoints(&mut self, inputs: Inputs<'_>, key: &EndpointsKey) -> bool {
        let (cluster, query) = &**key;
        let mut reads = Reads::default();
        let selected = guarded(cluster, || {
            let endpoints = inputs.dialect.endpoints(inputs.scope, query, &mut reads);
            Arc::new(envoy::endpoints(cluster, &endpoints))
        });
        let failed = || Arc::new(envoy::endpoints(cluster, &[]));
        let dependents = &mut self.dependents;
        self.endpoints
            .put(key, (selected, reads), failed, Item::Endpoints, dependents)
    }

    /// Forgets a workload, and what it alone used.
    pub(super) fn forget(&mut self, key: &RecordKey) {
        let Some(workload) = self.workloads.remove(key) else {
            return;
        };
        let nothing = Reads::default();
        self.dependents
            .replace(Item::Workload(key.clone()), &workload.reads, &nothing);
        for endpoints in workload.endpoints.values() {
            self.release_endpoints(key, endpoints);
        }
        // Clusters that only it had are seen to be unused.
        drop((workload.plan, workload.snapshot));
        self.release_services(key, &workload.services);
    }
}

/// Results that workloads share.
struct Results<K, T>(HashMap<K, Kept<T>>);

struct Kept<T> {
    value: T,
    reads: Reads,
    /// The workloads that use it.
    users: HashSet<RecordKey>,
}

impl<K, T> Default for Results<K, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash, T: PartialEq> Results<K, T> {
    fn get(&self, key: &K) -> Option<&T> {
        self.0.get(key).map(|kept| &kept.value)
    }

    fn users(&self, key: &K) -> impl Iterator<Item = &RecordKey> {
        self.0.get(key).into_iter().flat_map(|kept| &kept.users)
    }

    fn add_user(&mut self, key: &K, workload: &RecordKey) {
        if let Some(kept) = self.0.get_mut(key) {
            kept.users.insert(workload.clone());
        }
    }

    /// Replaces a result, with what was read for it; true if it differs from before. If the compilation failed, the
    /// result before stays; without one, `failed` is put in.
    fn put(
        &mut self,
        key: &K,
        (compiled, mut reads): (Option<T>, Reads),
        failed: impl FnOnce() -> T,
        item: fn(K) -> Item,
        dependents: &mut Dependents,
    ) -> bool {
        let (before, read_before, users) = match self.0.remove(key) {
            Some(before) => (Some(before.value), before.reads, before.users),
            None => Default::default(),
        };
        if compiled.is_none() {
            // What it read before it failed is not all, so what it read last counts too.
            let all = read_before.topics().cloned();
            all.for_each(|topic| reads.note(topic));
        }
        let (value, differs) = match (compiled, before) {
            (Some(new), Some(before)) if new == before => (before, false),
            (Some(new), _) => (new, true),
            (None, Some(before)) => (before, false),
            (None, None) => (failed(), true),
        };
        dependents.replace(item(key.clone()), &read_before, &reads);
        let kept = Kept {
            value,
            reads,
            users,
        };
        self.0.insert(key.clone(), kept);
        differs
    }

    /// A workload does not use it any more; true if it was dropped, because none does.
    fn release(
        &mut self,
        key: &K,
        workload: &RecordKey,
        item: fn(K) -> Item,
        dependents: &mut Dependents,
    ) -> bool {
        let Some(kept) = self.0.get_mut(key) else {
            return false;
        };
        kept.users.remove(workload);
        if !kept.users.is_empty() {
            return false;
        }
        dependents.replace(item(key.clone()), &kept.reads, &Reads::default());
        self.0.remove(key);
        true
    }
}

/// Which results read what.
#[derive(Default)]
struct Dependents(HashMap<Topic, HashSet<Item>>);

impl Dependents {
    fn of(&self, topic: &Topic) -> impl Iterator<Item = &Item> {
        self.0.get(topic).into_iter().flatten()
    }

    /// A result was made from other things than before.
    fn replace(&mut self, item: Item, before: &Reads, now: &Reads) {
        for topic in before.topics().filter(|topic| !now.contains(topic)) {
            if let Some(items) = self.0.get_mut(topic) {
                items.remove(&item);
                if items.is_empty() {
                    self.0.remove(topic);
                }
            }
        }
        for topic in now.topics().filter(|topic| !before.contains(topic)) {
            let items = self.0.entry(topic.clone()).or_default();
            items.insert(item.clone());
        }
    }
}
