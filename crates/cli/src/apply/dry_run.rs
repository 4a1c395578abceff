//! Dry run: the model's rules applied to a copy of the server's state, so that nothing is sent that would be refused
//! half way.
//!
//! The copy only holds resources that the documents name or refer to. Others on the server can make it refuse a
//! change that succeeds here.

use crate::{
    apply::plan::Step,
    resource::command,
    resource::id::Id,
    resource::view::{Details, ResourceView, to_list},
};
use tombolo_model::{
    Change, Command, Limits, Record, Rejection, Scope, ScopeView, Timestamp, View, apply,
    apply::Context,
    appmesh::Resource,
    cloudmap::{Health, Instance, Namespace, Service},
    limits::Limit,
};

/// A copy of a state.
pub(super) struct DryRun {
    scope: Scope,
    view: View,
    revision: u64,
}

impl DryRun {
    pub(super) fn new<'a>(scope: Scope, known: impl Iterator<Item = &'a ResourceView>) -> Self {
        let mut dry_run = Self {
            scope,
            view: View::default(),
            revision: 0,
        };
        let mut known: Vec<&ResourceView> = known.collect();
        known.sort_by_key(|found| crate::apply::plan::rank(found.id.kind()));
        for found in known {
            let change = Change::Put(dry_run.scope.clone(), record(found));
            dry_run.put(&change);
        }
        dry_run
    }

    /// The copy with the steps applied so far.
    pub(super) fn scope(&self) -> Option<&ScopeView> {
        self.view.scope(&self.scope)
    }

    /// Applies a step.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), Rejection> {
        for command in &step.commands(|id| self.id(id)) {
            self.run(command)?;
        }
        if step.found.is_none()
            && let Some(id) = self.id(&step.desired.id)
        {
            for command in &command::complete(&step.desired, &id) {
                self.run(command)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, command: &Command) -> Result<(), Rejection> {
        let most = |limits: Limits, limit| limits.with(limit, usize::MAX);
        let context = Context {
            scope: self.scope.clone(),
            now: Timestamp::default(),
            seed: self.revision,
            // The server's limits are not known.
            limits: Limit::ALL.into_iter().fold(Limits::default(), most),
        };
        for change in apply(&self.view, &context, command)?.changes {
            self.put(&change);
        }
        Ok(())
    }

    fn put(&mut self, change: &Change) {
        self.revision += 1;
        self.view.apply(self.revision, change);
    }

    /// The generated id of a namespace or service.
    fn id(&self, id: &Id) -> Option<String> {
        let scope = self.view.scope(&self.scope)?;
        match id {
            Id::Namespace { name } => Some(scope.namespace_by_name(name)?.id.to_string()),
            Id::Service { namespace, name } => {
                let namespace = scope.namespace_by_name(namespace)?;
                let service = scope.service_by_name(&namespace.id, name)?;
                Some(service.id.to_string())
            }
            Id::Instance { .. } | Id::Mesh(_) => None,
        }
    }
}

fn record(found: &ResourceView) -> Record {
    match &found.details {
        Details::Namespace(namespace) => Record::Namespace(
            Namespace {
                id: namespace.id.as_str().into(),
                name: namespace.name.as_str().into(),
                http_name: namespace.http_name.as_str().into(),
                kind: namespace.kind,
                vpc: None,
                description: namespace.description.clone(),
                hosted_zone_id: namespace.hosted_zone_id.clone(),
                soa_ttl: namespace.soa_ttl,
                creator_request_id: None,
                created_at: namespace.created_at,
                tags: to_list(&found.tags),
                last_update: None,
            }
            .into(),
        ),
        Details::Service {
            service,
            attributes,
        } => Record::Service(
            Service {
                id: service.id.as_str().into(),
                name: service.name.as_str().into(),
                namespace_id: service.namespace_id.as_str().into(),
                description: service.description.clone(),
                dns_config: service.dns_config.clone(),
                health_check: service.health_check.clone(),
                custom_health_check: service.custom_health_check,
                creator_request_id: None,
                created_at: service.created_at,
                tags: to_list(&found.tags),
                attributes: attributes.clone(),
            }
            .into(),
        ),
        Details::Instance {
            service_id,
            instance,
            health,
        } => Record::Instance(
            Instance {
                service_id: service_id.as_str().into(),
                id: instance.id.as_str().into(),
                attributes: instance.attributes.clone().into(),
                creator_request_id: None,
                operation_id: String::new(),
                health: match health.as_str() {
                    "UNHEALTHY" => Health::Unhealthy,
                    _ => Health::Healthy,
                },
                discovery_json: Default::default(),
            }
            .into(),
        ),
        Details::Mesh(resource) => Record::Resource(
            Resource {
                key: resource.key.clone(),
                metadata: resource.metadata.clone(),
                spec: resource.spec.clone(),
                tags: to_list(&found.tags),
                created_by: None,
                updated_by: None,
            }
            .into(),
        ),
    }
}
