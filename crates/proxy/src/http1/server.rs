//! The server side of an HTTP/1 connection.

mod respond;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, StatusCode};
use tokio::net::TcpStream;

use super::body_decoder::{BodyDecodeError, Decoder};
use super::connection::Connection;
use super::encode::RequestMeta;
use super::framing::Framing;
use super::head::{self, Limits, ParseError, RequestHead};
use crate::config::http_connection_manager::HttpConnectionManager;
use crate::http::received_body::{IncomingBody, PollFrame};
use crate::http::{Session, handle};
use respond::NextState;

/// A client's connection, shared by its serving task and the body of its current request.
pub(crate) struct DownstreamConnection(RefCell<State>);

struct State {
    connection: Connection,
    /// Whether the client waits for `100 Continue`.
    expects: bool,
    /// The reason why the rest of the request's body cannot be read; [`BodyDecodeError::UnexpectedEof`] when the
    /// client has disconnected.
    error: Option<BodyDecodeError>,
}

/// The result of waiting for a request.
#[allow(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one"
)]
enum NextRequest {
    Request(RequestHead),
    ParseError(ParseError),
    /// The connection ended between requests.
    Closed,
    /// The connection ended within a head.
    UnexpectedEof,
    /// The head did not arrive in time; with the body of the response.
    TimedOut(&'static str),
}

/// Deadline for the rest of a head once the connection is asked to close.
const CLOSING_HEAD: Duration = Duration::from_secs(5);

/// The deadline of a head, and the text of the response when it is missed. As in Envoy, the timeout of idle streams
/// starts with the first byte of a request.
fn head_deadline(
    manager: &HttpConnectionManager,
    closing: bool,
) -> (Option<Duration>, &'static str) {
    let headers = manager.request_headers_timeout;
    let idle = manager.stream_idle_timeout;
    let (limit, text) = match (headers, idle) {
        (Some(headers), idle) if idle.is_none_or(|idle| headers <= idle) => {
            (Some(headers), "request header timeout")
        }
        (_, idle) => (idle, "stream timeout"),
    };
    let limit = match manager.request_timeout {
        Some(request) => Some(limit.map_or(request, |limit| limit.min(request))),
        None => limit,
    };
    if closing {
        (
            Some(limit.map_or(CLOSING_HEAD, |limit| limit.min(CLOSING_HEAD))),
            text,
        )
    } else {
        (limit, text)
    }
}

/// The status and body of the response to a malformed request; `None` for a client that does not understand one.
fn rejection(how: ParseError) -> Option<(StatusCode, &'static str)> {
    let status = match how {
        ParseError::Syntax => StatusCode::BAD_REQUEST,
        ParseError::Version => StatusCode::UPGRADE_REQUIRED,
        ParseError::Coding => StatusCode::NOT_IMPLEMENTED,
        ParseError::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ParseError::TargetTooLong => StatusCode::URI_TOO_LONG,
        ParseError::Fragment => return Some((StatusCode::BAD_REQUEST, "")),
        ParseError::Http2 => return None,
    };
    Some((status, status.canonical_reason().unwrap_or_default()))
}

/// Serves a client until it, the session or an error ends the connection. `input` are bytes already read from the
/// stream.
pub(crate) async fn serve(session: &Rc<Session>, stream: TcpStream, input: BytesMut) {
    let client = Rc::new(DownstreamConnection::new(stream, input));
    loop {
        let head = match client.next(session).await {
            NextRequest::Request(head) => head,
            NextRequest::Closed => return client.close().await,
            NextRequest::UnexpectedEof => {
                session.stats.downstream_rq_rx_reset.inc();
                return client.close().await;
            }
            NextRequest::TimedOut(text) => {
                session.stats.downstream_rq_idle_timeout.inc();
                return client
                    .reject(session, StatusCode::REQUEST_TIMEOUT, text)
                    .await;
            }
            NextRequest::ParseError(how) => {
                session.stats.downstream_cx_protocol_error.inc();
                tracing::debug!(remote = %session.addresses.remote, ?how, "malformed request");
                if let Some((status, text)) = rejection(how) {
                    client.reject(session, status, text).await;
                }
                return;
            }
        };
        let meta = RequestMeta {
            method: head.method.clone(),
            version: head.version,
            keep_alive: head.keep_alive,
            trailers: head.trailers,
        };
        let request = client.begin(head);
        let answered = {
            let mut handling = pin!(handle(session.clone(), request));
            std::future::poll_fn(|cx| match handling.as_mut().poll(cx) {
                // The response to a request with a malformed body is replaced.
                Poll::Ready(response) => Poll::Ready(client.body_error().map_or(Ok(response), Err)),
                Poll::Pending => client.poll_error(cx).map(Err),
            })
            .await
        };
        let response = match answered {
            Ok(response) => response,
            Err(BodyDecodeError::UnexpectedEof) => {
                session.stats.downstream_rq_rx_reset.inc();
                return;
            }
            Err(malformed) => {
                session.stats.downstream_cx_protocol_error.inc();
                let status = malformed.status();
                let text = status.canonical_reason().unwrap_or_default();
                return client.reject(session, status, text).await;
            }
        };
        match client.respond(session, meta, response).await {
            NextState::KeepAlive => client.defer_write(session),
            NextState::Close => return client.close().await,
            NextState::Broken => return,
            NextState::Tunnel(tunnel) => {
                // The only reference: the request's body was dropped.
                if let Ok(client) = Rc::try_unwrap(client) {
                    // Boxed, because few connections become tunnels.
                    Box::pin(tunnel.run(client.0.into_inner().connection.stream)).await;
                }
                return;
            }
        }
    }
}

impl DownstreamConnection {
    fn new(stream: TcpStream, input: BytesMut) -> Self {
        Self(RefCell::new(State {
            connection: Connection::new(stream, input),
            expects: false,
            error: None,
        }))
    }

