//! Builds everything and runs it until somebody asks to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, Notify};
use tombolo_api::client::Client;
use tombolo_dns::{Clusters, Forwarder};
use tombolo_kube::manifest;
use tombolo_linux::fabric::{Fabric, Ipv4Range};
use tombolo_linux::host_link::HostLink;
use tombolo_linux::sandbox::{Inside, Mode};
use tombolo_model::Scope;
use tombolo_telemetry::supervisor::{Stage, TaskError};
use tombolo_telemetry::{ErrorChain, Supervisor};

use super::control_plane::{ControlPlane, Sockets};
use super::runtime::Runtime;
use super::{Orders, xds_socket};
use crate::balance::entrances::{Entrances, Listen};
use crate::clock;
use crate::cluster::{Cluster, Entropy, Key, Kind, Shared, view};
use crate::control::run_dir;
use crate::control::types::{ClusterInfo, Info};
use crate::images::Images;
use crate::machine::Machine;
use crate::machine::linux::LinuxMachine;
use crate::mesh;
use crate::network::rules::Rules;
use crate::network::{Network, address};
use crate::pod::Host;
use crate::pod::log::Log;
use crate::pod::process::{self, Common};
use crate::progress::{Event, Progress, encode};
use crate::up::options::Engine;
use crate::up::{check, sidecar};

/// The control plane's address inside of the sandbox: loopback of the runtime's network namespace, which no pod can
/// reach. Proxies get their configuration through [`xds_socket`], names through the cluster DNS.
const CONTROL_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Its ports there.
const API_PORT: u16 = 8490;
const XDS_PORT: u16 = 18000;
const DNS_PORT: u16 = 53;

/// The mark of a proxy's own traffic where it cannot have a user of its own.
const MARK: u32 = 1337;

/// How long everything may take to end when asked to stop. Then the sandbox ends it.
const STOP: Duration = Duration::from_secs(5);

/// Runs until a stop is asked for, or until a part of it fails: half a runtime helps nobody.
pub(super) async fn run(inside: Inside, orders: Orders) -> Result<(), Failure> {
    let host = inside.host.clone();
    let sender = host.clone();
    let progress = Progress::new(move |event| sender.print(&encode(event)));
    let Built {
        runtime,
        mut tasks,
        mesh,
        registry,
    } = build(inside, &orders, &progress).await?;
    apply_manifests(&runtime, &orders)?;
    progress.send(Event::Serving {
        info: Box::new(runtime.info().await),
    });
    // Only now: with no objects at all, everything would be ready, and all that an earlier run left would go.
    tasks.spawn("mesh controller", mesh);
    tasks.spawn("registry controller", registry);
    tasks.spawn("report", runtime.clone().report());
    let stopped = async {
        tokio::select! {
            () = host.stop_requested() => {}
            () = runtime.stop.notified() => {}
        }
        let message = "stopping".to_owned();
        progress.send(Event::Step { message });
    };
    Ok(tasks.supervisor.run(stopped).await?)
}

/// The supervised tasks, in the order in which they end: pods, the control plane, all else.
struct Tasks {
    supervisor: Supervisor,
    pods: Stage,
    control_plane: Stage,
    rest: Stage,
}

impl Tasks {
    fn new() -> Self {
        let mut supervisor = Supervisor::new();
        Self {
            pods: supervisor.stage("pods", STOP),
            control_plane: supervisor.stage("control plane", STOP),
            rest: supervisor.stage("rest", STOP),
            supervisor,
        }
    }

    /// Runs a task that has nothing to do when everything stops.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.try_spawn(name, async {
            task.await;
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// The same for a task that may fail.
    fn try_spawn<E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.supervisor.spawn(self.rest, name, |stop| async move {
            tokio::select! {
                ended = task => ended,
                () = stop.cancelled() => Ok(()),
            }
        });
    }
}

