//! Services of type LoadBalancer.

use super::SERVER;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use tombolo_tests::{
    http,
    kubernetes::{Namespace, kubernetes},
    until,
};

fn service(annotation: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: server, annotations: {{ {annotation} }} }}
spec:
  type: LoadBalancer
  selector: {{ app: server }}
  ports: [{{ port: 80, targetPort: 8080 }}]
"
    )
}

/// What the status says where the Service is reached.
fn ingress(namespace: &Namespace) -> Value {
    until("a load balancer", || {
        let service = namespace.get("service/server");
        let ingress = &service["status"]["loadBalancer"]["ingress"][0];
        (!ingress.is_null()).then(|| ingress.clone())
    })
}

/// Waits until the Service answers.
fn answers(address: Ipv4Addr) {
    until("an answer through the load balancer", || {
        let address = SocketAddr::from((address, 80));
        http::get(address, "/")
            .ok()
            .filter(|answer| answer.status == 404)
    });
}

#[test]
fn a_load_balancer_has_a_name_that_both_clusters_know() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let a = Namespace::create(&kubernetes, &kubernetes.a, "by-name");
    let b = Namespace::create(&kubernetes, &kubernetes.b, "by-name");
    a.pod("server", "curl", &SERVER);
    a.apply(&service(""));
    let ingress = ingress(&a);
    let host = ingress["hostname"].as_str().expect("a name");
    assert_eq!(ingress["ip"], Value::Null);
    let address = until("the name is known", || kubernetes.address_of(host));
    answers(address);
    for namespace in [&a, &b] {
        let client = namespace.pod("client", "curl", &["sleep", "3600"]);
        let url = format!("http://{host}/");
        until("the name resolves in a pod", || {
            let asked = client.exec(&["curl", "-s", "--max-time", "5", &url]).ok()?;
            asked.contains("404").then_some(())
        });
    }
    a.run(&["delete", "service", "server"]);
    until("the name is gone", || {
        kubernetes.address_of(host).is_none().then_some(())
    });
}

#[test]
fn a_load_balancer_has_an_address_where_an_annotation_asks_for_it() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.b, "by-address");
    namespace.pod("server", "curl", &SERVER);
    namespace.apply(&service("tombolo.test/load-balancer: ip"));
    let ingress = ingress(&namespace);
    assert_eq!(ingress["hostname"], Value::Null);
    let address = ingress["ip"].as_str().expect("an address");
    answers(address.parse().expect("it is one"));
}
