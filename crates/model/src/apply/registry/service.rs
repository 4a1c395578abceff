//! The rules of services.

use super::{CreateService, Decide, Reply, namespace::namespace_not_found, service_not_found};
use crate::{
    Reason, Record, RecordKey, Rejection, arn,
    registry::{DnsConfig, HealthCheckType, NamespaceType, RecordType, RoutingPolicy, Service},
};
use std::sync::Arc;

impl Decide<'_> {
    pub(super) fn create_service(&mut self, command: &CreateService) -> Result<Reply, Rejection> {
        check_name(&command.name)?;
        super::too_long("Description", command.description.as_deref(), 1024)?;
        super::too_long(
            "CreatorRequestId",
            command.creator_request_id.as_deref(),
            64,
        )?;
        let Some(namespace) = self.scope.namespace(&command.namespace_id) else {
            return Err(namespace_not_found(&command.namespace_id));
        };
        if let Some(config) = &command.dns_config {
            if namespace.kind == NamespaceType::HTTP || command.http_only {
                return Err(Rejection::invalid(
                    "DnsConfig",
                    "must not be given for a service that is found by the API alone",
                ));
            }
            check_dns(config, command.health_check.is_some())?;
        }
        if let Some(check) = &command.health_check {
            if command.custom_health_check {
                return Err(Rejection::invalid(
                    "HealthCheckConfig",
                    "must not be given together with HealthCheckCustomConfig",
                ));
            }
            if namespace.kind == NamespaceType::DNS_PRIVATE {
                return Err(Rejection::invalid(
                    "HealthCheckConfig",
                    "is not possible in a private DNS namespace; use HealthCheckCustomConfig",
                ));
            }
            if check.kind == HealthCheckType::TCP && check.resource_path.is_some() {
                return Err(Rejection::invalid(
                    "HealthCheckConfig.ResourcePath",
                    "must not be given with type TCP",
                ));
            }
            if check
                .failure_threshold
                .is_some_and(|n| !(1..=10).contains(&n))
            {
                return Err(Rejection::invalid(
                    "HealthCheckConfig.FailureThreshold",
                    "must be between 1 and 10",
                ));
            }
        }
        let by_dns = namespace.kind != NamespaceType::HTTP && !command.http_only;
        let same_name = self.scope.services_of(&namespace.id).find(|service| {
            // Names that DNS shows are the same in upper and lower case.
            *service.name == *command.name
                || by_dns && service.name.eq_ignore_ascii_case(&command.name)
        });
        if let Some(existing) = same_name {
            let token = &existing.creator_request_id;
            if token.is_some() && *token == command.creator_request_id {
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
            tags: command.tags.clone(),
        });
        self.put(Record::Service(service.clone()));
        Ok(Reply::Service(service))
    }

    pub(super) fn delete_service(&mut self, id: &str) -> Result<Reply, Rejection> {
        let Some(service) = self.scope.service(id) else {
            return Err(service_not_found(id));
        };
        if self.scope.instance_count(id) > 0 {
            return Err(Rejection::new(
                Reason::InUse,
                "Service contains registered instances; delete the instances before deleting the \
                 service",
            ));
        }
        self.remove(RecordKey::Service(service.id.clone()));
        Ok(Reply::Done)
    }
}

/// Labels of up to 63 characters separated by dots, or a single dot for the namespace itself.
fn check_name(name: &str) -> Result<(), Rejection> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name == "." || (name.len() <= 127 && name.split('.').all(label)) {
        return Ok(());
    }
    Err(Rejection::invalid(
        "Name",
        format!("{name:?} is not a name of 1 to 127 characters"),
    ))
}

fn check_dns(config: &DnsConfig, is_health_checked: bool) -> Result<(), Rejection> {
    let mut kinds: Vec<RecordType> = config
        .dns_records
        .iter()
        .map(|record| record.kind)
        .collect();
    kinds.sort_unstable();
    let is_cname = kinds == [RecordType::CNAME];
    let legal = is_cname
        || kinds == [RecordType::A]
        || kinds == [RecordType::AAAA]
        || kinds == [RecordType::A, RecordType::AAAA]
        || kinds == [RecordType::SRV];
    if !legal {
        return Err(Rejection::invalid(
            "DnsConfig.DnsRecords",
            "must be one of A, AAAA, A and AAAA, SRV, CNAME",
        ));
    }
    if is_cname && config.routing_policy != Some(RoutingPolicy::Weighted) {
        return Err(Rejection::invalid(
            "DnsConfig.RoutingPolicy",
            "must be WEIGHTED for CNAME records",
        ));
    }
    if is_cname && is_health_checked {
        return Err(Rejection::invalid(
            "HealthCheckConfig",
            "must not be given with CNAME records",
        ));
    }
    Ok(())
}
