//! The interface of a configuration language (a dialect) to the planner.

use crate::plan::{Endpoint, EndpointQuery, Handler, Plan, SharedCluster, Warning};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};
use tombolo_model::{RecordKey, Scope, ScopeView};
use tombolo_xds::{Node, Status};

/// An object of an account and region that a group of proxies runs for, such as a virtual node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// The account and region of the object.
    pub scope: Scope,
    /// The key of the object in that scope.
    pub key: RecordKey,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of account {} in {}",
            self.key, self.scope.account, self.scope.region
        )
    }
}

/// A configuration language, whose objects compile to plans.
///
/// Compiling is pure: it reads a view, records what it read as dependencies, and gives the same result for the same
/// view. So a result is cached until one of its dependencies changes. A service is compiled once for all workloads
/// that call it.
pub trait Dialect: Send + Sync + 'static {
    /// The workload that a proxy's node names. The scope is `None` if the node names none.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the node names no workload.
    fn workload_of(&self, node: &Node) -> Result<(Option<Scope>, RecordKey), Status>;

    /// Compiles the plan of a workload. `None` if there is no such workload.
    fn compile(
        &self,
        scope: &ScopeView,
        workload: &RecordKey,
        context: &mut Context<'_>,
    ) -> Option<Plan>;

    /// Compiles a service for all its callers, which get it from [`Context::service`].
    fn compile_service(
        &self,
        scope: &ScopeView,
        service: &RecordKey,
        dependencies: &mut Dependencies,
    ) -> ServicePlan;

    /// The endpoints that a query in a plan selects, in a stable order.
    fn endpoints(
        &self,
        scope: &ScopeView,
        query: &EndpointQuery,
        dependencies: &mut Dependencies,
    ) -> Vec<Endpoint>;
}

/// The access of a workload's compilation to its dependencies.
pub struct Context<'a> {
    pub(crate) dependencies: &'a mut Dependencies,
    pub(crate) services: &'a mut dyn FnMut(&RecordKey) -> Arc<ServicePlan>,
}

impl Context<'_> {
    /// The dependencies of the plan so far; whoever reads the view adds to them.
    pub fn dependencies(&mut self) -> &mut Dependencies {
        self.dependencies
    }

    /// A compiled service, on which the plan depends from now on.
    pub fn service(&mut self, service: &RecordKey) -> Arc<ServicePlan> {
        (self.services)(service)
    }
}

/// A compiled service, the same for all its callers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServicePlan {
    /// Whether the service exists.
    pub exists: bool,
    /// The routing of calls to the service, by port.
    pub ports: BTreeMap<u16, Handler>,
    /// The clusters of the routes, by name.
    pub clusters: BTreeMap<Arc<str>, SharedCluster>,
    /// References of the service to objects that do not exist.
    pub warnings: Vec<Warning>,
}

/// The dependencies of a compiled result: it may change when one of them does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    set: HashSet<Dependency>,
}

/// A part of the view that a compilation can read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// A record, whether it exists or not.
    Record(RecordKey),
    /// The set of the objects with this parent.
    Children(RecordKey),
    /// The id of the namespace of this name, or its absence.
    Namespace(Arc<str>),
    /// The id of a service, or its absence, by the name of its namespace and its own name.
    Service(Arc<str>, Arc<str>),
    /// The instances of the service of this id.
    Instances(Arc<str>),
}

impl Dependencies {
    /// Adds a dependency.
    pub fn add(&mut self, dependency: Dependency) {
        self.set.insert(dependency);
    }

    /// All dependencies, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Dependency> {
        self.set.iter()
    }

    /// Whether this dependency was added.
    pub fn contains(&self, dependency: &Dependency) -> bool {
        self.set.contains(dependency)
    }

    /// Calls `visit` with each dependency that a change of this record invalidates. `scope` is the state after the change.
    pub(crate) fn invalidated_by(
        scope: Option<&ScopeView>,
        key: &RecordKey,
        visit: &mut impl FnMut(Dependency),
    ) {
        match key {
            RecordKey::Resource(resource) => {
                if let Some(parent) = resource.parent_key() {
                    visit(Dependency::Children(RecordKey::Resource(parent)));
                }
            }
            // A lookup by name that found a record depends on the record too, and so notices its deletion, when
            // the name is not known any more. A lookup that found nothing depends on the name only.
            RecordKey::Namespace(id) => {
                if let Some(namespace) = scope.and_then(|scope| scope.namespace(id)) {
                    visit(Dependency::Namespace(namespace.http_name.clone()));
                }
            }
            RecordKey::Service(id) => {
                let service = scope.and_then(|scope| scope.service(id));
                let names = service.and_then(|service| {
                    let namespace = scope?.namespace(&service.namespace_id)?;
                    Some((namespace.http_name.clone(), service.name.clone()))
                });
                if let Some((namespace, service)) = names {
                    visit(Dependency::Service(namespace, service));
                }
            }
            RecordKey::Instance(service, _) => {
                return visit(Dependency::Instances(service.clone()));
            }
            RecordKey::Operation(_) => return,
        }
        visit(Dependency::Record(key.clone()));
    }
}
