//! Serves the connections of HTTP filter chains.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::Worker;
use crate::config::http_connection_manager::{Codec, HttpConnectionManager};
use crate::config::listener::Chain;
use crate::http::{Session, http2};
use crate::http1;
use crate::metrics::GaugeGuard;
use crate::protocol_detection;
use crate::tcp_proxy::ConnectionAddresses;

/// Deadline for the rest of an HTTP/2 preface once it has begun.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a connection of an HTTP filter chain. `first` are bytes already read from it.
pub(super) async fn serve_http(
    worker: &Rc<Worker>,
    chain: &Arc<Chain>,
    manager: &Arc<HttpConnectionManager>,
    mut stream: TcpStream,
    mut first: BytesMut,
    addresses: ConnectionAddresses,
) {
    let stats = worker.http_stats(&manager.stat_prefix);
    stats.downstream_cx_total.inc();
    let _active = GaugeGuard::new(&stats, |stats| &stats.downstream_cx_active)
        .with_end(|stats| &stats.downstream_cx_destroy);
    let session = |http2| Session::new(worker, chain, manager, &stats, addresses, http2);
    // Registered before the first byte arrives, so that idle timeout and drain apply to a client that sends nothing.
    let waiting = session(false);
    let registered = worker.register(&waiting);
    let http2 = match manager.codec {
        Codec::Http1 => false,
        Codec::Auto | Codec::Http2 => match preface(&waiting, &mut stream, &mut first).await {
            Preface::Http2 => true,
            Preface::None if manager.codec == Codec::Http2 => {
                stats.downstream_cx_protocol_error.inc();
                return;
            }
            Preface::None => false,
            Preface::Closed => return,
        },
    };
    if !http2 {
        stats.downstream_cx_http1_total.inc();
        return http1::serve(&waiting, stream, first).await;
    }
    stats.downstream_cx_http2_total.inc();
    let session = session(true);
    drop(registered);
    let _registered = worker.register(&session);
    http2::serve(&session, stream, first).await;
}

/// The start of a connection.
enum Preface {
    /// A complete HTTP/2 preface.
    Http2,
    /// Other bytes, or an incomplete preface. The HTTP/1 codec answers bytes that are not a request.
    None,
    /// No byte: the connection ended or the session was asked to close.
    Closed,
}

/// Reads until the protocol is decided. The session's idle timeout applies to a client that sends nothing. Envoy
/// takes a preface in two pieces for HTTP/1; here the second piece has [`PREFACE_TIMEOUT`].
async fn preface(session: &Session, stream: &mut TcpStream, first: &mut BytesMut) -> Preface {
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        loop {
            match protocol_detection::is_http2(first) {
                Some(true) => return Poll::Ready(Preface::Http2),
                Some(false) => return Poll::Ready(Preface::None),
                None if session.is_asked_to_close(cx) => return Poll::Ready(Preface::Closed),
                None => {}
            }
            protocol_detection::reserve(first);
            match pin!(stream.read_buf(first)).poll(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) if first.is_empty() => return Poll::Ready(Preface::Closed),
                Poll::Ready(_) => return Poll::Ready(Preface::None),
                Poll::Pending if first.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    let timer =
                        timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(PREFACE_TIMEOUT)));
                    return timer.as_mut().poll(cx).map(|()| Preface::None);
                }
            }
        }
    })
    .await
}
