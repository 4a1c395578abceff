//! Load balancers: a listener on the host for each port of each Service of type LoadBalancer. They are for people and
//! their browsers, not the data plane.

mod relay;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::service_view::services;
use crate::cluster::{Cluster, Key, Kind};
use crate::control_socket::LoadBalancer;
use crate::progress::{Event, Progress};
use tombolo_controller::Changes;

/// Opens a listening socket in the host's network namespace.
pub(crate) type Listen =
    dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<std::net::TcpListener>> + Send + Sync;

/// A port of a Service of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    /// Index of the cluster.
    cluster: usize,
    namespace: String,
    service: String,
    port: u16,
}

struct Listener {
    address: SocketAddr,
    targets: watch::Sender<Vec<SocketAddrV4>>,
    _relay: AbortOnDropHandle<()>,
}

/// The load balancers of all clusters.
pub(crate) struct LoadBalancers {
    clusters: Vec<Arc<Cluster>>,
    listen: Box<Listen>,
    progress: Progress,
    listeners: Mutex<BTreeMap<Port, Listener>>,
}

impl LoadBalancers {
    /// Load balancers that do not listen yet.
    pub(crate) fn new(
        clusters: Vec<Arc<Cluster>>,
        listen: Box<Listen>,
        progress: Progress,
    ) -> Self {
        Self {
            clusters,
            listen,
            progress,
            listeners: Mutex::default(),
        }
    }

    /// Opens and closes listeners as Services come and go, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = Changes::of(&self.clusters);
        loop {
            self.reconcile().await;
            changes.next().await;
        }
    }

    /// Every open listener.
    pub(crate) fn list(&self) -> Vec<LoadBalancer> {
        let listeners = self.listeners.lock();
        let list = listeners.iter().map(|(port, listener)| LoadBalancer {
            cluster: self.clusters[port.cluster].name.clone(),
            namespace: port.namespace.clone(),
            service: port.service.clone(),
            port: port.port,
            address: listener.address,
        });
        list.collect()
    }

    async fn reconcile(&self) {
        let mut desired = BTreeMap::new();
        for (index, cluster) in self.clusters.iter().enumerate() {
            let services = cluster.objects.read(services).into_iter();
            for service in services.filter(|service| service.load_balancer) {
                for port in service.ports.into_iter().filter(|port| !port.udp) {
                    let key = Port {
                        cluster: index,
                        namespace: service.namespace.clone(),
                        service: service.name.clone(),
                        port: port.port,
                    };
                    // A Service without its node port is reconciled again when that is allocated.
                    desired.extend(port.node_port.map(|node| (key, (node, port.targets))));
                }
            }
        }
        self.listeners
            .lock()
            .retain(|port, _| desired.contains_key(port));
        for (port, (node_port, targets)) in desired {
            let open = self
                .listeners
                .lock()
                .get(&port)
                .map(|listener| listener.targets.clone());
            match open {
                Some(open) => drop(open.send_if_modified(|old| {
                    let is_changed = *old != targets;
                    *old = targets;
                    is_changed
                })),
                None => self.start(port, node_port, targets).await,
            }
        }
        self.publish();
    }

    /// Listens on the Service's own port where it is free and permitted, else on its node port, else on any.
    async fn start(&self, port: Port, node_port: u16, targets: Vec<SocketAddrV4>) {
        let mut problem = String::new();
        for candidate in [port.port, node_port, 0] {
            match self.open(candidate, &targets).await {
                Ok(listener) => {
                    self.listeners.lock().insert(port, listener);
                    return;
                }
                Err(error) => problem = error.to_string(),
            }
        }
        let cluster = &self.clusters[port.cluster].name;
        let message = format!(
            "service {}/{} of {cluster} cannot be reached from this machine: {problem}",
            port.namespace, port.service
        );
        self.progress.send(Event::Warning { message });
    }

    async fn open(&self, port: u16, targets: &[SocketAddrV4]) -> io::Result<Listener> {
        let listener = (self.listen)((Ipv4Addr::LOCALHOST, port).into()).await?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (targets, receiver) = watch::channel(targets.to_vec());
        Ok(Listener {
            address,
            targets,
            _relay: AbortOnDropHandle::new(tokio::spawn(relay::serve(listener, receiver))),
        })
    }

    /// Writes the addresses into the Services' status.
    fn publish(&self) {
        let mut ports: BTreeMap<(usize, Key), Vec<serde_json::Value>> = BTreeMap::new();
        for (port, listener) in self.listeners.lock().iter() {
            let key = Key::new(Kind::Service, &port.namespace, &port.service);
            let ports = ports.entry((port.cluster, key)).or_default();
            ports.push(json!({"port": listener.address.port(), "protocol": "TCP"}));
        }
        for ((cluster, key), ports) in ports {
            let ingress = json!([{"ip": Ipv4Addr::LOCALHOST.to_string(), "ports": ports}]);
            let status = json!({"loadBalancer": {"ingress": ingress}});
            self.clusters[cluster]
                .objects
                .write(|objects| objects.edit_body(&key, |body| body["status"] = status));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testkit::{NAMESPACE, cluster_of, delete};
    use futures::FutureExt;

    const FRONT: &str = "apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {type: LoadBalancer, ports: [{port: 80}], selector: {app: front}}
";

    #[tokio::test]
    async fn taken_port_gives_way_to_the_node_port_and_deletion_closes_it() {
        let cluster = cluster_of("east", 0, &[NAMESPACE, FRONT].concat());
        let node_port = cluster.objects.read(services)[0].ports[0]
            .node_port
            .unwrap();
        let listen: Box<Listen> = Box::new(move |address| {
            let result = match address.port() {
                80 => Err(std::io::ErrorKind::AddrInUse.into()),
                _ => std::net::TcpListener::bind("127.0.0.1:0")
                    .and_then(|listener| listener.set_nonblocking(true).map(|()| listener)),
            };
            assert!(address.port() == 80 || address.port() == node_port);
            async move { result }.boxed()
        });
        let progress = Progress::new(|_| {});
        let load_balancers = LoadBalancers::new(vec![cluster.clone()], listen, progress);
        load_balancers.reconcile().await;
        let address = load_balancers.list()[0].address;
        let key = Key::new(Kind::Service, "shop", "front");
        let port = cluster.objects.read(|objects| {
            let body = &objects.object(&key).unwrap().body;
            body.pointer("/status/loadBalancer/ingress/0/ports/0/port")
                .cloned()
        });
        assert_eq!(port, Some(json!(address.port())));
        delete(&cluster, Kind::Service, "front", None);
        load_balancers.reconcile().await;
        assert!(load_balancers.list().is_empty());
    }
}
