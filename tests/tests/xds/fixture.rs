//! A control plane in this process, and sidecars in network namespaces of their own.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tombolo_linux::{
    fabric::{Fabric, PodNet},
    netns::Netns,
};
use tombolo_model::{Scope, appmesh::ResourceKey, arn};
use tombolo_plan::{AppMesh, Publisher};
use tombolo_store::Store;
use tombolo_tests::{ACCOUNT, Program, ProxyKind, REGION, mesh::Mesh, need};
use tombolo_xds::{
    ConnectedProxies, Node, Server, Status,
    server::{Peer, Snapshots, Source},
};

const DEADLINE: Duration = Duration::from_secs(60);
/// Address of xDS in each sidecar's namespace.
const XDS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 18000);

pub(crate) fn runtime() -> Option<Runtime> {
    if !rustix::process::geteuid().is_root() {
        tombolo_need::skip("network namespaces need root here");
        return None;
    }
    Some(Runtime::new().expect("threads can be started"))
}

/// Forwards the publisher's snapshots, and records them as the expected state of each sidecar.
#[derive(Clone)]
struct Observed {
    publisher: Publisher,
    given: Arc<Mutex<HashMap<String, Snapshots>>>,
}

impl Source for Observed {
    async fn subscribe(&self, node: &Node, peer: &Peer) -> Result<Snapshots, Status> {
        let receiver = self.publisher.subscribe(node, peer).await?;
        let pod = pod_of(node).to_owned();
        self.given.lock().insert(pod, receiver.clone());
        Ok(receiver)
    }
}

fn pod_of(node: &Node) -> &str {
    node.metadata_str("tombolo.io/pod").unwrap_or_default()
}

pub(crate) struct Fixture {
    pub(crate) mesh: Mesh,
    scope: Scope,
    store: Store,
    source: Observed,
    binary: PathBuf,
    envoy: PathBuf,
    directory: TempDir,
    /// A namespace with the veth pairs of all pods.
    outside: Netns,
    fabric: Fabric,
    sidecars: BTreeMap<String, Sidecar>,
}

struct Sidecar {
    program: Program,
    address: Ipv4Addr,
    /// The state of its own xDS server: a server listens in one namespace.
    registry: ConnectedProxies,
    /// Keeps the namespace open.
    _pod: PodNet,
}

impl Fixture {
    pub(crate) async fn new() -> Option<Self> {
        let (binary, envoy) = (need("TOMBOLO_BIN")?, need("TOMBOLO_ENVOY")?);
        let scope = Scope::new(ACCOUNT, REGION);
        let store = Store::memory();
        let publisher = Publisher::new(store.clone(), scope.clone(), AppMesh);
        let follow = publisher.clone();
        tokio::spawn(async move { follow.run().await });
        let source = Observed {
            publisher,
            given: Arc::default(),
        };
        let outside = Netns::new().expect("root makes namespaces");
        let fabric = outside
            .run(Fabric::new)
            .expect("a namespace is entered")
            .expect("a fabric");
        Some(Self {
            mesh: Mesh::new(store.clone(), scope.clone()),
            scope,
            store,
            source,
            binary,
            envoy,
            directory: tempfile::tempdir().expect("a directory"),
            outside,
            fabric,
            sidecars: BTreeMap::new(),
        })
    }

    pub(crate) fn sidecars(&self) -> usize {
        self.sidecars.len()
    }

