//! Manifests of a front in one cluster and colors in another, with configurable names and numbers.

use std::fmt::Write as _;

/// The names and numbers of the manifests.
pub(crate) struct Sample {
    /// The name of the namespace and of the mesh.
    pub(crate) namespace: &'static str,
    /// The service that the front calls.
    pub(crate) service: &'static str,
    /// The port of the colors and of their router.
    pub(crate) port: u16,
    /// The port of the front.
    pub(crate) front_port: u16,
    /// Name, weight and number of pods of each color.
    pub(crate) colors: Vec<(&'static str, u32, u32)>,
}

/// The commands of the color app, for any image names of the manifests.
pub(crate) const IMAGES: &str = r#"
images:
  "*front*": { command: ["{tombolo}", "app", "front"] }
  "*/feapp": { command: ["{tombolo}", "app", "front"] }
  "*color*": { command: ["{tombolo}", "app", "color"] }
"#;

/// A load balancer for a front without one.
pub(crate) fn balancer(namespace: &str, app: &str, port: u16) -> String {
    format!(
        r"
apiVersion: v1
kind: Service
metadata: {{ name: {app}-entrance, namespace: {namespace} }}
spec:
  type: LoadBalancer
  ports: [{{ port: 8081, targetPort: {port} }}]
  selector: {{ app: {app} }}
"
    )
}

impl Sample {
    /// Red and blue, with equal weights.
    pub(crate) fn plain() -> Self {
        Self {
            namespace: "shop",
            service: "paint",
            port: 8080,
            front_port: 8080,
            colors: vec![("red", 1, 1), ("blue", 1, 1)],
        }
    }

    fn common(&self) -> String {
        let ns = self.namespace;
        format!(
            r"
apiVersion: v1
kind: Namespace
metadata:
  name: {ns}
  labels: {{ mesh: {ns}, appmesh.k8s.aws/sidecarInjectorWebhook: enabled }}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {{ name: {ns} }}
spec:
  namespaceSelector: {{ matchLabels: {{ mesh: {ns} }} }}
"
        )
    }

    /// The host name that the front calls.
    fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.service, self.namespace)
    }

    /// The manifest of the front's cluster.
    pub(crate) fn front(&self) -> String {
        let (ns, service, port, front_port) =
            (self.namespace, self.service, self.port, self.front_port);
        let host = self.host();
        self.common()
            + &format!(
                r#"
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{ name: front, namespace: {ns} }}
spec:
  podSelector: {{ matchLabels: {{ app: front }} }}
  listeners: [{{ portMapping: {{ port: {front_port}, protocol: http }} }}]
  serviceDiscovery:
    awsCloudMap: {{ namespaceName: {ns}.pvt.local, serviceName: front }}
  backends:
    - virtualService:
        virtualServiceARN: arn:aws:appmesh:us-west-2:111122223333:mesh/{ns}/virtualService/{host}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: front, namespace: {ns} }}
spec:
  selector: {{ matchLabels: {{ app: front }} }}
  template:
    metadata: {{ labels: {{ app: front }} }}
    spec:
      containers:
        - name: front
          image: registry.test/front
          env:
            - {{ name: PORT, value: "{front_port}" }}
            - {{ name: COLOR_HOST, value: "{host}:{port}" }}
---
apiVersion: v1
kind: Service
metadata: {{ name: {service}, namespace: {ns} }}
spec:
  ports: [{{ port: {port} }}]
---
"#
            )
            + &balancer(ns, "front", front_port)
    }

    /// The manifest of the colors' cluster.
    pub(crate) fn colors(&self) -> String {
        let (ns, service, port) = (self.namespace, self.service, self.port);
        let mut text = self.common();
        let mut targets = String::new();
        for (color, weight, replicas) in &self.colors {
            let _ = write!(
                text,
                r#"
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{ name: {service}-{color}, namespace: {ns} }}
spec:
  podSelector: {{ matchLabels: {{ app: {service}, version: {color} }} }}
  listeners: [{{ portMapping: {{ port: {port}, protocol: http }} }}]
  serviceDiscovery:
    awsCloudMap:
      namespaceName: {ns}.pvt.local
      serviceName: {service}
      attributes: [{{ key: shade, value: {color} }}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {service}-{color}, namespace: {ns} }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ app: {service}, version: {color} }} }}
  template:
    metadata: {{ labels: {{ app: {service}, version: {color} }} }}
    spec:
      containers:
        - name: app
          image: registry.test/color
          env:
            - {{ name: SERVER_PORT, value: "{port}" }}
            - {{ name: COLOR, value: {color} }}
"#
            );
            let _ = writeln!(
                targets,
                "            - {{ virtualNodeRef: {{ name: {service}-{color} }}, weight: {weight} }}"
            );
        }
        let host = self.host();
        text + &format!(
            r"
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {{ name: {service}, namespace: {ns} }}
spec:
  listeners: [{{ portMapping: {{ port: {port}, protocol: http }} }}]
  routes:
    - name: all
      httpRoute:
        match: {{ prefix: / }}
        action:
          weightedTargets:
{targets}---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {{ name: {service}, namespace: {ns} }}
spec:
  awsName: {host}
  provider: {{ virtualRouter: {{ virtualRouterRef: {{ name: {service} }} }} }}
"
        )
    }
}
