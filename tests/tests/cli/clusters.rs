//! Beside running clusters: which arguments select Kubernetes objects, and which select resources of the control
//! plane.

use tombolo_tests::{ProxyKind, Up, manifests::shop, until};

#[test]
fn objects_of_clusters_and_resources_of_their_control_plane_are_told_apart() {
    let Some(up) = Up::new(ProxyKind::Tombolo) else {
        return;
    };
    let manifests = up.file("again.yaml", &shop(&["front"]));
    let router = up.file(
        "router.yaml",
        "{apiVersion: appmesh/2019-01-25, kind: VirtualRouter, metadata: {name: r, mesh: shop}, \
         spec: {listeners: [{portMapping: {port: 80, protocol: http}}]}}",
    );
    let clusters = up.cluster("one", &shop(&["front"]));
    let clusters = clusters.images("images: {}").start();
    until("the mesh is there", || {
        let nodes = clusters.tombolo(&["get", "vn.appmesh", "-o", "name"]);
        (nodes == "virtualnode/shop/front_apps\n").then_some(())
    });
    let objects = clusters.tombolo(&["get", "vn", "-o", "name"]);
    assert_eq!(objects, "virtualnode.appmesh.k8s.aws/front\n");
    let text = clusters.tombolo(&["describe", "vn", "front_apps"]);
    assert!(text.contains("hostname: front.apps"), "{text}");

    let path = |path: &std::path::Path| path.display().to_string();
    let (manifests, router) = (path(&manifests), path(&router));
    let out = clusters.tombolo(&["apply", "-f", &manifests]);
    assert!(
        out.contains("virtualnode.appmesh.k8s.aws/front unchanged"),
        "{out}"
    );
    let out = clusters.tombolo(&["diff", "-f", &manifests]);
    assert!(out.contains("2 unchanged"), "{out}");
    let out = clusters.tombolo(&["apply", "-f", &router]);
    assert_eq!(out, "virtualrouter/shop/r created\n");
    assert_eq!(
        clusters.tombolo(&["get", "vr.appmesh", "-o", "name"]),
        "virtualrouter/shop/r\n"
    );
    let out = clusters.tombolo(&["delete", "-f", &router]);
    assert_eq!(out, "virtualrouter/shop/r deleted\n");
}
