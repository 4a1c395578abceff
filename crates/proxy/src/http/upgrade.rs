//! WebSocket: after both ends have switched protocols, bytes are copied unchanged.

use std::rc::Rc;

use super::Session;
use super::response_body::ResponseContext;
use crate::http1::BufferedStream;
use crate::metrics::GaugeGuard;
use crate::tcp_proxy;
use crate::upstream::connection_pool::{ConnectionGuard, PooledConnection};

/// Two connections that are joined after the client has received the switching response.
pub(crate) struct Tunnel {
    session: Rc<Session>,
    server: BufferedStream,
    /// Guards that count the connection as open and its request as active.
    _counted: (ConnectionGuard, PooledConnection),
    context: ResponseContext,
}

impl Tunnel {
    /// `None` when the upstream's connection is closed already.
    pub(super) fn new(
        session: &Rc<Session>,
        mut pooled: PooledConnection,
        context: ResponseContext,
    ) -> Option<Box<Self>> {
        let (server, guard) = pooled.take_stream()?;
        Some(Box::new(Self {
            session: session.clone(),
            server,
            _counted: (guard, pooled),
            context,
        }))
    }

    /// Copies both ways until an end closes, both are idle or the proxy closes. The client's connection stays counted
    /// meanwhile.
    pub(crate) async fn run(self: Box<Self>, client: BufferedStream) {
        let Self {
            session,
            server,
            _counted,
            context,
        } = *self;
        session.stats.downstream_cx_upgrades_total.inc();
        let _active = GaugeGuard::new(&session.stats, |stats| &stats.downstream_cx_upgrades_active);
        let (mut client, mut server) = (client.into_stream(), server.into_stream());
        let stop = session.worker.closed();
        let idle = context.deadlines.idle;
        let (ended, _) = tcp_proxy::join(&mut client, &mut server, idle, stop).await;
        tracing::debug!(?ended, "upgraded connection closed");
    }
}
