//! Ingress through virtual gateways.

use crate::sample::IMAGES;
use std::{fmt::Write as _, net::SocketAddr};
use tombolo_tests::{
    ProxyKind, Up, corpus,
    http::{Connection, Request},
    until,
};

/// Sends one request through a gateway; the status and the body.
fn ask(gateway: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::get(path).header("connection", "close");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = Connection::open(gateway).and_then(|mut gateway| gateway.send(&request));
    let answer = answer.expect("the gateway answers");
    (answer.status, answer.text().trim().to_owned())
}

#[test]
fn ingress_gateway_walkthrough_runs_unchanged() {
    for proxy in ProxyKind::ALL {
        let Some(walkthrough) = corpus::walkthrough("howto-k8s-ingress-gateway") else {
            return;
        };
        let Some(mut up) = Up::new(proxy) else {
            return;
        };
        for manifest in walkthrough.manifests() {
            up = up.cluster_file("one", &manifest);
        }
        let clusters = up.images(IMAGES).start();
        let gateway = clusters.balancer("ingress-gw");
        // Health checks must find each color healthy before it gets traffic.
        until("the gateway serves", || {
            (ask(gateway, "/paths/red", &[]).0 == 200).then_some(())
        });
        for (path, header, color) in [
            ("/paths/red", None, "red"),
            ("/paths/blue", None, "blue"),
            ("/paths/yellow/deeper?a=b", None, "yellow"),
            ("/paths/green", None, "green"),
            ("/paths/anything", None, "white"),
            ("/paths", None, "white"),
            ("/headers", Some("blue"), "blue"),
            ("/headers", Some("a green leaf"), "green"),
            ("/headers/x", Some("reddish"), "red"),
            ("/headers", Some("something"), "yellow"),
            ("/headers", None, "white"),
        ] {
            let headers: Vec<_> = header
                .iter()
                .map(|value| ("color_header", *value))
                .collect();
            assert_eq!(
                ask(gateway, path, &headers),
                (200, color.to_owned()),
                "{proxy:?}: {path} {header:?}"
            );
        }
        assert_eq!(ask(gateway, "/elsewhere", &[]).0, 404, "{proxy:?}");
        // The gateway's internal header is ignored when a client sends it.
        let forged = [(
            "x-tombolo-virtual-service",
            "color-paths.howto-k8s-ingress-gateway.svc.cluster.local:8080",
        )];
        assert_eq!(ask(gateway, "/red", &forged).0, 404, "{proxy:?}");
        let table = clusters.tombolo(&["get", "pods"]);
        let of_gateway = table.lines().find(|line| line.starts_with("ingress-gw-"));
        assert!(
            of_gateway.is_some_and(|line| line.contains("1/1")),
            "{table}"
        );
    }
}

/// Two services behind two ports of a gateway, by host and by rewritten path.
fn docks() -> String {
    let mut text = String::from(
        r#"
apiVersion: v1
kind: Namespace
metadata: { name: docks, labels: { mesh: docks, appmesh.k8s.aws/sidecarInjectorWebhook: enabled } }
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: { name: docks }
spec: { namespaceSelector: { matchLabels: { mesh: docks } } }
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: { name: lock, namespace: docks }
spec:
  namespaceSelector: { matchLabels: { mesh: docks } }
  podSelector: { matchLabels: { app: lock } }
  listeners:
    - portMapping: { port: 7001, protocol: http }
    - portMapping: { port: 7002, protocol: http }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: lock, namespace: docks }
spec:
  replicas: 2
  selector: { matchLabels: { app: lock } }
  template:
    metadata: { labels: { app: lock } }
    spec:
      containers: [{ name: envoy, image: registry.test/aws-appmesh-envoy:any }]
---
apiVersion: v1
kind: Service
metadata: { name: lock, namespace: docks }
spec:
  type: LoadBalancer
  ports: [{ name: first, port: 9071, targetPort: 7001 }]
  selector: { app: lock }
---
apiVersion: v1
kind: Service
metadata: { name: lock-second, namespace: docks }
spec:
  type: LoadBalancer
  ports: [{ name: second, port: 9072, targetPort: 7002 }]
  selector: { app: lock }
"#,
    );
    for (color, port) in [("teal", 6001), ("plum", 6002)] {
        let _ = write!(
            text,
            r#"---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{ name: {color}, namespace: docks }}
spec:
  podSelector: {{ matchLabels: {{ app: {color} }} }}
  listeners: [{{ portMapping: {{ port: {port}, protocol: http }} }}]
  serviceDiscovery: {{ awsCloudMap: {{ namespaceName: docks.local, serviceName: {color} }} }}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {{ name: {color}, namespace: docks }}
spec: {{ provider: {{ virtualNode: {{ virtualNodeRef: {{ name: {color} }} }} }} }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {color}, namespace: docks }}
spec:
  selector: {{ matchLabels: {{ app: {color} }} }}
  template:
    metadata: {{ labels: {{ app: {color} }} }}
    spec:
      containers:
        - name: app
          image: registry.test/color
          env: [{{ name: COLOR, value: {color} }}, {{ name: SERVER_PORT, value: "{port}" }}]
"#
        );
    }
    text += &route(
        "by-host",
        "{ port: 7001, hostname: { suffix: .teal.test } }",
        "teal",
    );
    text += &route("by-path", "{ port: 7001, path: { exact: /plum } }", "plum");
    text += &route("second", "{ port: 7002, prefix: / }", "plum");
    text
}

fn route(name: &str, matcher: &str, service: &str) -> String {
    format!(
        r#"---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {{ name: {name}, namespace: docks }}
spec:
  httpRoute:
    match: {matcher}
    action: {{ target: {{ virtualService: {{ virtualServiceRef: {{ name: {service} }} }} }} }}
"#
    )
}

#[test]
fn a_gateway_follows_its_hosts_ports_and_changed_routes() {
    for proxy in ProxyKind::ALL {
        let Some(up) = Up::new(proxy) else {
            return;
        };
        let clusters = up.cluster("one", &docks()).images(IMAGES).start();
        let (first, second) = (clusters.balancer("lock"), clusters.balancer("lock-second"));
        let word = |color: &str| (200, color.to_owned());
        let host = [("host", "a.TEAL.test:7001")];
        assert_eq!(ask(first, "/", &host), word("teal"), "{proxy:?}");
        assert_eq!(ask(first, "/plum", &[]), word("plum"), "{proxy:?}");
        assert_eq!(ask(first, "/plum/deeper", &[]).0, 404, "{proxy:?}");
        assert_eq!(ask(second, "/", &[]), word("plum"), "{proxy:?}");

        clusters.apply("one", &route("second", "{ port: 7002, prefix: / }", "teal"));
        until("the gateway follows its route", || {
            (ask(second, "/", &[]) == word("teal")).then_some(())
        });
        clusters.tombolo(&["delete", "gatewayroute", "by-host", "-n", "docks"]);
        until("the gateway lets the route go", || {
            (ask(first, "/", &host).0 == 404).then_some(())
        });
    }
}
