//! Namespaces, services and instances that an input names.

use super::bounds;
use crate::{
    Reason, Rejection, Scope, ScopeView, arn,
    cloudmap::{Instance, Namespace, Service},
};
use std::sync::Arc;

/// The namespace of an id or ARN.
///
/// # Errors
/// The text is no id or ARN, or there is no such namespace in the scope.
pub fn namespace<'a>(
    view: &'a ScopeView,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<Namespace>, Rejection> {
    bounds::id(id)?;
    let found = arn::bare_id(scope, "namespace", id).and_then(|id| view.namespace(id));
    let message = || format!("no namespace has the id {id}");
    found.ok_or_else(|| Rejection::new(Reason::NamespaceNotFound, message()))
}

/// The service of an id or ARN.
///
/// # Errors
/// The text is no id or ARN, or there is no such service in the scope.
pub fn service<'a>(
    view: &'a ScopeView,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<Service>, Rejection> {
    bounds::id(id)?;
    let found = arn::bare_id(scope, "service", id).and_then(|id| view.service(id));
    let message = || format!("no service has the id {id}");
    found.ok_or_else(|| Rejection::new(Reason::ServiceNotFound, message()))
}

/// An instance of a service.
///
/// # Errors
/// The id is too long, or the service has no such instance.
pub fn instance<'a>(
    view: &'a ScopeView,
    service: &Service,
    id: &str,
) -> Result<&'a Arc<Instance>, Rejection> {
    bounds::instance_id(id)?;
    let message = || format!("service {} has no instance {id}", service.name);
    let found = view.instance(&service.id, id);
    found.ok_or_else(|| Rejection::new(Reason::InstanceNotFound, message()))
}
