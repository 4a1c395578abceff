//! Builds everything and runs it until somebody asks to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Mutex, Notify};
use tombolo_api::client::Client;
use tombolo_dns::{Clusters, Forwarder};
use tombolo_kube::manifest;
use tombolo_linux::fabric::{Fabric, Ipv4Range};
use tombolo_linux::host_link::HostLink;
use tombolo_linux::sandbox::{Inside, Mode};
use tombolo_model::Scope;

use super::Orders;
use super::control_plane::{ControlPlane, Sockets};
use super::runtime::Runtime;
use crate::balance::entrances::{Entrances, Listen};
use crate::clock;
use crate::cluster::{Cluster, Entropy, Key, Kind, Shared, view};
use crate::control::run_dir;
use crate::control::types::{ClusterInfo, Info};
use crate::images::Images;
use crate::machine::Machine;
use crate::machine::linux::LinuxMachine;
use crate::mesh::controller::Controller;
use crate::mesh::registrar::Registrar;
use crate::network::rules::Rules;
use crate::network::{Network, address};
use crate::pod::Host;
use crate::pod::log::Log;
use crate::pod::process::Common;
use crate::progress::{Event, Progress, encode};
use crate::up::options::Engine;
use crate::up::{check, sidecar};

/// The control plane's address in the fabric. Link-local, so that it is in no cluster's range.
const CONTROL_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 2);

/// Its ports there.
const API_PORT: u16 = 8490;
const XDS_PORT: u16 = 18000;
const DNS_PORT: u16 = 53;

/// The mark of a proxy's own traffic where it cannot have a user of its own.
const MARK: u32 = 1337;

/// How long everything may take to end when asked to stop. Then the sandbox ends it.
const STOP: Duration = Duration::from_secs(5);

/// Runs until a stop is asked for.
pub(super) async fn run(inside: Inside, orders: Orders) -> Result<(), String> {
    let host = inside.host.clone();
    let sender = host.clone();
    let progress = Progress::new(move |event| sender.print(&encode(event)));
    let (runtime, mut background) = build(inside, &orders, &progress).await?;
    apply_manifests(&runtime, &orders)?;
    progress.send(Event::Serving {
        info: Box::new(runtime.info().await),
    });
    // Only now: with no objects at all, everything would be ready.
    background.tasks.spawn(runtime.clone().report());
    let stopped = async {
        tokio::select! {
            () = host.stop_requested() => {}
            () = runtime.stop.notified() => {}
        }
    };
    stopped.await;
    progress.send(Event::Step {
        message: "stopping".to_owned(),
    });
    let ended = tokio::time::timeout(STOP, end(&runtime)).await;
    if ended.is_err() {
        tracing::debug!("not everything ended in time");
    }
    background.stop_control_plane.notify_one();
    let _ = tokio::time::timeout(STOP, background.control_plane).await;
    drop(background.tasks);
    Ok(())
}

/// Ends every pod at once, without drain: nobody is left to drain for.
async fn end(runtime: &Runtime) {
    for cluster in &runtime.clusters {
        cluster.objects.write(|objects| {
            let owners = [Kind::Deployment, Kind::ReplicaSet];
            let keys: Vec<Key> = owners
                .into_iter()
                .flat_map(|kind| objects.of_kind(kind))
                .map(|object| object.key.clone())
                .collect();
            for key in keys {
                objects.remove(&key);
            }
            let pods: Vec<Key> = objects
                .of_kind(Kind::Pod)
                .map(|object| object.key.clone())
                .collect();
            for key in pods {
                objects.begin_deletion(&key, 0, clock::now());
            }
        });
    }
    let drained = runtime.hosts.iter().map(|host| host.drained(STOP));
    futures::future::join_all(drained).await;
}

struct Background {
    tasks: tokio::task::JoinSet<()>,
    control_plane: tokio::task::JoinHandle<()>,
    stop_control_plane: Arc<Notify>,
}

