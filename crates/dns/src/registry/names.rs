//! All names that namespaces and services give, ready to be looked up.

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

/// Seconds for which a negative answer may be remembered when the namespace does not say. Route 53 would
/// say 900; a mesh whose pods ask before the first instance is there needs less.
const NEGATIVE_TTL: u32 = 15;

/// TTL of the records of HTTP namespaces, whose services set none, in seconds.
const HTTP_TTL: u32 = 5;

/// The names of one state of namespaces and services.
#[derive(Default)]
pub(super) struct Names {
    /// View 0, which every client sees, then what the clients of each VPC see in addition.
    trees: Vec<NameTree>,
    service_entries: ServiceEntries,
    /// The objects that they were compiled from, in the view's order. Holding it keeps the addresses from being reused, so
    /// that comparing them is comparing the things.
    namespaces: Vec<Arc<Namespace>>,
    services: Vec<Arc<Service>>,
}

/// Services with names, by the address of the `Service` they were compiled from.
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
    /// No service: an empty non-terminal, or an apex alone.
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
    /// The index of the view that its name is in.
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
            // Found by the API alone.
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
            pool: ArcSwap::from_pointee(Pool::unknown()),
        })
    }

    /// The service's instances in this view.
    pub(super) fn instances<'v>(
        &self,
        view: &'v View,
    ) -> Option<&'v tombolo_model::view::ServiceInstances> {
        view.scope(&self.scope)?.instances(&self.service.id)
    }

    /// The records of the instances in this view. Building them takes time linear in the number of the service's
    /// instances; they are built once after each change to one of them, at the next query.
    pub(super) fn pool(&self, view: &View) -> Guard<Arc<Pool>> {
        let held = self.pool.load();
        if held.checked.load(Ordering::Relaxed) == view.revision {
            return held;
        }
        let instances = self.instances(view);
        if held.is_of(instances) {
            held.checked.store(view.revision, Ordering::Relaxed);
            return held;
        }
        let pool = Arc::new(Pool::of(instances, self, view.revision));
        self.pool.store(pool.clone());
        Guard::from_inner(pool)
    }
}

impl Names {
    /// Collects all names. A namespace whose name is not a domain name has none. Where two namespaces
    /// have the same name, or one lies in another, the first or the inner one wins. What was prepared for
    /// services that stayed the same is taken over.
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
            // All zones first: a service must know whether its name falls into an inner zone.
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
            held: &'a [Arc<T>],
            mut found: impl Iterator<Item = &'a Arc<T>>,
        ) -> bool {
            held.iter()
                .all(|held| found.next().is_some_and(|found| Arc::ptr_eq(held, found)))
                && found.next().is_none()
        }
        same(&self.namespaces, namespaces(view)) && same(&self.services, services(view))
    }

    /// The longest name that exists and holds this one, with the labels that are left in front of it.
    /// `None` if the name lies in no zone that this view sees. As in Route 53, what a VPC sees besides
    /// hides public names, however long.
    pub(super) fn find<'a>(&self, view: usize, key: &'a Key) -> Option<(&Node, &'a [u8])> {
        let own = self.trees.get(view).filter(|_| view > 0);
        let found = own.and_then(|tree| tree.find(key));
        found.or_else(|| self.trees.first()?.find(key))
    }

    /// All services with names.
    pub(super) fn service_entries(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        self.service_entries.values()
    }
}

/// The view that the names of a namespace are in, if they are in any.
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

    /// Gives a service its name. Returns the entry, if the name is in DNS.
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
        let holder = key
            .suffixes()
            .find_map(|suffix| Some((suffix, self.nodes.get(suffix).filter(|at| at.is_apex)?)));
        // An inner zone hides what the outer one says about its names.
        let (_, holder) = holder.filter(|(suffix, _)| *suffix == apex.as_bytes())?;
        let zone = holder.zone.clone();
        let service_entry = service_entry(name, zone.clone())?;
        // Every name between the service and its zone's apex exists too (RFC 8020).
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

    /// Gives each zone's name server its name, unless a service has it.
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
