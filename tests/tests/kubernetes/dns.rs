//! The clusters' DNS: their own names, and those of Cloud Map.

use super::xtask;
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use tombolo_tests::{
    Server,
    http::{Connection, Request},
    kubernetes::{Cluster, Namespace, Pod, kubernetes},
    until,
};

/// What a name resolves to in a pod, or why it does not.
fn resolve(pod: &Pod<'_>, name: &str) -> Result<String, String> {
    pod.exec(&["nslookup", "-type=a", name])
}

#[test]
fn names_of_services_resolve_in_pods_and_names_of_nobody_do_not_exist() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    for cluster in [&kubernetes.a, &kubernetes.b] {
        let namespace = Namespace::create(&kubernetes, cluster, "names");
        let pod = namespace.pod("client", "curl", &["sleep", "3600"]);
        let service = namespace.run(&[
            "get",
            "service",
            "kubernetes",
            "--namespace=default",
            "--output=jsonpath={.spec.clusterIP}",
        ]);
        let told = resolve(&pod, "kubernetes.default.svc.cluster.local").expect("it resolves");
        assert!(told.contains(&service), "{service}: {told}");
        let told = resolve(&pod, "nobody.default.svc.cluster.local").expect_err("it does not");
        assert!(told.contains("exit status: 1"), "{told}");
    }
}

/// A port of the machine's own address in the clusters' network that was free a moment ago.
fn free_port(cluster: &Cluster) -> SocketAddr {
    let socket = UdpSocket::bind((cluster.machine(), 0)).expect("the machine has that address");
    socket.local_addr().expect("a bound socket has an address")
}

/// A namespace of Cloud Map with a service `color`, which has one instance at this address.
fn register(server: &Server, zone: &str, address: &str) {
    let mut connection = Connection::open(server.api()).expect("the server listens");
    let mut call = |operation: &str, input: Value| {
        let answer = connection.send(&Request::cloud_map(operation, &input));
        let answer = answer.expect("the server answers");
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
        answer.json()
    };
    let started = call(
        "CreatePrivateDnsNamespace",
        json!({ "Name": zone, "Vpc": "vpc-1" }),
    );
    let operation = json!({ "OperationId": started["OperationId"] });
    let namespace = until("the namespace is made", || {
        let operation = call("GetOperation", operation.clone());
        let targets = &operation["Operation"]["Targets"];
        (operation["Operation"]["Status"] == "SUCCESS").then(|| targets["NAMESPACE"].clone())
    });
    let service = call(
        "CreateService",
        json!({
            "Name": "color",
            "NamespaceId": namespace,
            "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 5 }] },
        }),
    );
    call(
        "RegisterInstance",
        json!({
            "ServiceId": service["Service"]["Id"],
            "InstanceId": "one",
            "Attributes": { "AWS_INSTANCE_IPV4": address },
        }),
    );
}

#[test]
fn names_of_a_zone_are_asked_of_the_server_that_it_is_forwarded_to() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let a = Namespace::create(&kubernetes, &kubernetes.a, "zone");
    let pod = a.pod("client", "curl", &["sleep", "3600"]);
    let dns = free_port(&kubernetes.a);
    let arguments = ["--dns".to_owned(), dns.to_string()];
    let Some(server) = Server::start_with(&arguments) else {
        return;
    };
    register(&server, "zone.test", "10.202.0.77");
    assert!(
        resolve(&pod, "color.zone.test").is_err(),
        "nobody is asked yet"
    );
    xtask(&kubernetes, &["forward", &format!("zone.test={dns}")]);
    let told = until("the name resolves", || {
        resolve(&pod, "color.zone.test").ok()
    });
    assert!(told.contains("10.202.0.77"), "{told}");
    xtask(&kubernetes, &["forward", "--forget", "zone.test"]);
    until("nobody is asked any more", || {
        resolve(&pod, "color.zone.test").err()
    });
}
