//! The action and the resource of each request, for policies.

use super::*;
use http::Request;

/// The action and the resource of a request, or the code of its error.
fn action_and_resource(
    service: Service,
    request: http::request::Builder,
    body: &str,
) -> Result<(Option<String>, String), &'static str> {
    let scope = Scope::new("111122223333", "r");
    let (request, ()) = request.body(()).expect("legal").into_parts();
    let protocol = match service {
        Service::AppMesh | Service::Eks => Protocol::RestJson,
        Service::Sts => Protocol::Query,
        Service::CloudMap | Service::Tagging => Protocol::Json11,
    };
    let operation = Operation::read(service, protocol, &request, body.as_bytes());
    let operation = operation.map_err(|error| error.code)?;
    Ok((operation.action(), operation.resource(&scope)))
}

/// The columns of the rows of a table; `OWN` is the beginning of the service's ARNs.
fn rows<const N: usize>(table: &'static str, service: &str) -> Vec<[String; N]> {
    let own = format!("arn:aws:{service}:r:111122223333:");
    let columns = |row: &str| -> Vec<String> {
        let columns = row.split(" | ");
        columns
            .map(|column| column.trim().replace("OWN", &own))
            .collect()
    };
    let rows = table.trim().lines().map(columns);
    rows.map(|row| row.try_into().expect("a full row"))
        .collect()
}

/// Method and path, body, action, resource. What follows an @ in an ARN names no resource, so it must not fit a
/// pattern either; neither must another partition.
const APP_MESH: &str = r#"
GET /meshes                                                   |                              | ListMeshes          | *
PUT /meshes                                                   | {"meshName":"m"}             | CreateMesh          | OWNmesh/m
PUT /meshes/m/virtualRouter/r/routes                          | {"routeName":"x","spec":{}}  | CreateRoute         | OWNmesh/m/virtualRouter/r/route/x
GET /meshes/m/virtualRouter/r/routes                          |                              | ListRoutes          | OWNmesh/m/virtualRouter/r
GET /meshes/m/virtualNodes                                    |                              | ListVirtualNodes    | OWNmesh/m
DELETE /meshes/m                                              |                              | DeleteMesh          | OWNmesh/m
PUT /tag?resourceArn=arn%3Aaws                                | {"tags":[]}                  | TagResource         | arn:aws
GET /tags?resourceArn=OWNmesh%2Fm%40-mine                     |                              | ListTagsForResource | OWNmesh/m
PUT /untag?resourceArn=arn:mine:appmesh:r:111122223333:mesh/m | {"tagKeys":[]}               | UntagResource       | OWNmesh/m
"#;

#[test]
fn calls_to_app_mesh_are_about_what_they_name() {
    for [request, body, action, resource] in rows(APP_MESH, "appmesh") {
        let (method, path) = request.split_once(' ').expect("method and path");
        let uri = format!("/v20190125{path}");
        let sent = Request::builder().method(method).uri(uri);
        let expected = Ok((Some(format!("appmesh:{action}")), resource));
        let found = action_and_resource(Service::AppMesh, sent, &body);
        assert_eq!(found, expected, "{request}");
    }
    let nothing = Request::get("/v20190125/nothing/at/all");
    let unknown = Err("UnknownOperationException");
    assert_eq!(action_and_resource(Service::AppMesh, nothing, ""), unknown);
}

/// Operation, input, resource. One resource has one name in policies, however it is named; members that an operation
/// does not read decide nothing.
const CLOUD_MAP: &str = r#"
ListNamespaces          | {}                                                                                       | *
GetNamespace            | {"Id":"ns-1"}                                                                            | OWNnamespace/ns-1
DeleteService           | {"Id":"srv-1"}                                                                           | OWNservice/srv-1
CreateService           | {"Name":"s","NamespaceId":"ns-1"}                                                        | OWNnamespace/ns-1
CreateService           | {"Name":"s","DnsConfig":{"NamespaceId":"ns-1","DnsRecords":[]},"Id":"x"}                 | OWNnamespace/ns-1
RegisterInstance        | {"ServiceId":"arn:x","InstanceId":"i","Attributes":{}}                                   | arn:x
TagResource             | {"ResourceARN":"arn:a:b:::x","Tags":[]}                                                  | arn:a:b:::x
DeleteService           | {"Id":"arn:mine:servicediscovery:r:111122223333:service/srv-1"}                          | OWNservice/srv-1
UntagResource           | {"TagKeys":[],"ResourceARN":"arn:mine:servicediscovery:r:111122223333:namespace/ns-1"}   | OWNnamespace/ns-1
GetOperation            | {"OperationId":"o"}                                                                      | *
UpdateServiceAttributes | {"ServiceId":"srv-1","Id":"x","Attributes":{}}                                           | OWNservice/srv-1
DeleteService           | {"Id":"srv-1","ServiceId":"x","ResourceARN":"x","NamespaceId":"x"}                       | OWNservice/srv-1
RegisterInstance        | {"ServiceId":"srv-1","ResourceARN":"x","InstanceId":"i","Attributes":{}}                 | OWNservice/srv-1
"#;

#[test]
fn calls_to_cloud_map_are_about_services_and_namespaces() {
    for [operation, body, resource] in rows(CLOUD_MAP, "servicediscovery") {
        let target = format!("Route53AutoNaming_v20170314.{operation}");
        let request = Request::post("/").header("x-amz-target", target);
        let expected = Ok((Some(format!("servicediscovery:{operation}")), resource));
        let found = action_and_resource(Service::CloudMap, request, &body);
        assert_eq!(found, expected, "{operation} {body}");
    }
}

#[test]
fn everybody_may_ask_who_they_are_and_tags_are_about_no_single_resource() {
    let request = Request::post("/?Action=GetCallerIdentity");
    let identity = action_and_resource(Service::Sts, request, "");
    assert_eq!(identity, Ok((None, ANY.to_owned())));
    let target = "ResourceGroupsTaggingAPI_20170126.GetResources";
    let request = Request::post("/").header("x-amz-target", target);
    let action = Some("tag:GetResources".to_owned());
    let tags = action_and_resource(Service::Tagging, request, "{}");
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