    /// Waits for the next request's head.
    async fn next(&self, session: &Session) -> NextRequest {
        let manager = &session.manager;
        let limits = Limits {
            bytes: manager.max_header_bytes,
            fields: manager.max_header_count,
        };
        let timer = &session.timer;
        let mut began = None;
        self.0.borrow_mut().connection.stream.shrink();
        std::future::poll_fn(|cx| {
            let connection = &mut self.0.borrow_mut().connection;
            connection.register_waker(cx);
            let Connection {
                stream,
                head_finder,
                ..
            } = connection;
            loop {
                if !stream.input.is_empty() {
                    match head::request(&mut stream.input, head_finder, limits) {
                        Ok(Some(head)) => return Poll::Ready(NextRequest::Request(head)),
                        Ok(None) => {}
                        Err(how) => return Poll::Ready(NextRequest::ParseError(how)),
                    }
                }
                let begun = !stream.input.is_empty();
                if !connection.write_deferred
                    && matches!(stream.poll_flush(cx), Poll::Ready(Err(_)))
                {
                    return Poll::Ready(NextRequest::Closed);
                }
                let closing = session.is_asked_to_close(cx);
                if !begun && closing {
                    return Poll::Ready(NextRequest::Closed);
                }
                match stream.poll_read(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) if begun => return Poll::Ready(NextRequest::UnexpectedEof),
                    Poll::Ready(_) => return Poll::Ready(NextRequest::Closed),
                    Poll::Pending if !begun => return Poll::Pending,
                    Poll::Pending => {
                        // The deadline is for the whole head; single bytes do not extend it.
                        let began = *began.get_or_insert_with(Instant::now);
                        let (limit, text) = head_deadline(manager, closing);
                        let Some(limit) = limit else {
                            return Poll::Pending;
                        };
                        return timer
                            .poll(began + limit, cx)
                            .map(|()| NextRequest::TimedOut(text));
                    }
                }
            }
        })
        .await
    }

    /// The request of a head, with its body still to be read.
    fn begin(self: &Rc<Self>, head: RequestHead) -> Request<IncomingBody> {
        let body = {
            let mut state = self.0.borrow_mut();
            state.connection.decoder = Decoder::new(head.framing);
            state.expects = head.expects;
            match head.framing {
                Framing::None => IncomingBody::Empty,
                _ => IncomingBody::Request(self.clone()),
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers;
        request
    }

    /// The next frame of the request's body.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>) -> PollFrame<BodyDecodeError> {
        let state = &mut *self.0.borrow_mut();
        let polled = state.poll_body(cx);
        // The serving task watches the connection once the body no longer does.
        if state.connection.decoder.is_end() || state.error.is_some() {
            state.connection.wake_other(cx);
        }
        polled
    }

    /// The error of a malformed request body.
    fn body_error(&self) -> Option<BodyDecodeError> {
        let error = self.0.borrow().error;
        error.filter(|error| *error != BodyDecodeError::UnexpectedEof)
    }

    pub(crate) fn is_body_read(&self) -> bool {
        self.0.borrow().connection.decoder.is_end()
    }

    pub(crate) fn body_remaining(&self) -> Option<u64> {
        self.0.borrow().connection.decoder.remaining()
    }

    /// Ready when the client has disconnected or sends a malformed body while its request is handled.
    fn poll_error(&self, cx: &mut Context<'_>) -> Poll<BodyDecodeError> {
        let State {
            connection, error, ..
        } = &mut *self.0.borrow_mut();
        if let Some(error) = *error {
            return Poll::Ready(error);
        }
        if !connection.decoder.is_end() {
            // The reader of the body notices the error.
            connection.register_waker(cx);
            return Poll::Pending;
        }
        // A pipelined request is kept; nothing is read after it.
        if !connection.stream.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(connection.stream.poll_read(cx)) {
            Ok(1..) => Poll::Pending,
            _ => Poll::Ready(BodyDecodeError::UnexpectedEof),
        }
    }
}

impl State {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> PollFrame<BodyDecodeError> {
        let stream = &mut self.connection.stream;
        if std::mem::take(&mut self.expects) && stream.input.is_empty() {
            let out = stream.output.tail();
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            // An error shows when the body is read.
            let _ = stream.poll_flush(cx);
        }
        let frame = ready!(self.connection.poll_body(cx));
        if let Some(Err(error)) = frame {
            self.error = Some(error);
        }
        Poll::Ready(frame)
    }

    /// Discards the unread rest of a request body as far as it was received. Returns whether the next request
    /// follows.
    fn skip_body(&mut self, cx: &mut Context<'_>) -> bool {
        // A client that waits for `100 Continue` may or may not send the body after a final response.
        if self.error.is_some() || std::mem::take(&mut self.expects) {
            return false;
        }
        let Connection {
            stream, decoder, ..
        } = &mut self.connection;
        let mut has_read = false;
        while !decoder.is_end() {
            match decoder.decode(&mut stream.input) {
                Ok(Some(_)) => {}
                Ok(None) if !has_read && matches!(stream.poll_read(cx), Poll::Ready(Ok(1..))) => {
                    has_read = true;
                }
                _ => return false,
            }
        }
        true
    }
}
