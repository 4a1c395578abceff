//! The results that are kept for one account and region.

use super::{Compiled, guarded};
use crate::{
    dialect::{Context, Dialect, Reads, ServicePlan, Topic},
    envoy,
    plan::{Cluster, Discovery, EndpointQuery, Plan, Warning},
    shared::Shared,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use tombolo_model::{RecordKey, ScopeView};
use tombolo_xds::{Kind, Resource, Snapshot, snapshot::Builder};

/// See the module above.
#[derive(Default)]
pub(super) struct ScopePlanner {
    services: HashMap<RecordKey, Service>,
    endpoints: HashMap<EndpointsKey, Endpoints>,
    workloads: HashMap<RecordKey, Workload>,
    /// Who looked at what.
    readers: HashMap<Topic, HashSet<Reader>>,
    /// The clusters of all services, by name, so that services which lead to the same node share its cluster.
    clusters: HashMap<Arc<str>, Shared<Cluster>>,
}

/// A cluster and which endpoints it has.
type EndpointsKey = Arc<(Arc<str>, EndpointQuery)>;

/// A result that is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Reader {
    Service(RecordKey),
    Endpoints(EndpointsKey),
    Workload(RecordKey),
}

struct Service {
    plan: Arc<ServicePlan>,
    reads: Reads,
    /// The workloads that call it.
    callers: HashSet<RecordKey>,
}

struct Endpoints {
    resource: Arc<Resource>,
    reads: Reads,
    /// The workloads that have the cluster.
    holders: HashSet<RecordKey>,
}

struct Workload {
    plan: Plan,
    reads: Reads,
    services: BTreeSet<RecordKey>,
    endpoints: HashMap<Arc<str>, EndpointsKey>,
    snapshot: Arc<Snapshot>,
    warnings: Arc<[Warning]>,
}

impl ScopePlanner {
    pub(super) fn is_empty(&self) -> bool {
        self.workloads.is_empty()
    }

    /// The newest snapshot of a workload and its warnings.
    pub(super) fn result(&self, key: &RecordKey) -> Option<(Arc<Snapshot>, Arc<[Warning]>)> {
        let workload = self.workloads.get(key)?;
        Some((workload.snapshot.clone(), workload.warnings.clone()))
    }

    /// Takes changes of these records to all results; answers with the workloads that differ.
    pub(super) fn update(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        revision: u64,
        keys: &[RecordKey],
    ) -> Vec<RecordKey> {
        let mut readers: HashSet<Reader> = HashSet::new();
        for key in keys {
            Reads::touched(Some(scope), key, &mut |topic| {
                readers.extend(self.readers.get(&topic).into_iter().flatten().cloned());
            });
        }
        self.renew(dialect, scope, revision, readers)
    }

    /// Compiles everything again.
    pub(super) fn recompile(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        revision: u64,
    ) -> Vec<RecordKey> {
        let services = self.services.keys().cloned().map(Reader::Service);
        let endpoints = self.endpoints.keys().cloned().map(Reader::Endpoints);
        let workloads = self.workloads.keys().cloned().map(Reader::Workload);
        let readers = services.chain(endpoints).chain(workloads).collect();
        self.renew(dialect, scope, revision, readers)
    }

    /// Compiles a workload and all that it uses again.
    pub(super) fn verify(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        revision: u64,
        key: &RecordKey,
    ) -> Vec<RecordKey> {
        let Some(workload) = self.workloads.get(key) else {
            return Vec::new();
        };
        let services = workload.services.iter().cloned().map(Reader::Service);
        let endpoints = workload.endpoints.values().cloned();
        let mut readers: HashSet<Reader> =
            services.chain(endpoints.map(Reader::Endpoints)).collect();
        readers.insert(Reader::Workload(key.clone()));
        self.renew(dialect, scope, revision, readers)
    }

    fn renew(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        revision: u64,
        readers: HashSet<Reader>,
    ) -> Vec<RecordKey> {
        let mut workloads: BTreeMap<RecordKey, Touched> = BTreeMap::new();
        for reader in readers {
            match reader {
                Reader::Service(key) => {
                    if self.compile_service(dialect, scope, &key) {
                        for caller in self.services[&key].callers.iter().cloned() {
                            workloads.entry(caller).or_default().plan = true;
                        }
                    }
                }
                Reader::Endpoints(key) => {
                    if self.select(dialect, scope, &key) {
                        for holder in self.endpoints[&key].holders.iter().cloned() {
                            let touched = workloads.entry(holder).or_default();
                            touched.endpoints.push(key.clone());
                        }
                    }
                }
                Reader::Workload(key) => workloads.entry(key).or_default().plan = true,
            }
        }
        let mut differ = Vec::new();
        for (key, touched) in workloads {
            let Some(before) = self.workloads.get(&key) else {
                continue;
            };
            let (snapshot, warnings) = (before.snapshot.clone(), before.warnings.clone());
            let mut edit = snapshot.edit(revision);
            for set in &touched.endpoints {
                edit.insert(self.endpoints[set].resource.clone());
            }
            if touched.plan {
                let compiled = self.compile(dialect, scope, revision, &key, Some(edit.clone()));
                match compiled {
                    Compiled::Published => {}
                    Compiled::Missing => {
                        self.forget(&key);
                        differ.push(key);
                        continue;
                    }
                    // The plan stays as it was, the endpoints do not.
                    Compiled::Failed => self.put(&key, edit),
                }
            } else {
                self.put(&key, edit);
            }
            let after = &self.workloads[&key];
            if *after.snapshot != *snapshot || after.warnings != warnings {
                differ.push(key);
            }
        }
        differ
    }