    /// The name, the address and the process of each sidecar.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&str, Ipv4Addr, u32)> {
        let sidecars = self.sidecars.iter();
        sidecars.map(|(pod, sidecar)| (pod.as_str(), sidecar.address, sidecar.program.id()))
    }

    /// Runs a function in the namespace that reaches all pods.
    pub(crate) fn outside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.outside.run(run).expect("a namespace is entered")
    }

    /// Starts a proxy of each kind for each virtual node and virtual gateway without one.
    pub(crate) async fn start_missing_sidecars(&mut self) {
        for workload in self.mesh.workloads() {
            for kind in ProxyKind::ALL {
                let pod = format!("{}-{}-{kind:?}", workload.kind, workload.name).to_lowercase();
                if !self.sidecars.contains_key(&pod) {
                    let sidecar = self.start(&workload, kind, &pod);
                    self.sidecars.insert(pod, sidecar);
                }
            }
        }
    }

    fn start(&self, workload: &ResourceKey, kind: ProxyKind, pod: &str) -> Sidecar {
        let number = u8::try_from(self.sidecars.len() + 2).expect("few sidecars");
        let address = Ipv4Addr::new(10, 77, 0, number);
        let net = self
            .outside
            .run(|| self.fabric.add_pod(&format!("p{number}"), address));
        let net = net.expect("a namespace is entered").expect("a pod");
        let listener = net
            .netns
            .run(|| TcpListener::bind(XDS))
            .expect("a namespace is entered");
        let listener = listener.expect("the namespace is new");
        listener
            .set_nonblocking(true)
            .expect("sockets can be nonblocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let server = Server::new(self.source.clone(), Default::default());
        let registry = server.proxies();
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });

        let state = self.directory.path().join(pod);
        std::fs::create_dir(&state).expect("a directory");
        let mut command = Command::new(&self.binary);
        command
            .arg(match kind {
                ProxyKind::Tombolo => "proxy",
                ProxyKind::Envoy => "envoy",
            })
            .env(
                "APPMESH_RESOURCE_ARN",
                arn::of_resource(&self.scope, workload),
            )
            .env("APPMESH_XDS_ENDPOINT", format!("{}:{}", XDS.0, XDS.1))
            .env("ENVOY_LOG_LEVEL", "warning")
            .env("TOMBOLO_POD", pod)
            .env("TOMBOLO_STATE_DIR", &state)
            .env("TOMBOLO_PROXY_WORKERS", "1")
            .env("TOMBOLO_ENVOY", &self.envoy);
        net.netns.attach(&mut command);
        let log = self.directory.path().join(format!("{pod}.log"));
        Sidecar {
            program: Program::start(&mut command, &log),
            address,
            registry,
            _pod: net,
        }
    }

    /// Waits until every sidecar has accepted or rejected the whole expected state; the rejections.
    pub(crate) async fn rejections(&mut self, place: &str) -> Vec<String> {
        let revision = self.store.view().revision;
        let mut processed = self.source.publisher.processed();
        let compiled = processed.wait_for(|processed| *processed >= revision);
        let compiled = tokio::time::timeout(DEADLINE, compiled).await;
        compiled
            .expect("changes are compiled in time")
            .expect("the publisher runs");
        let start = tokio::time::Instant::now();
        loop {
            let (missing, rejections) = self.look(place);
            if missing.is_empty() {
                return rejections;
            }
            if start.elapsed() > DEADLINE {
                let logs: Vec<String> = missing
                    .iter()
                    .map(|pod| self.sidecars[pod].program.log())
                    .collect();
                panic!("{place}: not accepted in time by {missing:?}: {logs:#?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The sidecars with pending answers, and the rejections of the others.
    ///
    /// # Panics
    ///
    /// When a sidecar has ended.
    fn look(&mut self, place: &str) -> (Vec<String>, Vec<String>) {
        let given = self.source.given.lock();
        let (mut missing, mut rejections) = (Vec::new(), Vec::new());
        for (pod, sidecar) in &mut self.sidecars {
            if let Some(status) = sidecar.program.ended() {
                panic!(
                    "{place}: {pod} ended with {status}: {}",
                    sidecar.program.log()
                );
            }
            let proxies = sidecar.registry.proxies();
            let proxy = proxies.iter().find(|proxy| proxy.connected);
            let (Some(proxy), Some(snapshot)) = (proxy, given.get(pod)) else {
                missing.push(pod.clone());
                continue;
            };
            let nacks = proxy
                .kinds
                .iter()
                .filter_map(|(kind, progress)| Some((kind, progress.nack.as_ref()?)));
            let before = rejections.len();
            rejections.extend(nacks.map(|(kind, nack)| {
                format!("{place}: {pod}: {kind} {:?}: {}", nack.names, nack.reason)
            }));
            if rejections.len() == before && proxy.revision_acked < snapshot.borrow().revision() {
                missing.push(pod.clone());
            }
        }
        (missing, rejections)
    }
}
