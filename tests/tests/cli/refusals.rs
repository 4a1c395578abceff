//! Invalid input: all errors are reported at once, with their lines, and nothing is changed.

use crate::{
    fixture::Cli,
    kinds::{everything, text},
};

/// The same resource in two formats.
const TWICE: &str = "{apiVersion: appmesh/2019-01-25, kind: Mesh,\n metadata: {name: m}}\n---\n\
     {meshName: m, spec: {egressFilter: {type: ALLOW_ALL}}}";

/// A service with two ports.
const TWO_PORTS: &str = r#"
apiVersion: appmesh/2019-01-25
kind: VirtualRouter
metadata: {name: two, mesh: shop}
spec: {listeners: [{portMapping: {port: 1, protocol: http}}, {portMapping: {port: 2, protocol: http}}]}
---
apiVersion: appmesh/2019-01-25
kind: VirtualService
metadata: {name: two.shop.local, mesh: shop}
spec: {provider: {virtualRouter: {virtualRouterName: two}}}
"#;

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn every_document_is_read_before_anything_is_done() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let node = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: appmesh/2019-01-25\nkind: VirtualNode\n\
             metadata: {{name: {name}, mesh: m}}\n{rest}\n"
        )
    };
    let documents = [
        "apiVersion: appmesh/2019-01-25\nkind: Mesh\nmetadata: {name: m}\n".to_owned(),
        node(
            "a",
            "spec:\n  listeners:\n  - portMapping: {port: 80, protocol: http}\n    timeuot: {x: 1}",
        ),
        node(
            "b",
            "spec:\n  listeners:\n  - portMapping: {port: 80800, protocol: http}",
        ),
        node(
            "c",
            "spec:\n  listeners:\n  - portMapping: {port: 0, protocol: http}",
        ),
        node("d", "sepc: {}"),
        "---\napiVersion: appmesh/2019-01-25\nkind: VirtualNod\nmetadata: {name: e}\n".to_owned(),
        "---\napiVersion: appmesh/2018\nkind: Route\nmetadata: {name: f}\n".to_owned(),
        "---\napiVersion: appmesh/2019-01-25\nkind: Route\nmetadata: {name: 1, mehs: m}\n"
            .to_owned(),
        node("c", ""),
        "---\nfoo: 1\n".to_owned(),
    ]
    .concat();
    let errors = tool.fails_with(&["apply", "-f", "-"], &documents);
    has(
        &errors,
        &[
            "nothing was changed",
            "standard input:11: virtualnode/m/a: spec.listeners[0].timeuot: a VirtualNode has no such field",
            "standard input:18: virtualnode/m/b: spec.listeners[0].portMapping.port:",
            "standard input:25: virtualnode/m/c: spec.listeners[0].portMapping.port: 0 is out of range; it must be from 1 to 65535",
            "standard input:30: virtualnode/m/d: sepc: is not known; write spec",
            "standard input:33: kind: VirtualNod is not known; write VirtualNode",
            "standard input:36: apiVersion: appmesh/2018 has no kind Route; write apiVersion: appmesh/2019-01-25",
            "standard input:42: metadata.name: is not text; put it in quotes",
            "standard input:42: metadata.mehs: is not known; write mesh",
            "standard input:42: metadata.virtualRouter: is missing",
            "standard input:49: has neither apiVersion and kind",
        ],
    );
    let dry = tool.run_with(&["diff", "-f", "-"], &documents);
    assert_eq!(dry.code, Some(2), "{dry:?}");
    for (input, part) in [
        (
            TWICE,
            "standard input:4: mesh/m: meshName: is given twice, and differs from standard input:2; remove one",
        ),
        ("{a: [", "standard input:2: not YAML"),
        ("", "there is no resource"),
        ("[1]", "has neither apiVersion"),
        (
            "kind: Mesh\nmetadata: {name: m}",
            "write apiVersion: appmesh/2019-01-25",
        ),
        (
            "apiVersion: v1\nkind: Pod\n---\nkind: Mesh",
            "standard input:1: apiVersion: is that of a Kubernetes",
        ),
    ] {
        has(&tool.fails_with(&["apply", "-f", "-"], input), &[part]);
    }
}

#[test]
fn what_the_server_would_refuse_is_found_out_before_anything_is_done() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    tool.apply(TWO_PORTS);
    let documents = r#"
{"apiVersion": "appmesh/2019-01-25", "kind": "Mesh", "metadata": {"name": "fine"}}
---
{"apiVersion": "appmesh/2019-01-25", "kind": "VirtualService",
 "metadata": {"name": "x", "mesh": "shop"},
 "spec": {"provider": {"virtualNode": {"virtualNodeName": "nowhere"}}}}
