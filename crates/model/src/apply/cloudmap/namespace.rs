//! The rules of namespaces.

use super::{CreateNamespace, Decide, DeleteNamespace, UpdateNamespace, bounds, lookup};
use crate::{
    Limit, Reason, Record, RecordKey, Rejection, Reply,
    apply::tags::CLOUD_MAP,
    cloudmap::{Namespace, NamespaceType, OperationType, UpdateRequest},
};
use std::sync::Arc;

impl Decide<'_> {
    pub(super) fn create_namespace(
        &mut self,
        command: &CreateNamespace,
    ) -> Result<Reply, Rejection> {
        check_name(&command.name, command.kind)?;
        bounds::description("Description", command.description.as_deref())?;
        bounds::token("CreatorRequestId", command.creator_request_id.as_deref())?;
        let vpc = match command.kind {
            NamespaceType::DNS_PRIVATE if command.vpc.is_none() => {
                return Err(Rejection::invalid("Vpc", "must be given"));
            }
            NamespaceType::DNS_PRIVATE => command.vpc.clone(),
            NamespaceType::DNS_PUBLIC | NamespaceType::HTTP => None,
        };
        bounds::too_long("Vpc", vpc.as_deref(), 64)?;
        let is_dns = command.kind != NamespaceType::HTTP;
        let soa_ttl = command.soa_ttl.filter(|_| is_dns);
        if let Some(ttl) = soa_ttl {
            bounds::ttl("Properties.DnsProperties.SOA.TTL", ttl)?;
        }
        let tags = CLOUD_MAP.new_tags(&command.tags)?;
        if let Some(existing) = self.scope.namespace_by_name(&command.name) {
            let token = &existing.creator_request_id;
            // A retry has the same token and asks for what exists. Anything else with this token must not succeed
            // without taking effect.
            if token.is_some()
                && *token == command.creator_request_id
                && existing.kind == command.kind
                && existing.vpc == vpc
                && existing.description == command.description
                && existing.soa_ttl == soa_ttl
                && existing.tags == tags
            {
                let made = self.scope.operations().rev().find(|operation| {
                    operation.kind == OperationType::CreateNamespace
                        && operation.targets.get("NAMESPACE").map(String::as_str)
                            == Some(&*existing.id)
                });
                if let Some(operation) = made {
                    return Ok(Reply::Operation(operation.id.clone()));
                }
            }
            return Err(Rejection::new(
                Reason::NamespaceExists {
                    id: existing.id.to_string(),
                    creator_request_id: token.clone(),
                },
                format!("a namespace with the name {} already exists", command.name),
            ));
        }
        let present = self.scope.namespaces().count();
        let limits = &self.context.limits;
        limits.check(Limit::NamespacesPerAccount, present)?;
        let id: Arc<str> = format!("ns-{}", self.entropy.lower(16)).into();
        let hosted_zone_id =
            is_dns.then(|| format!("Z{}", self.entropy.lower(20).to_ascii_uppercase()));
        let name: Arc<str> = command.name.as_str().into();
        self.put(Record::Namespace(Arc::new(Namespace {
            id: id.clone(),
            name: name.clone(),
            http_name: name,
            kind: command.kind,
            vpc,
            description: command.description.clone(),
            hosted_zone_id,
            soa_ttl,
            creator_request_id: command.creator_request_id.clone(),
            created_at: self.context.now,
            tags,
            last_update: None,
        })));
        let operation = self.operation(OperationType::CreateNamespace, &[("NAMESPACE", &id)]);
        Ok(Reply::Operation(operation))
    }

    pub(super) fn update_namespace(
        &mut self,
        command: &UpdateNamespace,
    ) -> Result<Reply, Rejection> {
        let description = &command.namespace.description;
        let is_dns = command.kind != NamespaceType::HTTP;
        let soa_ttl = command.namespace.soa_ttl.filter(|_| is_dns);
        bounds::description("Namespace.Description", description.as_deref())?;
        bounds::token("UpdaterRequestId", command.updater_request_id.as_deref())?;
        if let Some(ttl) = soa_ttl {
            bounds::ttl("Namespace.Properties.DnsProperties.SOA.TTL", ttl)?;
        }
        if !is_dns && description.is_none() {
            return Err(Rejection::invalid("Namespace.Description", "must be given"));
        }
        let namespace = self.namespace(&command.id)?.clone();
        if namespace.kind != command.kind {
            let (is, wanted) = (namespace.kind.as_str(), command.kind.as_str());
            return Err(Rejection::invalid(
                "Id",
                format!("namespace {} is of type {is}, not {wanted}", namespace.name),
            ));
        }
        let request = (command.updater_request_id.as_ref()).map(|token| UpdateRequest {
            token: token.clone(),
            description: description.clone(),
            soa_ttl,
        });
        // A retry asks for the same as the last update, with the same token. An earlier one may have been
        // overwritten since, and a client may send one constant token with all its updates: anything else is
        // done.
        let last = namespace.last_update.as_ref();
        if let Some(last) = last.and_then(|id| self.scope.operation(id))
            && request.is_some()
            && last.request == request
        {
            return Ok(Reply::Operation(last.id.clone()));
        }
        let targets = [("NAMESPACE", &*namespace.id)];
        let operation = self.operation_of(OperationType::UpdateNamespace, &targets, request);
        let mut updated = Namespace::clone(&namespace);
        if let Some(description) = description {
            // A call cannot remove the description by an absent member, so the empty text does.
            updated.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        updated.soa_ttl = soa_ttl.or(updated.soa_ttl);
        updated.last_update = Some(operation.clone());
        self.put(Record::Namespace(Arc::new(updated)));
        Ok(Reply::Operation(operation))
    }

    pub(super) fn delete_namespace(
        &mut self,
        command: &DeleteNamespace,
    ) -> Result<Reply, Rejection> {
        let namespace = self.namespace(&command.id)?.clone();
        if let Some(service) = self.scope.services_of(&namespace.id).next() {
            return Err(Rejection::new(
                Reason::InUse,
                format!(
                    "namespace {} still has services, among them {}; delete them first",
                    namespace.name, service.name
                ),
            ));
        }
        self.remove(RecordKey::Namespace(namespace.id.clone()));
        let targets = [("NAMESPACE", &*namespace.id)];
        let operation = self.operation(OperationType::DeleteNamespace, &targets);
        Ok(Reply::Operation(operation))
    }

    pub(super) fn namespace(&self, id: &str) -> Result<&Arc<Namespace>, Rejection> {
        lookup::namespace(self.scope, &self.context.scope, id)
    }
}

/// facts/cloudmap-api.md §4.
fn check_name(name: &str, kind: NamespaceType) -> Result<(), Rejection> {
    let most = if kind == NamespaceType::HTTP {
        1024
    } else {
        253
    };
    let printable = name.bytes().all(|b| b.is_ascii_graphic());
    if name.is_empty() || name.len() > most || !printable || name.starts_with("arn:") {
        return Err(Rejection::invalid(
            "Name",
            format!(
                "{name:?} must be 1 to {most} printable characters and must not start with arn:"
            ),
        ));
    }
    if kind == NamespaceType::DNS_PUBLIC && (!name.contains('.') || !name.split('.').all(is_label))
    {
        return Err(Rejection::invalid(
            "Name",
            format!("{name:?} is not a domain name"),
        ));
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