    fn put(&mut self, key: &RecordKey, edit: Builder) {
        if let Some(workload) = self.workloads.get_mut(key) {
            workload.snapshot = Arc::new(edit.build());
        }
    }

    /// Compiles a workload. `edit` has the endpoints that changed; without it, the workload is new.
    pub(super) fn compile(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        revision: u64,
        key: &RecordKey,
        edit: Option<Builder>,
    ) -> Compiled {
        let mut reads = Reads::default();
        let mut services = BTreeSet::new();
        let compiled = guarded(&key, || {
            let mut service = |name: &RecordKey| {
                services.insert(name.clone());
                self.service(dialect, scope, name)
            };
            let mut context = Context {
                reads: &mut reads,
                services: &mut service,
            };
            dialect.compile(scope, key, &mut context)
        });
        let plan = match compiled {
            Some(Some(plan)) => plan,
            Some(None) => {
                self.drop_unused_services(services);
                return Compiled::Missing;
            }
            None => {
                self.drop_unused_services(services);
                return Compiled::Failed;
            }
        };
        let before = self.workloads.remove(key);
        let (old_plan, old_reads, old_services, old_endpoints) = match before {
            Some(before) => (
                Some(before.plan),
                before.reads,
                before.services,
                before.endpoints,
            ),
            None => Default::default(),
        };
        self.reread(&Reader::Workload(key.clone()), &old_reads, &reads);
        for service in services.difference(&old_services) {
            if let Some(service) = self.services.get_mut(service) {
                service.callers.insert(key.clone());
            }
        }
        for service in old_services.difference(&services) {
            if let Some(unused) = self.services.get_mut(service) {
                unused.callers.remove(key);
            }
        }
        let mut edit = edit.unwrap_or_else(|| Snapshot::builder(revision));
        envoy::update(old_plan.as_ref(), &plan, &mut edit);
        let endpoints = self.hold_endpoints(
            dialect,
            scope,
            key,
            (old_plan.as_ref(), old_endpoints),
            &plan,
            &mut edit,
        );
        let warnings = plan.warnings.clone().into();
        let workload = Workload {
            plan,
            reads,
            endpoints,
            snapshot: Arc::new(edit.build()),
            warnings,
            services,
        };
        self.workloads.insert(key.clone(), workload);
        self.drop_unused_services(old_services);
        Compiled::Published
    }

    /// Brings the endpoint sets of a workload to those of its new plan.
    fn hold_endpoints(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        key: &RecordKey,
        (old_plan, mut endpoints): (Option<&Plan>, HashMap<Arc<str>, EndpointsKey>),
        plan: &Plan,
        edit: &mut Builder,
    ) -> HashMap<Arc<str>, EndpointsKey> {
        let before = old_plan.map(|plan| &plan.clusters);
        for (name, cluster) in &plan.clusters {
            let same = before
                .and_then(|clusters| clusters.get(name))
                .is_some_and(|before| before.is_same(cluster));
            if same {
                continue;
            }
            let Discovery::Registry(query) = &cluster.discovery else {
                continue;
            };
            if endpoints.get(name).is_some_and(|set| set.1 == *query) {
                continue;
            }
            let set: EndpointsKey = Arc::new((name.clone(), query.clone()));
            if !self.endpoints.contains_key(&set) {
                self.select(dialect, scope, &set);
            }
            let Some(known) = self.endpoints.get_mut(&set) else {
                continue;
            };
            known.holders.insert(key.clone());
            edit.insert(known.resource.clone());
            if let Some(replaced) = endpoints.insert(name.clone(), set) {
                self.release(key, &replaced);
            }
        }
        let gone: Vec<Arc<str>> = before
            .into_iter()
            .flat_map(|clusters| clusters.keys())
            .filter(|name| {
                let discovery = plan.clusters.get(*name).map(|cluster| &cluster.discovery);
                !matches!(discovery, Some(Discovery::Registry(_)))
            })
            .cloned()
            .collect();
        for name in gone {
            if let Some(set) = endpoints.remove(&name) {
                edit.remove(Kind::Endpoint, &name);
                self.release(key, &set);
            }
        }
        endpoints
    }

    fn release(&mut self, workload: &RecordKey, set: &EndpointsKey) {
        let Some(endpoints) = self.endpoints.get_mut(set) else {
            return;
        };
        endpoints.holders.remove(workload);
        if endpoints.holders.is_empty()
            && let Some(unused) = self.endpoints.remove(set)
        {
            self.reread(
                &Reader::Endpoints(set.clone()),
                &unused.reads,
                &Reads::default(),
            );
        }
    }