---
{"apiVersion": "appmesh/2019-01-25", "kind": "Route",
 "metadata": {"name": "x", "mesh": "shop", "virtualRouter": "none"},
 "spec": {"tcpRoute": {"action": {"weightedTargets": [{"virtualNode": "front-v1", "weight": 1}]}}}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Service",
 "metadata": {"name": "front", "namespace": "shop.local"},
 "spec": {"DnsConfig": {"RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": 5}]},
  "HealthCheckCustomConfig": {}}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Namespace",
 "metadata": {"name": "new.local"}, "spec": {"Type": "DNS_PRIVATE"}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Service",
 "metadata": {"name": "front", "namespace": "new.local"}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Namespace",
 "metadata": {"name": "api.only"}, "spec": {"Type": "DNS_PUBLIC"}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Instance",
 "metadata": {"name": "i", "namespace": "example.org", "service": "www"},
 "spec": {"Attributes": {"AWS_INSTANCE_PORT": "80"}}}
---
{"apiVersion": "appmesh/2019-01-25", "kind": "GatewayRoute",
 "metadata": {"name": "y", "mesh": "shop", "virtualGateway": "in"},
 "spec": {"grpcRoute": {"match": {"serviceName": "s"}, "action": {"target": {
  "virtualService": {"virtualServiceName": "two.shop.local"}}}}}}
"#;
    let errors = tool.fails_with(&["apply", "-f", "-"], documents);
    has(
        &errors,
        &[
            "standard input:6: virtualservice/shop/x: spec.provider.virtualNode.virtualNodeName: VirtualNode with name \
             nowhere is missing; make it first",
            "standard input:9: route/shop/none/x: metadata.virtualRouter: virtualrouter/shop/none is not there",
            "standard input:14: service/shop.local/front: spec.DnsConfig.RoutingPolicy: cannot be changed",
            "standard input:18: namespace/new.local: spec.Vpc: must be given",
            "standard input:24: namespace/api.only: spec.Type: is HTTP and cannot be changed",
            "standard input:28: instance/example.org/www/i: spec.Attributes.AWS_INSTANCE_IPV4: must be given",
            "standard input:32: gatewayroute/shop/in/y: spec.grpcRoute.action.target.port: must be given \
             because the provider two has several listeners",
        ],
    );
    // A failure caused only by another document is not reported.
    assert!(!errors.contains("service/new.local/front"), "{errors}");
}

#[test]
fn a_refusal_after_all_says_what_was_done_and_what_was_not() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    // DNS names are case-insensitive, which only the server checks.
    let documents = r#"
{"apiVersion": "appmesh/2019-01-25", "kind": "Mesh", "metadata": {"name": "late"}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Namespace",
 "metadata": {"name": "early"}, "spec": {"Type": "HTTP"}}
---
{"apiVersion": "servicediscovery/2017-03-14", "kind": "Service",
 "metadata": {"name": "FRONT", "namespace": "shop.local"},
 "spec": {"DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 5}]}}}
"#;
    let said = tool.run_with(&["apply", "-f", "-"], documents);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.out, "namespace/early created\n");
    has(
        &said.errors,
        &[
            "service/shop.local/FRONT: ServiceAlreadyExists",
            "done before:\n  namespace/early created\n",
            "not done:\n  service/shop.local/FRONT\n  mesh/late\n",
        ],
    );
    let said = tool.run_with(&["apply", "-f", "-", "-o", "json"], documents);
    assert_eq!(said.code, Some(1));
    has(
        &said.out,
        &[
            "\"resource\": \"namespace/early\"",
            "\"outcome\": \"unchanged\"",
        ],
    );
    assert!(!said.out.contains("mesh/late"), "{}", said.out);
}

#[test]
fn a_misspelt_word_brings_the_right_one() {
    let Some(tool) = Cli::start() else {
        return;
    };
    for (words, part) in [
        (&["get", "virtualnod"][..], "did you mean virtualnode?"),
        (&["describe", "instnace", "x"], "did you mean instance?"),
        (&["delete", "ruote/x"], "did you mean route?"),
        (
            &["get", "deployments"],
            "a control plane knows namespace, service",
        ),
        (&["get", "vn", "--cluster", "c"], "no runtime named"),
        (&["delete", "vn"], "--all"),
        (&["describe", "vn", "x"], "virtualnode \"x\" not found"),
    ] {
        has(&tool.fails_with(words, ""), &[part]);
    }
    // Without a run and without a server, a command about pods reports the missing run.
    let binary = tombolo_tests::need("TOMBOLO_BIN").expect("the server has it");
    let output = std::process::Command::new(&binary)
        .args(["get", "pods", "--name", &tombolo_tests::run_name()])
        .env_remove("TOMBOLO_API")
        .output()
        .expect("it can be run");
    has(
        &String::from_utf8_lossy(&output.stderr),
        &["error: no runtime named", "tombolo up"],
    );
    let output = std::process::Command::new(binary)
        .args(["get", "meshes", "--api"])
        .arg(format!("http://{}", tombolo_tests::free_port()))
        .output()
        .expect("it can be run");
    has(
        &String::from_utf8_lossy(&output.stderr),
        &["no server answers at http://127.0.0.1:"],
    );
}
