//! A resource in the state of the server.

use crate::{
    resource::document_spec::{
        DocumentSpec, InstanceSpec, NamespaceSpec, ServiceSpec, ServiceType, not_empty,
    },
    resource::id::Id,
    resource::references::{self, Reference},
};
use k8s_openapi::jiff;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tombolo_api::client::{Instance, Namespace, Resource, Service};
use tombolo_model::{
    Timestamp,
    appmesh::{Spec, Tag},
};

/// An existing resource.
#[derive(Clone, Debug)]
pub(crate) struct ResourceView {
    pub(crate) id: Id,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) details: Details,
}

/// The description in the API.
#[derive(Clone, Debug)]
pub(crate) enum Details {
    Namespace(Namespace),
    Service {
        service: Service,
        attributes: BTreeMap<String, String>,
    },
    Instance {
        service_id: String,
        instance: Instance,
        /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
        health: String,
    },
    Mesh(Box<Resource>),
}

impl ResourceView {
    pub(crate) fn content(&self) -> DocumentSpec {
        match &self.details {
            Details::Namespace(namespace) => DocumentSpec::Namespace(NamespaceSpec::new(
                namespace.kind,
                not_empty(namespace.description.clone()),
                namespace.soa_ttl,
            )),
            Details::Service {
                service,
                attributes,
            } => DocumentSpec::Service(Box::new(ServiceSpec {
                description: not_empty(service.description.clone()),
                dns_config: service.dns_config.clone(),
                health_check_config: service.health_check.clone(),
                health_check_custom_config: (service.custom_health_check)
                    .then(ServiceSpec::custom_health_check),
                kind: service.dns_config.is_none().then_some(ServiceType::Http),
                attributes: Some(attributes.clone()).filter(|all| !all.is_empty()),
            })),
            Details::Instance { instance, .. } => DocumentSpec::Instance(InstanceSpec {
                attributes: instance.attributes.clone(),
            }),
            Details::Mesh(resource) => DocumentSpec::Mesh(resource.spec.clone()),
        }
    }

    /// The spec of a resource of the mesh.
    pub(crate) fn spec(&self) -> Option<&Spec> {
        match &self.details {
            Details::Mesh(resource) => Some(&resource.spec),
            _ => None,
        }
    }

    /// The references of the resource.
    pub(crate) fn references(&self) -> Vec<Reference> {
        match &self.details {
            Details::Mesh(resource) => references::of(&resource.key, &resource.spec),
            _ => Vec::new(),
        }
    }

    pub(crate) fn arn(&self) -> Option<&str> {
        match &self.details {
            Details::Namespace(namespace) => Some(&namespace.arn),
            Details::Service { service, .. } => Some(&service.arn),
            Details::Instance { .. } => None,
            Details::Mesh(resource) => Some(&resource.metadata.arn),
        }
    }

    /// The document, with the server's fields under `status`.
    pub(crate) fn document(&self) -> Value {
        let mut document = document(&self.id, &self.content(), &self.tags);
        document["status"] = self.status();
        document
    }

    fn status(&self) -> Value {
        match &self.details {
            Details::Namespace(namespace) => json!({
                "Id": namespace.id,
                "Arn": namespace.arn,
                "HttpName": namespace.http_name,
                "HostedZoneId": namespace.hosted_zone_id,
                "ServiceCount": namespace.service_count,
                "CreateDate": time(namespace.created_at),
            }),
            Details::Service { service, .. } => json!({
                "Id": service.id,
                "Arn": service.arn,
                "InstanceCount": service.instance_count,
                "CreateDate": time(service.created_at),
            }),
            Details::Instance { health, .. } => json!({ "HealthStatus": health }),
            Details::Mesh(resource) => {
                let metadata = &resource.metadata;
                json!({
                    "arn": metadata.arn,
                    "uid": metadata.uid,
                    "version": metadata.version,
                    "createdAt": time(metadata.created_at),
                    "lastUpdatedAt": time(metadata.last_updated_at),
                    "meshOwner": metadata.mesh_owner,
                    "resourceOwner": metadata.resource_owner,
                    "status": "ACTIVE",
                })
            }
        }
    }
}

/// The document of a resource, without the server's fields.
pub(crate) fn document(id: &Id, content: &DocumentSpec, tags: &BTreeMap<String, String>) -> Value {
    let mut metadata = id.metadata();
    if !tags.is_empty() {
        metadata.insert("tags".into(), json!(tags));
    }
    let mut document = Map::new();
    document.insert("apiVersion".into(), id.kind().api_version().into());
    document.insert("kind".into(), id.kind().title().into());
    document.insert("metadata".into(), Value::Object(metadata));
    document.insert("spec".into(), content.to_json());
    Value::Object(document)
}

/// Tags as a map, the form of documents.
pub(crate) fn by_key(tags: Vec<Tag>) -> BTreeMap<String, String> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// Tags as a list, the form of the APIs.
pub(crate) fn to_list(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

/// A time in the form of documents: `2024-01-31T12:00:00.25Z`.
pub(crate) fn time(time: Timestamp) -> String {
    let milliseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| String::new(), |time| time.to_string())
}
