//! WebSocket: once both ends have switched protocols, bytes pass through untouched.

use std::rc::Rc;

use super::Session;
use super::relay::Terms;
use crate::http1::Wire;
use crate::metrics::GaugeGuard;
use crate::tcp;
use crate::upstream::pool::Lease;

/// Two connections to be joined once the client has read that protocols are switched.
pub(crate) struct Tunnel {
    session: Rc<Session>,
    server: Wire,
    lease: Lease,
    terms: Terms,
}

impl Tunnel {
    /// `None` when the upstream's connection is not there any more.
    pub(super) fn new(session: &Rc<Session>, lease: Lease, terms: Terms) -> Option<Box<Self>> {
        let server = lease.take_wire()?;
        Some(Box::new(Self {
            session: session.clone(),
            server,
            lease,
            terms,
        }))
    }

    /// Joins the two until either end closes, both fall silent or the proxy goes away. The client's connection stays
    /// counted meanwhile.
    pub(crate) async fn run(self: Box<Self>, client: Wire) {
        let Self {
            session,
            server,
            lease: _lease,
            terms,
        } = *self;
        session.stats.downstream_cx_upgrades_total.inc();
        let _active = GaugeGuard::new(&session.stats, |stats| &stats.downstream_cx_upgrades_active);
        let (mut client, mut server) = (client.into_stream(), server.into_stream());
        let stop = session.worker.closed();
        let idle = terms.deadlines.idle;
        let (ended, _) = tcp::join(&mut client, &mut server, idle, stop).await;
        tracing::debug!(?ended, "upgraded connection closed");
    }
}
