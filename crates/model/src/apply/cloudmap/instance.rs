//! The rules of instances.

use super::{Decide, RegisterInstance, Reply, attributes, bounds};
use crate::{
    Limit, Memo, Reason, Record, RecordKey, Rejection,
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
        let is_unhealthy = attributes
            .get(INIT_HEALTH_STATUS)
            .is_some_and(|v| v == "UNHEALTHY");
        self.put(Record::Instance(Arc::new(Instance {
            service_id: service.id.clone(),
            id: command.instance_id.as_str().into(),
            attributes,
            creator_request_id: command.creator_request_id.clone(),
            operation_id: operation.to_string(),
            health: if is_unhealthy {
                Health::Unhealthy
            } else {
                Health::Healthy
            },
            spelling: Memo::default(),
        })));
        Ok(Reply::Operation(operation))
    }

    pub(super) fn deregister_instance(
        &mut self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<Reply, Rejection> {
        bounds::instance_id(instance_id)?;
        let service = self.service(service_id)?.clone();
        let instance = self.instance(&service, instance_id)?.clone();
        self.remove(RecordKey::Instance(service.id.clone(), instance.id.clone()));
        let targets = [
            ("INSTANCE", instance_id),
            ("SERVICE", &*service.id),
            ("NAMESPACE", &*service.namespace_id),
        ];
        Ok(Reply::Operation(
            self.operation(OperationType::DeregisterInstance, &targets),
        ))
    }

    pub(super) fn set_health(
        &mut self,
        service_id: &str,
        instance_id: &str,
        health: Health,
    ) -> Result<Reply, Rejection> {
        bounds::instance_id(instance_id)?;
        let service = self.service(service_id)?.clone();
        if !service.custom_health_check {
            return Err(Rejection::new(
                Reason::CustomHealthNotFound,
                format!("service {} has no custom health check", service.name),
            ));
        }
        let mut instance = Instance::clone(self.instance(&service, instance_id)?);
        if instance.health != health {
            instance.health = health;
            self.put(Record::Instance(Arc::new(instance.clone())));
        }
        Ok(Reply::Instance(Arc::new(instance)))
    }

    pub(super) fn record_health(
        &mut self,
        service_id: &str,
        instance_id: &str,
        operation_id: &str,
        health: Health,
    ) -> Result<Reply, Rejection> {
        let service = self.service(service_id)?.clone();
        let instance = self.instance(&service, instance_id)?.clone();
        let is_current = service.health_check.is_some() && instance.operation_id == operation_id;
        if is_current && instance.health != health {
            let mut instance = Instance::clone(&instance);
            instance.health = health;
            self.put(Record::Instance(Arc::new(instance)));
        }
        Ok(Reply::Done)
    }

    fn instance(&self, service: &Service, id: &str) -> Result<&Arc<Instance>, Rejection> {
        self.scope.instance(&service.id, id).ok_or_else(|| {
            Rejection::new(
                Reason::InstanceNotFound,
                format!("service {} has no instance {id}", service.name),
            )
        })
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
