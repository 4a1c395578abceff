//! ARNs of App Mesh and Cloud Map resources.

use crate::{
    Scope,
    appmesh::{Kind, ResourceKey},
};

/// The ARN of a mesh resource, for example
/// `arn:aws:appmesh:us-west-2:111122223333:mesh/demo/virtualRouter/r/route/x` (facts/appmesh-api.md §3).
pub fn of_resource(scope: &Scope, key: &ResourceKey) -> String {
    format!(
        "arn:aws:appmesh:{}:{}:{}",
        scope.region,
        scope.account,
        resource_path(key)
    )
}

/// The part of a mesh ARN after the account: `mesh/demo/virtualNode/front`. Proxies name themselves by it.
pub fn resource_path(key: &ResourceKey) -> String {
    let mesh = format!("mesh/{}", key.mesh);
    match key.kind {
        Kind::Mesh => mesh,
        Kind::Route => format!("{mesh}/virtualRouter/{}/route/{}", key.parent, key.name),
        Kind::GatewayRoute => {
            format!(
                "{mesh}/virtualGateway/{}/gatewayRoute/{}",
                key.parent, key.name
            )
        }
        Kind::VirtualNode | Kind::VirtualRouter | Kind::VirtualService | Kind::VirtualGateway => {
            format!("{mesh}/{}/{}", key.kind.path_segment(), key.name)
        }
    }
}

/// A mesh resource named by an ARN or by its resource path alone (`mesh/demo/virtualNode/front`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceName {
    /// Account and region, absent when only the path was given.
    pub scope: Option<Scope>,
    /// The resource.
    pub key: ResourceKey,
}

/// Parses an App Mesh ARN or a resource path without the ARN prefix. In `mesh/<m>@<owner>` the owner is ignored.
pub fn parse_resource(text: &str) -> Option<ResourceName> {
    let (scope, path) = if let Some(rest) = text.strip_prefix("arn:") {
        let mut parts = rest.splitn(5, ':');
        let (_partition, service) = (parts.next()?, parts.next()?);
        let (region, account, path) = (parts.next()?, parts.next()?, parts.next()?);
        if service != "appmesh" {
            return None;
        }
        (Some(Scope::parse(account, region).ok()?), path)
    } else {
        (None, text)
    };
    let words: Vec<&str> = path.split('/').collect();
    if words.iter().any(|word| word.is_empty()) {
        return None;
    }
    let mesh = |name: &str| name.split('@').next().unwrap_or(name).to_owned();
    let key = match words.as_slice() {
        ["mesh", m] => ResourceKey::mesh(mesh(m)),
        ["mesh", m, "virtualRouter", parent, "route", name] => {
            ResourceKey::child(mesh(m), Kind::Route, *parent, *name)
        }
        ["mesh", m, "virtualGateway", parent, "gatewayRoute", name] => {
            ResourceKey::child(mesh(m), Kind::GatewayRoute, *parent, *name)
        }
        ["mesh", m, kind, name] => ResourceKey::new(mesh(m), Kind::from_path_segment(kind)?, *name),
        _ => return None,
    };
    Some(ResourceName { scope, key })
}

/// The ARN of a Cloud Map namespace.
pub fn of_namespace(scope: &Scope, id: &str) -> String {
    format!(
        "arn:aws:servicediscovery:{}:{}:namespace/{id}",
        scope.region, scope.account
    )
}

/// The ARN of a Cloud Map service.
pub fn of_service(scope: &Scope, id: &str) -> String {
    format!(
        "arn:aws:servicediscovery:{}:{}:service/{id}",
        scope.region, scope.account
    )
}

/// The id of a namespace or service that was given as an id or as an ARN of this scope. `None` for an ARN of
/// another scope or of another type.
pub fn bare_id<'a>(scope: &Scope, word: &str, text: &'a str) -> Option<&'a str> {
    let Some(rest) = text.strip_prefix("arn:") else {
        return Some(text);
    };
    let mut parts = rest.splitn(5, ':');
    let (_partition, service) = (parts.next()?, parts.next()?);
    let (region, account, path) = (parts.next()?, parts.next()?, parts.next()?);
    let id = path.strip_prefix(word)?.strip_prefix('/')?;
    (service == "servicediscovery" && region == &*scope.region && account == &*scope.account)
        .then_some(id)
}

/// A namespace or service, named by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryName {
    /// A namespace, by id.
    Namespace(String),
    /// A service, by id.
    Service(String),
    /// A resource of another account, region or API.
    Foreign,
}

/// Parses the ARN of a namespace or service, relative to a scope. `None` if it is not an ARN.
pub fn parse_registry(scope: &Scope, text: &str) -> Option<RegistryName> {
    let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
    if parts.by_ref().take(2).any(str::is_empty) || parts.nth(2)?.is_empty() {
        return None;
    }
    let id = |word| bare_id(scope, word, text).map(str::to_owned);
    Some(match (id("namespace"), id("service")) {
        (Some(id), _) => RegistryName::Namespace(id),
        (_, Some(id)) => RegistryName::Service(id),
        (None, None) => RegistryName::Foreign,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_round_trip() {
        let scope = Scope::new("111122223333", "us-west-2");
        for key in [
            ResourceKey::mesh("m"),
            ResourceKey::new("m", Kind::VirtualService, "a.b.svc.cluster.local"),
            ResourceKey::child("m", Kind::Route, "r", "x"),
            ResourceKey::child("m", Kind::GatewayRoute, "g", "x"),
        ] {
            let parsed = parse_resource(&of_resource(&scope, &key)).expect("an ARN we made");
            assert_eq!((parsed.scope, parsed.key), (Some(scope.clone()), key));
        }
    }

    #[test]
    fn arns_of_the_registry_are_read_from_where_the_reader_is() {
        use RegistryName::{Foreign, Namespace, Service};
        let scope = Scope::new("111122223333", "us-west-2");
        let namespace = Some(Namespace("ns-1".into()));
        let service = Some(Service("srv-1".into()));
        let elsewhere = Scope::new("111122223333", "eu-west-1");
        for (text, expected) in [
            (of_namespace(&scope, "ns-1"), namespace),
            (of_service(&scope, "srv-1"), service),
            (of_service(&elsewhere, "srv-1"), Some(Foreign)),
            (of_resource(&scope, &ResourceKey::mesh("m")), Some(Foreign)),
            ("arn:aws:s3:::bucket".into(), Some(Foreign)),
            (
                "arn:aws:servicediscovery:us-west-2:111122223333:".into(),
                None,
            ),
            ("arn:aws:servicediscovery:us-west-2".into(), None),
            (
                "arn::servicediscovery:us-west-2:111122223333:x".into(),
                None,
            ),
            ("srv-1".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(parse_registry(&scope, &text), expected, "{text}");
        }
    }

    #[test]
    fn a_bare_path_and_an_owner_suffix_are_read() {
        let parsed = parse_resource("mesh/demo@111122223333/virtualNode/front").expect("legal");
        assert_eq!(
            parsed.key,
            ResourceKey::new("demo", Kind::VirtualNode, "front")
        );
        assert!(parse_resource("mesh//virtualNode/front").is_none());
        assert!(parse_resource("arn:aws:s3:::bucket").is_none());
    }
}
