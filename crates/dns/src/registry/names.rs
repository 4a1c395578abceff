//! The compiled DNS names of namespaces and services.

use super::{Config, pool::Pool};
use crate::{
    name::{Key, Name, parents},
    reply::Authority,
};
use arc_swap::{ArcSwap, Guard};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};
use tombolo_model::{
    Scope, View,
    cloudmap::{Namespace, NamespaceType, RecordType, RoutingPolicy, Service},
};

/// The default TTL of negative answers, in seconds, if the namespace sets none. Less than Route 53's 900, because pods
/// may query a service before its first instance is registered.
const NEGATIVE_TTL: u32 = 15;

/// The TTL of records in HTTP namespaces, whose services have no DNS configuration, in seconds.
const HTTP_TTL: u32 = 5;

/// The DNS names of all namespaces and services of a view.
#[derive(Default)]
pub(super) struct Names {
    /// By view index: the names that every client sees (0), and those that only the clients of a VPC see.
    trees: Vec<NameTree>,
    service_entries: ServiceEntries,
    /// The objects that the names were compiled from, in the view's order. As they are kept alive, equal pointers mean
    /// equal objects.
    namespaces: Vec<Arc<Namespace>>,
    services: Vec<Arc<Service>>,
}

/// Services with DNS names, by the pointer of the `Service`.
type ServiceEntries = HashMap<usize, Arc<ServiceEntry>>;

/// The names of one view.
#[derive(Default)]
struct NameTree {
    nodes: HashMap<Box<[u8]>, Node>,
}

/// A node of the name tree (RFC 1034 §3.1).
pub(super) struct Node {
    pub(super) zone: Arc<Authority>,
    pub(super) data: NodeData,
    pub(super) has_children: bool,
    pub(super) is_apex: bool,
}

impl Node {
    fn empty(zone: Arc<Authority>) -> Self {
        Self {
            zone,
            data: NodeData::Empty,
            has_children: false,
            is_apex: false,
        }
    }
}

/// The source of a node's records.
pub(super) enum NodeData {
    /// No records of a service: an empty non-terminal, or a zone's apex.
    Empty,
    /// The zone's name server, which is this server.
    NameServer,
    /// A service.
    Service(Arc<ServiceEntry>),
}

/// The TTL of each type that a service publishes.
#[derive(Default)]
pub(super) struct Ttls {
    pub(super) a: Option<u32>,
    pub(super) aaaa: Option<u32>,
    pub(super) srv: Option<u32>,
    pub(super) cname: Option<u32>,
}

/// A service whose name is in DNS.
pub(super) struct ServiceEntry {
    scope: Scope,
    pub(super) service: Arc<Service>,
    pub(super) name: Name,
    pub(super) zone: Arc<Authority>,
    pub(super) routing: RoutingPolicy,
    pub(super) ttls: Ttls,
    /// The index of the view that has the name.
    pub(super) tree: usize,
    pool: ArcSwap<Pool>,
}

impl ServiceEntry {
    fn of(
        scope: &Scope,
        service: &Arc<Service>,
        name: Name,
        zone: Arc<Authority>,
        is_http: bool,
        tree: usize,
    ) -> Option<Self> {
        let mut ttls = Ttls::default();
        match &service.dns_config {
            Some(config) => {
                for record in &config.dns_records {
                    let ttl = match record.kind {
                        RecordType::A => &mut ttls.a,
                        RecordType::AAAA => &mut ttls.aaaa,
                        RecordType::SRV => &mut ttls.srv,
                        RecordType::CNAME => &mut ttls.cname,
                    };
                    *ttl = Some(record.ttl);
                }
            }
            None if is_http => {
                ttls.a = Some(HTTP_TTL);
                ttls.aaaa = Some(HTTP_TTL);
                ttls.srv = Some(HTTP_TTL);
            }
            // The service can be discovered by the API only.
            None => return None,
        }
        let routing = service
            .dns_config
            .as_ref()
            .and_then(|config| config.routing_policy);
        Some(Self {
            scope: scope.clone(),
            service: service.clone(),
            name,
            zone,
            routing: routing.unwrap_or(RoutingPolicy::MultiValue),
            ttls,
            tree,
            pool: ArcSwap::from_pointee(Pool::stale()),
        })
    }

