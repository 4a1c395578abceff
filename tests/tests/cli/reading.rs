//! `get` and `describe`: tables, descriptions, and documents in other formats.

use crate::{
    fixture::Cli,
    kinds::{everything, text},
};
use serde_json::{Value, json};
use tombolo_tests::{http::Request, manifests::shop, until};

#[track_caller]
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut of_name = rows.filter(|row| row.first() == Some(&name));
    of_name
        .next()
        .unwrap_or_else(|| panic!("no {name} in\n{table}"))
}

#[test]
fn tables_say_what_matters() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let nodes = tool.succeeds(&["get", "vn"]);
    assert!(nodes.starts_with("NAME"), "{nodes}");
    let cells = row(&nodes, "front-v1");
    assert_eq!(
        cells[1..5],
        ["shop", "8080/http", "cloudmap:shop.local/front", "1"]
    );
    let routes = tool.succeeds(&["get", "routes", "--no-headers"]);
    assert!(
        row(&routes, "all").contains(&"front-v1=90,front-v2=10"),
        "{routes}"
    );
    assert_eq!(routes.lines().count(), 1);
    let instances = tool.succeeds(&["get", "instances", "-n", "shop.local", "-o", "wide"]);
    assert_eq!(
        row(&instances, "10.0.0.1/a:1")[3..6],
        ["10.0.0.1", "8080", "HEALTHY"]
    );
    assert!(
        instances.contains("version=1.0") && !instances.contains("1e3"),
        "{instances}"
    );
    let both = tool.succeeds(&["get", "meshes,vs"]);
    assert!(both.contains("mesh/shop") && both.contains("\nvirtualservice/front.shop.local"));
    let name = tool.succeeds(&["get", "vs", "-o", "jsonpath={.items[0].metadata.name}"]);
    assert_eq!(name, "front.shop.local");
    let tagged = tool.succeeds(&["get", "vn", "-l", "t0=yes,t1!=yes", "-o", "name"]);
    assert_eq!(tagged, "virtualnode/shop/front-v1\n");
}

#[test]
fn whoever_watches_sees_what_changes() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let watch = tool.start_program(&["get", "vs", "--watch"]);
    let lines = |part: &str| watch.log().matches(part).count();
    until("what is there is printed", || {
        (lines("shop.local") == 2).then_some(())
    });
    let node = "{virtualNode: {virtualNodeName: front-v2}}";
    tool.apply(&format!(
        "{{apiVersion: appmesh/2019-01-25, kind: VirtualService, \
         metadata: {{name: none.shop.local, mesh: shop}}, spec: {{provider: {node}}}}}"
    ));
    until("the change is printed", || {
        (lines("virtualnode/front-v2") == 1).then_some(())
    });
    assert_eq!(
        (lines("NAME"), lines("front.shop.local")),
        (1, 1),
        "{}",
        watch.log()
    );
}

