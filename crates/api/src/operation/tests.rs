//! Which action on which resource a request is.

use super::*;
use http::Request;
use serde_json::{Value, json};

const ACCOUNT: &str = "arn:aws:appmesh:r:111122223333:";

fn told(
    service: Service,
    request: http::request::Builder,
    body: &Value,
) -> Result<(Option<String>, String), &'static str> {
    let scope = Scope::new("111122223333", "r");
    let (request, ()) = request.body(()).expect("legal").into_parts();
    let protocol = match service {
        Service::AppMesh => Protocol::RestJson,
        Service::Sts => Protocol::Query,
        Service::CloudMap | Service::Tagging => Protocol::Json11,
    };
    let body = body.to_string();
    let operation = Operation::read(service, protocol, &request, body.as_bytes());
    let operation = operation.map_err(|error| error.code)?;
    Ok((operation.action(), operation.resource(&scope)))
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
            json!({"routeName": "x", "spec": {}}),
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
            json!({"tags": []}),
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
            json!({"tagKeys": []}),
            "UntagResource",
            format!("{ACCOUNT}mesh/m"),
        ),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v20190125/{path}"));
        let expected = Ok((Some(format!("appmesh:{action}")), resource));
        assert_eq!(
            told(Service::AppMesh, request, &body),
            expected,
            "{method} {path}"
        );
    }
    let nothing = Request::get("/v20190125/nothing/at/all");
    let unknown = Err("UnknownOperationException");
    assert_eq!(told(Service::AppMesh, nothing, &json!({})), unknown);
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
            json!({"Name": "s", "NamespaceId": "ns-1"}),
            format!("{registry}namespace/ns-1"),
        ),
        (
            "RegisterInstance",
            json!({"ServiceId": "arn:x", "InstanceId": "i", "Attributes": {}}),
            "arn:x".into(),
        ),
        (
            "TagResource",
            json!({"ResourceARN": "arn:a:b:::x", "Tags": []}),
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
            json!({"TagKeys": [], "ResourceARN": "arn:mine:servicediscovery:r:111122223333:namespace/ns-1"}),
            format!("{registry}namespace/ns-1"),
        ),
        ("GetOperation", json!({"OperationId": "o"}), "*".into()),
        (
            "CreateService",
            json!({"Name": "s", "DnsConfig": {"NamespaceId": "ns-1", "DnsRecords": []}, "Id": "x"}),
            format!("{registry}namespace/ns-1"),
        ),
        (
            "UpdateServiceAttributes",
            json!({"ServiceId": "srv-1", "Id": "x", "Attributes": {}}),
            format!("{registry}service/srv-1"),
        ),
        // What the operation does not read decides nothing.
        (
            "DeleteService",
            json!({"Id": "srv-1", "ServiceId": "x", "ResourceARN": "x", "NamespaceId": "x"}),
            format!("{registry}service/srv-1"),
        ),
        (
            "RegisterInstance",
            json!({"ServiceId": "srv-1", "ResourceARN": "x", "InstanceId": "i", "Attributes": {}}),
            format!("{registry}service/srv-1"),
        ),
    ] {
        let target = format!("Route53AutoNaming_v20170314.{operation}");
        let request = Request::post("/").header("x-amz-target", target);
        let expected = Ok((Some(format!("servicediscovery:{operation}")), resource));
        assert_eq!(
            told(Service::CloudMap, request, &body),
            expected,
            "{operation}"
        );
    }
}

#[test]
fn everybody_may_ask_who_they_are_and_tags_are_about_no_one_resource() {
    let request = Request::post("/?Action=GetCallerIdentity");
    let identity = told(Service::Sts, request, &json!({}));
    assert_eq!(identity, Ok((None, ANY.to_owned())));
    let target = "ResourceGroupsTaggingAPI_20170126.GetResources";
    let request = Request::post("/").header("x-amz-target", target);
    let action = Some("tag:GetResources".to_owned());
    let tags = told(Service::Tagging, request, &json!({}));
    assert_eq!(tags, Ok((action, ANY.to_owned())));
}

/// One reader: what it does not take reaches no policy and no handler.
#[test]
fn bodies_that_are_not_json_are_no_operations() {
    let scope = "Route53AutoNaming_v20170314.DeleteNamespace";
    for body in [
        &b"\x0c{\"Id\":\"ns-1\"}"[..],
        br#"{"Id":"ns-1","x":1e999}"#,
        br#"{"Id":"ns-1","x":"\ud800"}"#,
    ] {
        let request = Request::post("/").header("x-amz-target", scope);
        let (request, ()) = request.body(()).expect("legal").into_parts();
        let read = Operation::read(Service::CloudMap, Protocol::Json11, &request, body);
        assert_eq!(
            read.map_err(|error| error.code).err(),
            Some("SerializationException")
        );
    }
}
