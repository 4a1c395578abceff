//! The cloud's part of a Service of type LoadBalancer: an address of the machine, behind which connections go to the
//! Service.
//!
//! As with AWS the status names a host, which the clusters' DNS knows; with the annotation
//! `tombolo.test/load-balancer: ip` it has the address instead. TCP alone is balanced.

use super::{client::Client, network, network::Cluster};
use crate::process::Result;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinSet,
    time::timeout,
};

/// Says what the status of a Service gets: `ip`, or as with AWS `hostname`.
const ANNOTATION: &str = "tombolo.test/load-balancer";
/// How long a connection to a Service may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two attempts after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// The names of all load balancers, in a file that the DNS of all clusters reads.
#[derive(Debug)]
pub(super) struct Hosts {
    path: PathBuf,
    names: Mutex<BTreeMap<String, Ipv4Addr>>,
}

impl Hosts {
    /// Makes the file, without names.
    pub(super) fn create(path: PathBuf) -> Result<Arc<Self>> {
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let hosts = Self {
            path,
            names: Mutex::default(),
        };
        hosts.write(&BTreeMap::new())?;
        Ok(Arc::new(hosts))
    }

    async fn set(&self, name: &str, address: Option<Ipv4Addr>) -> Result<()> {
        let mut names = self.names.lock().await;
        match address {
            Some(address) => names.insert(name.to_owned(), address),
            None => names.remove(name),
        };
        self.write(&names)
    }

    fn write(&self, names: &BTreeMap<String, Ipv4Addr>) -> Result<()> {
        let lines = names
            .iter()
            .map(|(name, address)| format!("{address} {name}\n"));
        let next = self.path.with_extension("next");
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        fs::write(&next, lines.collect::<String>()).map_err(failed)?;
        fs::rename(&next, &self.path).map_err(failed)
    }
}