async fn build(
    inside: Inside,
    orders: &Orders,
    progress: &Progress,
) -> Result<(Arc<Runtime>, Background), String> {
    let Orders {
        options,
        program,
        run_dir,
    } = orders;
    let host = inside.host.clone();
    let rootless = inside.mode == Mode::Rootless;
    let fabric = Arc::new(Fabric::new().map_err(|error| error.to_string())?);
    let plan = check::plan(options).map_err(|problems| problems.to_string())?;
    let dns = address::dns(plan.services);
    for address in [CONTROL_ADDRESS, dns]
        .into_iter()
        .chain(plan.ranges.iter().map(|range| address::node(*range)))
    {
        fabric
            .add_local_address(address)
            .map_err(|error| error.to_string())?;
    }
    if rootless {
        let message =
            "without root every container runs as this user; runAsUser is ignored".to_owned();
        progress.send(Event::Note { message });
    }
    progress.send(Event::Step {
        message: format!(
            "network {} for {} clusters",
            options.vpc,
            options.clusters.len()
        ),
    });
    let sockets = sockets(&host, options.api).await?;
    let api = sockets.api[0]
        .local_addr()
        .map_err(|error| error.to_string())?;

    let machine: Arc<dyn Machine> = Arc::new(LinuxMachine::new(fabric));
    let entropy = Arc::new(Entropy::from_process());
    let images = sidecar::images(&plan.images, &options.proxy);
    let mut clusters = Vec::new();
    let mut hosts = Vec::new();
    for (source, range) in options.clusters.iter().zip(&plan.ranges) {
        let cluster = Arc::new(Cluster {
            name: source.name.clone(),
            range: *range,
            services: plan.services,
            objects: Shared::default(),
            entropy: entropy.clone(),
            inject: view::injector(sidecar::config(options, &[dns, CONTROL_ADDRESS])),
        });
        let common = common(options, program, &images, &source.name, dns, rootless);
        let state_dir = inside.state_dir.join("clusters").join(&source.name);
        let node = address::node(*range);
        hosts.push(Arc::new(Host::new(
            cluster.clone(),
            machine.clone(),
            common,
            node,
            state_dir,
            options.drain,
        )));
        clusters.push(cluster);
    }

    let mut rules = Rules::new(options.network);
    options
        .allow
        .iter()
        .for_each(|opening| rules.allow(opening));
    let names = Arc::new(Clusters::new());
    let network = Arc::new(Network::new(
        machine,
        clusters.clone(),
        names.clone(),
        rules,
    ));
    let listener = host.clone();
    let listen: Box<Listen> = Box::new(move |address| {
        let host = listener.clone();
        async move { host.listen_tcp(address).await }.boxed()
    });
    let entrances = Arc::new(Entrances::new(
        clusters.clone(),
        listen,
        progress.clone(),
        entropy,
    ));

    let (restarted_mesh, restarted_registry) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let data_dir = options
        .data_dir
        .clone()
        .unwrap_or_else(|| inside.state_dir.join("data"));
    std::fs::create_dir_all(&data_dir)
        .map_err(|error| format!("{}: {error}", data_dir.display()))?;
    let log = Log::create(&inside.state_dir.join("control-plane.log"))
        .map_err(|error| format!("control-plane.log: {error}"))?;
    let control_plane = Arc::new(ControlPlane::new(
        program.clone(),
        server_arguments(options, &data_dir),
        sockets,
        Arc::new(log),
        progress.clone(),
        vec![restarted_mesh.clone(), restarted_registry.clone()],
    ));
    let info = Info {
        name: options.name.clone(),
        account: options.account.clone(),
        region: options.region.clone(),
        api: format!("http://{api}"),
        xds: format!("{CONTROL_ADDRESS}:{XDS_PORT}"),
        proxy: if matches!(options.proxy, Engine::Tombolo) {
            "tombolo"
        } else {
            "envoy"
        }
        .to_owned(),
        mode: inside.mode.to_string(),
        vpc: options.vpc.clone(),
        run_dir: run_dir.display().to_string(),
        server_pid: None,
        clusters: clusters
            .iter()
            .map(|cluster| cluster_info(cluster, dns))
            .collect(),
        load_balancers: Vec::new(),
    };
    let scope = Scope::parse(&options.account, &options.region)?;
    let client = Client::new(&format!("http://{CONTROL_ADDRESS}:{API_PORT}"), scope)
        .map_err(|error| error.to_string())?;
    let client = client.with_timeout(Duration::from_secs(2));
    let runtime = Arc::new(Runtime {
        clusters: clusters.clone(),
        hosts,
        network,
        entrances,
        control_plane,
        api: client.clone(),
        progress: progress.clone(),
        announced: AtomicBool::new(false),
        stop: Notify::new(),
        info,
        host: host.clone(),
        host_pids: Mutex::default(),
    });

    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(
        Controller::new(clusters.clone(), client.clone(), progress.clone()).run(restarted_mesh),
    );
    tasks.spawn(Registrar::new(clusters, client, progress.clone()).run(restarted_registry));
    serve(&mut tasks, &runtime, names, dns, run_dir).await?;
    let stop_control_plane = Arc::new(Notify::new());
    let (running, stop) = (runtime.control_plane.clone(), stop_control_plane.clone());
    let control_plane = tokio::spawn(async move { running.run(stop.notified()).await });
    Ok((
        runtime,
        Background {
            tasks,
            control_plane,
            stop_control_plane,
        },
    ))
}