/// Why the runtime does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The options or manifests are wrong.
    #[error(transparent)]
    Options(#[from] crate::up::Problems),
    /// The kernel refuses something.
    #[error(transparent)]
    Kernel(#[from] tombolo_linux::Error),
    /// A socket or file cannot be opened.
    #[error("{what}: {cause}")]
    Open {
        /// What for, and where.
        what: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The address of the API makes no client.
    #[error(transparent)]
    Client(#[from] tombolo_api::client::Error),
    /// The account or the region is not one.
    #[error("{0}")]
    Scope(String),
    /// A part failed.
    #[error("{}", ErrorChain(.0))]
    Task(#[from] TaskError),
}

/// Names what cannot be opened.
trait Opening<T> {
    fn opening(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Opening<T> for std::io::Result<T> {
    fn opening(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|cause| Failure::Open {
            what: what(),
            cause,
        })
    }
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

struct Built {
    runtime: Arc<Runtime>,
    tasks: Tasks,
    /// The controllers, to be started when the objects are there.
    mesh: BoxFuture<'static, ()>,
    registry: BoxFuture<'static, ()>,
}

async fn build(inside: Inside, orders: &Orders, progress: &Progress) -> Result<Built, Failure> {
    let Orders {
        options,
        program,
        run_dir,
    } = orders;
    let host = inside.host.clone();
    let rootless = inside.mode == Mode::Rootless;
    let fabric = Arc::new(Fabric::new()?);
    let plan = check::plan(options)?;
    let dns = address::dns(plan.services);
    let nodes = plan.ranges.iter().map(|range| address::node(*range));
    for address in std::iter::once(dns).chain(nodes) {
        fabric.add_local_address(address)?;
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
        .opening(|| "the API".to_owned())?;
    let xds_path = inside.state_dir.join("xds.sock");
    let xds_socket = xds_socket::bind(&xds_path).opening(|| xds_path.display().to_string())?;

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
            inject: view::injector(sidecar::config(options, &[dns])),
        });
        let common = common(
            options,
            program,
            &images,
            &source.name,
            dns,
            rootless,
            &xds_path,
        );
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
    let scope = Scope::parse(&options.account, &options.region).map_err(Failure::Scope)?;
    let client = Client::new(&format!("http://{CONTROL_ADDRESS}:{API_PORT}"), scope)?;
    let client = Arc::new(client.with_timeout(Duration::from_secs(2)));
    let observer = mesh::observer(progress.clone());
    let mesh = tombolo_controller::mesh::Controller::new(
        clusters.clone(),
        client.clone(),
        mesh::options(),
        observer.clone(),
    );
    let registry = tombolo_controller::registry::Controller::new(
        clusters.clone(),
        client.clone(),
        mesh::options(),
        observer,
    );
    let names = Arc::new(Clusters::default());
    let network = Arc::new(Network::new(
        machine,
        clusters.clone(),
        mesh.desired(),
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
    std::fs::create_dir_all(&data_dir).opening(|| data_dir.display().to_string())?;
    let log = Log::create(&inside.state_dir.join("control-plane.log"))
        .opening(|| "control-plane.log".to_owned())?;
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
        xds: process::XDS_ENDPOINT.to_owned(),
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
    let runtime = Arc::new(Runtime {
        clusters: clusters.clone(),
        hosts,
        network,
        entrances,
        control_plane,
        api: (*client).clone().into(),
        progress: progress.clone(),
        announced: AtomicBool::new(false),
        stop: Notify::new(),
        info,
        host: host.clone(),
        host_pids: Mutex::default(),
    });

    let mut tasks = Tasks::new();
    serve(&mut tasks, &runtime, names, dns, run_dir).await?;
    let server = SocketAddr::from((CONTROL_ADDRESS, XDS_PORT));
    tasks.spawn("xds socket", xds_socket::serve(xds_socket, server));
    Ok(Built {
        runtime,
        tasks,
        mesh: mesh.run(restarted_mesh).boxed(),
        registry: registry.run(restarted_registry).boxed(),
    })
}

async fn serve(
    tasks: &mut Tasks,
    runtime: &Arc<Runtime>,
    names: Arc<Clusters>,
    dns: Ipv4Addr,
    run_dir: &Path,
) -> Result<(), Failure> {
    let ending = runtime.clone();
    let (pods, control_plane) = (tasks.pods, tasks.control_plane);
    tasks.supervisor.spawn(pods, "pods", |stop| async move {
        stop.cancelled().await;
        end(&ending).await;
        Ok::<(), std::convert::Infallible>(())
    });
    let running = runtime.control_plane.clone();
    tasks
        .supervisor
        .spawn(control_plane, "control plane", |stop| async move {
            running.run(stop.cancelled_owned()).await;
            Ok::<(), std::convert::Infallible>(())
        });
    for (cluster, host) in runtime.clusters.iter().zip(&runtime.hosts) {
        tasks.spawn("workloads", cluster.clone().run());
        tasks.spawn("pod workers", host.clone().run());
    }
    tasks.spawn("network", runtime.network.clone().run());
    tasks.spawn("load balancers", runtime.entrances.clone().run());
    let at = SocketAddr::from((dns, DNS_PORT));
    let what = || format!("cluster DNS at {at}");
    let udp = tokio::net::UdpSocket::bind(at).await.opening(what)?;
    let tcp = tokio::net::TcpListener::bind(at).await.opening(what)?;
    let forward = Forwarder::new(vec![SocketAddr::from((CONTROL_ADDRESS, DNS_PORT))]);
    let server = tombolo_dns::Server::new(vec![names], Some(forward)).as_resolver();
    tasks.try_spawn("cluster DNS", async move {
        server.serve(udp, tcp, std::future::pending()).await
    });
    let socket = |name: &str| {
        let path = run_dir.join(name);
        let host = runtime.host.clone();
        async move {
            let listener = host.listen_unix(&path).await;
            let listener = listener.and_then(tokio::net::UnixListener::from_std);
            listener.opening(|| path.display().to_string())
        }
    };
    let exec = socket(run_dir::EXEC).await?;
    tasks.spawn(
        "exec",
        crate::control::reach::serve_exec(exec, runtime.clone()),
    );
    let (control, served) = (socket(run_dir::CONTROL).await?, runtime.clone());
    tasks.try_spawn("control socket", async move {
        crate::control::server::serve(control, served).await
    });
    Ok(())
}

async fn sockets(host: &HostLink, api: SocketAddr) -> Result<Sockets, Failure> {
    let on_host = host
        .listen_tcp(api)
        .await
        .opening(|| format!("the API cannot listen at {api}"))?;
    let inside = |port| SocketAddr::from((CONTROL_ADDRESS, port));
    let what = |port| move || format!("the control plane cannot listen at {}", inside(port));
    let listen = |port| {
        let listener = std::net::TcpListener::bind(inside(port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        listener.opening(what(port))
    };
    let udp = std::net::UdpSocket::bind(inside(DNS_PORT))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    Ok(Sockets {
        api: vec![on_host, listen(API_PORT)?],
        xds: listen(XDS_PORT)?,
        dns_udp: udp.opening(what(DNS_PORT))?,
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
    xds_socket: &Path,
) -> Common {
    Common {
        images: images.clone(),
        program: program.to_owned(),
        envoy: match &options.proxy {
            Engine::Tombolo => None,
            Engine::Envoy(path) => Some(path.clone()),
        },
        xds_socket: xds_socket.to_owned(),
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
fn apply_manifests(runtime: &Runtime, orders: &Orders) -> Result<(), Failure> {
    for (cluster, source) in runtime.clusters.iter().zip(&orders.options.clusters) {
        cluster
            .objects
            .write(|objects| check::default_namespaces(objects, &cluster.entropy, clock::now()));
        let sources: Vec<_> = source
            .manifests
            .iter()
            .map(|source| manifest::Source::new(&source.name, &source.text))
            .collect();
        let texts = |problems: &[manifest::Problem]| {
            crate::up::Problems(problems.iter().map(ToString::to_string).collect())
        };
        let read = manifest::read(&sources, &manifest::Options::default())
            .map_err(|problems| texts(&problems.0))?;
        let applied = runtime.apply(cluster, read, false);
        let applied = applied.map_err(|problems| texts(&problems))?;
        runtime.progress.send(Event::Step {
            message: format!("{}: {} objects", cluster.name, applied.len()),
        });
    }
    Ok(())
}