    /// The service's instances in this view.
    pub(super) fn instances<'v>(
        &self,
        view: &'v View,
    ) -> Option<&'v tombolo_model::view::ServiceInstances> {
        view.scope(&self.scope)?.instances(&self.service.id)
    }

    /// The records of the instances in this view. They are built at the first query after a change of the service's
    /// instances, in linear time.
    pub(super) fn pool(&self, view: &View) -> Guard<Arc<Pool>> {
        let cached = self.pool.load();
        if cached.valid_at.load(Ordering::Relaxed) == view.revision {
            return cached;
        }
        let instances = self.instances(view);
        if cached.is_built_from(instances) {
            cached.valid_at.store(view.revision, Ordering::Relaxed);
            return cached;
        }
        let pool = Arc::new(Pool::of(instances, self, view.revision));
        self.pool.store(pool.clone());
        Guard::from_inner(pool)
    }
}

impl Names {
    /// Compiles all names. A namespace whose name is not a domain name has no DNS names. If two namespaces have
    /// the same name, the first counts; names in an inner namespace are answered by it, not by the outer one.
    /// The entries of unchanged services are reused.
    pub(super) fn compile(view: &View, config: &Config, before: &Names) -> Self {
        let mut names = Self {
            trees: Vec::new(),
            service_entries: HashMap::new(),
            namespaces: namespaces(view).cloned().collect(),
            services: services(view).cloned().collect(),
        };
        for index in 0..=config.views.vpcs().len() {
            let published: Vec<_> = view
                .scopes()
                .flat_map(|(scope, state)| state.namespaces().map(move |of| (scope, state, of)))
                .filter(|(.., namespace)| tree(namespace, config) == Some(index))
                .collect();
            let mut tree = NameTree::default();
            // All zones first: the name of a service may be in an inner zone.
            for (.., namespace) in &published {
                tree.add_zone(namespace);
            }
            tree.add_empty_non_terminals();
            for (scope, state, namespace) in &published {
                for service in state.services_of(&namespace.id) {
                    let address = Arc::as_ptr(service).addr();
                    let known = before.service_entries.get(&address);
                    let is_http = namespace.kind == NamespaceType::HTTP;
                    let service_entry = tree.add_service(namespace, service, |name, zone| {
                        let known =
                            known.filter(|service_entry| service_entry.zone.ttl == zone.ttl);
                        match known {
                            Some(service_entry) => Some(service_entry.clone()),
                            None => ServiceEntry::of(scope, service, name, zone, is_http, index)
                                .map(Arc::new),
                        }
                    });
                    if let Some(service_entry) = service_entry {
                        names.service_entries.insert(address, service_entry);
                    }
                }
            }
            tree.add_name_servers();
            names.trees.push(tree);
        }
        names
    }

    /// Whether this view has the same namespaces and services.
    pub(super) fn is_current(&self, view: &View) -> bool {
        fn same<'a, T: 'a>(
            compiled: &'a [Arc<T>],
            mut current: impl Iterator<Item = &'a Arc<T>>,
        ) -> bool {
            compiled
                .iter()
                .all(|one| current.next().is_some_and(|other| Arc::ptr_eq(one, other)))
                && current.next().is_none()
        }
        same(&self.namespaces, namespaces(view)) && same(&self.services, services(view))
    }

    /// The closest existing ancestor of a name, or the name itself, with the remaining labels in front of it.
    /// `None` if the name is in no zone of this view. As in Route 53, a private zone of the VPC hides public
    /// names, even longer ones.
    pub(super) fn find<'a>(&self, view: usize, key: &'a Key) -> Option<(&Node, &'a [u8])> {
        let own = self.trees.get(view).filter(|_| view > 0);
        let found = own.and_then(|tree| tree.find(key));
        found.or_else(|| self.trees.first()?.find(key))
    }

    /// All services with DNS names.
    pub(super) fn service_entries(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        self.service_entries.values()
    }
}

/// The index of the view with the names of a namespace; `None` if it has none.
fn tree(namespace: &Namespace, config: &Config) -> Option<usize> {
    match namespace.kind {
        NamespaceType::DNS_PUBLIC => Some(0),
        NamespaceType::HTTP => config.resolve_http_namespaces.then_some(0),
        // Without VPC ranges, all clients are in the same view.
        NamespaceType::DNS_PRIVATE if config.views.vpcs().is_empty() => Some(0),
        NamespaceType::DNS_PRIVATE => config.views.view(namespace.vpc.as_deref()?),
    }
}

