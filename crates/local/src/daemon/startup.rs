//! Startup of the daemon: builds everything, and runs it until a stop is requested.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::{Mutex, Notify, watch};
use tombolo_api::client::Client;
use tombolo_controller::{mesh, registry};
use tombolo_dns::{Clusters, Forwarder};
use tombolo_linux::fabric::Fabric;
use tombolo_linux::host_link::HostLink;
use tombolo_linux::sandbox::{Inside, Mode};
use tombolo_model::{InvalidScope, Scope};
use tombolo_telemetry::Supervisor;
use tombolo_telemetry::supervisor::{Stage, TaskError};

use super::control_plane_process::{ControlPlaneProcess, Sockets};
use super::{Daemon, LaunchSpec, xds_relay};
use crate::cluster::{Cluster, Key, Kind, NameGenerator, ObjectStore, now, sidecar_injector};
use crate::container_runtime::ContainerRuntime;
use crate::container_runtime::linux::LinuxRuntime;
use crate::control_socket::{ClusterInfo, Info, exec_and_logs, run_dir, server};
use crate::kubelet::Kubelet;
use crate::kubelet::container_log::Log;
use crate::kubelet::container_spec::{ContainerConfig, XDS_ENDPOINT};
use crate::load_balancers::{Listen, LoadBalancers};
use crate::mesh_controller;
use crate::network::security_group::NetworkPolicy;
use crate::network::{Network, ip_allocation};
use crate::progress::{Event, Progress, encode};
use crate::up::{Errors, Options, ProxyKind, preflight, sidecar_config};

/// The control plane's address in the sandbox: loopback of the daemon's network namespace, which no pod can reach.
/// Proxies get their configuration through [`xds_relay`], names through the cluster DNS.
const CONTROL_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

const API_PORT: u16 = 8490;
const XDS_PORT: u16 = 18000;
const DNS_PORT: u16 = 53;

/// `SO_MARK` of a proxy's own traffic where it cannot have a user of its own.
const MARK: u32 = 1337;

/// Deadline of each stage of the shutdown. Then the sandbox ends it.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Deadline of a call to the control plane.
const API_TIMEOUT: Duration = Duration::from_secs(2);

