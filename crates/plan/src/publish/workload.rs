//! One workload: its name, and what was compiled for it.

use crate::{
    appmesh::{self, Dependencies},
    envoy,
    plan::{Discovery, EndpointQuery, Warning},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};
use tombolo_model::{
    Scope, ScopeView, View,
    appmesh::{Kind, ResourceKey},
    arn,
};
use tombolo_xds::{
    Node, Resource, Snapshot,
    server::{Refusal, RefusalCode},
};

/// What a group of proxies stands for: a virtual node or a virtual gateway of an account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Whose it is.
    pub scope: Scope,
    /// Which it is.
    pub key: ResourceKey,
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

impl Workload {
    /// The workload that a proxy says it belongs to: its id is an ARN or the path in one, and so is
    /// its cluster where the id is something else.
    pub(super) fn of_node(node: &Node, home: &Scope) -> Result<Self, Refusal> {
        let named = arn::parse_resource(&node.id).or_else(|| arn::parse_resource(&node.cluster));
        let invalid = |message: String| Refusal::new(RefusalCode::InvalidArgument, message);
        let Some(named) = named else {
            return Err(invalid(format!(
                "the node id {:?} is neither an App Mesh ARN nor mesh/MESH/virtualNode/NODE nor \
                 mesh/MESH/virtualGateway/GATEWAY",
                node.id
            )));
        };
        if !matches!(named.key.kind, Kind::VirtualNode | Kind::VirtualGateway) {
            return Err(invalid(format!(
                "{} is a {}: proxies belong to virtual nodes and virtual gateways",
                named.key, named.key.kind
            )));
        }
        Ok(Self {
            scope: named.scope.unwrap_or_else(|| home.clone()),
            key: named.key,
        })
    }
}

/// What changes of one scope are about.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) resources: HashSet<ResourceKey>,
    /// Services whose instances changed.
    pub(super) services: HashSet<Arc<str>>,
    /// Whether namespaces or services themselves changed.
    pub(super) registry: bool,
}

/// Endpoint resources that were made while handling one event: workloads with the same cluster share
/// them.
#[derive(Default)]
pub(super) struct EndpointSets {
    made: HashMap<(Scope, Arc<str>, EndpointQuery), Arc<Resource>>,
}

impl EndpointSets {
    fn get(
        &mut self,
        scope: &Scope,
        view: &ScopeView,
        cluster: &Arc<str>,
        query: &EndpointQuery,
    ) -> Arc<Resource> {
        let key = (scope.clone(), cluster.clone(), query.clone());
        let make = || Arc::new(envoy::endpoints(cluster, &appmesh::endpoints(view, query)));
        self.made.entry(key).or_insert_with(make).clone()
    }
}

/// What was compiled for a workload.
pub(super) struct Compiled {
    dependencies: Dependencies,
    /// The clusters whose endpoints come from the registry.
    queries: Vec<(Arc<str>, EndpointQuery)>,
    warnings: Vec<Warning>,
}

impl Compiled {
    /// Compiles a workload. Resources that are as in `previous` are shared with it. `None`: there is
    /// no such workload.
    pub(super) fn new(
        view: &View,
        workload: &Workload,
        previous: &Snapshot,
        sets: &mut EndpointSets,
    ) -> Option<(Self, Snapshot)> {
        let scope = view.scope(&workload.scope)?;
        let (plan, dependencies) = appmesh::compile(scope, &workload.key)?;
        let mut snapshot = Snapshot::builder(view.revision);
        for resource in envoy::resources(&plan) {
            let same = previous
                .get(resource.kind(), resource.name())
                .filter(|old| ***old == resource)
                .cloned();
            snapshot.insert(same.unwrap_or_else(|| Arc::new(resource)));
        }
        let queries: Vec<_> = plan
            .clusters
            .iter()
            .filter_map(|(name, cluster)| match &cluster.discovery {
                Discovery::Registry(query) => Some((name.clone(), query.clone())),
                _ => None,
            })
            .collect();
        for (cluster, query) in &queries {
            snapshot.insert(sets.get(&workload.scope, scope, cluster, query));
        }
        Some((
            Self {
                dependencies,
                queries,
                warnings: plan.warnings,
            },
            snapshot.build(),
        ))
    }

    pub(super) fn depends_on(&self, key: &ResourceKey) -> bool {
        self.dependencies.concern(key)
    }

    /// Whether namespaces and services of the registry can change the plan or its warnings.
    pub(super) fn reads_registry(&self) -> bool {
        !self.queries.is_empty()
    }

    pub(super) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The snapshot with its touched endpoint sets renewed. `None`: none is touched.
    pub(super) fn with_endpoints(
        &self,
        view: &View,
        workload: &Workload,
        current: &Snapshot,
        touched: &Touched,
        sets: &mut EndpointSets,
    ) -> Option<Snapshot> {
        let scope = view.scope(&workload.scope)?;
        let mut next = None;
        for (cluster, query) in &self.queries {
            let is_touched = scope
                .namespace_by_name(&query.namespace)
                .and_then(|namespace| scope.service_by_name(&namespace.id, &query.service))
                .is_some_and(|service| touched.services.contains(&service.id));
            if is_touched {
                next.get_or_insert_with(|| current.edit(view.revision))
                    .insert(sets.get(&workload.scope, scope, cluster, query));
            }
        }
        next.map(tombolo_xds::snapshot::Builder::build)
    }
}
