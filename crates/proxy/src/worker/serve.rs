//! Speaking HTTP with one client, until it or we have had enough.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::Worker;
use crate::config::http_manager::{Codec, HttpManager};
use crate::config::listener::Chain;
use crate::http::{Session, http2};
use crate::http1;
use crate::inspect;
use crate::tcp::Ends;

pub(super) async fn http(
    worker: &Rc<Worker>,
    chain: &Arc<Chain>,
    manager: &Arc<HttpManager>,
    stream: TcpStream,
    ends: Ends,
) {
    let http2 = match manager.codec {
        Codec::Http1 => false,
        Codec::Http2 => true,
        Codec::Auto => match inspect::is_http2(&stream).await {
            Ok(http2) => http2,
            Err(_) => return,
        },
    };
    let stats = worker.http_stats(&manager.stat_prefix);
    stats.downstream_cx_total.inc();
    stats.downstream_cx_active.inc();
    if http2 {
        stats.downstream_cx_http2_total.inc();
    } else {
        stats.downstream_cx_http1_total.inc();
    }
    let session = Session::new(
        worker.clone(),
        chain.clone(),
        manager.clone(),
        stats.clone(),
        ends.remote,
        ends.local,
        ends.dialled,
        http2,
    );
    let id = worker.register(&session);
    let input = BytesMut::new();
    if http2 {
        http2::serve(&session, stream, input).await
    } else {
        http1::serve(&session, stream, input).await
    };
    worker.deregister(id);
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
}
