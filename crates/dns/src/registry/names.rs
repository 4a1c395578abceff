//! All names that namespaces and services give, ready to be looked up.

use super::{Config, pool::Pool};
use crate::{
    name::{Key, Name, parents},
    reply::Soa,
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

/// Seconds for which records of an HTTP namespace may be remembered, for which nobody sets a TTL.
const HTTP_TTL: u32 = 5;

/// The names of one state of namespaces and services.
#[derive(Default)]
pub(super) struct Names {
    /// What everybody sees, then what the clients of each VPC see besides.
    layers: Vec<Layer>,
    sites: Sites,
    /// What they were made of, in the view's order. Holding it keeps the addresses from being reused, so
    /// that comparing them is comparing the things.
    namespaces: Vec<Arc<Namespace>>,
    services: Vec<Arc<Service>>,
}

/// The services with names, by the address of what they were made of.
type Sites = HashMap<usize, Arc<Site>>;

/// Names that are seen together.
#[derive(Default)]
struct Layer {
    places: HashMap<Box<[u8]>, Place>,
}

/// A name that exists.
pub(super) struct Place {
    pub(super) zone: Arc<Authority>,
    pub(super) owner: Owner,
    pub(super) has_names_below: bool,
    pub(super) is_apex: bool,
}

impl Place {
    fn between(zone: Arc<Authority>) -> Self {
        Self {
            zone,
            owner: Owner::Nobody,
            has_names_below: false,
            is_apex: false,
        }
    }
}

/// Whose records a name has.
pub(super) enum Owner {
    /// It only lies between others, or it is an apex.
    Nobody,
    /// This server.
    NameServer,
    /// A service.
    Service(Arc<Site>),
}

/// A zone, which is a namespace.
pub(super) struct Authority {
    name: Name,
    pub(super) name_server: Name,
    contact: Name,
    negative_ttl: u32,
}

impl Authority {
    fn of(namespace: &Namespace) -> Option<Self> {
        let name = Name::parse(&namespace.name)?;
        Some(Self {
            // Names that grow too long by this are not worth a zone less.
            name_server: Name::under("ns", &name).unwrap_or_else(|| name.clone()),
            contact: Name::under("hostmaster", &name).unwrap_or_else(|| name.clone()),
            negative_ttl: namespace.soa_ttl.unwrap_or(NEGATIVE_TTL),
            name,
        })
    }

    /// The SOA record. Its serial is the revision, so that it grows with each change.
    pub(super) fn soa(&self, revision: u64) -> Soa<'_> {
        Soa {
            zone: &self.name,
            name_server: &self.name_server,
            contact: &self.contact,
            serial: revision as u32,
            ttl: self.negative_ttl,
        }
    }
}

/// The TTL of each type that a service publishes.
#[derive(Default)]
pub(super) struct Ttls {
    pub(super) a: Option<u32>,
    pub(super) aaaa: Option<u32>,
    pub(super) srv: Option<u32>,
    pub(super) cname: Option<u32>,
}

/// A service with a name.
pub(super) struct Site {
    scope: Scope,
    pub(super) service: Arc<Service>,
    pub(super) name: Name,
    pub(super) zone: Arc<Authority>,
    pub(super) routing: RoutingPolicy,
    pub(super) ttls: Ttls,
    /// The layer that its name is in.
    pub(super) layer: usize,
    pool: ArcSwap<Pool>,
}

impl Site {
    fn of(
        scope: &Scope,
        service: &Arc<Service>,
        name: Name,
        zone: Arc<Authority>,
        is_http: bool,
        layer: usize,
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
            layer,
            pool: ArcSwap::from_pointee(Pool::unknown()),
        })
    }

    /// Its instances in this view.
    pub(super) fn instances<'v>(
        &self,
        view: &'v View,
    ) -> Option<&'v tombolo_model::view::ServiceInstances> {
        view.scope(&self.scope)?.instances(&self.service.id)
    }

    /// What the instances in this view publish. Making it takes time in the number of the service's
    /// instances; it is made once after each change to one of them, at the next question.
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
            layers: Vec::new(),
            sites: HashMap::new(),
            namespaces: namespaces(view).cloned().collect(),
            services: services(view).cloned().collect(),
        };
        for index in 0..=config.views.vpcs().len() {
            let published: Vec<_> = view
                .scopes()
                .flat_map(|(scope, state)| state.namespaces().map(move |of| (scope, state, of)))
                .filter(|(.., namespace)| layer(namespace, config) == Some(index))
                .collect();
            let mut layer = Layer::default();
            // All zones first: a service must know whether its name falls into an inner zone.
            for (.., namespace) in &published {
                layer.add_zone(namespace);
            }
            layer.join_zones();
            for (scope, state, namespace) in &published {
                for service in state.services_of(&namespace.id) {
                    let address = Arc::as_ptr(service).addr();
                    let known = before.sites.get(&address);
                    let is_http = namespace.kind == NamespaceType::HTTP;
                    let site = layer.add_service(namespace, service, |name, zone| {
                        let known =
                            known.filter(|site| site.zone.negative_ttl == zone.negative_ttl);
                        match known {
                            Some(site) => Some(site.clone()),
                            None => {
                                Site::of(scope, service, name, zone, is_http, index).map(Arc::new)
                            }
                        }
                    });
                    if let Some(site) = site {
                        names.sites.insert(address, site);
                    }
                }
            }
            layer.add_name_servers();
            names.layers.push(layer);
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
    pub(super) fn find<'a>(&self, view: usize, key: &'a Key) -> Option<(&Place, &'a [u8])> {
        let own = self.layers.get(view).filter(|_| view > 0);
        let found = own.and_then(|layer| layer.find(key));
        found.or_else(|| self.layers.first()?.find(key))
    }

    /// All services with names.
    pub(super) fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.sites.values()
    }
}

