//! The rules of instances.

use super::{
    Decide, DeregisterInstance, RecordHealth, RegisterInstance, UpdateInstanceCustomHealthStatus,
    attributes, bounds, lookup,
};
use crate::{
    Limit, Memo, Reason, Record, RecordKey, Rejection, Reply,
    cloudmap::{
        Attributes, Health, Instance, OperationType, Service, attributes::INIT_HEALTH_STATUS,
    },
};
use std::sync::Arc;

impl Decide<'_> {
    pub(super) fn register_instance(
        &mut self,
        command: &RegisterInstance,
    ) -> Result<Reply, Rejection> {
        check_id(&command.instance_id)?;
        bounds::token("CreatorRequestId", command.creator_request_id.as_deref())?;
        let attributes = Attributes::from(command.attributes.clone());
        attributes::check(&attributes)?;
        let service = self.service(&command.service_id)?.clone();
        let namespace = self.namespace(&service.namespace_id)?;
        attributes::check_fit(&service, namespace.kind, &attributes)?;
        if let Some(existing) = self.scope.instance(&service.id, &command.instance_id) {
            let token = &existing.creator_request_id;
            if token.is_some() && *token == command.creator_request_id {
                if existing.attributes == attributes {
                    return Ok(Reply::Operation(existing.operation_id.as_str().into()));
                }
                return Err(Rejection::new(
                    Reason::DuplicateRequest {
                        operation_id: existing.operation_id.clone(),
                    },
                    "the CreatorRequestId was already used to register other attributes",
                ));
            }
        } else {
            let present = self.scope.instance_count(&service.id);
            let limits = &self.context.limits;
            limits.check(Limit::InstancesPerService, present)?;
        }
        let operation = self.operation(
            OperationType::RegisterInstance,
            &[
                ("INSTANCE", &command.instance_id),
                ("SERVICE", &service.id),
                ("NAMESPACE", &service.namespace_id),
            ],
        );
        let health = match attributes.get(INIT_HEALTH_STATUS).map(String::as_str) {
            Some("UNHEALTHY") => Health::Unhealthy,
            _ => Health::Healthy,
        };
        self.put(Record::Instance(Arc::new(Instance {
            service_id: service.id.clone(),
            id: command.instance_id.as_str().into(),
            attributes,
            creator_request_id: command.creator_request_id.clone(),
            operation_id: operation.to_string(),
            health,
            discovery_json: Memo::default(),
        })));
        Ok(Reply::Operation(operation))
    }

    pub(super) fn deregister_instance(
        &mut self,
        command: &DeregisterInstance,
    ) -> Result<Reply, Rejection> {
        let (service, instance) = self.instance(&command.service_id, &command.instance_id)?;
        self.remove(RecordKey::Instance(service.id.clone(), instance.id.clone()));
        let targets = [
            ("INSTANCE", &*instance.id),
            ("SERVICE", &*service.id),
            ("NAMESPACE", &*service.namespace_id),
        ];
        Ok(Reply::Operation(
            self.operation(OperationType::DeregisterInstance, &targets),
        ))
    }

    pub(super) fn update_custom_health(
        &mut self,
        command: &UpdateInstanceCustomHealthStatus,
    ) -> Result<Reply, Rejection> {
        bounds::instance_id(&command.instance_id)?;
        let service = self.service(&command.service_id)?;
        if !service.custom_health_check {
            return Err(Rejection::new(
                Reason::CustomHealthNotFound,
                format!("service {} has no custom health check", service.name),
            ));
        }
        let (_, instance) = self.instance(&command.service_id, &command.instance_id)?;
        self.set_health(&instance, command.status);
        Ok(Reply::Done)
    }

    pub(super) fn record_health(&mut self, command: &RecordHealth) -> Result<Reply, Rejection> {
        let (service, instance) = self.instance(&command.service_id, &command.instance_id)?;
        if service.health_check.is_some() && instance.operation_id == command.operation_id {
            self.set_health(&instance, command.health);
        }
        Ok(Reply::Done)
    }

    fn set_health(&mut self, instance: &Instance, health: Health) {
        if instance.health != health {
            let mut instance = instance.clone();
            instance.health = health;
            self.put(Record::Instance(Arc::new(instance)));
        }
    }

    /// A service and one of its instances.
    fn instance(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<(Arc<Service>, Arc<Instance>), Rejection> {
        bounds::instance_id(instance_id)?;
        let service = self.service(service_id)?;
        let instance = lookup::instance(self.scope, service, instance_id)?;
        Ok((service.clone(), instance.clone()))
    }
}

fn check_id(id: &str) -> Result<(), Rejection> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_/:.@-".contains(&b);
    if (1..=64).contains(&id.len()) && id.bytes().all(legal) {
        return Ok(());
    }
    Err(Rejection::invalid(
        "InstanceId",
        format!("{id:?} is not 1 to 64 letters, digits or any of _ / : . @ -"),
    ))
}
