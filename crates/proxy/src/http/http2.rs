//! The server side of an HTTP/2 connection.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::deadline_timer::DeadlineTimer;
use super::received_body::{
    CONNECTION_WINDOW, IncomingBody, SEND_BUFFER, STREAM_WINDOW, http2_header_list,
};
use super::{Session, handle};
use crate::protocol_detection::rewind;

/// Time that a client without requests has to close the connection after a GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves a client until it, the session or an error ends the connection. `input` are bytes already read from the
/// stream.
pub(crate) async fn serve(session: &Rc<Session>, stream: TcpStream, input: BytesMut) {
    let manager = &session.manager;
    let mut builder = http2::Builder::new(Streams);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(http2_header_list(manager.max_header_bytes))
        .max_concurrent_streams(
            manager
                .max_concurrent_streams
                .min(session.worker.streams_per_connection()),
        );
    if let Some(keepalive) = manager.http2_keepalive {
        builder
            .keep_alive_interval(keepalive.interval)
            .keep_alive_timeout(keepalive.timeout);
    }
    let owned = session.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = handle(owned.clone(), request.map(IncomingBody::Http2));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let stream = TokioIo::new(rewind(stream, input));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let timer = &session.timer;
    let mut deadline: Option<Instant> = None;
    let ended = std::future::poll_fn(|cx| {
        if deadline.is_none() && session.is_asked_to_close(cx) {
            deadline = Some(Instant::now() + GOAWAY_TIMEOUT);
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(cx);
        while polled.is_pending()
            && let Some(at) = deadline
            && timer.poll(at, cx).is_ready()
        {
            if session.in_flight.get() == 0 {
                return Poll::Ready(Ok(()));
            }
            deadline = Some(Instant::now() + GOAWAY_TIMEOUT);
        }
        polled
    })
    .await;
    if let Err(error) = ended {
        if error.is_parse() {
            session.stats.downstream_cx_protocol_error.inc();
        } else if error.is_incomplete_message() {
            session.stats.downstream_rq_rx_reset.inc();
        }
        tracing::debug!(remote = %session.addresses.remote, %error, "client connection ended");
    }
}

/// State that the task of one stream shares with its request.
#[derive(Default)]
pub(crate) struct Stream {
    /// The request's timer.
    pub(super) timer: DeadlineTimer,
    /// Time at which the stream is reset if the client reads no more of the response; `None` while the proxy has
    /// nothing to write.
    write_deadline: Cell<Option<Instant>>,
}

thread_local! {
    /// The stream of the running task.
    static CURRENT: RefCell<Option<Rc<Stream>>> = const { RefCell::new(None) };
}

impl Stream {
    /// The stream of the current task; a new one outside of such tasks.
    pub(super) fn current() -> Rc<Self> {
        CURRENT.with_borrow(|current| current.clone().unwrap_or_default())
    }

    /// Sets the deadline for the client to read the head, or a frame, of the response.
    pub(super) fn set_write_deadline(&self, until: Option<Instant>) {
        self.write_deadline.set(until);
    }

    /// Clears the deadline: the client reads the response again.
    pub(super) fn clear_write_deadline(&self) {
        self.write_deadline.set(None);
    }
}

/// Runs the tasks of a connection's streams on this thread. A stream whose client does not read its response is reset
/// here, because hyper does not poll the body while it waits for the client's window.
#[derive(Clone, Copy)]
struct Streams;

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let stream = Rc::new(Stream::default());
        tokio::task::spawn_local(async move {
            let mut future = pin!(future);
            std::future::poll_fn(|cx| {
                let outer = CURRENT.replace(Some(stream.clone()));
                let polled = future.as_mut().poll(cx);
                CURRENT.replace(outer);
                match stream.write_deadline.get() {
                    Some(at) if polled.is_pending() => stream.timer.poll(at, cx),
                    _ => polled,
                }
            })
            .await;
        });
    }
}
