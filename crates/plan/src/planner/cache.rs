//! The cache of the compiled results of one account and region, and its invalidation by changes.

use super::{CompileOutcome, catch_panic};
use crate::{
    dialect::{Context, Dependencies, Dependency, Dialect, ServicePlan},
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

/// The inputs of every compilation.
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

/// The compiled results. Each stays cached for as long as a workload that has proxies uses it.
#[derive(Default)]
pub(super) struct Cache {
    services: SharedResults<RecordKey, Arc<ServicePlan>>,
    endpoints: SharedResults<EndpointsKey, Arc<Resource>>,
    workloads: HashMap<RecordKey, Workload>,
    dependents: Dependents,
    /// The clusters of all services, by name, so that services with a target in common share its cluster.
    clusters: HashMap<Arc<str>, SharedCluster>,
}

/// The name of a cluster and the query of its endpoints.
type EndpointsKey = Arc<(Arc<str>, EndpointQuery)>;

/// The identity of a cached result.
#[derive(Clone, PartialEq, Eq, Hash)]
enum ResultKey {
    Service(RecordKey),
    Endpoints(EndpointsKey),
    Workload(RecordKey),
}

/// The compiled results of a workload.
#[derive(Default)]
struct Workload {
    plan: Plan,
    dependencies: Dependencies,
    services: BTreeSet<RecordKey>,
    endpoints: HashMap<Arc<str>, EndpointsKey>,
    snapshot: Arc<Snapshot>,
    warnings: Arc<[Warning]>,
}

/// The parts of a workload that a change invalidated.
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

    /// Recompiles the results that depend on one of these changed records; returns the workloads that differ.
    pub(super) fn update(&mut self, inputs: Inputs<'_>, records: &[RecordKey]) -> Vec<RecordKey> {
        let mut stale = HashSet::new();
        for record in records {
            Dependencies::invalidated_by(Some(inputs.scope), record, &mut |dependency| {
                stale.extend(self.dependents.of(&dependency).cloned());
            });
        }
        self.recompile(inputs, stale)
    }

    /// Recompiles every result; returns the workloads that differ.
    pub(super) fn recompile_all(&mut self, inputs: Inputs<'_>) -> Vec<RecordKey> {
        let services = self.services.0.keys().cloned().map(ResultKey::Service);
        let endpoints = self.endpoints.0.keys().cloned().map(ResultKey::Endpoints);
        let workloads = self.workloads.keys().cloned().map(ResultKey::Workload);
        let all = services.chain(endpoints).chain(workloads).collect();
        self.recompile(inputs, all)
    }

    /// Recompiles a workload and every result that it uses; returns the workloads that differ.
    pub(super) fn recompile_workload(
        &mut self,
        inputs: Inputs<'_>,
        key: &RecordKey,
    ) -> Vec<RecordKey> {
        let Some(workload) = self.workloads.get(key) else {
            return Vec::new();
        };
        let services = workload.services.iter().cloned();
        let endpoints = workload.endpoints.values().cloned();
        let mut results: HashSet<ResultKey> = services
            .map(ResultKey::Service)
            .chain(endpoints.map(ResultKey::Endpoints))
            .collect();
        results.insert(ResultKey::Workload(key.clone()));
        self.recompile(inputs, results)
    }

    fn recompile(&mut self, inputs: Inputs<'_>, results: HashSet<ResultKey>) -> Vec<RecordKey> {
        let mut workloads: BTreeMap<RecordKey, Stale> = BTreeMap::new();
        for result in results {
            match result {
                ResultKey::Service(key) => {
                    if self.compile_service(inputs, &key) {
                        for user in self.services.users(&key) {
                            workloads.entry(user.clone()).or_default().plan = true;
                        }
                    }
                }
                ResultKey::Endpoints(key) => {
                    if self.select_endpoints(inputs, &key) {
                        for user in self.endpoints.users(&key) {
                            let stale = workloads.entry(user.clone()).or_default();
                            stale.endpoints.push(key.clone());
                        }
                    }
                }
                ResultKey::Workload(key) => workloads.entry(key).or_default().plan = true,
            }
        }
        let mut differ = Vec::new();
        for (key, stale) in workloads {
            let Some(before) = self.result(&key) else {
                continue;
            };
            if self.refresh(inputs, &key, stale) == CompileOutcome::NotFound {
                self.evict(&key);
            }
            let differs = self.result(&key).is_none_or(|after| after != before);
            if differs {
                differ.push(key);
            }
        }
        differ
    }

    /// Replaces the invalidated endpoints of a workload, and recompiles its plan if that is invalidated too.
    fn refresh(&mut self, inputs: Inputs<'_>, key: &RecordKey, stale: Stale) -> CompileOutcome {
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
            CompileOutcome::Compiled
        }
    }

    /// Compiles a workload and replaces its cached plan and snapshot.
    pub(super) fn compile(&mut self, inputs: Inputs<'_>, key: &RecordKey) -> CompileOutcome {
        let (mut dependencies, mut services) = (Dependencies::default(), BTreeSet::new());
        let compiled = catch_panic(key, || {
            let mut service = |name: &RecordKey| {
                services.insert(name.clone());
                self.service(inputs, name)
            };
            let mut context = Context {
                dependencies: &mut dependencies,
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
                Some(_) => CompileOutcome::NotFound,
                None => CompileOutcome::Panicked,
            };
        };
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        self.dependents.replace(
            ResultKey::Workload(key.clone()),
            &before.dependencies,
            &dependencies,
        );
        for service in services.difference(&before.services) {
            self.services.add_user(service, key);
        }
        let mut edit = before.snapshot.edit(inputs.revision);
        envoy::update((!is_new).then_some(&before.plan), &plan, &mut edit);
        let endpoints = self.replace_endpoints(inputs, key, before.endpoints, &plan, &mut edit);
        let workload = Workload {
            warnings: plan.warnings.clone().into(),
            snapshot: Arc::new(edit.build()),
            plan,
            dependencies,
            endpoints,
            services: services.clone(),
        };
        self.workloads.insert(key.clone(), workload);
        // Dropped before the release below, which counts references to find the clusters that nothing shares any more.
        drop((before.plan, before.snapshot));
        let unused = before.services.difference(&services).cloned().collect();
        self.release_services(key, &unused);
        CompileOutcome::Compiled
    }

    /// Replaces the endpoints that a workload uses by those of its new plan, in the cache and in the snapshot.
    fn replace_endpoints(
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
            .release(key, workload, ResultKey::Endpoints, dependents);
    }

    fn release_services(&mut self, workload: &RecordKey, services: &BTreeSet<RecordKey>) {
        let dependents = &mut self.dependents;
        let mut dropped = false;
        for key in services {
            dropped |= self
                .services
                .release(key, workload, ResultKey::Service, dependents);
        }
        if dropped {
            self.clusters.retain(|_, cluster| cluster.is_shared());
        }
    }

    /// A service from the cache; compiles it if it is not there.
    fn service(&mut self, inputs: Inputs<'_>, key: &RecordKey) -> Arc<ServicePlan> {
        if self.services.get(key).is_none() {
            self.compile_service(inputs, key);
        }
        self.services.0[key].value.clone()
    }

    /// Compiles a service; returns whether it differs from the cached one.
    fn compile_service(&mut self, inputs: Inputs<'_>, key: &RecordKey) -> bool {
        let mut dependencies = Dependencies::default();
        let compiled = catch_panic(key, || {
            let dialect = inputs.dialect;
            dialect.compile_service(inputs.scope, key, &mut dependencies)
        });
        let compiled = compiled.map(|mut plan| {
            self.deduplicate(&mut plan, self.services.get(key).cloned().as_deref());
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
        self.services.put(
            key,
            (compiled, dependencies),
            failed,
            ResultKey::Service,
            dependents,
        )
    }

    /// Replaces the parts of a service that equal a cached part by a reference to it: handlers of the same service, and
    /// clusters of any service.
    fn deduplicate(&mut self, plan: &mut ServicePlan, before: Option<&ServicePlan>) {
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

    /// Selects the endpoints of a cluster; returns whether they differ from the cached ones.
    fn select_endpoints(&mut self, inputs: Inputs<'_>, key: &EndpointsKey) -> bool {
        let (cluster, query) = &**key;
        let mut dependencies = Dependencies::default();
        let selected = catch_panic(cluster, || {
            let dialect = inputs.dialect;
            let endpoints = dialect.endpoints(inputs.scope, query, &mut dependencies);
            Arc::new(envoy::endpoints(cluster, &endpoints))
        });
        let failed = || Arc::new(envoy::endpoints(cluster, &[]));
        let dependents = &mut self.dependents;
        self.endpoints.put(
            key,
            (selected, dependencies),
            failed,
            ResultKey::Endpoints,
            dependents,
        )
    }

    /// Evicts a workload and the results that only it used.
    pub(super) fn evict(&mut self, key: &RecordKey) {
        let Some(workload) = self.workloads.remove(key) else {
            return;
        };
        let none = Dependencies::default();
        self.dependents.replace(
            ResultKey::Workload(key.clone()),
            &workload.dependencies,
            &none,
        );
        for endpoints in workload.endpoints.values() {
            self.release_endpoints(key, endpoints);
        }
        // Dropped before the release below, which counts references to find the clusters that nothing shares any more.
        drop((workload.plan, workload.snapshot));
        self.release_services(key, &workload.services);
    }
}

/// Cached results that workloads share, each with the workloads that use it.
struct SharedResults<K, T>(HashMap<K, SharedResult<T>>);

struct SharedResult<T> {
    value: T,
    dependencies: Dependencies,
    /// The workloads that use the result.
    users: HashSet<RecordKey>,
}

impl<K, T> Default for SharedResults<K, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash, T: PartialEq> SharedResults<K, T> {
    fn get(&self, key: &K) -> Option<&T> {
        self.0.get(key).map(|shared| &shared.value)
    }

    fn users(&self, key: &K) -> impl Iterator<Item = &RecordKey> {
        self.0.get(key).into_iter().flat_map(|shared| &shared.users)
    }

    fn add_user(&mut self, key: &K, workload: &RecordKey) {
        if let Some(shared) = self.0.get_mut(key) {
            shared.users.insert(workload.clone());
        }
    }

    /// Replaces a result and its dependencies; returns whether the value differs from the one before. If the
    /// compilation failed, the value before stays; if there is none, the value is `failed()`.
    fn put(
        &mut self,
        key: &K,
        (compiled, mut dependencies): (Option<T>, Dependencies),
        failed: impl FnOnce() -> T,
        result_key: fn(K) -> ResultKey,
        dependents: &mut Dependents,
    ) -> bool {
        let (before, old_dependencies, users) = match self.0.remove(key) {
            Some(before) => (Some(before.value), before.dependencies, before.users),
            None => Default::default(),
        };
        if compiled.is_none() {
            // A failed compilation has only some of its dependencies, so the old ones count too.
            let old = old_dependencies.iter().cloned();
            old.for_each(|dependency| dependencies.add(dependency));
        }
        let (value, differs) = match (compiled, before) {
            (Some(new), Some(before)) if new == before => (before, false),
            (Some(new), _) => (new, true),
            (None, Some(before)) => (before, false),
            (None, None) => (failed(), true),
        };
        dependents.replace(result_key(key.clone()), &old_dependencies, &dependencies);
        let result = SharedResult {
            value,
            dependencies,
            users,
        };
        self.0.insert(key.clone(), result);
        differs
    }

    /// Removes a workload from the users of a result, and the result if no user is left; returns whether it was
    /// removed.
    fn release(
        &mut self,
        key: &K,
        workload: &RecordKey,
        result_key: fn(K) -> ResultKey,
        dependents: &mut Dependents,
    ) -> bool {
        let Some(result) = self.0.get_mut(key) else {
            return false;
        };
        result.users.remove(workload);
        if !result.users.is_empty() {
            return false;
        }
        let none = Dependencies::default();
        dependents.replace(result_key(key.clone()), &result.dependencies, &none);
        self.0.remove(key);
        true
    }
}

/// The reverse index: the results that depend on each [`Dependency`].
#[derive(Default)]
struct Dependents(HashMap<Dependency, HashSet<ResultKey>>);

impl Dependents {
    fn of(&self, dependency: &Dependency) -> impl Iterator<Item = &ResultKey> {
        self.0.get(dependency).into_iter().flatten()
    }

    /// Replaces the dependencies of a result.
    fn replace(&mut self, result: ResultKey, before: &Dependencies, now: &Dependencies) {
        for dependency in before.iter().filter(|old| !now.contains(old)) {
            if let Some(results) = self.0.get_mut(dependency) {
                results.remove(&result);
                if results.is_empty() {
                    self.0.remove(dependency);
                }
            }
        }
        for dependency in now.iter().filter(|new| !before.contains(new)) {
            let results = self.0.entry(dependency.clone()).or_default();
            results.insert(result.clone());
        }
    }
}
