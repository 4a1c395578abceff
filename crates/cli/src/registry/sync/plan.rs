//! What brings one registry to where another is.

use super::{
    MARK,
    snapshot::{Instance, Namespace, Service, Snapshot},
};
use std::{collections::BTreeMap, fmt};
use tombolo_model::{
    apply::cloudmap::{CreateNamespace, CreateService, RegisterInstance},
    appmesh::Tag,
    cloudmap::{Health, NamespaceType},
};

/// Read at registration alone.
const INIT_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
/// A machine that only the source's account knows; its address is an attribute of its own.
const EC2_INSTANCE: &str = "AWS_EC2_INSTANCE_ID";

/// Namespace and service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) service: String,
}

/// One call. Ids of the destination are filled in when it is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    CreateNamespace {
        create: CreateNamespace,
    },
    CreateService {
        namespace: String,
        create: CreateService,
    },
    Register {
        at: Place,
        register: RegisterInstance,
    },
    SetHealth {
        at: Place,
        id: String,
        health: Health,
    },
    Deregister {
        at: Place,
        id: String,
    },
    DeleteService {
        at: Place,
    },
    DeleteNamespace {
        namespace: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {} of {}", self.service, self.namespace)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace { create } => write!(f, "create namespace {}", create.name),
            Self::CreateService { namespace, create } => {
                write!(f, "create service {} of {namespace}", create.name)
            }
            Self::Register { at, register } => {
                write!(f, "register {} in {at}", register.instance_id)
            }
            Self::SetHealth { at, id, health } => write!(f, "{id} in {at} is {health:?}"),
            Self::Deregister { at, id } => write!(f, "deregister {id} from {at}"),
            Self::DeleteService { at } => write!(f, "delete {at}"),
            Self::DeleteNamespace { namespace } => write!(f, "delete namespace {namespace}"),
        }
    }
}

/// The ids of the destination, by name.
#[derive(Debug, Default)]
pub(super) struct Ids {
    namespaces: BTreeMap<String, String>,
    services: BTreeMap<Place, String>,
}

impl Ids {
    pub(super) fn of(destination: &Snapshot) -> Self {
        let mut ids = Self::default();
        for (namespace, content) in &destination.namespaces {
            ids.add_namespace(namespace, content.id.clone());
            for (service, content) in &content.services {
                ids.add_service(namespace, service, content.id.clone());
            }
        }
        ids
    }

    pub(super) fn add_namespace(&mut self, name: &str, id: String) {
        self.namespaces.insert(name.to_owned(), id);
    }

    pub(super) fn add_service(&mut self, namespace: &str, name: &str, id: String) {
        self.services.insert(place(namespace, name), id);
    }

    /// The id; empty, which every call refuses, if the creation failed.
    pub(super) fn namespace(&self, name: &str) -> String {
        self.namespaces.get(name).cloned().unwrap_or_default()
    }

    /// The id; empty, which every call refuses, if the creation failed.
    pub(super) fn service(&self, at: &Place) -> String {
        self.services.get(at).cloned().unwrap_or_default()
    }
}

fn place(namespace: &str, service: &str) -> Place {
    Place {
        namespace: namespace.to_owned(),
        service: service.to_owned(),
    }
}

/// The calls that bring the destination to where the source is, in order.
pub(super) fn steps(source: &Snapshot, destination: &Snapshot, mark: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, namespace) in &source.namespaces {
        let here = destination.namespaces.get(name);
        if here.is_none() {
            let create = create_namespace(name, namespace, mark);
            steps.push(Step::CreateNamespace { create });
        }
        for (service, content) in &namespace.services {
            let here = here.and_then(|here| here.services.get(service));
            if here.is_none() {
                let create = create_service(service, namespace.kind, content, mark);
                let namespace = name.clone();
                steps.push(Step::CreateService { namespace, create });
            }
            let empty = BTreeMap::new();
            let here = here.map_or(&empty, |here| &here.instances);
            instances(
                &place(name, service),
                &content.instances,
                here,
                mark,
                &mut steps,
            );
        }
    }
    for (name, here) in &destination.namespaces {
        remove(name, here, source.namespaces.get(name), mark, &mut steps);
    }
    steps
}

