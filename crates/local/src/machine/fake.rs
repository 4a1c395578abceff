//! A machine without processes: tests decide when they end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tombolo_linux::fabric::{FabricRules, Refusal};

use super::{ExecSpec, Executed, Machine, Place, Process, ProcessSpec, StartError};

/// Pods and processes that exist only as records.
#[derive(Clone, Default)]
pub(crate) struct FakeMachine(Arc<State>);

#[derive(Default)]
struct State {
    places: Mutex<BTreeMap<Ipv4Addr, String>>,
    processes: Mutex<Vec<Arc<FakeProcess>>>,
    next: AtomicU32,
    rules: Mutex<FabricRules>,
    refusals: Mutex<Vec<Refusal>>,
    /// Starts that panic.
    panics: AtomicU32,
}

impl FakeMachine {
    /// A running process with its place.
    pub(crate) async fn running(&self, name: &str) -> (Arc<dyn Place>, Arc<dyn Process>) {
        let place = self.open(name, Ipv4Addr::LOCALHOST).unwrap();
        let process = place
            .start(ProcessSpec {
                hostname: name.to_owned(),
                ..ProcessSpec::default()
            })
            .await
            .unwrap();
        (place, process)
    }

    /// Processes that have not ended, with the name of their pod.
    pub(crate) fn alive(&self) -> Vec<Arc<FakeProcess>> {
        self.0
            .processes
            .lock()
            .unwrap()
            .iter()
            .filter(|process| process.exit.borrow().is_none())
            .cloned()
            .collect()
    }

    /// The rules applied last.
    pub(crate) fn rules(&self) -> FabricRules {
        self.0.rules.lock().unwrap().clone()
    }

    /// Makes so many starts panic.
    pub(crate) fn panic_at_starts(&self, count: u32) {
        self.0.panics.store(count, Ordering::Relaxed);
    }

    /// Makes the network count these as refused.
    pub(crate) fn refuse(&self, refusals: Vec<Refusal>) {
        *self.0.refusals.lock().unwrap() = refusals;
    }

    /// Names and addresses of the pods that have a place.
    pub(crate) fn places(&self) -> BTreeMap<Ipv4Addr, String> {
        self.0.places.lock().unwrap().clone()
    }
}

impl Machine for FakeMachine {
    fn open(&self, name: &str, address: Ipv4Addr) -> tombolo_linux::Result<Arc<dyn Place>> {
        let taken = self
            .0
            .places
            .lock()
            .unwrap()
            .insert(address, name.to_owned());
        assert!(
            taken.is_none() || address.is_loopback(),
            "{address} is in use by {taken:?}"
        );
        Ok(Arc::new(FakePlace {
            machine: self.0.clone(),
            address,
        }))
    }

    fn apply(&self, rules: &FabricRules) -> tombolo_linux::Result<()> {
        *self.0.rules.lock().unwrap() = rules.clone();
        Ok(())
    }

    fn refusals(&self) -> tombolo_linux::Result<Vec<Refusal>> {
        Ok(self.0.refusals.lock().unwrap().clone())
    }
}

struct FakePlace {
    machine: Arc<State>,
    address: Ipv4Addr,
}

impl Place for FakePlace {
    fn start(&self, spec: ProcessSpec) -> BoxFuture<'_, Result<Arc<dyn Process>, StartError>> {
        let panics = &self.machine.panics;
        let panics = panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        assert!(panics.is_err(), "the test wants it");
        let process = Arc::new(FakeProcess {
            id: self.machine.next.fetch_add(1, Ordering::Relaxed) + 2,
            pod: spec.hostname,
            argv: spec.argv,
            exit: watch::channel(None).0,
        });
        self.machine.processes.lock().unwrap().push(process.clone());
        async move { Ok(process as Arc<dyn Process>) }.boxed()
    }

    fn connect(&self, address: SocketAddrV4) -> BoxFuture<'_, std::io::Result<TcpStream>> {
        TcpStream::connect(address).boxed()
    }

    fn close(&self) {
        self.machine.places.lock().unwrap().remove(&self.address);
    }
}

/// A process that ends when told to.
pub(crate) struct FakeProcess {
    id: u32,
    /// Name of its pod.
    pub(crate) pod: String,
    /// What it was asked to run.
    pub(crate) argv: Vec<String>,
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
            exit.wait_for(Option::is_some)
                .await
                .map_or(137, |code| code.unwrap_or(137))
        }
        .boxed()
    }

    fn exec(&self, _: ExecSpec) -> BoxFuture<'_, Result<Arc<dyn Executed>, StartError>> {
        async move {
            Err(StartError {
                message: "nothing to execute in a fake process".to_owned(),
                code: 127,
            })
        }
        .boxed()
    }
}
