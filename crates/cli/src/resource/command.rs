//! The commands that reconcile a resource with a document. The same commands are first applied to a dry run's copy of
//! the state, and then sent to the server.

use crate::{
    apply::read::Desired,
    resource::document_spec::{DocumentSpec, NamespaceSpec, ServiceSpec},
    resource::id::Id,
    resource::view::{Details, ResourceView, to_list},
};
use std::collections::BTreeMap;
use tombolo_kube::Violation;
use tombolo_model::{
    Command,
    apply::{
        appmesh as mesh_apply,
        cloudmap::{self, Tagged},
    },
};

/// The commands that create a resource. `container` is the generated id of its namespace or service, for services and
/// instances.
pub(crate) fn create(desired: &Desired, container: &str) -> Vec<Command> {
    let tags = desired.tags.as_ref().map(to_list).unwrap_or_default();
    match (&desired.id, &desired.content) {
        (Id::Namespace { name }, DocumentSpec::Namespace(spec)) => {
            let create = cloudmap::CreateNamespace {
                name: name.clone(),
                kind: spec.kind,
                vpc: spec.vpc.clone(),
                description: spec.description.clone(),
                soa_ttl: spec.soa_ttl(),
                creator_request_id: None,
                tags,
            };
            vec![of_registry(create)]
        }
        (Id::Service { name, .. }, DocumentSpec::Service(spec)) => {
            let create = cloudmap::CreateService {
                name: name.clone(),
                namespace_id: container.to_owned(),
                description: spec.description.clone(),
                dns_config: spec.dns_config.clone(),
                health_check: spec.health_check_config.clone(),
                custom_health_check: spec.health_check_custom_config.is_some(),
                http_only: spec.is_http_only(),
                creator_request_id: None,
                tags,
            };
            vec![of_registry(create)]
        }
        (Id::Instance { name, .. }, DocumentSpec::Instance(spec)) => {
            vec![register(container, name, &spec.attributes)]
        }
        (Id::Mesh(key), DocumentSpec::Mesh(spec)) => {
            vec![Command::AppMesh(mesh_apply::Command::Create {
                key: key.clone(),
                spec: spec.clone(),
                tags,
                client_token: None,
            })]
        }
        _ => Vec::new(),
    }
}

/// The commands after the creation of a resource, which need its generated id.
pub(crate) fn complete(desired: &Desired, id: &str) -> Vec<Command> {
    match &desired.content {
        DocumentSpec::Service(spec) => change_attributes(id, spec.attributes.as_ref(), None),
        _ => Vec::new(),
    }
}

/// The commands that change a resource.
///
/// # Errors
/// The path in the spec of an immutable field that differs.
pub(crate) fn change(desired: &Desired, found: &ResourceView) -> Result<Vec<Command>, Violation> {
    let mut commands = Vec::new();
    match (&desired.content, found.content(), &found.details) {
        (
            DocumentSpec::Namespace(spec),
            DocumentSpec::Namespace(now),
            Details::Namespace(namespace),
        ) => {
            commands.extend(change_namespace(&namespace.id, spec, &now)?);
        }
        (
            DocumentSpec::Service(spec),
            DocumentSpec::Service(now),
            Details::Service { service, .. },
        ) => {
            commands.extend(change_service(&service.id, spec, &now)?);
        }
        (
            DocumentSpec::Instance(spec),
            DocumentSpec::Instance(now),
            Details::Instance { service_id, .. },
        ) if *spec != now => {
            commands.push(register(service_id, desired.id.name(), &spec.attributes));
        }
        (DocumentSpec::Mesh(spec), DocumentSpec::Mesh(now), Details::Mesh(resource))
            if *spec != now =>
        {
            commands.push(Command::AppMesh(mesh_apply::Command::Update {
                key: resource.key.clone(),
                spec: spec.clone(),
                client_token: None,
            }));
        }
        _ => {}
    }
    if let Some(tags) = &desired.tags {
        commands.extend(change_tags(found, tags));
    }
    Ok(commands)
}

/// The command that removes a resource.
pub(crate) fn delete(found: &ResourceView) -> Command {
    match &found.details {
        Details::Namespace(namespace) => of_registry(cloudmap::DeleteNamespace {
            id: namespace.id.clone(),
        }),
        Details::Service { service, .. } => of_registry(cloudmap::DeleteService {
            id: service.id.clone(),
        }),
        Details::Instance {
            service_id,
            instance,
            ..
        } => of_registry(cloudmap::DeregisterInstance {
            service_id: service_id.clone(),
            instance_id: instance.id.clone(),
        }),
        Details::Mesh(resource) => Command::AppMesh(mesh_apply::Command::Delete {
            key: resource.key.clone(),
        }),
    }
}

