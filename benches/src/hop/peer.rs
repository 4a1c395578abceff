//! The proxies that are compared, each with one worker.

use super::config;
use crate::{
    Result,
    child::{Child, installed, named},
    http,
};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

pub(crate) const ENVOY: &str = "envoy";
pub(crate) const NAMES: [&str; 4] = ["tombolo", ENVOY, "haproxy", "nginx"];

const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
}

/// Starts every installed proxy, and waits until each forwards.
pub(crate) async fn start_all(origin: SocketAddr, directory: &Path) -> Result<Vec<Peer>> {
    let (ours, envoy) = (http::free_port()?, http::free_port()?);
    let xds = config::serve(origin, &[("tombolo", ours), (ENVOY, envoy)]).await?;
    let mut peers = Vec::new();
    for (name, address, verb) in [("tombolo", ours, "proxy"), (ENVOY, envoy, "envoy")] {
        if name == ENVOY && named("TOMBOLO_ENVOY").is_err() {
            continue;
        }
        let mut command = Command::new(named("TOMBOLO_BIN")?);
        command
            .arg(verb)
            .env("APPMESH_RESOURCE_ARN", name)
            .env("APPMESH_XDS_ENDPOINT", xds.to_string())
            .env(
                "ENVOY_ADMIN_ACCESS_PORT",
                http::free_port()?.port().to_string(),
            )
            .env("ENVOY_LOG_LEVEL", "warning")
            .env("TOMBOLO_PROXY_WORKERS", "1");
        peers.push(start(name, address, &mut command, directory)?);
    }
    if let Some(program) = installed("haproxy") {
        let address = http::free_port()?;
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, haproxy(address, origin))?;
        let mut command = Command::new(program);
        peers.push(start(
            "haproxy",
            address,
            command.arg("-db").arg("-f").arg(file),
            directory,
        )?);
    }
    if let Some(program) = installed("nginx") {
        let address = http::free_port()?;
        let file = directory.join("nginx.conf");
        std::fs::write(&file, nginx(address, origin, directory))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(directory).arg("-c").arg(file);
        peers.push(start("nginx", address, &mut command, directory)?);
    }
    for peer in &mut peers {
        wait(peer).await?;
    }
    Ok(peers)
}

fn start(
    name: &'static str,
    address: SocketAddr,
    command: &mut Command,
    directory: &Path,
) -> Result<Peer> {
    let child = Child::start(command, &directory.join(format!("{name}.log")))?;
    Ok(Peer {
        name,
        address,
        child,
    })
}

async fn wait(peer: &mut Peer) -> Result<()> {
    let start = Instant::now();
    loop {
        let error = match http::probe(peer.address, "hop.bench").await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        peer.child
            .check()
            .map_err(|error| format!("{}: {error}", peer.name))?;
        if start.elapsed() > TIMEOUT {
            return Err(format!(
                "{} does not forward: {error}: {}",
                peer.name,
                peer.child.printed()
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn haproxy(address: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "global
  nbthread 1
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 1s
  option http-keep-alive
  http-reuse always
frontend hop
  bind {address}
  default_backend origin
backend origin
  server one {origin}
"
    )
}

fn nginx(address: SocketAddr, origin: SocketAddr, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off;
master_process off;
error_log stderr;
pid {directory}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream origin {{ server {origin}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
    )
}