/// Serves the load balancers of a cluster for as long as it is up.
pub(super) async fn run(cluster: Cluster, client: Client, hosts: Arc<Hosts>) {
    let mut balancers = Balancers {
        cluster,
        client,
        hosts,
        known: HashMap::new(),
    };
    loop {
        if let Err(error) = balancers.follow().await {
            eprintln!("load balancers of {cluster}: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Balancers {
    cluster: Cluster,
    client: Client,
    hosts: Arc<Hosts>,
    /// By namespace and name.
    known: HashMap<(String, String), Balancer>,
}

/// One that has an address.
struct Balancer {
    address: Ipv4Addr,
    host: String,
    target: Target,
    /// What listens; dropped, it closes all connections.
    _listeners: JoinSet<()>,
}

/// Where connections go to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    service: Ipv4Addr,
    ports: Vec<u16>,
}

impl Balancers {
    /// Looks at all Services, then at each that changes.
    async fn follow(&mut self) -> Result<()> {
        let list = self.client.get("/api/v1/services").await?;
        let services: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
        let known: Vec<_> = self.known.keys().cloned().collect();
        for key in known {
            if !services.iter().any(|service| key_of(service) == key) {
                self.remove(&key).await?;
            }
        }
        for service in services {
            self.apply(service).await?;
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        // Watches end after a while; then everything is looked at again.
        let mut watch = self.client.watch(&format!(
            "/api/v1/services?watch=1&resourceVersion={version}&timeoutSeconds=300"
        ))?;
        let events = watch.stdout.take().ok_or("kubectl has no output")?;
        let mut lines = BufReader::new(events).lines();
        while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
            let event: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
            let service = &event["object"];
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => self.apply(service).await?,
                Some("DELETED") => self.remove(&key_of(service)).await?,
                _ => return Err(format!("an event that nobody expects: {line}")),
            }
        }
        Ok(())
    }

    async fn apply(&mut self, service: &Value) -> Result<()> {
        let key = key_of(service);
        let Some(target) = target_of(service) else {
            return self.remove(&key).await;
        };
        if !self
            .known
            .get(&key)
            .is_some_and(|known| known.target == target)
        {
            let address = match self.known.get(&key) {
                Some(known) => known.address,
                None => self.allocate()?,
            };
            let listeners = listen(address, &target).await?;
            let (namespace, name) = &key;
            let host = format!("{name}.{namespace}.{}.load-balancer.test", self.cluster);
            self.hosts.set(&host, Some(address)).await?;
            let balancer = Balancer {
                address,
                host,
                target,
                _listeners: listeners,
            };
            self.known.insert(key.clone(), balancer);
        }
        let known = &self.known[&key];
        let ingress = match service["metadata"]["annotations"][ANNOTATION].as_str() {
            Some("ip") => json!([{ "ip": known.address.to_string(), "ipMode": "Proxy" }]),
            _ => json!([{ "hostname": known.host }]),
        };
        if service["status"]["loadBalancer"]["ingress"] == ingress {
            return Ok(());
        }
        let mut changed = service.clone();
        changed["status"]["loadBalancer"]["ingress"] = ingress;
        // Events of a watch carry the kind, items of a list do not.
        changed["apiVersion"] = json!("v1");
        changed["kind"] = json!("Service");
        let (namespace, name) = &key;
        let path = format!("/api/v1/namespaces/{namespace}/services/{name}/status");
        self.client.put(&path, &changed).await
    }

    /// Gives the machine an address that none of the others has.
    fn allocate(&self) -> Result<Ipv4Addr> {
        let is_taken = |address: &Ipv4Addr| {
            let mut known = self.known.values();
            known.any(|balancer| balancer.address == *address)
        };
        let mut addresses = self.cluster.load_balancers();
        let address = addresses.find(|address| !is_taken(address));
        let address = address.ok_or("no address is left for another load balancer")?;
        // One that an attempt which failed has left.
        let _ = network::remove_address(address);
        network::add_address(address)?;
        Ok(address)
    }

    async fn remove(&mut self, key: &(String, String)) -> Result<()> {
        let Some(balancer) = self.known.remove(key) else {
            return Ok(());
        };
        let (address, host) = (balancer.address, balancer.host.clone());
        drop(balancer);
        self.hosts.set(&host, None).await?;
        network::remove_address(address)
    }
}

fn key_of(service: &Value) -> (String, String) {
    let part = |name: &str| {
        service["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (part("namespace"), part("name"))
}

/// Where connections go to; `None` when a Service wants no load balancer of ours.
fn target_of(service: &Value) -> Option<Target> {
    let spec = &service["spec"];
    let is_wanted = spec["type"] == "LoadBalancer"
        && spec["loadBalancerClass"].is_null()
        && service["metadata"]["deletionTimestamp"].is_null();
    if !is_wanted {
        return None;
    }
    let ports = spec["ports"].as_array()?.iter();
    let tcp = ports.filter(|port| port["protocol"] == "TCP");
    Some(Target {
        service: spec["clusterIP"].as_str()?.parse().ok()?,
        ports: tcp
            .filter_map(|port| u16::try_from(port["port"].as_u64()?).ok())
            .collect(),
    })
}

/// Listens on every port of a Service, and passes connections on.
async fn listen(address: Ipv4Addr, target: &Target) -> Result<JoinSet<()>> {
    let mut listeners = JoinSet::new();
    for port in &target.ports {
        let listener = TcpListener::bind((address, *port)).await;
        let listener = listener.map_err(|error| format!("{address}:{port}: {error}"))?;
        listeners.spawn(accept(listener, (target.service, *port).into()));
    }
    Ok(listeners)
}

async fn accept(listener: TcpListener, service: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // Either side may leave at any time; the other is then closed too.
            if let Ok(Ok(mut server)) = timeout(CONNECT, TcpStream::connect(service)).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_that_type_is_balanced_over_tcp() {
        let mut service = json!({
            "metadata": { "name": "front", "namespace": "demo" },
            "spec": {
                "type": "LoadBalancer",
                "clusterIP": "10.211.0.7",
                "ports": [
                    { "port": 80, "protocol": "TCP" },
                    { "port": 53, "protocol": "UDP" },
                ],
            },
        });
        let target = target_of(&service).expect("it is one");
        assert_eq!(
            (target.service.to_string().as_str(), target.ports.as_slice()),
            ("10.211.0.7", [80].as_slice())
        );
        service["spec"]["loadBalancerClass"] = json!("others");
        assert_eq!(target_of(&service), None);
        service["spec"]["loadBalancerClass"] = json!(null);
        service["spec"]["type"] = json!("ClusterIP");
        assert_eq!(target_of(&service), None);
    }

    #[tokio::test]
    async fn names_are_written_as_in_a_hosts_file() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("names/hosts");
        let hosts = Hosts::create(path.clone()).expect("there is room");
        let read = || fs::read_to_string(&path).expect("it is there");
        assert_eq!(read(), "");
        let address = Ipv4Addr::new(10, 200, 1, 1);
        hosts
            .set("front.demo.a.load-balancer.test", Some(address))
            .await
            .expect("there is room");
        assert_eq!(read(), "10.200.1.1 front.demo.a.load-balancer.test\n");
        hosts
            .set("front.demo.a.load-balancer.test", None)
            .await
            .expect("there is room");
        assert_eq!(read(), "");
    }
}
