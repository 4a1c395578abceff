//! The rules of services.

use super::{
    CreateService, Decide, DeleteService, ServiceChange, UpdateService, bounds, dns, health_check,
    lookup,
};
use crate::{
    Limit, Reason, Record, RecordKey, Rejection, Reply,
    apply::tags::CLOUD_MAP,
    arn,
    cloudmap::{DnsConfig, NamespaceType, OperationType, Service},
};
use std::sync::Arc;

impl Decide<'_> {
    pub(super) fn create_service(&mut self, command: &CreateService) -> Result<Reply, Rejection> {
        check_name(&command.name)?;
        bounds::description("Description", command.description.as_deref())?;
        bounds::token("CreatorRequestId", command.creator_request_id.as_deref())?;
        if let Some(config) = &command.dns_config {
            dns::check_ttls("DnsConfig.DnsRecords", &config.dns_records)?;
            dns::check(config, command.health_check.is_some())?;
        }
        if let Some(config) = &command.health_check {
            health_check::check("HealthCheckConfig", config)?;
        }
        let tags = CLOUD_MAP.new_tags(&command.tags)?;
        let namespace = self.namespace(&command.namespace_id)?.clone();
        let by_dns = namespace.kind != NamespaceType::HTTP && !command.http_only;
        if command.dns_config.is_some() && !by_dns {
            return Err(Rejection::invalid(
                "DnsConfig",
                "must not be given for a service that is found by the API alone",
            ));
        }
        if command.health_check.is_some() {
            let has_custom = command.custom_health_check;
            health_check::check_fit("HealthCheckConfig", namespace.kind, has_custom)?;
        }
        let same_name = self.scope.services_of(&namespace.id).find(|service| {
            // Names that DNS shows are the same in upper and lower case.
            *service.name == *command.name
                || by_dns && service.name.eq_ignore_ascii_case(&command.name)
        });
        if let Some(existing) = same_name {
            let token = &existing.creator_request_id;
            if token.is_some()
                && *token == command.creator_request_id
                && existing.description == command.description
                && existing.tags == tags
                && existing.dns_config == command.dns_config
                && existing.health_check == command.health_check
                && existing.custom_health_check == command.custom_health_check
            {
                return Ok(Reply::Service(existing.clone()));
            }
            return Err(Rejection::new(
                Reason::ServiceExists {
                    id: existing.id.to_string(),
                    arn: arn::of_service(&self.context.scope, &existing.id),
                    creator_request_id: token.clone(),
                },
                format!("a service with the name {} already exists", command.name),
            ));
        }
        let present = self.scope.services_of(&namespace.id).count();
        let limits = &self.context.limits;
        limits.check(Limit::ServicesPerNamespace, present)?;
        let service = Arc::new(Service {
            id: format!("srv-{}", self.entropy.lower(16)).into(),
            name: command.name.as_str().into(),
            namespace_id: namespace.id.clone(),
            description: command.description.clone(),
            dns_config: command.dns_config.clone(),
            health_check: command.health_check.clone(),
            custom_health_check: command.custom_health_check,
            creator_request_id: command.creator_request_id.clone(),
            created_at: self.context.now,
            tags,
            attributes: Default::default(),
        });
        self.put(Record::Service(service.clone()));
        Ok(Reply::Service(service))
    }

    /// Records and the health check are replaced: absent ones are removed. A custom health check stays, and so does
    /// the description when absent.
    pub(super) fn update_service(&mut self, command: &UpdateService) -> Result<Reply, Rejection> {
        const RECORDS: &str = "Service.DnsConfig.DnsRecords";
        const CHECK: &str = "Service.HealthCheckConfig";
        let ServiceChange {
            description,
            dns_records,
            health_check,
        } = &command.service;
        bounds::description("Service.Description", description.as_deref())?;
        dns::check_ttls(RECORDS, dns_records)?;
        if let Some(config) = health_check {
            health_check::check(CHECK, config)?;
        }
        let service = self.service(&command.id)?.clone();
        let namespace = self.namespace(&service.namespace_id)?;
        if namespace.kind == NamespaceType::HTTP {
            let message = format!(
                "service {} is in the HTTP namespace {}, whose services cannot be updated",
                service.name, namespace.name
            );
            return Err(Rejection::invalid("Id", message));
        }
        dns::check_change(RECORDS, service.dns_config.as_ref(), dns_records)?;
        if let Some(config) = health_check {
            health_check::check_fit(CHECK, namespace.kind, service.custom_health_check)?;
            dns::check_health(CHECK, dns_records, true)?;
            let before = service.health_check.as_ref().map(|before| before.kind);
            if let Some(before) = before.filter(|before| *before != config.kind) {
                return Err(Rejection::invalid(
                    format!("{CHECK}.Type"),
                    format!("is {before:?} and cannot be changed"),
                ));
            }
        }
        let mut updated = Service::clone(&service);
        if let Some(description) = description {
            updated.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        let before = service.dns_config.as_ref();
        let published = before.filter(|_| !dns_records.is_empty());
        updated.dns_config = published.map(|before| DnsConfig {
            routing_policy: before.routing_policy,
            dns_records: dns_records.clone(),
        });
        updated.health_check.clone_from(health_check);
        if updated != *service {
            self.put(Record::Service(Arc::new(updated)));
        }
        let targets = [
            ("SERVICE", &*service.id),
            ("NAMESPACE", &*service.namespace_id),
        ];
        let operation = self.operation(OperationType::UpdateService, &targets);
        Ok(Reply::Operation(operation))
    }

    pub(super) fn delete_service(&mut self, command: &DeleteService) -> Result<Reply, Rejection> {
        let service = self.service(&command.id)?.clone();
        if self.scope.instance_count(&service.id) > 0 {
            return Err(Rejection::new(
                Reason::InUse,
                "Service contains registered instances; delete the instances before deleting the \
                 service",
            ));
        }
        self.remove(RecordKey::Service(service.id.clone()));
        Ok(Reply::Done)
    }

    pub(super) fn service(&self, id: &str) -> Result<&Arc<Service>, Rejection> {
        lookup::service(self.scope, &self.context.scope, id)
    }
}

fn check_name(name: &str) -> Result<(), Rejection> {
    if is_name(name) {
        return Ok(());
    }
    Err(Rejection::invalid(
        "Name",
        format!("{name:?} is not a name of 1 to 127 characters"),
    ))
}

/// Whether a service may be called this: labels of up to 63 characters separated by dots, or a single dot
/// for the namespace itself. A label of one character is a letter or a digit.
pub fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label != "_"
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name == "." || (name.len() <= 127 && name.split('.').all(is_label))
}
