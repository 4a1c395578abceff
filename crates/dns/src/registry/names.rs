//! All names that namespaces and services give, ready to be looked up.

use super::{Config, pool::Pool};
use crate::key::{Key, name_of, name_under, parents};
use arc_swap::ArcSwapOption;
use hickory_proto::rr::{Name, RData, Record, rdata::SOA};
use std::{collections::HashMap, sync::Arc};
use tombolo_model::{
    Scope, View,
    registry::{Namespace, NamespaceType, RecordType, RoutingPolicy, Service},
};

/// Seconds for which a negative answer may be remembered when the namespace does not say. Route 53 would
/// say 900; a mesh whose pods ask before the first instance is there needs less.
const NEGATIVE_TTL: u32 = 15;

/// Seconds for which records of an HTTP namespace may be remembered, for which nobody sets a TTL.
const HTTP_TTL: u32 = 5;

/// The names of one state of namespaces and services.
pub(super) struct Names {
    places: HashMap<Box<[u8]>, Place>,
    /// What they were made of, in the view's order. Holding it keeps the addresses from being reused, so
    /// that comparing them is comparing the things.
    namespaces: Vec<Arc<Namespace>>,
    services: Vec<Arc<Service>>,
}

/// A name that exists.
pub(super) struct Place {
    pub(super) zone: Arc<Authority>,
    pub(super) owner: Owner,
    pub(super) has_names_below: bool,
    is_apex: bool,
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

    pub(super) fn is_apex(&self) -> bool {
        self.is_apex
    }
}

/// Whose records a name has.
pub(super) enum Owner {
    /// It only lies between others, or it is an apex.
    Nobody,
    /// This server.
    NameServer,
    /// A service.
    Service(Box<Site>),
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
        let name = name_of(&namespace.name)?;
        Some(Self {
            // Names that grow too long by this are not worth a zone less.
            name_server: name_under("ns", &name).unwrap_or_else(|| name.clone()),
            contact: name_under("hostmaster", &name).unwrap_or_else(|| name.clone()),
            negative_ttl: namespace.soa_ttl.unwrap_or(NEGATIVE_TTL),
            name,
        })
    }

    /// The SOA record. Its serial is the revision, so that it grows with each change.
    pub(super) fn soa(&self, revision: u64) -> Record {
        let soa = SOA::new(
            self.name_server.clone(),
            self.contact.clone(),
            revision as u32,
            7200,
            900,
            1_209_600,
            self.negative_ttl,
        );
        Record::from_rdata(self.name.clone(), self.negative_ttl, RData::SOA(soa))
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
    service: Arc<Service>,
    name: Name,
    pub(super) routing: RoutingPolicy,
    pub(super) ttls: Ttls,
    pool: ArcSwapOption<Pool>,
}

impl Site {
    fn of(scope: &Scope, service: &Arc<Service>, name: Name, is_http: bool) -> Option<Self> {
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
            routing: routing.unwrap_or(RoutingPolicy::MultiValue),
            ttls,
            pool: ArcSwapOption::empty(),
        })
    }

    /// What the instances in this view publish. Making it takes time in the number of the service's
    /// instances; it is made once after each change to one of them, at the next question.
    pub(super) fn pool(&self, view: &View) -> Arc<Pool> {
        let instances = view
            .scope(&self.scope)
            .and_then(|scope| scope.instances(&self.service.id));
        if let Some(pool) = &*self.pool.load()
            && pool.is_of(instances)
        {
            return pool.clone();
        }
        let pool = Arc::new(Pool::of(instances, &self.service, &self.name, &self.ttls));
        self.pool.store(Some(pool.clone()));
        pool
    }
}

impl Names {
    /// Collects all names. A namespace whose name is not a domain name has none. Where two namespaces
    /// have the same name, or one lies in another, the first or the inner one wins.
    pub(super) fn compile(view: &View, config: &Config) -> Self {
        let mut names = Self {
            places: HashMap::new(),
            namespaces: namespaces(view).cloned().collect(),
            services: services(view).cloned().collect(),
        };
        let is_published = |namespace: &Namespace| {
            namespace.kind != NamespaceType::HTTP || config.resolve_http_namespaces
        };
        let published: Vec<_> = view
            .scopes()
            .flat_map(|(scope, state)| state.namespaces().map(move |of| (scope, state, of)))
            .filter(|(.., namespace)| is_published(namespace))
            .collect();
        // All zones first: a service must know whether its name falls into an inner zone.
        for (.., namespace) in &published {
            names.add_zone(namespace);
        }
        names.join_zones();
        for (scope, state, namespace) in &published {
            for service in state.services_of(&namespace.id) {
                names.add_service(scope, namespace, service);
            }
        }
        names.add_name_servers();
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
    /// `None` if the name lies in no zone.
    pub(super) fn find<'a>(&self, key: &'a Key) -> Option<(&Place, &'a [u8])> {
        let all = key.as_bytes();
        key.suffixes().find_map(|suffix| {
            let place = self.places.get(suffix)?;
            Some((place, &all[..all.len() - suffix.len()]))
        })
    }

    fn add_zone(&mut self, namespace: &Namespace) {
        let (Some(key), Some(zone)) = (Key::parse(&namespace.name), Authority::of(namespace))
        else {
            tracing::debug!(
                namespace = &*namespace.name,
                "not a domain name, so not in DNS"
            );
            return;
        };
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

    fn add_service(&mut self, scope: &Scope, namespace: &Namespace, service: &Arc<Service>) {
        let Some(apex) = name_of(&namespace.name) else {
            return;
        };
        let name = match &*service.name {
            "." => Some(apex.clone()),
            text => name_under(text, &apex),
        };
        let Some((key, name)) = name.and_then(|name| Some((Key::of(&name)?, name))) else {
            return;
        };
        let is_http = namespace.kind == NamespaceType::HTTP;
        let Some(site) = Site::of(scope, service, name, is_http) else {
            return;
        };
        let holder = key
            .suffixes()
            .find_map(|suffix| self.places.get(suffix).filter(|place| place.is_apex));
        // An inner zone hides what the outer one says about its names.
        let Some(zone) = holder
            .map(|place| place.zone.clone())
            .filter(|zone| zone.name == apex)
        else {
            return;
        };
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
        if let Some(place) = self.places.get_mut(key.as_bytes())
            && matches!(place.owner, Owner::Nobody)
        {
            place.owner = Owner::Service(Box::new(site));
        }
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
            let Some(key) = Key::of(&zone.name_server) else {
                continue;
            };
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
