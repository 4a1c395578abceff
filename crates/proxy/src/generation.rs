//! One complete state of the proxy: compiled resources, resolved endpoints and open sockets, handed to all workers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use tombolo_telemetry::listen::{self, ListenOptions};

use crate::cluster_runtime::ClusterRuntime;
use crate::config::Config;
use crate::config::listener::Listener;

#[derive(Default)]
pub(crate) struct Generation {
    /// Incremented with each generation; starts at 1.
    pub(crate) number: u64,
    pub(crate) config: Arc<Config>,
    pub(crate) clusters: BTreeMap<Arc<str>, Arc<ClusterRuntime>>,
    pub(crate) listeners: Vec<Arc<BoundListener>>,
}

/// A part of a generation behind a thread-local reference count. Requests clone and drop it without touching the
/// count that all workers share, whose cache line would move between cores.
#[allow(clippy::redundant_allocation, reason = "two counts are the purpose")]
pub(crate) type LocalArc<T> = Rc<Arc<T>>;

/// A listener with its bound sockets.
pub(crate) struct BoundListener {
    pub(crate) listener: Arc<Listener>,
    pub(crate) socket: Arc<Sockets>,
}

/// One socket per worker on one address. The kernel spreads connections over them.
pub(crate) struct Sockets {
    /// The bound address: port 0 is replaced by the actual port.
    pub(crate) address: SocketAddr,
    /// Each worker takes its own socket once.
    sockets: Vec<Mutex<Option<TcpListener>>>,
}

impl Sockets {
    /// Binds before the listener is adopted, so that an address in use rejects it instead of silently serving
    /// nothing.
    pub(crate) fn bind(listener: &Listener, workers: usize) -> io::Result<Self> {
        let mut address = listener.address;
        let options = ListenOptions {
            backlog: listener.backlog,
            reuse_port: true,
        };
        let mut sockets = Vec::with_capacity(workers);
        for _ in 0..workers.max(1) {
            let socket = listen::tcp_with(address, &options)?;
            socket.set_nonblocking(true)?;
            address = socket.local_addr()?;
            sockets.push(Mutex::new(Some(socket)));
        }
        Ok(Self { address, sockets })
    }

    pub(crate) fn take(&self, worker: usize) -> Option<TcpListener> {
        let mut slot = self.sockets.get(worker)?.lock();
        slot.take()
    }
}

/// Sockets by configured address, so that a changed listener keeps its sockets.
#[derive(Default)]
pub(crate) struct SocketTable(HashMap<BindAddress, Arc<Sockets>>);

/// A configured address. Port 0 is any free port, a different one for each listener.
#[derive(PartialEq, Eq, Hash)]
struct BindAddress(SocketAddr, Option<Arc<str>>);

impl BindAddress {
    fn of(listener: &Listener) -> Self {
        Self(
            listener.address,
            (listener.address.port() == 0).then(|| listener.name.clone()),
        )
    }
}

impl SocketTable {
    /// The sockets of a listener, bound on first use.
    pub(crate) fn get(&mut self, listener: &Listener, workers: usize) -> io::Result<Arc<Sockets>> {
        let address = BindAddress::of(listener);
        if let Some(known) = self.0.get(&address) {
            return Ok(known.clone());
        }
        let bound = Arc::new(Sockets::bind(listener, workers)?);
        self.0.insert(address, bound.clone());
        Ok(bound)
    }

    /// Closes the sockets of addresses that none of these listeners uses.
    pub(crate) fn retain<'a>(&mut self, used: impl Iterator<Item = &'a Listener>) {
        let used: HashSet<BindAddress> = used.map(BindAddress::of).collect();
        self.0.retain(|address, _| used.contains(address));
    }
}
