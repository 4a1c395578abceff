//! Speaking HTTP with one client, until it or we have had enough.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::Worker;
use crate::config::http_manager::{Codec, HttpManager};
use crate::config::listener::Chain;
use crate::executor::LocalExecutor;
use crate::http::{Session, handle};
use crate::inspect;
use crate::tcp::Ends;

/// What hyper's own limit is; setting it again would move its header table to the heap.
const USUAL_HEADER_COUNT: usize = 100;

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
        speak_http1(&session, stream).await
    };
    worker.deregister(id);
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
}

async fn speak_http1(session: &Rc<Session>, stream: TcpStream) {
    let manager = &session.manager;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(manager.max_header_bytes);
    if manager.max_header_count != USUAL_HEADER_COUNT {
        builder.max_headers(manager.max_header_count);
    }
    if let Some(timeout) = manager.request_headers_timeout {
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(timeout);
    }
    let owned = session.clone();
    let service = service_fn(move |request| handle(owned.clone(), request));
    let mut connection = pin!(
        builder
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let mut told = false;
    let ended = std::future::poll_fn(|cx| {
        if asked_to_close(session, &mut told, cx) {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    note(session, ended);
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
    let service = service_fn(move |request| handle(owned.clone(), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut told = false;
    let ended = std::future::poll_fn(|cx| {
        if asked_to_close(session, &mut told, cx) {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    note(session, ended);
}

/// True once, when the session was told to close; until then, makes sure that the telling wakes this task.
fn asked_to_close(session: &Session, told: &mut bool, cx: &Context<'_>) -> bool {
    if *told {
        return false;
    }
    if session.closing.get() {
        *told = true;
        return true;
    }
    let mut waker = session.waker.borrow_mut();
    if waker
        .as_ref()
        .is_none_or(|known| !known.will_wake(cx.waker()))
    {
        *waker = Some(cx.waker().clone());
    }
    false
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