/// In which layer the names of a namespace are, if they are in any.
fn layer(namespace: &Namespace, config: &Config) -> Option<usize> {
    match namespace.kind {
        NamespaceType::DNS_PUBLIC => Some(0),
        NamespaceType::HTTP => config.resolve_http_namespaces.then_some(0),
        // Where no VPC is told apart, all clients are in the same.
        NamespaceType::DNS_PRIVATE if config.views.vpcs().is_empty() => Some(0),
        NamespaceType::DNS_PRIVATE => config.views.view(namespace.vpc.as_deref()?),
    }
}

impl Layer {
    fn find<'a>(&self, key: &'a Key) -> Option<(&Place, &'a [u8])> {
        let all = key.as_bytes();
        key.suffixes().find_map(|suffix| {
            let place = self.places.get(suffix)?;
            Some((place, &all[..all.len() - suffix.len()]))
        })
    }

    fn add_zone(&mut self, namespace: &Namespace) {
        let Some(zone) = Authority::of(namespace) else {
            tracing::debug!(
                namespace = &*namespace.name,
                "not a domain name, so not in DNS"
            );
            return;
        };
        let key = zone.name.key();
        self.places
            .entry(key.as_bytes().into())
            .or_insert_with(|| Place {
                is_apex: true,
                ..Place::between(Arc::new(zone))
            });
    }

    /// Lets the names between an inner zone and the outer one that holds it exist (RFC 8020).
    fn join_zones(&mut self) {
        let apexes: Vec<Box<[u8]>> = self.places.keys().cloned().collect();
        for apex in apexes {
            let outer = parents(&apex)
                .skip(1)
                .find_map(|suffix| Some((suffix, self.places.get(suffix)?.zone.clone())));
            let Some((outer, zone)) = outer else { continue };
            for suffix in parents(&apex).skip(1) {
                let place = self.places.entry(suffix.into());
                place
                    .or_insert_with(|| Place::between(zone.clone()))
                    .has_names_below = true;
                if suffix == outer {
                    break;
                }
            }
        }
    }

    /// Gives a service its name. Returns the site, if the name is in DNS.
    fn add_service(
        &mut self,
        namespace: &Namespace,
        service: &Service,
        site: impl FnOnce(Name, Arc<Authority>) -> Option<Arc<Site>>,
    ) -> Option<Arc<Site>> {
        let apex = Name::parse(&namespace.name)?;
        let name = match &*service.name {
            "." => apex.clone(),
            text => Name::under(text, &apex)?,
        };
        let key = name.key();
        let apex = apex.key();
        let holder = key
            .suffixes()
            .find_map(|suffix| Some((suffix, self.places.get(suffix).filter(|at| at.is_apex)?)));
        // An inner zone hides what the outer one says about its names.
        let (_, holder) = holder.filter(|(suffix, _)| *suffix == apex.as_bytes())?;
        let zone = holder.zone.clone();
        let site = site(name, zone.clone())?;
        // Every name between the service and its zone's apex exists too (RFC 8020).
        for (depth, suffix) in parents(key.as_bytes()).enumerate() {
            let place = self
                .places
                .entry(suffix.into())
                .or_insert_with(|| Place::between(zone.clone()));
            if depth > 0 {
                place.has_names_below = true;
            }
            if place.is_apex {
                break;
            }
        }
        let place = self.places.get_mut(key.as_bytes())?;
        if !matches!(place.owner, Owner::Nobody) {
            return None;
        }
        place.owner = Owner::Service(site.clone());
        Some(site)
    }

    /// Gives each zone's name server its name, unless a service has it.
    fn add_name_servers(&mut self) {
        let zones: Vec<Arc<Authority>> = self
            .places
            .values()
            .filter(|place| place.is_apex)
            .map(|place| place.zone.clone())
            .collect();
        for zone in zones {
            let key = zone.name_server.key();
            let place = self
                .places
                .entry(key.as_bytes().into())
                .or_insert_with(|| Place::between(zone));
            if matches!(place.owner, Owner::Nobody) && !place.is_apex {
                place.owner = Owner::NameServer;
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
