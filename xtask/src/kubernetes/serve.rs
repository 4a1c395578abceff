//! The process that everything of the clusters runs under. It is in a process namespace of its own, of which it is
//! nearly the first: when that one ends, the kernel ends everything.

use super::{
    client::Client,
    component::Components,
    control_plane, dns,
    images::Images,
    load_balancer::{self, Hosts},
    machine, network,
    network::Cluster,
    node,
    pki::Pki,
    programs::Programs,
    registry,
};
use crate::process::Result;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{
    process::Command,
    task::{JoinSet, LocalSet},
};

/// The last line that is told.
pub(super) const READY: &str = "ready";

/// What all clusters have in common.
#[derive(Debug)]
pub(super) struct Shared {
    directory: PathBuf,
    /// How many there are.
    pub(super) clusters: u8,
    pub(super) programs: Programs,
    pub(super) components: Components,
}

impl Shared {
    /// The folder of a cluster.
    pub(super) fn folder(&self, cluster: Cluster) -> PathBuf {
        self.directory.join(cluster.name().to_string())
    }

    /// A client of a cluster, as its administrator.
    pub(super) fn client(&self, cluster: Cluster) -> Client {
        Client::new(
            &self.programs,
            &kubeconfig(&self.directory, cluster),
            &self.directory,
        )
    }

    /// A Kubernetes program, or etcd.
    pub(super) fn kube(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.kube());
        command.arg(name);
        command
    }
}

/// The administrator's kubeconfig of a cluster.
pub(super) fn kubeconfig(directory: &Path, cluster: Cluster) -> PathBuf {
    directory
        .join(cluster.name().to_string())
        .join("kubeconfig")
}

/// Says how far it is, to whoever reads. Once clusters are up, nobody does.
pub(super) fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Starts the clusters, and runs until something ends.
pub(super) fn run(clusters: u8) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
    let directory = machine::directory();
    let (components, mut ended) = Components::new(directory.join("log"));
    let shared = Shared {
        programs: Programs::fetch()?,
        directory,
        clusters,
        components,
    };
    // Clusters start beside each other on this thread.
    LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            result = serve(Arc::new(shared)) => result,
            Some(why) = ended.recv() => Err(why),
        }
    })
}

async fn serve(shared: Arc<Shared>) -> Result<()> {
    registry::start(Images::new(shared.programs.clone(), &shared.directory)?).await?;
    let hosts = Hosts::create(dns::hosts_file(&shared.directory))?;
    let mut starting = JoinSet::new();
    for cluster in Cluster::first(shared.clusters) {
        let shared = shared.clone();
        starting.spawn_local(async move { Ok((cluster, start(&shared, cluster).await?)) });
    }
    let mut balancing = JoinSet::new();
    while let Some(started) = starting.join_next().await {
        let (cluster, client) = started.map_err(|error| error.to_string()).flatten()?;
        balancing.spawn(load_balancer::run(cluster, client, hosts.clone()));
    }
    let ready = shared.directory.join(READY);
    fs::write(&ready, "").map_err(|error| format!("{}: {error}", ready.display()))?;
    tell(READY);
    // Balancers end only by a panic.
    let ended = balancing.join_next().await;
    Err(format!("the load balancers have ended: {ended:?}"))
}

async fn start(shared: &Shared, cluster: Cluster) -> Result<Client> {
    let start = Instant::now();
    let tell = |what: &str| {
        tell(&format!(
            "{cluster}: {what}, {:.1} s",
            start.elapsed().as_secs_f32()
        ))
    };
    let folder = shared.folder(cluster);
    let pki = Pki::create(
        cluster,
        folder.join("pki"),
        &kubeconfig(&shared.directory, cluster),
    )?;
    write_addresses(cluster, &folder)?;
    let client = control_plane::start(shared, cluster, &pki).await?;
    tell("the API server answers");
    node::start(shared, cluster, &pki, &client).await?;
    tell("the node is ready");
    dns::apply(
        &client,
        cluster,
        &shared.directory,
        &dns::zones(&shared.directory)?,
    )
    .await?;
    tell("DNS answers");
    Ok(client)
}

/// Writes where everything of a cluster is, for tests.
fn write_addresses(cluster: Cluster, folder: &Path) -> Result<()> {
    let addresses = [
        ("context", cluster.context()),
        ("machine", network::MACHINE.to_string()),
        ("control-plane", cluster.control_plane().to_string()),
        ("node", cluster.node().to_string()),
        ("pods", cluster.pods()),
        ("services", cluster.services()),
        ("dns", cluster.dns().to_string()),
    ];
    let lines = addresses.map(|(name, value)| format!("{name}={value}\n"));
    let path = folder.join("addresses");
    fs::write(&path, lines.concat()).map_err(|error| format!("{}: {error}", path.display()))
}
