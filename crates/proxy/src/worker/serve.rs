//! Speaking HTTP with one client, until it or we have had enough.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Worker;
use crate::config::http_manager::{Codec, HttpManager};
use crate::config::listener::Chain;
use crate::executor::LocalExecutor;
use crate::http::inbound::Inbound;
use crate::http::{Session, handle};
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
    if http2 {
        speak_http2(&session, stream).await
    } else {
        http1::serve(&session, stream).await
    };
    worker.deregister(id);
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
}

async fn speak_http2(session: &Rc<Session>, stream: TcpStream) {
    let manager = &session.manager;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .max_header_list_size(u32::try_from(manager.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(manager.max_concurrent_streams);
    let owned = session.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = handle(owned.clone(), request.map(Inbound::Http2));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut told = false;
    let ended = std::future::poll_fn(|cx| {
        if !told && session.is_asked_to_close(cx) {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    note(session, ended);
}

fn note(session: &Session, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        if error.is_parse() {
            session.stats.downstream_cx_protocol_error.inc();
        } else if error.is_incomplete_message() {
            session.stats.downstream_rq_rx_reset.inc();
        }
        tracing::debug!(remote = %session.remote, %error, "client connection ended");
    }
}
