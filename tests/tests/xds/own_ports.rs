//! Connections from other pods to the ports of a sidecar's own listeners.

use crate::fixture::{self, Fixture};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// A node with a listener, in a mesh with egress to everything.
const MANIFEST: &str = "
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata:
  name: m
spec:
  egressFilter: {type: ALLOW_ALL}
  namespaceSelector: {}
---
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: web.shop}}
";

const DEADLINE: Duration = Duration::from_secs(10);
/// Upper bound of the descriptors of an idle sidecar of one node.
const MAX_DESCRIPTORS: usize = 200;

/// A connection that was not redirected has the listener's own address as its original destination. Forwarded, it
/// would return to the listener, in a loop until no descriptor is left.
#[test]
fn a_connection_to_a_listener_of_a_sidecar_is_closed_and_makes_no_other() {
    let Some(runtime) = fixture::runtime() else {
        return;
    };
    let Some(mut fixture) = runtime.block_on(Fixture::new()) else {
        return;
    };
    runtime.block_on(async {
        let dangling = fixture.mesh.apply_text("mesh.yaml", MANIFEST).await;
        assert_eq!(dangling, [""; 0]);
        fixture.start_missing_sidecars().await;
        assert_eq!(fixture.rejections("one node").await, [""; 0]);
    });
    for (name, address, pid) in fixture.addresses() {
        for port in [15000, 15001] {
            let place = format!("{name}, port {port}");
            assert!(is_closed(&fixture, address, port), "{place}: stays open");
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
            let open = open.count();
            assert!(open < MAX_DESCRIPTORS, "{place}: {open} descriptors");
        }
    }
}

/// Whether a connection to an address of the fabric is closed without an answer.
fn is_closed(fixture: &Fixture, address: Ipv4Addr, port: u16) -> bool {
    fixture.outside(|| {
        let address = SocketAddr::from((address, port));
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("it listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a deadline above zero");
        // The connection may be closed already.
        drop(stream.write_all(b"x"));
        match stream.read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    })
}
