//! One client connection, as its requests use it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use super::deadline_timer::DeadlineTimer;
use crate::config::http_connection_manager::{HttpConnectionManager, Routes};
use crate::config::listener::Chain;
use crate::config::route::RouteTable;
use crate::generation::LocalArc;
use crate::metrics::HttpStats;
use crate::tcp_proxy::ConnectionAddresses;
use crate::worker::Worker;

/// Shared by the requests of one connection. Not sent between threads.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) manager: Arc<HttpConnectionManager>,
    pub(crate) stats: Arc<HttpStats>,
    pub(crate) addresses: ConnectionAddresses,
    pub(crate) http2: bool,
    /// Timer of the current request and of the wait for the next one; HTTP/2 streams have one each.
    pub(crate) timer: DeadlineTimer,
    routes: RefCell<(u64, Option<LocalArc<RouteTable>>)>,
    pub(crate) in_flight: Cell<u32>,
    served: Cell<u32>,
    /// Time at which the last request began or ended.
    pub(crate) active: Cell<Instant>,
    pub(crate) opened: Instant,
    /// Whether no further requests are read.
    pub(crate) closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Session {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        chain: &Arc<Chain>,
        manager: &Arc<HttpConnectionManager>,
        stats: &Arc<HttpStats>,
        addresses: ConnectionAddresses,
        http2: bool,
    ) -> Rc<Self> {
        let inline = match &manager.routes {
            Routes::Inline(table) => Some(LocalArc::new(table.clone())),
            Routes::Named(_) => None,
        };
        let now = Instant::now();
        Rc::new(Self {
            worker: worker.clone(),
            chain: chain.clone(),
            manager: manager.clone(),
            stats: stats.clone(),
            addresses,
            http2,
            timer: DeadlineTimer::default(),
            routes: RefCell::new((0, inline)),
            in_flight: Cell::new(0),
            served: Cell::new(0),
            active: Cell::new(now),
            opened: now,
            closing: Cell::new(false),
            waker: RefCell::default(),
        })
    }

    /// The current route table, looked up again only when the configuration has changed.
    pub(super) fn routes(&self) -> Option<LocalArc<RouteTable>> {
        let Routes::Named(name) = &self.manager.routes else {
            return self.routes.borrow().1.clone();
        };
        let local = self.worker.local();
        let mut cached = self.routes.borrow_mut();
        if cached.0 != local.number {
            *cached = (local.number, local.routes.get(name).cloned());
        }
        cached.1.clone()
    }

    /// Whether the current response is the last one of the connection.
    pub(super) fn should_close(&self) -> bool {
        self.closing.get()
            || self.worker.is_draining()
            || self.chain.is_retired()
            || self
                .manager
                .max_requests_per_connection
                .is_some_and(|limit| self.served.get() >= limit)
    }

    /// Whether the connection must accept no further requests. If not yet, the task is woken when that changes.
    pub(crate) fn is_asked_to_close(&self, cx: &Context<'_>) -> bool {
        if self.closing.get() {
            return true;
        }
        let mut waker = self.waker.borrow_mut();
        let known = waker.get_or_insert_with(|| cx.waker().clone());
        known.clone_from(cx.waker());
        false
    }

    /// Ends the connection after its current requests.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Counts a request as active until dropped.
pub(crate) struct InFlight(Rc<Session>);

impl InFlight {
    pub(super) fn begin(session: &Rc<Session>, now: Instant) -> Self {
        session.in_flight.set(session.in_flight.get() + 1);
        session.served.set(session.served.get() + 1);
        session.active.set(now);
        let stats = &session.stats;
        stats.downstream_rq_total.inc();
        stats.rq_total.inc();
        stats.downstream_rq_active.inc();
        if session.http2 {
            stats.downstream_rq_http2_total.inc();
        } else {
            stats.downstream_rq_http1_total.inc();
        }
        Self(session.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let session = &self.0;
        session.in_flight.set(session.in_flight.get() - 1);
        session.stats.downstream_rq_active.dec();
    }
}
