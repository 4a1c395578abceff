//! Test fixtures: resources by name, upstream servers with known behaviour, a plain HTTP/1 client, a running proxy.
#![allow(
    dead_code,
    deprecated,
    unreachable_pub,
    reason = "each test binary uses its own part of the rig"
)]

pub mod client;
pub mod control;
pub mod envoy;
pub mod http2;
pub mod log;
pub mod pair;
pub mod resources;
pub mod upstream;
pub mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use tombolo_proxy::{Options, Proxy};

/// Polls until `check` gives a value; panics with `what` after ten seconds.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until `check` is true; panics with `what` after ten seconds.
pub fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    wait_for(what, || check().then_some(()));
}

/// A proxy on static resources; its listener `ingress` is bound to a free port.
pub struct Running {
    pub proxy: Option<Proxy>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Running {
    /// A proxy with two workers.
    pub fn start(listener: &Listener, clusters: &[Cluster]) -> Self {
        Self::start_with(Options {
            workers: 2,
            static_resources: resources::resource_set(listener, clusters),
            ..Options::default()
        })
    }

    pub fn with_one_worker(listener: &Listener, clusters: &[Cluster]) -> Self {
        Self::start_with(Options {
            static_resources: resources::resource_set(listener, clusters),
            ..Options::default()
        })
    }

    /// A proxy with one worker, unless the options set a number.
    pub fn start_with(options: Options) -> Self {
        let options = Options {
            workers: options.workers.max(1),
            admin: Some("127.0.0.1:0".parse().expect("address")),
            drain: Duration::from_secs(5),
            ..options
        };
        let proxy = Proxy::start(options).expect("proxy starts");
        let address = wait_for("the listener", || proxy.listener("ingress"));
        let admin = proxy.admin().expect("admin address");
        Self {
            proxy: Some(proxy),
            address,
            admin,
        }
    }

    pub fn admin(&self, request_line: &str) -> client::Response {
        client::send(
            self.admin,
            &format!("{request_line} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"),
        )
    }

    /// The value of one statistic, 0 when it does not exist.
    pub fn stat(&self, name: &str) -> u64 {
        let text = self.admin(&format!("GET /stats?filter={name}")).text();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
            .unwrap_or(0)
    }

    pub fn wait_for_stat(&self, name: &str, value: u64) {
        wait_until(name, || self.stat(name) == value);
    }

    /// The full name of a statistic of the listener.
    pub fn listener_stat(&self, metric: &str) -> String {
        let address = self.address.to_string().replace(':', "_");
        format!("listener.{address}.{metric}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            let outcome = proxy.shutdown();
            if !std::thread::panicking() {
                outcome.expect("clean shutdown");
            }
        }
    }
}

/// The listener `ingress` with this table, and these clusters.
pub fn forwarding(table: RouteConfiguration, clusters: &[Cluster]) -> Running {
    Running::start(
        &resources::http_ingress(&resources::manager(table)),
        clusters,
    )
}

/// A proxy that forwards everything to one cluster.
pub fn proxy_to(cluster: Cluster) -> Running {
    forwarding(resources::everything_to(&cluster.name), &[cluster])
}

/// An address on which nothing listens.
pub fn closed_port() -> SocketAddr {
    let up = upstream::Upstream::start("gone");
    up.stop();
    up.address
}
