//! Between the objects of a configuration language and plans.

use crate::plan::{Endpoint, EndpointQuery, Handler, Plan, SharedCluster, Warning};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};
use tombolo_model::{RecordKey, Scope, ScopeView};
use tombolo_xds::{Node, Status};

/// What a group of proxies stands for: an object of an account and region, such as a virtual node.
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

/// A configuration language: how its objects become plans.
///
/// Compiling is pure: it reads a view, notes what it read, and answers the same whenever these are the same.
/// So results are kept until something that they read changes. What several callers have in common is compiled
/// by itself: a service once for all workloads that call it.
pub trait Dialect: Send + Sync + 'static {
    /// The workload that a proxy says it belongs to. The scope is `None` where it names none.
    fn workload_of(&self, node: &Node) -> Result<(Option<Scope>, RecordKey), Status>;

    /// Compiles what the proxies of a workload should do. `None`: there is no such workload.
    fn compile(
        &self,
        scope: &ScopeView,
        workload: &RecordKey,
        context: &mut Context<'_>,
    ) -> Option<Plan>;

    /// Compiles a service as any of its callers sees it; [`Context::service`] asks for it.
    fn compile_service(
        &self,
        scope: &ScopeView,
        service: &RecordKey,
        reads: &mut Reads,
    ) -> ServicePlan;

    /// The endpoints that a query of one of its plans selects, in a stable order.
    fn endpoints(
        &self,
        scope: &ScopeView,
        query: &EndpointQuery,
        reads: &mut Reads,
    ) -> Vec<Endpoint>;
}

/// What the compilation of a workload may read beside the view.
pub struct Context<'a> {
    pub(crate) reads: &'a mut Reads,
    pub(crate) services: &'a mut dyn FnMut(&RecordKey) -> Arc<ServicePlan>,
}

impl Context<'_> {
    /// Notes what is read.
    pub fn reads(&mut self) -> &mut Reads {
        self.reads
    }

    /// A service as any of its callers sees it. The plan depends on it from now on.
    pub fn service(&mut self, service: &RecordKey) -> Arc<ServicePlan> {
        (self.services)(service)
    }
}

/// A service as any of its callers sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServicePlan {
    /// Whether there is such a service.
    pub exists: bool,
    /// What is done with calls to it, by port.
    pub ports: BTreeMap<u16, Handler>,
    /// Where calls can be sent.
    pub clusters: BTreeMap<Arc<str>, SharedCluster>,
    /// What it refers to although it is not there.
    pub warnings: Vec<Warning>,
}

/// The topics that a compilation read: when one of them changes, the result may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    topics: HashSet<Topic>,
}

/// Something that a compilation can read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A record, whether it is there or not.
    Record(RecordKey),
    /// All objects whose parent this is.
    Children(RecordKey),
    /// Which namespace has this name, if any.
    Namespace(Arc<str>),
    /// Which service of a namespace has a name, if any: the namespace's name, then the service's.
    Service(Arc<str>, Arc<str>),
    /// The instances of the service of this id.
    Instances(Arc<str>),
}

impl Reads {
    /// Adds a topic.
    pub fn note(&mut self, topic: Topic) {
        self.topics.insert(topic);
    }

    /// The topics, in any order.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Whether this topic was read.
    pub fn contains(&self, topic: &Topic) -> bool {
        self.topics.contains(topic)
    }

    /// Calls `touch` with each topic that a change of this record concerns. `scope` is the state after the change.
    pub(crate) fn touched(
        scope: Option<&ScopeView>,
        key: &RecordKey,
        touch: &mut impl FnMut(Topic),
    ) {
        match key {
            RecordKey::Resource(resource) => {
                if let Some(parent) = resource.parent_key() {
                    touch(Topic::Children(RecordKey::Resource(parent)));
                }
            }
            // Who found a record noted its id, which is how its deletion is noticed; who found none noted the name.
            RecordKey::Namespace(id) => {
                if let Some(namespace) = scope.and_then(|scope| scope.namespace(id)) {
                    touch(Topic::Namespace(namespace.http_name.clone()));
                }
            }
            RecordKey::Service(id) => {
                let service = scope.and_then(|scope| scope.service(id));
                let names = service.and_then(|service| {
                    let namespace = scope?.namespace(&service.namespace_id)?;
                    Some((namespace.http_name.clone(), service.name.clone()))
                });
                if let Some((namespace, service)) = names {
                    touch(Topic::Service(namespace, service));
                }
            }
            RecordKey::Instance(service, _) => return touch(Topic::Instances(service.clone())),
            RecordKey::Operation(_) => return,
        }
        touch(Topic::Record(key.clone()));
    }
}
