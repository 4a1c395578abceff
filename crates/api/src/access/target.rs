//! What a call would do, in the words of policies: an action and a resource.

use crate::{
    appmesh::{names, routing},
    wire::{Door, door::CLOUD_MAP_TARGET, percent},
};
use http::{Method, request::Parts};
use serde_json::Value;
use tombolo_model::{
    Scope,
    appmesh::ResourceKey,
    arn::{self, RegistryName},
};

/// An action, and how its resource is found when a policy asks for it.
pub(crate) struct Target<'a> {
    /// `appmesh:CreateMesh`.
    pub(crate) action: String,
    /// The resource's ARN, or `*` for actions that are about none.
    pub(crate) resource: Box<dyn FnOnce() -> String + 'a>,
}

/// What a call of AWS does. None: everybody may ask that, or it is no operation, which its door will say.
pub(crate) fn door_target<'a>(
    door: Door,
    request: &'a Parts,
    body: &'a [u8],
    scope: &'a Scope,
) -> Option<Target<'a>> {
    match door {
        // Everybody may ask who they are.
        Door::Sts => None,
        Door::AppMesh => {
            let operation = routing::operation(&request.method, request.uri.path()).ok()?;
            Some(Target {
                action: format!("appmesh:{operation}"),
                resource: Box::new(move || of_mesh(request, &operation, body, scope)),
            })
        }
        Door::CloudMap => {
            let target = request.headers.get("x-amz-target")?.to_str().ok()?;
            let operation = target.strip_prefix(CLOUD_MAP_TARGET)?;
            Some(Target {
                action: format!("servicediscovery:{operation}"),
                resource: Box::new(move || of_registry(operation, body, scope)),
            })
        }
    }
}

/// What a call of our own does, such as an export: `tombolo:Read` or `tombolo:Write`, on its path.
pub(crate) fn operator_target<'a>(request: &'a Parts, scope: &'a Scope) -> Target<'a> {
    let verb = if is_reading(request) { "Read" } else { "Write" };
    Target {
        action: format!("tombolo:{verb}"),
        resource: Box::new(move || {
            let path = request.uri.path().trim_start_matches('/');
            format!("arn:aws:tombolo:{}:{}:{path}", scope.region, scope.account)
        }),
    }
}

/// Whether a call of our own only reads.
pub(crate) fn is_reading(request: &Parts) -> bool {
    [Method::GET, Method::HEAD].contains(&request.method)
}

fn of_mesh(request: &Parts, operation: &routing::Operation, body: &[u8], scope: &Scope) -> String {
    use routing::{Operation, Verb};
    let of = |key: &ResourceKey| arn::of_resource(scope, key);
    match operation {
        Operation::Item(_, key) => of(key),
        Operation::Collection(Verb::Create, collection) => {
            let member = names::name_member(collection.kind);
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            of(&collection.member(body[member].as_str().unwrap_or_default()))
        }
        // A list is about what holds it.
        Operation::Collection(_, collection) => match collection.kind.parent() {
            _ if collection.mesh.is_empty() => "*".to_owned(),
            None => of(&ResourceKey::mesh(collection.mesh.as_str())),
            Some(parent) => of(&ResourceKey::new(
                collection.mesh.as_str(),
                parent,
                collection.parent.as_str(),
            )),
        },
        Operation::TagResource | Operation::UntagResource | Operation::ListTagsForResource => {
            let query = request.uri.query().unwrap_or_default();
            let Some(text) = percent::query_value(query, "resourceArn") else {
                return "*".to_owned();
            };
            // In our own spelling: there are parts of ARNs that the door does not look at.
            match arn::parse_resource(&text) {
                Some(name) if name.scope.as_ref() == Some(scope) => of(&name.key),
                _ => text.into_owned(),
            }
        }
    }
}

