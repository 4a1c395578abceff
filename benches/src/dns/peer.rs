//! The DNS servers that are compared.

use super::zone;
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
use tokio::{net::UdpSocket, time::timeout};
use tombolo_api::client::Client;
use tombolo_model::{
    Scope,
    apply::cloudmap::{CreateNamespace, CreateService, RegisterInstance},
    cloudmap::{DnsConfig, DnsRecord, NamespaceType, RecordType},
};

pub(super) const UNBOUND: &str = "unbound";
pub(super) const NAMES: [&str; 3] = ["tombolo", UNBOUND, "dnsmasq"];

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) child: Child,
}

/// Starts every installed server, and waits until each gives the right answers.
pub(super) async fn start_all(directory: &Path) -> Result<Vec<Peer>> {
    let mut peers = vec![ours(directory).await?];
    let threads = std::thread::available_parallelism()?.get();
    if let Some(program) = installed("unbound") {
        let address = http::free_port()?;
        let file = directory.join("unbound.conf");
        std::fs::write(&file, zone::unbound(address.port(), threads))?;
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(file);
        peers.push(start(UNBOUND, address, &mut command, directory)?);
    }
    if let Some(program) = installed("dnsmasq") {
        let address = http::free_port()?;
        let (file, hosts) = (directory.join("dnsmasq.conf"), directory.join("hosts"));
        let (configuration, names) = zone::dnsmasq(address.port(), &hosts.display().to_string());
        std::fs::write(&file, configuration)?;
        std::fs::write(&hosts, names)?;
        let mut command = Command::new(program);
        command.arg("-C").arg(file);
        peers.push(start("dnsmasq", address, &mut command, directory)?);
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

/// Tombolo's server, with the zone registered in it.
async fn ours(directory: &Path) -> Result<Peer> {
    let (api, xds, address) = (http::free_port()?, http::free_port()?, http::free_port()?);
    let mut command = Command::new(named("TOMBOLO_BIN")?);
    command
        .arg("server")
        .args(["--api", &api.to_string()])
        .args(["--xds", &xds.to_string()])
        .args(["--dns", &address.to_string()]);
    let peer = start("tombolo", address, &mut command, directory)?;
    let scope = Scope::new("000000000000", "us-west-2");
    let client = Client::new(&format!("http://{api}"), scope)?.with_timeout(TIMEOUT);
    let operation = client
        .create_namespace(&CreateNamespace {
            name: zone::NAME.into(),
            kind: NamespaceType::DNS_PRIVATE,
            vpc: Some("vpc-bench".into()),
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        })
        .await?;
    client.wait(&operation).await?;
    let namespace = client.find_namespace(zone::NAME).await?;
    let namespace = namespace.ok_or("the namespace is not there")?.id;
    for service in 0..zone::SERVICES {
        let name = zone::service(service);
        register(&client, &namespace, name, RecordType::A, service).await?;
        if zone::has_ports(service) {
            let name = zone::port_service(service);
            register(&client, &namespace, name, RecordType::SRV, service).await?;
        }
    }
    Ok(peer)
}

async fn register(
    client: &Client,
    namespace: &str,
    name: String,
    kind: RecordType,
    service: usize,
) -> Result<()> {
    let made = client
        .create_service(&CreateService {
            name,
            namespace_id: namespace.into(),
            description: None,
            dns_config: Some(DnsConfig {
                routing_policy: None,
                dns_records: vec![DnsRecord {
                    kind,
                    ttl: zone::TTL,
                }],
            }),
            health_check: None,
            custom_health_check: false,
            http_only: false,
            creator_request_id: None,
            tags: Vec::new(),
        })
        .await?;
    for instance in 0..zone::INSTANCES {
        let attributes = [
            ("AWS_INSTANCE_IPV4", zone::address(service, instance)),
            ("AWS_INSTANCE_PORT", zone::PORT.to_string()),
        ];
        let operation = client
            .register_instance(&RegisterInstance {
                service_id: made.id.clone(),
                instance_id: zone::instance(instance),
                attributes: attributes.map(|(key, value)| (key.into(), value)).into(),
                creator_request_id: None,
            })
            .await?;
        // The operation of the last registration ends after the earlier ones.
        if instance + 1 == zone::INSTANCES {
            client.wait(&operation).await?;
        }
    }
    Ok(())
}

async fn wait(peer: &mut Peer) -> Result<()> {
    let start = Instant::now();
    // Response codes and numbers of answers.
    let right = vec![(0, zone::INSTANCES), (0, 0), (0, zone::INSTANCES), (3, 0)];
    loop {
        let mut found = Vec::new();
        for (name, kind) in zone::samples() {
            found.extend(ask(peer.address, &name, kind).await?);
        }
        if found == right {
            return Ok(());
        }
        peer.child
            .check()
            .map_err(|error| format!("{}: {error}", peer.name))?;
        if start.elapsed() > TIMEOUT {
            return Err(format!(
                "{} answers {found:?} where {right:?} is right: {}",
                peer.name,
                peer.child.printed()
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends a query; the response code and the number of answers, if there is a response.
async fn ask(server: SocketAddr, name: &str, kind: u16) -> Result<Option<(u8, usize)>> {
    let mut question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend_from_slice(label.as_bytes());
    }
    question.push(0);
    question.extend_from_slice(&kind.to_be_bytes());
    question.extend_from_slice(&[0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut answer = [0; 1500];
    let received = timeout(Duration::from_millis(500), socket.recv(&mut answer)).await;
    Ok(match received {
        Ok(Ok(length)) if length >= 12 => {
            let count = u16::from_be_bytes([answer[6], answer[7]]);
            Some((answer[3] & 15, usize::from(count)))
        }
        _ => None,
    })
}
