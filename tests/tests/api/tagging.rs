//! The Resource Groups Tagging API through boto3, which speaks CBOR to it, and through the `aws` CLI.

use crate::{cloud_map::namespace, server_and_boto};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TAGGING: &str = "resourcegroupstaggingapi";

/// The tags of each resource of an answer, by the end of its ARN.
fn found(answer: &Value) -> BTreeMap<String, Value> {
    let list = answer["ResourceTagMappingList"].as_array();
    let read = |item: &Value| {
        let arn = item["ResourceARN"].as_str().expect("an ARN");
        let path = arn.splitn(6, ':').last().expect("a path");
        (path.to_owned(), item["Tags"].clone())
    };
    list.expect("a list").iter().map(read).collect()
}

#[test]
fn generic_tag_tools_find_meshes_and_registries() {
    let Some((server, mut boto)) = server_and_boto() else {
        return;
    };
    for mesh in ["a", "b", "c"] {
        let tags = json!([{"key": "team", "value": mesh}]);
        let params = json!({"meshName": mesh, "tags": tags});
        boto.call("appmesh", "CreateMesh", params);
    }
    boto.call("appmesh", "CreateMesh", json!({"meshName": "bare"}));
    let id = namespace(&mut boto, "shop.local");
    let arn =
        boto.call("servicediscovery", "GetNamespace", json!({"Id": id}))["Namespace"]["Arn"].take();
    let tags = json!([{"Key": "team", "Value": "a"}, {"Key": "stage", "Value": ""}]);
    let params = json!({"ResourceARN": arn, "Tags": tags});
    boto.call("servicediscovery", "TagResource", params);

    let team = |value: &str| json!([{"Key": "team", "Value": value}]);
    let namespace = format!("namespace/{id}");
    let all = BTreeMap::from([
        ("mesh/a".to_owned(), team("a")),
        ("mesh/b".to_owned(), team("b")),
        ("mesh/c".to_owned(), team("c")),
        (namespace.clone(), tags),
    ]);
    assert_eq!(found(&boto.call(TAGGING, "GetResources", json!({}))), all);
    let pages = boto.pages(TAGGING, "GetResources", json!({}), 3);
    let sizes: Vec<usize> = pages.iter().map(|page| found(page).len()).collect();
    assert_eq!(sizes, [3, 1]);
    for (params, expected) in [
        (
            json!({"TagFilters": [{"Key": "team", "Values": ["a"]}]}),
            vec!["mesh/a", &namespace],
        ),
        (json!({"TagFilters": [{"Key": "stage"}]}), vec![&namespace]),
        (
            json!({"ResourceTypeFilters": ["appmesh"]}),
            vec!["mesh/a", "mesh/b", "mesh/c"],
        ),
        (json!({"ResourceARNList": [arn]}), vec![&namespace]),
    ] {
        let answer = boto.call(TAGGING, "GetResources", params.clone());
        let paths: Vec<String> = found(&answer).into_keys().collect();
        assert_eq!(paths, expected, "{params}");
    }
    let raised = boto.fail(TAGGING, "GetResources", json!({"ResourcesPerPage": 0}));
    assert_eq!(
        (raised.status, &*raised.code, &*raised.class),
        (
            400,
            "InvalidParameterException",
            "InvalidParameterException"
        )
    );
    let raised = boto.fail(TAGGING, "GetTagKeys", json!({}));
    assert_eq!(
        (raised.status, &*raised.code),
        (400, "UnknownOperationException")
    );

    let Some(aws) = server.aws().with_cli() else {
        return;
    };
    let filter = ["--tag-filters", "Key=team,Values=b,c"];
    let answer = aws.run(&[&[TAGGING, "get-resources"][..], &filter].concat());
    let paths: Vec<String> = found(&answer).into_keys().collect();
    assert_eq!(paths, ["mesh/b", "mesh/c"]);
}
