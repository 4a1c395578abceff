//! Which Services have a way in from the host, and where.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::endpoint::services;
use crate::cluster::{Cluster, Entropy, Key, Kind};
use crate::control::types::LoadBalancer;
use crate::progress::{Event, Progress};
use tombolo_controller::Changes;

/// Opens a listening socket in the host's network. A function, so that tests listen where they are.
pub type Listen =
    dyn Fn(SocketAddr) -> BoxFuture<'static, std::io::Result<std::net::TcpListener>> + Send + Sync;

/// A port of a Service of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    cluster: usize,
    namespace: String,
    service: String,
    port: u16,
}

struct Entrance {
    address: SocketAddr,
    targets: watch::Sender<Vec<SocketAddrV4>>,
    relay: tokio::task::JoinHandle<()>,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

/// Every way in.
pub struct Entrances {
    clusters: Vec<Arc<Cluster>>,
    listen: Box<Listen>,
    progress: Progress,
    entropy: Arc<Entropy>,
    /// Guards the open ways in. Held for moments.
    open: Mutex<BTreeMap<Port, Entrance>>,
}

impl Entrances {
    /// No way in yet.
    pub fn new(
        clusters: Vec<Arc<Cluster>>,
        listen: Box<Listen>,
        progress: Progress,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            clusters,
            listen,
            progress,
            entropy,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Port, Entrance>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens and closes ways in as Services come and go, until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut changes = Changes::of(&self.clusters);
        loop {
            self.reconcile().await;
            changes.next().await;
        }
    }

    /// Every open way in.
    pub fn list(&self) -> Vec<LoadBalancer> {
        let open = self.open();
        let list = open.iter().map(|(port, entrance)| LoadBalancer {
            cluster: self.clusters[port.cluster].name.clone(),
            namespace: port.namespace.clone(),
            service: port.service.clone(),
            port: port.port,
            address: entrance.address,
        });
        list.collect()
    }

    async fn reconcile(&self) {
        let mut wanted = BTreeMap::new();
        for (index, cluster) in self.clusters.iter().enumerate() {
            for service in cluster
                .objects
                .read(services)
                .into_iter()
                .filter(|service| service.load_balancer)
            {
                // Without its node port the Service is not complete yet: it comes back in a moment.
                for port in service
                    .ports
                    .iter()
                    .filter(|port| !port.udp && port.node_port.is_some())
                {
                    let key = Port {
                        cluster: index,
                        namespace: service.namespace.clone(),
                        service: service.name.clone(),
                        port: port.port,
                    };
                    wanted.insert(key, (port.node_port, port.targets.clone()));
                }
            }
        }
        self.open().retain(|port, _| wanted.contains_key(port));
        for (port, (node_port, targets)) in wanted {
            let sender = self
                .open()
                .get(&port)
                .map(|entrance| entrance.targets.clone());
            match sender {
                Some(sender) => {
                    sender.send_if_modified(|known| {
                        *known != targets && {
                            *known = targets;
                            true
                        }
                    });
                }
                None => self.start(port, node_port, targets).await,
            }
        }
        self.publish();
    }

    /// The Service's own port where it is free and permitted, else its node port, else any.
    async fn start(&self, port: Port, node_port: Option<u16>, targets: Vec<SocketAddrV4>) {
        let mut problem = None;
        for candidate in [Some(port.port), node_port, Some(0)].into_iter().flatten() {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, candidate));
            let listener = (self.listen)(address).await.and_then(|listener| {
                let address = listener.local_addr()?;
                Ok((address, TcpListener::from_std(listener)?))
            });
            match listener {
                Ok((address, listener)) => {
                    let (targets, receiver) = watch::channel(targets);
                    let relay =
                        tokio::spawn(super::serve(listener, receiver, self.entropy.clone()));
                    self.open().insert(
                        port,
                        Entrance {
                            address,
                            targets,
                            relay,
                        },
                    );
                    return;
                }
                Err(error) => problem = Some(error),
            }
        }
        let message = format!(
            "service {}/{} of {} has no way in from this machine: {}",
            port.namespace,
            port.service,
            self.clusters[port.cluster].name,
            problem.map(|error| error.to_string()).unwrap_or_default()
        );
        self.progress.send(Event::Warning { message });
    }

    /// Writes the addresses into the Services' status.
    fn publish(&self) {
        let mut ingress: BTreeMap<(usize, Key), Vec<serde_json::Value>> = BTreeMap::new();
        for (port, entrance) in self.open().iter() {
            let key = (
                port.cluster,
                Key::new(Kind::Service, &port.namespace, &port.service),
            );
            ingress
                .entry(key)
                .or_default()
                .push(json!({"port": entrance.address.port(), "protocol": "TCP"}));
        }
        for ((cluster, key), ports) in ingress {
            let status = json!({"loadBalancer": {"ingress": [{"ip": Ipv4Addr::LOCALHOST.to_string(), "ports": ports}]}});
            self.clusters[cluster]
                .objects
                .write(|objects| objects.edit_body(&key, |body| body["status"] = status));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testkit::cluster_of;
    use futures::FutureExt;

    const FRONT: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {type: LoadBalancer, ports: [{port: 80}], selector: {app: front}}
";

    #[tokio::test]
    async fn taken_port_gives_way_to_the_node_port_and_deletion_closes_it() {
        let cluster = cluster_of("east", 0, FRONT);
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
        let entrances = Entrances::new(
            vec![cluster.clone()],
            listen,
            Progress::new(|_| {}),
            Arc::new(Entropy::seeded(1)),
        );
        entrances.reconcile().await;
        let address = entrances.list()[0].address;
        let key = Key::new(Kind::Service, "shop", "front");
        let port = cluster.objects.read(|objects| {
            objects
                .object(&key)
                .unwrap()
                .body
                .pointer("/status/loadBalancer/ingress/0/ports/0/port")
                .cloned()
        });
        assert_eq!(port, Some(json!(address.port())));
        cluster.objects.write(|objects| objects.remove(&key));
        entrances.reconcile().await;
        assert!(entrances.list().is_empty());
    }
}
