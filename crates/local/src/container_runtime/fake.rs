//! A container runtime without processes: tests decide when they end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tombolo_linux::container::{self, ContainerSpec, ExecSpec};
use tombolo_linux::fabric::{FabricRules, Refusal};
use tombolo_linux::{Error, Result};

use super::{ContainerRuntime, PodSandbox, Process};

/// Pods and processes that exist only as records.
#[derive(Clone, Default)]
pub(crate) struct FakeRuntime(Arc<State>);

#[derive(Default)]
struct State {
    sandboxes: Mutex<BTreeMap<Ipv4Addr, String>>,
    processes: Mutex<Vec<Arc<FakeProcess>>>,
    next: AtomicU32,
    rules: Mutex<FabricRules>,
    refusals: Mutex<Vec<Refusal>>,
    /// Number of starts that are going to panic.
    panics: AtomicU32,
}

impl FakeRuntime {
    /// A running process with its sandbox.
    pub(crate) async fn running(&self, name: &str) -> (Arc<dyn PodSandbox>, Arc<dyn Process>) {
        let sandbox = self.create_sandbox(name, Ipv4Addr::LOCALHOST).unwrap();
        let process = sandbox.start(ContainerSpec::default()).await.unwrap();
        (sandbox, process)
    }

    /// Processes that have not ended.
    pub(crate) fn alive(&self) -> Vec<Arc<FakeProcess>> {
        let mut processes = self.0.processes.lock().clone();
        processes.retain(|process| process.exit.borrow().is_none());
        processes
    }

    /// The rules that were applied last.
    pub(crate) fn rules(&self) -> FabricRules {
        self.0.rules.lock().clone()
    }

    /// Makes the next `count` starts panic.
    pub(crate) fn panic_at_starts(&self, count: u32) {
        self.0.panics.store(count, Ordering::Relaxed);
    }

    /// Adds refusals to those that the network reports.
    pub(crate) fn refuse(&self, refusals: Vec<Refusal>) {
        *self.0.refusals.lock() = refusals;
    }

    /// Names and addresses of the pods that have a sandbox.
    pub(crate) fn sandboxes(&self) -> BTreeMap<Ipv4Addr, String> {
        self.0.sandboxes.lock().clone()
    }
}

impl ContainerRuntime for FakeRuntime {
    fn create_sandbox(&self, name: &str, address: Ipv4Addr) -> Result<Arc<dyn PodSandbox>> {
        let old = self.0.sandboxes.lock().insert(address, name.to_owned());
        let is_free = old.is_none() || address.is_loopback();
        assert!(is_free, "{address} is in use by {old:?}");
        Ok(Arc::new(FakeSandbox {
            state: self.0.clone(),
            address,
        }))
    }

    fn apply_rules(&self, rules: &FabricRules) -> Result<()> {
        *self.0.rules.lock() = rules.clone();
        Ok(())
    }

    fn refusals(&self) -> Result<Vec<Refusal>> {
        Ok(self.0.refusals.lock().clone())
    }
}

struct FakeSandbox {
    state: Arc<State>,
    address: Ipv4Addr,
}

impl PodSandbox for FakeSandbox {
    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Arc<dyn Process>>> {
        let panics = &self.state.panics;
        let panics = panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        assert!(panics.is_err(), "the test wants it");
        let process = Arc::new(FakeProcess {
            id: self.state.next.fetch_add(1, Ordering::Relaxed) + 2,
            pod: spec.hostname.unwrap_or_default(),
            argv: spec.argv,
            exit: watch::channel(None).0,
        });
        self.state.processes.lock().push(process.clone());
        async move { Ok(process as Arc<dyn Process>) }.boxed()
    }

    fn connect(&self, address: SocketAddrV4) -> BoxFuture<'_, io::Result<TcpStream>> {
        TcpStream::connect(address).boxed()
    }

    fn remove(&self) {
        self.state.sandboxes.lock().remove(&self.address);
    }
}

/// A process that ends when a test says so.
pub(crate) struct FakeProcess {
    id: u32,
    /// Host name, which is the name of the pod.
    pub(crate) pod: String,
    pub(crate) argv: Vec<OsString>,
    exit: watch::Sender<Option<i32>>,
}

impl FakeProcess {
    /// Ends it.
    pub(crate) fn end(&self, code: i32) {
        self.exit
            .send_if_modified(|exit| exit.is_none() && exit.replace(code).is_none());
    }
}

impl Process for FakeProcess {
    fn id(&self) -> u32 {
        self.id
    }

    fn terminate(&self) {
        self.end(143);
    }

    fn kill(&self) {
        self.end(137);
    }

    fn wait(&self) -> BoxFuture<'_, i32> {
        let mut exit = self.exit.subscribe();
        async move {
            let code = exit.wait_for(Option::is_some).await;
            code.map_or(137, |code| code.unwrap_or(137))
        }
        .boxed()
    }

    fn exec(&self, _: ExecSpec) -> BoxFuture<'_, Result<container::Process>> {
        let cause = io::ErrorKind::NotFound;
        async move { Err(Error::new("execute in a fake process", cause)) }.boxed()
    }
}