/// The namespace or service that an input names, by id or ARN. Each operation has one member for it: what
/// else is in the input means nothing to the door, so it must mean nothing here.
fn of_registry(operation: &str, body: &[u8], scope: &Scope) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // What names nothing here stays as it is; everything else is in our own spelling.
    let named = |text: &Value, word: &str, make: fn(&Scope, &str) -> String| match text.as_str() {
        None => "*".to_owned(),
        Some(text) => {
            arn::bare_id(scope, word, text).map_or_else(|| text.to_owned(), |id| make(scope, id))
        }
    };
    let namespace = |text: &Value| named(text, "namespace", arn::of_namespace);
    let service = |text: &Value| named(text, "service", arn::of_service);
    match operation {
        "DeleteNamespace"
        | "GetNamespace"
        | "UpdateHttpNamespace"
        | "UpdatePrivateDnsNamespace"
        | "UpdatePublicDnsNamespace" => namespace(&body["Id"]),
        "CreateService" => {
            let outside = &body["NamespaceId"];
            namespace(match outside {
                Value::Null => &body["DnsConfig"]["NamespaceId"],
                outside => outside,
            })
        }
        "DeleteService" | "GetService" | "UpdateService" => service(&body["Id"]),
        "DeleteServiceAttributes"
        | "DeregisterInstance"
        | "GetInstance"
        | "GetInstancesHealthStatus"
        | "GetServiceAttributes"
        | "ListInstances"
        | "RegisterInstance"
        | "UpdateInstanceCustomHealthStatus"
        | "UpdateServiceAttributes" => service(&body["ServiceId"]),
        "ListTagsForResource" | "TagResource" | "UntagResource" => {
            let text = body["ResourceARN"].as_str().unwrap_or_default();
            match arn::parse_registry(scope, text) {
                Some(RegistryName::Namespace(id)) => arn::of_namespace(scope, &id),
                Some(RegistryName::Service(id)) => arn::of_service(scope, &id),
                Some(RegistryName::Foreign) => text.to_owned(),
                None => "*".to_owned(),
            }
        }
        _ => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use serde_json::json;

    const ACCOUNT: &str = "arn:aws:appmesh:r:111122223333:";

    fn told(door: Door, request: http::request::Builder, body: &Value) -> Option<(String, String)> {
        let scope = Scope::new("111122223333", "r");
        let (request, ()) = request.body(()).expect("legal").into_parts();
        let body = body.to_string();
        let target = door_target(door, &request, body.as_bytes(), &scope)?;
        Some((target.action, (target.resource)()))
    }

    #[test]
    fn calls_to_app_mesh_are_about_what_they_name() {
        for (method, path, body, action, resource) in [
            ("GET", "meshes", json!({}), "ListMeshes", "*".to_owned()),
            (
                "PUT",
                "meshes",
                json!({"meshName": "m"}),
                "CreateMesh",
                format!("{ACCOUNT}mesh/m"),
            ),
            (
                "PUT",
                "meshes/m/virtualRouter/r/routes",
                json!({"routeName": "x"}),
                "CreateRoute",
                format!("{ACCOUNT}mesh/m/virtualRouter/r/route/x"),
            ),
            (
                "GET",
                "meshes/m/virtualRouter/r/routes",
                json!({}),
                "ListRoutes",
                format!("{ACCOUNT}mesh/m/virtualRouter/r"),
            ),
            (
                "GET",
                "meshes/m/virtualNodes",
                json!({}),
                "ListVirtualNodes",
                format!("{ACCOUNT}mesh/m"),
            ),
            (
                "DELETE",
                "meshes/m",
                json!({}),
                "DeleteMesh",
                format!("{ACCOUNT}mesh/m"),
            ),
            (
                "PUT",
                "tag?resourceArn=arn%3Aaws",
                json!({}),
                "TagResource",
                "arn:aws".into(),
            ),
            // What follows the @ names no resource: it must not fit a pattern either.
            (
                "GET",
                "tags?resourceArn=arn%3Aaws%3Aappmesh%3Ar%3A111122223333%3Amesh%2Fm%40-mine",
                json!({}),
                "ListTagsForResource",
                format!("{ACCOUNT}mesh/m"),
            ),
            (
                "PUT",
                "untag?resourceArn=arn%3Amine%3Aappmesh%3Ar%3A111122223333%3Amesh%2Fm",
                json!({}),
                "UntagResource",
                format!("{ACCOUNT}mesh/m"),
            ),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(format!("/v20190125/{path}"));
            let expected = Some((format!("appmesh:{action}"), resource));
            assert_eq!(
                told(Door::AppMesh, request, &body),
                expected,
                "{method} {path}"
            );
        }
        let nothing = Request::get("/v20190125/nothing/at/all");
        assert_eq!(told(Door::AppMesh, nothing, &json!({})), None);
    }

    #[test]
    fn calls_to_cloud_map_are_about_services_and_namespaces() {
        let registry = "arn:aws:servicediscovery:r:111122223333:";
        for (operation, body, resource) in [
            ("ListNamespaces", json!({}), "*".to_owned()),
            (
                "GetNamespace",
                json!({"Id": "ns-1"}),
                format!("{registry}namespace/ns-1"),
            ),
            (
                "DeleteService",
                json!({"Id": "srv-1"}),
                format!("{registry}service/srv-1"),
            ),
            (
                "CreateService",
                json!({"NamespaceId": "ns-1"}),
                format!("{registry}namespace/ns-1"),
            ),
            (
                "RegisterInstance",
                json!({"ServiceId": "arn:x"}),
                "arn:x".into(),
            ),
            (
                "TagResource",
                json!({"ResourceARN": "arn:a:b:::x"}),
                "arn:a:b:::x".into(),
            ),
            // One resource has one name in policies, however it is named.
            (
                "DeleteService",
                json!({"Id": "arn:mine:servicediscovery:r:111122223333:service/srv-1"}),
                format!("{registry}service/srv-1"),
            ),
            (
                "UntagResource",
                json!({"ResourceARN": "arn:mine:servicediscovery:r:111122223333:namespace/ns-1"}),
                format!("{registry}namespace/ns-1"),
            ),
            ("GetOperation", json!({"OperationId": "o"}), "*".into()),
            (
                "CreateService",
                json!({"DnsConfig": {"NamespaceId": "ns-1"}, "Id": "x"}),
                format!("{registry}namespace/ns-1"),
            ),
            (
                "UpdateServiceAttributes",
                json!({"ServiceId": "srv-1", "Id": "x"}),
                format!("{registry}service/srv-1"),
            ),
            // What the door does not read decides nothing.
            (
                "DeleteService",
                json!({"Id": "srv-1", "ServiceId": "x", "ResourceARN": "x", "NamespaceId": "x"}),
                format!("{registry}service/srv-1"),
            ),
            (
                "RegisterInstance",
                json!({"ServiceId": "srv-1", "ResourceARN": "x"}),
                format!("{registry}service/srv-1"),
            ),
        ] {
            let target = format!("{CLOUD_MAP_TARGET}{operation}");
            let request = Request::post("/").header("x-amz-target", target);
            let expected = Some((format!("servicediscovery:{operation}"), resource));
            assert_eq!(
                told(Door::CloudMap, request, &body),
                expected,
                "{operation}"
            );
        }
    }
}
