//! Kubernetes manifests applied to a control plane without clusters: incomplete sets, and warnings.

use crate::fixture::Cli;
use tombolo_tests::manifests::shop;

const CANARY: &str = r#"
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: front, namespace: apps}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  routes:
  - name: all
    httpRoute:
      match: {prefix: /}
      action:
        weightedTargets:
        - {virtualNodeRef: {name: v1}, weight: 90}
        - {virtualNodeRef: {name: v2}, weight: 10}
"#;

#[test]
fn a_router_by_itself_belongs_to_the_mesh_that_is_there() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let errors = tool.fails_with(&["apply", "-f", "-"], CANARY);
    assert!(
        errors.contains("no mesh selects namespace apps"),
        "{errors}"
    );
    tool.apply(&shop(&["v1", "v2"]));
    assert_eq!(
        tool.apply(CANARY),
        [
            "virtualrouter/shop/front_apps created",
            "route/shop/front_apps/all created"
        ]
    );
    let changed = CANARY.replace("weight: 90", "weight: 50");
    assert_eq!(
        tool.apply(&changed),
        [
            "virtualrouter/shop/front_apps unchanged",
            "route/shop/front_apps/all configured"
        ]
    );
    let elsewhere = CANARY.replace("name: v2", "name: v3");
    let errors = tool.fails_with(&["apply", "-f", "-"], &elsewhere);
    assert!(
        errors.contains("VirtualNode apps/v3 is not there"),
        "{errors}"
    );

    // With a second mesh, one must be selected.
    tool.apply("{apiVersion: appmesh/2019-01-25, kind: Mesh, metadata: {name: other}}");
    let errors = tool.fails_with(&["apply", "-f", "-"], CANARY);
    assert!(
        errors.contains("several: other, shop; name one with --mesh"),
        "{errors}"
    );
    let lines = tool.succeeds_with(&["apply", "--mesh", "shop", "-f", "-"], CANARY);
    assert!(
        lines.contains("route/shop/front_apps/all configured"),
        "{lines}"
    );
    tool.succeeds_with(&["delete", "--mesh", "shop", "-f", "-"], CANARY);
    assert_eq!(tool.succeeds(&["get", "vr", "-o", "name"]), "");
}

#[test]
fn the_same_document_in_two_files_is_one_and_different_ones_are_refused() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let file = |name: &str, text: &str| {
        let path = tool.server.directory().join(name);
        std::fs::write(&path, text).expect("the directory can be written");
        path.display().to_string()
    };
    let base = shop(&["v1", "v2"]);
    let first = file("a.yaml", &base);
    let second = file("b.yaml", &base);
    let out = tool.succeeds(&["apply", "-f", &first, "-f", &second]);
    assert_eq!(out.lines().count(), 3, "{out}");
    let other = file("c.yaml", &base.replace("port: 8080", "port: 8081"));
    let errors = tool.fails_with(&["apply", "-f", &first, "-f", &other], "");
    let places = ["c.yaml:13: VirtualNode apps/v1", "a.yaml:13; remove one"];
    for place in places {
        assert!(errors.contains(place), "{place}: {errors}");
    }

    let mesh = "{apiVersion: appmesh/2019-01-25, kind: Mesh, metadata: {name: m}, spec: SPEC}\n";
    let plain = file("m1.yaml", &mesh.replace("SPEC", "{}"));
    let again = file("m2.yaml", &mesh.replace("SPEC", "{}"));
    let open = file(
        "m3.yaml",
        &mesh.replace("SPEC", "{egressFilter: {type: ALLOW_ALL}}"),
    );
    let out = tool.succeeds(&["apply", "-f", &plain, "-f", &again]);
    assert_eq!(out, "mesh/m created\n");
    let errors = tool.fails_with(&["apply", "-f", &plain, "-f", &open], "");
    assert!(
        errors.contains("m3.yaml:1: mesh/m: metadata.name: is given twice"),
        "{errors}"
    );
    assert!(errors.contains("m1.yaml:1; remove one"), "{errors}");
}

#[test]
fn what_is_asked_for_and_not_done_is_said_when_it_is_applied() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let documents = r#"
apiVersion: appmesh/2019-01-25
kind: Mesh
metadata: {name: m}
---
apiVersion: appmesh/2019-01-25
kind: VirtualNode
metadata: {name: db, mesh: m}
spec:
  listeners:
  - portMapping: {port: 5432, protocol: tcp}
    tls: {mode: STRICT, certificate: {file: {certificateChain: /c.pem, privateKey: /k.pem}}}
  serviceDiscovery: {dns: {hostname: db.local}}
---
apiVersion: appmesh/2019-01-25
kind: VirtualService
metadata: {name: one.local, mesh: m}
spec: {provider: {virtualNode: {virtualNodeName: db}}}
---
apiVersion: appmesh/2019-01-25
kind: VirtualService
metadata: {name: two.local, mesh: m}
spec: {provider: {virtualNode: {virtualNodeName: db}}}
---
apiVersion: appmesh/2019-01-25
kind: VirtualNode
metadata: {name: app, mesh: m}
spec:
  backends:
  - virtualService: {virtualServiceName: one.local}
  - virtualService: {virtualServiceName: two.local}
  backendDefaults:
    clientPolicy: {tls: {validation: {trust: {file: {certificateChain: /ca.pem}}}}}
"#;
    let expected = [
        "warning: standard input:12: virtualnode/m/db: spec.listeners[0].tls: TLS is not supported yet",
        "warning: standard input:33: virtualnode/m/app: spec.backendDefaults.clientPolicy.tls: TLS is not supported \
         yet, and this policy enforces it: calls that it covers are refused",
        "warning: standard input:31: virtualnode/m/app: spec.backends[1]: two.local and one.local are both TCP on \
         port 5432",
    ];
    for words in [&["diff", "-f", "-"][..], &["apply", "-f", "-"]] {
        let said = tool.run_with(words, documents);
        for warning in expected {
            assert!(
                said.errors.contains(warning),
                "{words:?}: {warning}:\n{}",
                said.errors
            );
        }
        assert_eq!(said.errors.lines().count(), 3, "{}", said.errors);
    }
}