/// Removes from a namespace what was imported and is gone at the source.
fn remove(
    name: &str,
    here: &Namespace,
    source: Option<&Namespace>,
    mark: &str,
    steps: &mut Vec<Step>,
) {
    let mut is_empty = true;
    for (service, content) in &here.services {
        if source.is_some_and(|source| source.services.contains_key(service)) {
            is_empty = false;
            continue;
        }
        let at = place(name, service);
        instances(&at, &BTreeMap::new(), &content.instances, mark, steps);
        let has_others = content.instances.values().any(|it| !is_imported(it, mark));
        if content.is_marked && !has_others {
            steps.push(Step::DeleteService { at });
        } else {
            is_empty = false;
        }
    }
    if source.is_none() && here.is_marked && is_empty {
        let namespace = name.to_owned();
        steps.push(Step::DeleteNamespace { namespace });
    }
}

/// Brings the instances of a service to where they are at the source. One that registered here under the same id stays.
fn instances(
    at: &Place,
    source: &BTreeMap<String, Instance>,
    here: &BTreeMap<String, Instance>,
    mark: &str,
    steps: &mut Vec<Step>,
) {
    for (id, instance) in source {
        let wanted = attributes(instance, mark);
        let found = here.get(id);
        if found.is_some_and(|found| !is_imported(found, mark)) {
            continue;
        }
        if found.is_none_or(|found| lasting(&found.attributes) != lasting(&wanted)) {
            let register = RegisterInstance {
                service_id: String::new(),
                instance_id: id.clone(),
                attributes: wanted,
                creator_request_id: None,
            };
            let at = at.clone();
            steps.push(Step::Register { at, register });
        }
        if let (Some(health), Some(found)) = (instance.health, found)
            && found.health.is_some_and(|found| found != health)
        {
            let (at, id) = (at.clone(), id.clone());
            steps.push(Step::SetHealth { at, id, health });
        }
    }
    for (id, instance) in here {
        if is_imported(instance, mark) && !source.contains_key(id) {
            let (at, id) = (at.clone(), id.clone());
            steps.push(Step::Deregister { at, id });
        }
    }
}

fn is_imported(instance: &Instance, mark: &str) -> bool {
    instance
        .attributes
        .get(MARK)
        .is_some_and(|value| value == mark)
}

/// The attributes of an instance, as they are registered here.
fn attributes(instance: &Instance, mark: &str) -> BTreeMap<String, String> {
    let mut attributes = instance.attributes.clone();
    attributes.remove(EC2_INSTANCE);
    attributes.insert(MARK.to_owned(), mark.to_owned());
    if let Some(health) = instance.health {
        let health = match health {
            Health::Healthy => "HEALTHY",
            Health::Unhealthy => "UNHEALTHY",
        };
        attributes.insert(INIT_HEALTH.to_owned(), health.to_owned());
    }
    attributes
}

/// What differs between two registrations of one instance.
fn lasting(attributes: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let attributes = attributes.iter().filter(|(key, _)| *key != INIT_HEALTH);
    attributes
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

fn tag(mark: &str) -> Vec<Tag> {
    vec![Tag {
        key: MARK.to_owned(),
        value: mark.to_owned(),
    }]
}

fn create_namespace(name: &str, namespace: &Namespace, mark: &str) -> CreateNamespace {
    CreateNamespace {
        name: name.to_owned(),
        kind: namespace.kind,
        vpc: None,
        description: namespace.description.clone(),
        soa_ttl: namespace.soa_ttl,
        creator_request_id: None,
        tags: tag(mark),
    }
}

fn create_service(name: &str, kind: NamespaceType, service: &Service, mark: &str) -> CreateService {
    CreateService {
        name: name.to_owned(),
        namespace_id: String::new(),
        description: service.description.clone(),
        dns_config: service.dns_config.clone(),
        health_check: service.health_check.clone(),
        custom_health_check: service.custom_health_check,
        http_only: kind != NamespaceType::HTTP && service.dns_config.is_none(),
        creator_request_id: None,
        tags: tag(mark),
    }
}