/// The reason why the daemon ended or did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The options or manifests are invalid.
    #[error(transparent)]
    Options(#[from] Errors),
    /// The kernel refused an operation.
    #[error(transparent)]
    Kernel(#[from] tombolo_linux::Error),
    /// A socket or file cannot be opened.
    #[error("{what}")]
    Open {
        /// The purpose of the socket or file, and its path.
        what: String,
        #[source]
        cause: std::io::Error,
    },
    /// The address of the API is not valid.
    #[error(transparent)]
    Client(#[from] tombolo_api::client::Error),
    /// The account or the region is not valid.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// A task failed.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Adds the name of the socket or file to an I/O error.
trait OpenContext<T> {
    fn opening(self, what: impl FnOnce() -> String) -> Result<T, RunError>;
}

impl<T> OpenContext<T> for std::io::Result<T> {
    fn opening(self, what: impl FnOnce() -> String) -> Result<T, RunError> {
        self.map_err(|cause| RunError::Open {
            what: what(),
            cause,
        })
    }
}

/// Runs until a stop is requested or a task fails, which stops all others.
pub(super) async fn run(inside: Inside, launch_spec: LaunchSpec) -> Result<(), RunError> {
    let host = inside.host.clone();
    let sender = host.clone();
    let progress = Progress::new(move |event| sender.print(&encode(event)));
    let Built {
        daemon,
        mut tasks,
        controllers,
    } = build(inside, &launch_spec, &progress).await?;
    apply_manifests(&daemon, &launch_spec.options)?;
    let info = Box::new(daemon.info().await);
    progress.send(Event::Serving { info });
    // Started after the objects exist: without objects, everything would count as ready, and the resources of an
    // earlier run would be deleted.
    for (name, controller) in controllers {
        tasks.spawn(name, controller);
    }
    tasks.spawn("report", daemon.clone().report());
    let stopped = async {
        tokio::select! {
            () = host.stop_requested() => {}
            () = daemon.stop.notified() => {}
        }
        let message = "stopping".to_owned();
        progress.send(Event::Step { message });
    };
    Ok(tasks.supervisor.run(stopped).await?)
}

/// The supervised tasks, in the order in which they stop: pods, the control plane, all else.
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
            pods: supervisor.stage("pods", STOP_TIMEOUT),
            control_plane: supervisor.stage("control plane", STOP_TIMEOUT),
            rest: supervisor.stage("rest", STOP_TIMEOUT),
            supervisor,
        }
    }

    /// Runs a task that is dropped at shutdown.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.try_spawn(name, task.map(Ok::<(), Infallible>));
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

/// Ends every pod at once, without drain: there are no callers any more.
async fn end_pods(daemon: &Daemon) {
    for cluster in &daemon.clusters {
        cluster.objects.write(|objects| {
            for kind in [Kind::Deployment, Kind::ReplicaSet, Kind::Pod] {
                let keys = objects.of_kind(kind).map(|object| object.key.clone());
                for key in keys.collect::<Vec<Key>>() {
                    match kind {
                        Kind::Pod => drop(objects.begin_deletion(&key, 0, now())),
                        _ => drop(objects.remove(&key)),
                    }
                }
            }
        });
    }
    let kubelets = daemon.kubelets.iter();
    join_all(kubelets.map(|kubelet| kubelet.wait_until_drained(STOP_TIMEOUT))).await;
}

struct Built {
    daemon: Arc<Daemon>,
    tasks: Tasks,
    /// Started once the objects exist.
    controllers: [(&'static str, BoxFuture<'static, ()>); 2],
}

async fn build(
    inside: Inside,
    launch_spec: &LaunchSpec,
    progress: &Progress,
) -> Result<Built, RunError> {
    let LaunchSpec {
        options,
        program,
        run_dir,
    } = launch_spec;
    let host = inside.host.clone();
    let rootless = inside.mode == Mode::Rootless;
    let fabric = Arc::new(Fabric::new()?);
    let resolved = preflight::resolve(options)?;
    let dns = ip_allocation::dns(resolved.services);
    let nodes = resolved
        .ranges
        .iter()
        .map(|range| ip_allocation::node(*range));
    for address in std::iter::once(dns).chain(nodes) {
        fabric.add_local_address(address)?;
    }
    if rootless {
        let message =
            "without root every container runs as this user; runAsUser is ignored".to_owned();
        progress.send(Event::Note { message });
    }
    let (vpc, count) = (&options.vpc, options.clusters.len());
    let message = format!("network {vpc} for {count} clusters");
    progress.send(Event::Step { message });
    let sockets = sockets(&host, options.api).await?;
    let api = sockets.api[0]
        .local_addr()
        .opening(|| "the API".to_owned())?;
    let xds_path = inside.state_dir.join("xds.sock");
    let xds_socket = xds_relay::bind(&xds_path).opening(|| xds_path.display().to_string())?;

    let container_runtime: Arc<dyn ContainerRuntime> = Arc::new(LinuxRuntime(fabric));
    let names = Arc::new(NameGenerator::default());
    let images = sidecar_config::images(&resolved.images, &options.proxy);
    let mut clusters = Vec::new();
    let mut kubelets = Vec::new();
    for (source, range) in options.clusters.iter().zip(&resolved.ranges) {
        let cluster = Arc::new(Cluster {
            name: source.name.clone(),
            range: *range,
            services: resolved.services,
            objects: ObjectStore::default(),
            names: names.clone(),
            inject: sidecar_injector::injector(sidecar_config::config(options, &[dns])),
        });
        let config = ContainerConfig {
            images: images.clone(),
            program: program.clone(),
            envoy: match &options.proxy {
                ProxyKind::Tombolo => None,
                ProxyKind::Envoy(path) => Some(path.clone()),
            },
            xds_socket: xds_path.clone(),
            mark: rootless.then_some(MARK),
            dns,
            cluster: source.name.clone(),
        };
        let state_dir = inside.state_dir.join("clusters").join(&source.name);
        kubelets.push(Arc::new(Kubelet::new(
            cluster.clone(),
            container_runtime.clone(),
            config,
            ip_allocation::node(*range),
            state_dir,
            options.drain,
        )));
        clusters.push(cluster);
    }

    let scope = Scope::parse(&options.account, &options.region)?;
    let client = Client::new(&format!("http://{CONTROL_ADDRESS}:{API_PORT}"), scope)?;
    let client = Arc::new(client.with_timeout(API_TIMEOUT));
    let observer = mesh_controller::observer(progress.clone());
    let controller_options = mesh_controller::options();
    let mesh = mesh::Controller::new(
        clusters.clone(),
        client.clone(),
        controller_options.clone(),
        observer.clone(),
    );
    let registry = registry::Controller::new(
        clusters.clone(),
        client.clone(),
        controller_options,
        observer,
    );
    let mut policy = NetworkPolicy::new(options.network);
    options.allow.iter().for_each(|rule| policy.allow(rule));
    let zones = Arc::new(Clusters::default());
    let network = Arc::new(Network::new(
        container_runtime,
        clusters.clone(),
        mesh.desired(),
        zones.clone(),
        policy,
    ));
    let listener = host.clone();
    let listen: Box<Listen> = Box::new(move |address| {
        let host = listener.clone();
        async move { host.listen_tcp(address).await }.boxed()
    });
    let load_balancers = LoadBalancers::new(clusters.clone(), listen, progress.clone());

    let (mesh_restarted, registry_restarted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let data_dir = options.data_dir.clone();
    let data_dir = data_dir.unwrap_or_else(|| inside.state_dir.join("data"));
    std::fs::create_dir_all(&data_dir).opening(|| data_dir.display().to_string())?;
    let log = Log::create(&inside.state_dir.join("control-plane.log"))
        .opening(|| "control-plane.log".to_owned())?;
    let control_plane = Arc::new(ControlPlaneProcess {
        program: program.clone(),
        arguments: server_arguments(options, &data_dir),
        sockets,
        log: Arc::new(log),
        progress: progress.clone(),
        pid: watch::channel(None).0,
        restarted: vec![mesh_restarted.clone(), registry_restarted.clone()],
    });
    let cluster_info = |cluster: &Arc<Cluster>| ClusterInfo {
        name: cluster.name.clone(),
        pods: cluster.range.to_string(),
        services: cluster.services.to_string(),
        dns,
    };
    let info = Info {
        name: options.name.clone(),
        account: options.account.clone(),
        region: options.region.clone(),
        api: format!("http://{api}"),
        xds: XDS_ENDPOINT.to_owned(),
        proxy: match options.proxy {
            ProxyKind::Tombolo => "tombolo".to_owned(),
            ProxyKind::Envoy(_) => "envoy".to_owned(),
        },
        mode: inside.mode.to_string(),
        vpc: options.vpc.clone(),
        run_dir: run_dir.display().to_string(),
        clusters: clusters.iter().map(cluster_info).collect(),
        ..Info::default()
    };
    let daemon = Arc::new(Daemon {
        clusters,
        kubelets,
        network,
        load_balancers: Arc::new(load_balancers),
        control_plane,
        api: (*client).clone().into(),
        progress: progress.clone(),
        announced: AtomicBool::new(false),
        stop: Notify::new(),
        info,
        host,
        host_pids: Mutex::default(),
    });

    let mut tasks = Tasks::new();
    serve(&mut tasks, &daemon, zones, dns, run_dir).await?;
    let server = SocketAddr::from((CONTROL_ADDRESS, XDS_PORT));
    tasks.spawn("xds socket", xds_relay::serve(xds_socket, server));
    let controllers = [
        ("mesh controller", mesh.run(mesh_restarted).boxed()),
        (
            "registry controller",
            registry.run(registry_restarted).boxed(),
        ),
    ];
    Ok(Built {
        daemon,
        tasks,
        controllers,
    })
}

async fn serve(
    tasks: &mut Tasks,
    daemon: &Arc<Daemon>,
    zones: Arc<Clusters>,
    dns: Ipv4Addr,
    run_dir: &Path,
) -> Result<(), RunError> {
    let ending = daemon.clone();
    let (pods, control_plane) = (tasks.pods, tasks.control_plane);
    tasks.supervisor.spawn(pods, "pods", |stop| async move {
        stop.cancelled().await;
        end_pods(&ending).await;
        Ok::<(), Infallible>(())
    });
    let running = daemon.control_plane.clone();
    let run = |stop: tombolo_telemetry::supervisor::Stop| async move {
        running.run(stop.cancelled_owned()).await;
        Ok::<(), Infallible>(())
    };
    tasks.supervisor.spawn(control_plane, "control plane", run);
    for (cluster, kubelet) in daemon.clusters.iter().zip(&daemon.kubelets) {
        tasks.spawn("workloads", cluster.clone().run());
        tasks.spawn("pod workers", kubelet.clone().run());
    }
    tasks.spawn("network", daemon.network.clone().run());
    tasks.spawn("load balancers", daemon.load_balancers.clone().run());
    let at = SocketAddr::from((dns, DNS_PORT));
    let what = || format!("cluster DNS at {at}");
    let udp = tokio::net::UdpSocket::bind(at).await.opening(what)?;
    let tcp = tokio::net::TcpListener::bind(at).await.opening(what)?;
    let forward = Forwarder::new(vec![SocketAddr::from((CONTROL_ADDRESS, DNS_PORT))]);
    let dns_server = tombolo_dns::Server::new(vec![zones], Some(forward)).as_resolver();
    tasks.try_spawn("cluster DNS", async move {
        dns_server.serve(udp, tcp, std::future::pending()).await
    });
    let socket = |name: &str| {
        let path = run_dir.join(name);
        let host = daemon.host.clone();
        async move {
            let listener = host.listen_unix(&path).await;
            let listener = listener.and_then(tokio::net::UnixListener::from_std);
            listener.opening(|| path.display().to_string())
        }
    };
    let exec = socket(run_dir::EXEC).await?;
    tasks.spawn("exec", exec_and_logs::serve_exec(exec, daemon.clone()));
    let control = socket(run_dir::CONTROL).await?;
    tasks.try_spawn("control socket", server::serve(control, daemon.clone()));
    Ok(())
}

async fn sockets(host: &HostLink, api: SocketAddr) -> Result<Sockets, RunError> {
    let on_host = host.listen_tcp(api).await;
    let on_host = on_host.opening(|| format!("the API cannot listen at {api}"))?;
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

fn server_arguments(options: &Options, data_dir: &Path) -> Vec<String> {
    let data_dir = data_dir.display().to_string();
    let fixed = [
        "--data-dir",
        &data_dir,
        "--account",
        &options.account,
        "--region",
        &options.region,
    ];
    let further = options.server_args.iter().cloned();
    fixed
        .map(str::to_owned)
        .into_iter()
        .chain(further)
        .collect()
}

/// Applies the manifests of each cluster. They passed the preflight's dry run, so they are not refused.
fn apply_manifests(daemon: &Daemon, options: &Options) -> Result<(), RunError> {
    for (cluster, source) in daemon.clusters.iter().zip(&options.clusters) {
        preflight::create_default_namespaces(cluster);
        let read = source.read()?;
        let count = server::apply_to(cluster, read, false)
            .map_err(Errors::from)?
            .len();
        let message = format!("{}: {count} objects", cluster.name);
        daemon.progress.send(Event::Step { message });
    }
    Ok(())
}