async fn serve(
    tasks: &mut tokio::task::JoinSet<()>,
    runtime: &Arc<Runtime>,
    names: Arc<Clusters>,
    dns: Ipv4Addr,
    run_dir: &Path,
) -> Result<(), String> {
    for (cluster, host) in runtime.clusters.iter().zip(&runtime.hosts) {
        tasks.spawn(cluster.clone().run());
        tasks.spawn(host.clone().run());
    }
    tasks.spawn(runtime.network.clone().run());
    tasks.spawn(runtime.entrances.clone().run());
    let at = SocketAddr::from((dns, DNS_PORT));
    let udp = tokio::net::UdpSocket::bind(at)
        .await
        .map_err(|error| format!("cluster DNS at {at}: {error}"))?;
    let tcp = tokio::net::TcpListener::bind(at)
        .await
        .map_err(|error| format!("cluster DNS at {at}: {error}"))?;
    let forward = Forwarder::new(vec![SocketAddr::from((CONTROL_ADDRESS, DNS_PORT))]);
    let server = tombolo_dns::Server::new(vec![names], Some(forward)).as_resolver();
    tasks.spawn(async move {
        if let Err(error) = server.serve(udp, tcp, std::future::pending()).await {
            tracing::error!(%error, "cluster DNS ended");
        }
    });
    let socket = |name: &str| {
        let path = run_dir.join(name);
        let host = runtime.host.clone();
        async move {
            let listener = host
                .listen_unix(&path)
                .await
                .map_err(|error| format!("{}: {error}", path.display()))?;
            tokio::net::UnixListener::from_std(listener)
                .map_err(|error| format!("{}: {error}", path.display()))
        }
    };
    let exec = socket(run_dir::EXEC).await?;
    tasks.spawn(crate::control::reach::serve_exec(exec, runtime.clone()));
    let (control, served) = (socket(run_dir::CONTROL).await?, runtime.clone());
    tasks.spawn(async move {
        if let Err(error) = crate::control::server::serve(control, served).await {
            tracing::error!(%error, "control socket ended");
        }
    });
    Ok(())
}

async fn sockets(host: &HostLink, api: SocketAddr) -> Result<Sockets, String> {
    let listening = |what: &str, at: SocketAddr, error: std::io::Error| {
        format!("{what} cannot listen at {at}: {error}")
    };
    let on_host = host
        .listen_tcp(api)
        .await
        .map_err(|error| listening("the API", api, error))?;
    let inside = |port| SocketAddr::from((CONTROL_ADDRESS, port));
    let listen = |port| {
        let listener = std::net::TcpListener::bind(inside(port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        listener.map_err(|error| listening("the control plane", inside(port), error))
    };
    let udp = std::net::UdpSocket::bind(inside(DNS_PORT))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    Ok(Sockets {
        api: vec![on_host, listen(API_PORT)?],
        xds: listen(XDS_PORT)?,
        dns_udp: udp.map_err(|error| listening("DNS", inside(DNS_PORT), error))?,
        dns_tcp: listen(DNS_PORT)?,
    })
}

fn common(
    options: &crate::up::Options,
    program: &Path,
    images: &Images,
    cluster: &str,
    dns: Ipv4Addr,
    rootless: bool,
) -> Common {
    Common {
        images: images.clone(),
        program: program.to_owned(),
        envoy: match &options.proxy {
            Engine::Tombolo => None,
            Engine::Envoy(path) => Some(path.clone()),
        },
        xds: format!("{CONTROL_ADDRESS}:{XDS_PORT}"),
        mark: rootless.then_some(MARK),
        dns,
        cluster: cluster.to_owned(),
    }
}

fn server_arguments(options: &crate::up::Options, data_dir: &Path) -> Vec<String> {
    let fixed = [
        "--data-dir",
        &data_dir.display().to_string(),
        "--account",
        &options.account,
        "--region",
        &options.region,
    ]
    .map(str::to_owned);
    fixed
        .into_iter()
        .chain(options.server_args.iter().cloned())
        .collect()
}

fn cluster_info(cluster: &Cluster, dns: Ipv4Addr) -> ClusterInfo {
    let text = |range: Ipv4Range| range.to_string();
    ClusterInfo {
        name: cluster.name.clone(),
        pods: text(cluster.range),
        services: text(cluster.services),
        dns,
    }
}

/// Applies what each cluster was given. It was tried out before anything started, so a refusal is ours to explain.
fn apply_manifests(runtime: &Runtime, orders: &Orders) -> Result<(), String> {
    for (cluster, source) in runtime.clusters.iter().zip(&orders.options.clusters) {
        cluster
            .objects
            .write(|objects| check::default_namespaces(objects, &cluster.entropy, clock::now()));
        let sources: Vec<_> = source
            .manifests
            .iter()
            .map(|source| manifest::Source::new(&source.name, &source.text))
            .collect();
        let read = manifest::read(&sources, &manifest::Options::default())
            .map_err(|problems| problems.to_string())?;
        let applied = runtime.apply(cluster, read, false).map_err(|problems| {
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        })?;
        runtime.progress.send(Event::Step {
            message: format!("{}: {} objects", cluster.name, applied.len()),
        });
    }
    Ok(())
}
