//! The rules of namespaces.

use super::{CreateNamespace, Decide, Reply, too_long};
use crate::{
    Reason, Record, RecordKey, Rejection,
    registry::{Namespace, NamespaceType, OperationType},
};
use std::sync::Arc;

impl Decide<'_> {
    pub(super) fn create_namespace(
        &mut self,
        command: &CreateNamespace,
    ) -> Result<Reply, Rejection> {
        check_name(&command.name, command.kind)?;
        too_long("Description", command.description.as_deref(), 1024)?;
        too_long(
            "CreatorRequestId",
            command.creator_request_id.as_deref(),
            64,
        )?;
        match (&command.vpc, command.kind) {
            (None, NamespaceType::DNS_PRIVATE) => {
                return Err(Rejection::invalid("Vpc", "must be given"));
            }
            (vpc, _) => too_long("Vpc", vpc.as_deref(), 64)?,
        }
        if let Some(existing) = self.scope.namespace_by_name(&command.name) {
            let token = &existing.creator_request_id;
            if token.is_some() && *token == command.creator_request_id {
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
        let id: Arc<str> = format!("ns-{}", self.entropy.lower(16)).into();
        let is_dns = command.kind != NamespaceType::HTTP;
        let hosted_zone_id =
            is_dns.then(|| format!("Z{}", self.entropy.lower(20).to_ascii_uppercase()));
        let name: Arc<str> = command.name.as_str().into();
        self.put(Record::Namespace(Arc::new(Namespace {
            id: id.clone(),
            name: name.clone(),
            http_name: name,
            kind: command.kind,
            vpc: command.vpc.clone(),
            description: command.description.clone(),
            hosted_zone_id,
            soa_ttl: command.soa_ttl,
            creator_request_id: command.creator_request_id.clone(),
            created_at: self.context.now,
            tags: command.tags.clone(),
        })));
        let operation = self.operation(OperationType::CreateNamespace, &[("NAMESPACE", &id)]);
        Ok(Reply::Operation(operation))
    }

    pub(super) fn delete_namespace(&mut self, id: &str) -> Result<Reply, Rejection> {
        let Some(namespace) = self.scope.namespace(id) else {
            return Err(namespace_not_found(id));
        };
        if let Some(service) = self.scope.services_of(id).next() {
            return Err(Rejection::new(
                Reason::InUse,
                format!(
                    "namespace {} still has services, among them {}; delete them first",
                    namespace.name, service.name
                ),
            ));
        }
        self.remove(RecordKey::Namespace(namespace.id.clone()));
        let operation = self.operation(OperationType::DeleteNamespace, &[("NAMESPACE", id)]);
        Ok(Reply::Operation(operation))
    }
}

pub(super) fn namespace_not_found(id: &str) -> Rejection {
    Rejection::new(
        Reason::NamespaceNotFound,
        format!("no namespace has the id {id}"),
    )
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
