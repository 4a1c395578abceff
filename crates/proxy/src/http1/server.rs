//! Our end of a client's connection.

mod answer;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, Version};
use hyper::body::Frame;
use tokio::net::TcpStream;

use super::decode::{BadBody, Decoder, Piece};
use super::framing::Framing;
use super::head::{self, Limits, Malformed, RequestHead, Search};
use super::wire::Wire;
use crate::config::http_manager::HttpManager;
use crate::http::inbound::Inbound;
use crate::http::{Session, handle};
use answer::After;

/// A client's connection, shared by the task that serves it and by the body of its current request.
pub(crate) struct Downstream(RefCell<State>);

struct State {
    wire: Wire,
    search: Search,
    /// Of the current request's body.
    decoder: Decoder,
    /// The client waits for `100 Continue`.
    expects: bool,
    trouble: Option<Trouble>,
    /// The output is among the worker's departures.
    departing: bool,
    /// Of the serving task, which the body wakes when another task reads it.
    waker: Option<Waker>,
}

/// What ends a connection before its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Gone,
    BadBody(BadBody),
}

/// What comes next on a connection.
#[allow(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one"
)]
enum Next {
    Request(RequestHead),
    Malformed(Malformed),
    /// In order.
    Closed,
    /// Within a head.
    Cut,
    /// Within a head, or before the first one.
    TimedOut(&'static str),
}

/// What the answer to a request must know of it.
struct Facts {
    method: Method,
    version: Version,
    keep_alive: bool,
    trailers: bool,
}

/// Once the connection is asked to close, a head that has begun has this long to come in whole.
const CLOSING_HEAD: Duration = Duration::from_secs(5);

/// How long a head may take, and the text of the answer to one that takes longer. As Envoy has it, the timeout of
/// idle streams starts with the first byte of a request.
fn head_deadline(manager: &HttpManager, closing: bool) -> (Option<Duration>, &'static str) {
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

/// The status and body with which what is no request is answered; `None`: the client would not understand.
fn refusal(how: Malformed) -> Option<(StatusCode, &'static str)> {
    let status = match how {
        Malformed::Syntax => StatusCode::BAD_REQUEST,
        Malformed::Version => StatusCode::UPGRADE_REQUIRED,
        Malformed::Coding => StatusCode::NOT_IMPLEMENTED,
        Malformed::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
        Malformed::Fragment => return Some((StatusCode::BAD_REQUEST, "")),
        Malformed::Http2 => return None,
    };
    Some((status, status.canonical_reason().unwrap_or_default()))
}

/// Serves a client until it, the session or an error ends the connection. `input` is what was read from the stream
/// already.
pub(crate) async fn serve(session: &Rc<Session>, stream: TcpStream, input: BytesMut) {
    let client = Rc::new(Downstream::new(stream, input));
    loop {
        let head = match client.next(session).await {
            Next::Request(head) => head,
            Next::Closed => return client.close().await,
            Next::Cut => {
                session.stats.downstream_rq_rx_reset.inc();
                return client.close().await;
            }
            Next::TimedOut(text) => {
                session.stats.downstream_rq_idle_timeout.inc();
                return client
                    .refuse(session, StatusCode::REQUEST_TIMEOUT, text)
                    .await;
            }
            Next::Malformed(how) => {
                session.stats.downstream_cx_protocol_error.inc();
                tracing::debug!(remote = %session.remote, ?how, "client's request is malformed");
                if let Some((status, text)) = refusal(how) {
                    client.refuse(session, status, text).await;
                }
                return;
            }
        };
        let facts = Facts {
            method: head.method.clone(),
            version: head.version,
            keep_alive: head.keep_alive,
            trailers: head.trailers,
        };
        let request = client.begin(head);
        let answered = {
            let mut handling = pin!(handle(session.clone(), request));
            std::future::poll_fn(|cx| match handling.as_mut().poll(cx) {
                // What came of a request that was none does not matter.
                Poll::Ready(response) => Poll::Ready(client.body_error().map_or(Ok(response), Err)),
                Poll::Pending => client.poll_trouble(cx).map(Err),
            })
            .await
        };
        let response = match answered {
            Ok(response) => response,
            Err(Trouble::Gone) => {
                session.stats.downstream_rq_rx_reset.inc();
                return;
            }
            Err(Trouble::BadBody(error)) => {
                session.stats.downstream_cx_protocol_error.inc();
                let status = match error {
                    BadBody::TrailersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    BadBody::Chunk | BadBody::Trailers | BadBody::Cut => StatusCode::BAD_REQUEST,
                };
                let text = status.canonical_reason().unwrap_or_default();
                return client.refuse(session, status, text).await;
            }
        };
        match client.answer(session, &facts, response).await {
            After::Next => client.depart_with(session),
            After::Close => return client.close().await,
            After::Broken => return,
            After::Tunnel(tunnel) => {
                // Nobody else holds it: the request's body is gone.
                if let Ok(client) = Rc::try_unwrap(client) {
                    // Boxed, because few connections become one.
                    Box::pin(tunnel.run(client.0.into_inner().wire)).await;
                }
                return;
            }
        }
    }
}

impl Downstream {
    fn new(stream: TcpStream, input: BytesMut) -> Self {
        Self(RefCell::new(State {
            wire: Wire::new(stream, input),
            search: Search::default(),
            decoder: Decoder::new(Framing::None),
            expects: false,
            trouble: None,
            departing: false,
            waker: None,
        }))
    }

    /// Waits for the next request's head.
    async fn next(&self, session: &Session) -> Next {
        let manager = &session.manager;
        let limits = Limits {
            bytes: manager.max_header_bytes,
            fields: manager.max_header_count,
        };
        let alarm = &session.alarm;
        let mut began = None;
        self.0.borrow_mut().wire.rest();
        std::future::poll_fn(|cx| {
            let state = &mut *self.0.borrow_mut();
            state.remember(cx);
            loop {
                if !state.wire.input.is_empty() {
                    match head::request(&mut state.wire.input, &mut state.search, limits) {
                        Ok(Some(head)) => return Poll::Ready(Next::Request(head)),
                        Ok(None) => {}
                        Err(how) => return Poll::Ready(Next::Malformed(how)),
                    }
                }
                let begun = !state.wire.input.is_empty();
                if !state.departing
                    && state.wire.poll_flush(cx).map(|flushed| flushed.is_err())
                        == Poll::Ready(true)
                {
                    return Poll::Ready(Next::Closed);
                }
                let closing = session.is_asked_to_close(cx);
                if !begun && closing {
                    return Poll::Ready(Next::Closed);
                }
                match state.wire.poll_read(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) if begun => return Poll::Ready(Next::Cut),
                    Poll::Ready(_) => return Poll::Ready(Next::Closed),
                    Poll::Pending if !begun => return Poll::Pending,
                    Poll::Pending => {
                        // A head has to come in whole, each byte of it notwithstanding.
                        let began = *began.get_or_insert_with(Instant::now);
                        let (limit, text) = head_deadline(manager, closing);
                        let Some(limit) = limit else {
                            return Poll::Pending;
                        };
                        return alarm.poll(began + limit, cx).map(|()| Next::TimedOut(text));
                    }
                }
            }
        })
        .await
    }

    /// The request that a head begins.
    fn begin(self: &Rc<Self>, head: RequestHead) -> Request<Inbound> {
        let body = {
            let mut state = self.0.borrow_mut();
            state.decoder = Decoder::new(head.framing);
            state.expects = head.expects;
            match head.framing {
                Framing::None => Inbound::Empty,
                _ => Inbound::Request(self.clone()),
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
    pub(crate) fn poll_body(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        let state = &mut *self.0.borrow_mut();
        let polled = state.poll_body(cx);
        // The serving task watches the connection once the body no longer does.
        if (state.decoder.is_end() || state.trouble.is_some())
            && let Some(waker) = &state.waker
            && !waker.will_wake(cx.waker())
        {
            waker.wake_by_ref();
        }
        polled
    }

    /// Why the request's body is none.
    fn body_error(&self) -> Option<Trouble> {
        let trouble = self.0.borrow().trouble;
        trouble.filter(|trouble| matches!(trouble, Trouble::BadBody(_)))
    }

    pub(crate) fn is_body_read(&self) -> bool {
        self.0.borrow().decoder.is_end()
    }

    pub(crate) fn body_remaining(&self) -> Option<u64> {
        self.0.borrow().decoder.remaining()
    }

    /// Ready when the client has left, or sends what is no body, while its request is being handled.
    fn poll_trouble(&self, cx: &mut Context<'_>) -> Poll<Trouble> {
        let state = &mut *self.0.borrow_mut();
        if let Some(trouble) = state.trouble {
            return Poll::Ready(trouble);
        }
        if !state.decoder.is_end() {
            // Whoever reads the body sees it.
            state.remember(cx);
            return Poll::Pending;
        }
        // A request that came early is kept; behind it nothing is looked for.
        if !state.wire.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(state.wire.poll_read(cx)) {
            Ok(1..) => Poll::Pending,
            _ => Poll::Ready(Trouble::Gone),
        }
    }
}

impl State {
    fn remember(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(known) => known.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        if std::mem::take(&mut self.expects) && self.wire.input.is_empty() {
            let out = self.wire.output.tail();
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            // An error shows when the body is read.
            let _ = self.wire.poll_flush(cx);
        }
        loop {
            match self.decoder.decode(&mut self.wire.input) {
                Ok(Some(Piece::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Piece::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Some(Piece::End)) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => {
                    self.trouble = Some(Trouble::BadBody(error));
                    return Poll::Ready(Some(Err(error)));
                }
            }
            if !matches!(ready!(self.wire.poll_read(cx)), Ok(1..)) {
                self.trouble = Some(Trouble::Gone);
                return Poll::Ready(Some(Err(BadBody::Cut)));
            }
        }
    }

    /// Passes over what nobody read of a request's body, if it is here. Returns whether the next request follows.
    fn skip_body(&mut self, cx: &mut Context<'_>) -> bool {
        // Who still waits for leave to send a body may or may not send it after the answer.
        if self.trouble.is_some() || std::mem::take(&mut self.expects) {
            return false;
        }
        let mut looked = false;
        while !self.decoder.is_end() {
            match self.decoder.decode(&mut self.wire.input) {
                Ok(Some(_)) => {}
                Ok(None) if !looked && matches!(self.wire.poll_read(cx), Poll::Ready(Ok(1..))) => {
                    looked = true;
                }
                _ => return false,
            }
        }
        true
    }
}
