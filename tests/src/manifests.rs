//! A small mesh as Kubernetes manifests.

/// The mesh `shop` of the namespace `apps`, with sidecar injection, and a virtual node for each name: its pods have
/// the name as label `app`, HTTP on port 8080, and DNS discovery.
pub fn shop(nodes: &[&str]) -> String {
    let mut manifests = String::from(
        "
apiVersion: v1
kind: Namespace
metadata: {name: apps, labels: {mesh: shop, appmesh.k8s.aws/sidecarInjectorWebhook: enabled}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: shop}
spec: {namespaceSelector: {matchLabels: {mesh: shop}}}
",
    );
    for node in nodes {
        manifests += &format!(
            "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{name: {node}, namespace: apps}}
spec:
  podSelector: {{matchLabels: {{app: {node}}}}}
  listeners: [{{portMapping: {{port: 8080, protocol: http}}}}]
  serviceDiscovery: {{dns: {{hostname: {node}.apps.svc.cluster.local}}}}
"
        );
    }
    manifests
}
