//! Measures what one hop costs: CPU time of a proxy process per request, for this proxy or any other.
//!
//! ```text
//! forward upstream 127.0.0.1:9000            a server that answers "pong"
//! forward proxy 127.0.0.1:9001 127.0.0.1:9000 [workers]
//! forward bootstrap 127.0.0.1:9002 127.0.0.1:9000 > envoy.pb    the same resources for a real Envoy
//! forward load 127.0.0.1:9001 PID SECONDS [connections]
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;
use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tombolo_proxy::Options;
use tombolo_xds::Resource;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["upstream", address] => upstream(address.parse()?),
        ["proxy", from, to, rest @ ..] => {
            let workers = rest.first().map_or(Ok(1), |text| text.parse())?;
            let (listener, cluster) = resources(from.parse()?, to.parse()?);
            let static_resources = vec![
                Resource::encode("ingress", &listener),
                Resource::encode("app", &cluster),
            ];
            Ok(tombolo_proxy::run(Options {
                workers,
                static_resources,
                drain: Duration::ZERO,
                ..Options::default()
            })?)
        }
        ["bootstrap", from, to] => {
            let (listener, cluster) = resources(from.parse()?, to.parse()?);
            let config = bootstrap::Bootstrap {
                static_resources: Some(bootstrap::bootstrap::StaticResources {
                    listeners: vec![listener],
                    clusters: vec![cluster],
                    ..Default::default()
                }),
                ..Default::default()
            };
            Ok(std::io::stdout().write_all(&config.encode_to_vec())?)
        }
        ["load", address, pid, seconds, rest @ ..] => {
            let connections = rest.first().map_or(Ok(32), |text| text.parse())?;
            load(
                address.parse()?,
                pid.parse()?,
                Duration::from_secs(seconds.parse()?),
                connections,
            )
        }
        _ => Err("see the head of this example for its arguments".into()),
    }
}

fn resources(from: SocketAddr, to: SocketAddr) -> (listener::Listener, cluster::Cluster) {
    let routes = route::RouteConfiguration {
        name: "routes".to_owned(),
        virtual_hosts: vec![route::VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![route::Route {
                r#match: Some(route::RouteMatch {
                    path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
                    ..Default::default()
                }),
                action: Some(route::route::Action::Route(route::RouteAction {
                    cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
                        "app".to_owned(),
                    )),
                    retry_policy: Some(route::RetryPolicy {
                        retry_on: "connect-failure,refused-stream,reset,retriable-status-codes"
                            .to_owned(),
                        num_retries: Some(UInt32Value { value: 2 }),
                        retriable_status_codes: vec![503],
                        ..Default::default()
                    }),
                    ..Default::default()
                })),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "ingress".to_owned(),
        http_filters: vec![hcm::HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(
                &Router::default(),
            ))),
            ..Default::default()
        }],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(
            routes,
        )),
        ..Default::default()
    };
    let listener = listener::Listener {
        name: "ingress".to_owned(),
        address: Some(address(from)),
        filter_chains: vec![listener::FilterChain {
            filters: vec![listener::Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(listener::filter::ConfigType::TypedConfig(any(&manager))),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let endpoint = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint {
                address: Some(address(to)),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let cluster = cluster::Cluster {
        name: "app".to_owned(),
        load_assignment: Some(endpoint::ClusterLoadAssignment {
            cluster_name: "app".to_owned(),
            endpoints: vec![endpoint::LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    (listener, cluster)
}

fn address(address: SocketAddr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(
                address.port().into(),
            )),
            ..Default::default()
        })),
    }
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Answers every request, however it is framed, as soon as its head is complete. One thread, so that the proxy under
/// test pays for waking one peer, not one per connection.
fn upstream(address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let socket = TcpListener::bind(address).await?;
        loop {
            let (mut stream, _) = socket.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                let mut held = 0;
                while let Ok(read) = stream.read(&mut buffer[held..]).await {
                    if read == 0 {
                        return;
                    }
                    held += read;
                    if buffer[..held].ends_with(b"\r\n\r\n") {
                        held = 0;
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\npong";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    })
}

/// Keeps connections busy, one request at a time each, and reports the CPU time of process `pid` per request.
fn load(
    address: SocketAddr,
    pid: u32,
    time: Duration,
    connections: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let done = done.clone();
            tokio::spawn(async move {
                if let Err(error) = keep_busy(stream, &done).await {
                    eprintln!("connection lost: {error}");
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (count, cpu, start) = (done.load(Ordering::Relaxed), cpu_time(pid)?, Instant::now());
        tokio::time::sleep(time).await;
        let (count, cpu, wall) = (
            done.load(Ordering::Relaxed) - count,
            cpu_time(pid)? - cpu,
            start.elapsed(),
        );
        println!(
            "{:.2} us/request  {} requests  {:.0}/s  busy {:.0} %",
            cpu * 1e6 / count.max(1) as f64,
            count,
            count as f64 / wall.as_secs_f64(),
            cpu * 100.0 / wall.as_secs_f64(),
        );
        Ok(())
    })
}

async fn keep_busy(mut stream: TcpStream, done: &AtomicU64) -> std::io::Result<()> {
    let request = b"GET /color/red HTTP/1.1\r\nhost: app.example.test\r\nuser-agent: load\r\naccept: */*\r\n\r\n";
    let mut buffer = [0; 4096];
    loop {
        stream.write_all(request).await?;
        let mut held = 0;
        while !buffer[..held].ends_with(b"\r\n\r\npong") {
            let read = stream.read(&mut buffer[held..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            held += read;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// User and system time of a process, in seconds.
fn cpu_time(pid: u32) -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').ok_or("unexpected /proc format")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // utime and stime are fields 14 and 15 of the file, 12 and 13 after the name; the unit is USER_HZ, 100 on Linux.
    let ticks: f64 = fields.get(11).ok_or("short")?.parse::<f64>()?
        + fields.get(12).ok_or("short")?.parse::<f64>()?;
    Ok(ticks / 100.0)
}
