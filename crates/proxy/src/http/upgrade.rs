//! WebSocket: once both ends have switched protocols, bytes pass through untouched.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::Session;
use super::relay::Terms;
use crate::tcp;
use crate::upstream::pool::Lease;

/// Joins the two connections in a task of its own, which lives until either end closes or both fall silent.
pub(super) fn tunnel(
    session: Rc<Session>,
    client: OnUpgrade,
    server: OnUpgrade,
    lease: Lease,
    terms: Terms,
) {
    session.stats.downstream_cx_upgrades_total.inc();
    session.stats.downstream_cx_upgrades_active.inc();
    tokio::task::spawn_local(async move {
        if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let ended = tcp::join(&mut client, &mut server, terms.idle, None).await;
            tracing::debug!(?ended, "upgraded connection closed");
        }
        session.stats.downstream_cx_upgrades_active.dec();
        drop((lease, terms));
    });
}