impl NameTree {
    fn find<'a>(&self, key: &'a Key) -> Option<(&Node, &'a [u8])> {
        let all = key.as_bytes();
        key.suffixes().find_map(|suffix| {
            let node = self.nodes.get(suffix)?;
            Some((node, &all[..all.len() - suffix.len()]))
        })
    }

    fn add_zone(&mut self, namespace: &Namespace) {
        let Some(name) = Name::parse(&namespace.name) else {
            tracing::debug!(
                namespace = &*namespace.name,
                "not a domain name, so not in DNS"
            );
            return;
        };
        let key = name.key();
        let ttl = namespace.soa_ttl.unwrap_or(NEGATIVE_TTL);
        let zone = Authority::new(name, "ns", ttl);
        self.nodes
            .entry(key.as_bytes().into())
            .or_insert_with(|| Node {
                is_apex: true,
                ..Node::empty(Arc::new(zone))
            });
    }

    /// Adds the empty non-terminals between an inner zone and the outer zone that contains it (RFC 8020).
    fn add_empty_non_terminals(&mut self) {
        let apexes: Vec<Box<[u8]>> = self.nodes.keys().cloned().collect();
        for apex in apexes {
            let outer = parents(&apex)
                .skip(1)
                .find_map(|suffix| Some((suffix, self.nodes.get(suffix)?.zone.clone())));
            let Some((outer, zone)) = outer else { continue };
            for suffix in parents(&apex).skip(1) {
                let node = self.nodes.entry(suffix.into());
                node.or_insert_with(|| Node::empty(zone.clone()))
                    .has_children = true;
                if suffix == outer {
                    break;
                }
            }
        }
    }

    /// Adds the name of a service. Returns the entry; `None` if the service has no DNS name.
    fn add_service(
        &mut self,
        namespace: &Namespace,
        service: &Service,
        service_entry: impl FnOnce(Name, Arc<Authority>) -> Option<Arc<ServiceEntry>>,
    ) -> Option<Arc<ServiceEntry>> {
        let apex = Name::parse(&namespace.name)?;
        let name = match &*service.name {
            "." => apex.clone(),
            text => Name::under(text, &apex)?,
        };
        let key = name.key();
        let apex = apex.key();
        let enclosing = key
            .suffixes()
            .find_map(|suffix| Some((suffix, self.nodes.get(suffix).filter(|at| at.is_apex)?)));
        // A name in an inner zone is hidden by it.
        let (_, enclosing) = enclosing.filter(|(suffix, _)| *suffix == apex.as_bytes())?;
        let zone = enclosing.zone.clone();
        let service_entry = service_entry(name, zone.clone())?;
        // The ancestors up to the zone's apex exist too (RFC 8020).
        for (depth, suffix) in parents(key.as_bytes()).enumerate() {
            let node = self
                .nodes
                .entry(suffix.into())
                .or_insert_with(|| Node::empty(zone.clone()));
            if depth > 0 {
                node.has_children = true;
            }
            if node.is_apex {
                break;
            }
        }
        let node = self.nodes.get_mut(key.as_bytes())?;
        if !matches!(node.data, NodeData::Empty) {
            return None;
        }
        node.data = NodeData::Service(service_entry.clone());
        Some(service_entry)
    }

    /// Adds the name of each zone's name server, unless a service has that name.
    fn add_name_servers(&mut self) {
        let zones: Vec<Arc<Authority>> = self
            .nodes
            .values()
            .filter(|node| node.is_apex)
            .map(|node| node.zone.clone())
            .collect();
        for zone in zones {
            let key = zone.name_server.key();
            let node = self
                .nodes
                .entry(key.as_bytes().into())
                .or_insert_with(|| Node::empty(zone));
            if matches!(node.data, NodeData::Empty) && !node.is_apex {
                node.data = NodeData::NameServer;
            }
        }
    }
}

fn namespaces(view: &View) -> impl Iterator<Item = &Arc<Namespace>> {
    view.scopes().flat_map(|(_, scope)| scope.namespaces())
}

fn services(view: &View) -> impl Iterator<Item = &Arc<Service>> {
    view.scopes().flat_map(|(_, scope)| scope.services())
}