#[test]
fn a_description_tells_what_is_around_a_resource() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let service = tool.json(&["get", "service", "front", "-o", "json"])["status"]["Id"].take();
    let sick = json!({"ServiceId": service, "InstanceId": "10.0.0.1/a:1", "Status": "UNHEALTHY"});
    let answer = tool.call(&Request::cloud_map(
        "UpdateInstanceCustomHealthStatus",
        &sick,
    ));
    assert_eq!(answer.status, 200, "{}", answer.text());

    let route = tool.json(&["describe", "route", "front/all", "-o", "json"]);
    assert_eq!(
        route["refersTo"],
        json!([
            {"role": "target", "resource": "virtualnode/shop/front-v1", "weight": 90, "weights": 100,
                "state": "0 of 1 instances healthy"},
            {"role": "target", "resource": "virtualnode/shop/front-v2", "weight": 10, "weights": 100,
                "state": "found by DNS: front.local"},
        ])
    );
    let node = tool.json(&["describe", "vn", "front-v1", "-o", "json"]);
    assert_eq!(node["instances"][0]["health"], "UNHEALTHY");
    let by = |json: &Value| -> Vec<String> {
        let links = json["referredToBy"].as_array().expect("a list").iter();
        links
            .map(|link| link["resource"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(by(&node), ["route/shop/front/all"]);
    let backend = &node["refersTo"][1];
    assert_eq!(
        (&backend["resource"], &backend["state"]),
        (
            &json!("virtualservice/shop/back.shop.local"),
            &json!("missing")
        )
    );
    let service = tool.json(&["describe", "service", "shop.local/front", "-o", "json"]);
    assert_eq!(by(&service), ["virtualnode/shop/front-v1"]);
    assert_eq!(
        service["dnsRecords"][0],
        json!({"name": "front.shop.local", "type": "A", "ttl": "5"})
    );

    let namespace = tool.json(&["describe", "ns", "shop.local", "-o", "json"]);
    assert_eq!(namespace["services"][0]["healthCheck"], "custom");

    let text = tool.succeeds(&["describe", "vr/front", "ns/shop.local", "mesh/shop"]);
    for line in [
        "Kind:            VirtualRouter\n",
        "Version:         1\n",
        "Mesh:            shop\n",
        "Status:          ACTIVE\n",
        "Referred to by:\n  ROLE       RESOURCE\n  provider   virtualservice/shop/front.shop.local\n",
        "Routes:\n  NAME   MATCH ",
        "Services:\n  NAME    DNS      HEALTH-CHECK   INSTANCES ",
        "Resources:\n  KIND             COUNT\n  VirtualNode      2\n",
        "                 t1=No\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    for name in tool.succeeds(&["get", "all", "-o", "name"]).lines() {
        let text = tool.succeeds(&["describe", name]);
        assert!(text.starts_with("Name: "), "{name}: {text}");
    }
}

#[test]
fn what_the_aws_cli_takes_and_prints_is_applied_too() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let input = json!({"meshName": "m", "tags": [{"key": "a", "value": "b"}]});
    let node = json!({"meshName": "m", "virtualNodeName": "n", "clientToken": "t",
        "spec": {"serviceDiscovery": {"dns": {"hostname": "n.local"}},
            "listeners": [{"portMapping": {"port": 80, "protocol": "tcp"}}]}});
    let lines = tool.apply(&format!("{node}\n---\n{input}"));
    assert_eq!(lines, ["mesh/m created", "virtualnode/m/n created"]);
    let path = "/v20190125/meshes/m/virtualNodes/n";
    let printed = tool.call(&Request::get(path)).json();
    let printed = json!({ "virtualNode": printed });
    assert_eq!(
        tool.apply(&printed.to_string()),
        ["virtualnode/m/n unchanged"]
    );
    let mut wrong = printed;
    wrong["virtualNode"]["spec"]["listeners"][0]["x"] = json!(1);
    let errors = tool.fails_with(&["apply", "-f", "-"], &wrong.to_string());
    assert!(
        errors.contains("virtualNode.spec.listeners[0].x: a VirtualNode has no such"),
        "{errors}"
    );
}

#[test]
fn manifests_of_the_controller_become_what_it_makes_of_them() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let more = r#"---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: front, namespace: apps}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  routes:
  - name: all
    httpRoute:
      match: {prefix: /}
      action: {weightedTargets: [{virtualNodeRef: {name: front}, weight: 1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: apps}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: app, image: front}]}
"#;
    let manifests = &(shop(&["front"]) + more);
    let said = tool.run_with(&["apply", "-f", "-"], manifests);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.out,
        "mesh/shop created\nvirtualnode/shop/front_apps created\nvirtualrouter/shop/front_apps created\n\
         route/shop/front_apps/all created\n"
    );
    assert!(
        said.errors.contains("Deployment apps/front is left out"),
        "{}",
        said.errors
    );
    let again = tool.run_with(&["diff", "-f", "-"], manifests);
    assert_eq!(again.code, Some(0), "{again:?}");
    let out = tool.succeeds_with(&["delete", "-f", "-"], manifests);
    assert!(out.ends_with("mesh/shop deleted\n"), "{out}");
    let wrong = manifests.replace(
        "virtualNodeRef: {name: front}",
        "virtualNodeRef: {name: none}",
    );
    let errors = tool.fails_with(&["apply", "-f", "-"], &wrong);
    assert!(errors.contains("spec.routes[0]"), "{errors}");
}
