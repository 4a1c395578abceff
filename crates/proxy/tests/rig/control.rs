//! A control plane with one snapshot for all proxies.

use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use tokio::sync::watch;
use tombolo_proxy::Options;
use tombolo_xds::server::connected_proxies::Proxy;
use tombolo_xds::server::{Peer, ServerOptions, Snapshots, Source};
use tombolo_xds::{ConnectedProxies, Node, Resource, Server, Snapshot, Status};

use super::resources::*;
use super::{Running, client, wait_until};

/// Gives every proxy the same snapshot.
struct Same(Snapshots);

impl Source for Same {
    async fn subscribe(&self, _node: &Node, _peer: &Peer) -> Result<Snapshots, Status> {
        Ok(self.0.clone())
    }
}

pub struct Control {
    pub address: SocketAddr,
    snapshots: watch::Sender<Arc<Snapshot>>,
    pub proxies: ConnectedProxies,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Control {
    pub fn start(first: Snapshot) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        let server = Server::new(Same(receiver), ServerOptions::default());
        let proxies = server.proxies();
        let socket = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("binds");
        let address = socket.local_addr().expect("bound");
        runtime.spawn(server.serve(socket, std::future::pending()));
        Self {
            address,
            snapshots,
            proxies,
            runtime: Some(runtime),
        }
    }

    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    pub fn wait_acked(&self, revision: u64) {
        wait_until("the acknowledgement", || {
            let proxies = self.proxies.proxies();
            let acked = |proxy: &Proxy| proxy.connected && proxy.revision_acked >= revision;
            proxies.iter().any(acked)
        });
    }

    pub fn publish_and_wait(&self, snapshot: Snapshot) {
        let revision = snapshot.revision();
        self.publish(snapshot);
        self.wait_acked(revision);
    }

    /// Aborts without an orderly close.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A snapshot with a listener, its named routes to `app`, and `app` with these endpoints.
pub fn mesh(revision: u64, hosts: &[SocketAddr]) -> Snapshot {
    let config = named_routes(manager(table("unused", Vec::new())), "web");
    Snapshot::builder(revision)
        .with(Resource::encode("ingress", &http_ingress(&config)))
        .with(Resource::encode("web", &web_routes("app")))
        .with(Resource::encode("app", &eds_cluster("app")))
        .with(Resource::encode("app", &endpoints("app", hosts)))
        .build()
}

/// The route table of the listener of [`mesh`].
pub fn web_routes(cluster: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: "web".to_owned(),
        ..everything_to(cluster)
    }
}

/// A proxy that is connected to the control plane and forwards.
pub fn follow(control: &Control, state: Option<&std::path::Path>) -> Running {
    let proxy = Running::start_with(Options {
        workers: 2,
        node_id: "mesh/m/virtualNode/front".to_owned(),
        xds_address: Some(control.address.to_string()),
        state_dir: state.map(Into::into),
        ..Options::default()
    });
    wait_until("the routes", || {
        client::get(proxy.address, "/x").status == 200
    });
    proxy
}