fn change_namespace(
    id: &str,
    spec: &NamespaceSpec,
    now: &NamespaceSpec,
) -> Result<Option<Command>, Violation> {
    if spec.kind != now.kind {
        let is = now.kind.as_str();
        let message = format!("is {is} and cannot be changed; delete the namespace first");
        return Err(Violation::new("Type", message));
    }
    if spec.merged_over(now) == *now {
        return Ok(None);
    }
    let update = cloudmap::UpdateNamespace {
        id: id.to_owned(),
        kind: spec.kind,
        namespace: cloudmap::NamespaceChange {
            // Only an empty text removes a description.
            description: Some(spec.description.clone().unwrap_or_default()),
            soa_ttl: spec.soa_ttl(),
        },
        updater_request_id: None,
    };
    Ok(Some(of_registry(update)))
}

fn change_service(
    id: &str,
    spec: &ServiceSpec,
    now: &ServiceSpec,
) -> Result<Vec<Command>, Violation> {
    let merged = spec.merged_over(now);
    let fixed = |field: &str, message: &str| {
        let message = format!("{message} after creation; delete the service first");
        Err(Violation::new(field, message))
    };
    if merged.health_check_custom_config != now.health_check_custom_config {
        return fixed("HealthCheckCustomConfig", "cannot be given or taken away");
    }
    if let (Some(new), Some(now)) = (&merged.dns_config, &now.dns_config)
        && new.routing_policy != now.routing_policy
    {
        return fixed("DnsConfig.RoutingPolicy", "cannot be changed");
    }
    let mut commands = Vec::new();
    let is_same = merged.description == now.description
        && merged.dns_config == now.dns_config
        && merged.health_check_config == now.health_check_config;
    if !is_same {
        let update = cloudmap::UpdateService {
            id: id.to_owned(),
            service: cloudmap::ServiceChange {
                description: Some(merged.description.unwrap_or_default()),
                dns_records: merged
                    .dns_config
                    .map(|it| it.dns_records)
                    .unwrap_or_default(),
                health_check: merged.health_check_config,
            },
        };
        commands.push(of_registry(update));
    }
    commands.extend(change_attributes(
        id,
        spec.attributes.as_ref(),
        now.attributes.as_ref(),
    ));
    Ok(commands)
}

fn change_attributes(
    service_id: &str,
    desired: Option<&BTreeMap<String, String>>,
    now: Option<&BTreeMap<String, String>>,
) -> Vec<Command> {
    let Some(desired) = desired else {
        return Vec::new();
    };
    let (set, gone) = difference(desired, now.unwrap_or(&BTreeMap::new()));
    let mut commands = Vec::new();
    if !gone.is_empty() {
        commands.push(of_registry(cloudmap::DeleteServiceAttributes {
            service_id: service_id.to_owned(),
            keys: gone,
        }));
    }
    if !set.is_empty() {
        commands.push(of_registry(cloudmap::UpdateServiceAttributes {
            service_id: service_id.to_owned(),
            attributes: set,
        }));
    }
    commands
}

fn change_tags(found: &ResourceView, desired: &BTreeMap<String, String>) -> Vec<Command> {
    let (set, tag_keys) = difference(desired, &found.tags);
    let (has_keys, tags) = (!tag_keys.is_empty(), to_list(&set));
    let has_tags = !tags.is_empty();
    let of_registry = |resource: Tagged| {
        let untag = cloudmap::RemoveTags {
            resource: resource.clone(),
            tag_keys: tag_keys.clone(),
        };
        let tag = cloudmap::AddTags {
            resource,
            tags: tags.clone(),
        };
        (
            Command::CloudMap(untag.into()),
            Command::CloudMap(tag.into()),
        )
    };
    let (untag, tag) = match &found.details {
        Details::Instance { .. } => return Vec::new(),
        Details::Namespace(namespace) => of_registry(Tagged::Namespace(namespace.id.clone())),
        Details::Service { service, .. } => of_registry(Tagged::Service(service.id.clone())),
        Details::Mesh(resource) => {
            let key = resource.key.clone();
            let untag = mesh_apply::Command::Untag {
                key: key.clone(),
                tag_keys: tag_keys.clone(),
            };
            let tag = mesh_apply::Command::Tag {
                key,
                tags: tags.clone(),
            };
            (Command::AppMesh(untag), Command::AppMesh(tag))
        }
    };
    let untag = has_keys.then_some(untag);
    untag.into_iter().chain(has_tags.then_some(tag)).collect()
}

type Pairs = BTreeMap<String, String>;

/// The added or changed pairs, and the removed keys.
fn difference(desired: &Pairs, now: &Pairs) -> (Pairs, Vec<String>) {
    let set = desired
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value));
    let set = set.map(|(key, value)| (key.clone(), value.clone()));
    let gone = now.keys().filter(|key| !desired.contains_key(*key));
    (set.collect(), gone.cloned().collect())
}

fn register(service_id: &str, name: &str, attributes: &Pairs) -> Command {
    of_registry(cloudmap::RegisterInstance {
        service_id: service_id.to_owned(),
        instance_id: name.to_owned(),
        attributes: attributes.clone(),
        creator_request_id: None,
    })
}

fn of_registry(command: impl Into<cloudmap::Command>) -> Command {
    Command::CloudMap(command.into())
}