    /// A service, compiled if it was not.
    fn service(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        key: &RecordKey,
    ) -> Arc<ServicePlan> {
        if !self.services.contains_key(key) {
            self.compile_service(dialect, scope, key);
        }
        self.services[key].plan.clone()
    }

    /// Compiles a service; answers whether it differs from before.
    fn compile_service(
        &mut self,
        dialect: &dyn Dialect,
        scope: &ScopeView,
        key: &RecordKey,
    ) -> bool {
        let mut reads = Reads::default();
        let compiled = guarded(&key, || dialect.compile_service(scope, key, &mut reads));
        let before = self.services.remove(key);
        let (old_plan, old_reads, callers) = match before {
            Some(before) => (Some(before.plan), before.reads, before.callers),
            None => Default::default(),
        };
        let failed = compiled.is_none();
        let mut plan = compiled.unwrap_or_else(|| match &old_plan {
            Some(plan) => ServicePlan::clone(plan),
            None => ServicePlan {
                exists: true,
                warnings: vec![Warning {
                    object: key.to_string(),
                    message: "cannot be planned: see the log of the control plane".into(),
                }],
                ..ServicePlan::default()
            },
        });
        if failed {
            // What it looked at before it failed is not all, so what it looked at last counts too.
            old_reads
                .topics()
                .cloned()
                .for_each(|topic| reads.note(topic));
        }
        self.share(&mut plan, old_plan.as_deref());
        self.reread(&Reader::Service(key.clone()), &old_reads, &reads);
        let differs = old_plan.as_deref() != Some(&plan);
        let plan = match old_plan {
            Some(before) if !differs => before,
            _ => Arc::new(plan),
        };
        let service = Service {
            plan,
            reads,
            callers,
        };
        self.services.insert(key.clone(), service);
        differs
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

    fn drop_unused_services(&mut self, services: BTreeSet<RecordKey>) {
        let mut dropped = false;
        for key in services {
            if self
                .services
                .get(&key)
                .is_some_and(|service| service.callers.is_empty())
                && let Some(unused) = self.services.remove(&key)
            {
                self.reread(&Reader::Service(key), &unused.reads, &Reads::default());
                dropped = true;
            }
        }
        if dropped {
            self.clusters.retain(|_, cluster| cluster.is_shared());
        }
    }

    /// Selects the endpoints of a cluster; answers whether they differ from before.
    fn select(&mut self, dialect: &dyn Dialect, scope: &ScopeView, key: &EndpointsKey) -> bool {
        let (cluster, query) = &**key;
        let mut reads = Reads::default();
        let selected = guarded(cluster, || {
            envoy::endpoints(cluster, &dialect.endpoints(scope, query, &mut reads))
        });
        let before = self.endpoints.remove(key);
        let (old_resource, old_reads, holders) = match before {
            Some(before) => (Some(before.resource), before.reads, before.holders),
            None => Default::default(),
        };
        let resource = match (selected, &old_resource) {
            (Some(resource), Some(before)) if **before == resource => before.clone(),
            (Some(resource), _) => Arc::new(resource),
            (None, before) => {
                old_reads
                    .topics()
                    .cloned()
                    .for_each(|topic| reads.note(topic));
                let empty = || Arc::new(envoy::endpoints(cluster, &[]));
                before.clone().unwrap_or_else(empty)
            }
        };
        self.reread(&Reader::Endpoints(key.clone()), &old_reads, &reads);
        let differs = old_resource.is_none_or(|before| before != resource);
        let endpoints = Endpoints {
            resource,
            reads,
            holders,
        };
        self.endpoints.insert(key.clone(), endpoints);
        differs
    }

    /// A result looked at other things than before.
    fn reread(&mut self, reader: &Reader, before: &Reads, now: &Reads) {
        for topic in before.topics().filter(|topic| !now.contains(topic)) {
            if let Some(readers) = self.readers.get_mut(topic) {
                readers.remove(reader);
                if readers.is_empty() {
                    self.readers.remove(topic);
                }
            }
        }
        for topic in now.topics().filter(|topic| !before.contains(topic)) {
            let readers = self.readers.entry(topic.clone()).or_default();
            readers.insert(reader.clone());
        }
    }

    /// Forgets a workload, and what it alone used.
    pub(super) fn forget(&mut self, key: &RecordKey) {
        let Some(workload) = self.workloads.remove(key) else {
            return;
        };
        self.reread(
            &Reader::Workload(key.clone()),
            &workload.reads,
            &Reads::default(),
        );
        for set in workload.endpoints.values() {
            self.release(key, set);
        }
        for service in &workload.services {
            if let Some(service) = self.services.get_mut(service) {
                service.callers.remove(key);
            }
        }
        // Its clusters go with it, so that they are seen to be unused.
        drop(workload.plan);
        drop(workload.snapshot);
        self.drop_unused_services(workload.services);
    }
}

/// What changed for a workload.
#[derive(Default)]
struct Touched {
    plan: bool,
    endpoints: Vec<EndpointsKey>,
}
