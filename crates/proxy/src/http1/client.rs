//! Our end of a connection to an upstream.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use hyper::body::{Body, Frame};

use super::decode::{BadBody, Decoder, Piece};
use super::departures::{Departure, Departures};
use super::encode::{self, Encoder, Extent};
use super::framing::Framing;
use super::head::{self, Limits, ResponseHead, Search};
use super::wire::Wire;
use crate::http::inbound::Inbound;
use crate::http::outgoing::Outgoing;
use crate::upstream::pool::ConnectionGuard;

/// A connection to an upstream: one request at a time.
pub(crate) struct Link {
    state: RefCell<State>,
    limits: Limits,
    /// Counts the connection as open.
    _guard: ConnectionGuard,
}

struct State {
    /// `None` once handed over to a tunnel.
    wire: Option<Wire>,
    search: Search,
    /// The request's body, until all of it is encoded.
    body: Option<(Outgoing, Encoder)>,
    decoder: Decoder,
    /// The response was one after which another request may follow.
    keep_alive: bool,
    /// Nothing of the request has reached the socket, and nothing was taken from its body.
    unsent: bool,
    /// The output is among the worker's departures.
    departing: bool,
    /// Of the task that waits for the response.
    waker: Option<Waker>,
    /// The upstream takes no more of the request; it may still answer.
    deaf: bool,
}

/// How far a request is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Whole,
    /// The output has to be written first.
    Full,
    /// More of the body has to arrive first.
    Waiting,
}

/// A request's head on its way out.
#[derive(Clone, Copy)]
pub(crate) struct Outbound<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Uri,
    pub(crate) host: &'a HeaderValue,
    pub(crate) headers: &'a HeaderMap,
}

/// Why no response came.
pub(crate) enum SendError {
    /// Nothing of the request was written; its body comes back.
    Unsent(Outgoing),
    /// The connection ended, or the request's body did not come to its end.
    Reset,
    /// What came is no HTTP response.
    Malformed,
}

impl Link {
    pub(crate) fn new(wire: Wire, limits: Limits, guard: ConnectionGuard) -> Self {
        Self {
            state: RefCell::new(State {
                wire: Some(wire),
                search: Search::default(),
                body: None,
                decoder: Decoder::new(Framing::None),
                keep_alive: true,
                unsent: true,
                departing: false,
                waker: None,
                deaf: false,
            }),
            limits,
            _guard: guard,
        }
    }

    /// Whether an idle connection is still good.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state
            .borrow()
            .wire
            .as_ref()
            .is_some_and(Wire::is_quiet)
    }

    /// Whether request and response are over and another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        let state = self.state.borrow();
        state.keep_alive
            && !state.deaf
            && state.body.is_none()
            && state.decoder.is_end()
            && state
                .wire
                .as_ref()
                .is_some_and(|wire| wire.input.is_empty() && wire.output.is_empty())
    }

    /// Sends a request and waits for the head of its response. The rest of the request's body follows while the
    /// response's is read.
    pub(crate) async fn send(
        self: &Rc<Self>,
        head: Outbound<'_>,
        body: Outgoing,
        departures: &Departures,
    ) -> Result<Response<Inbound>, SendError> {
        {
            let state = &mut *self.state.borrow_mut();
            let Some(wire) = &mut state.wire else {
                return Err(SendError::Unsent(body));
            };
            let extent = Extent::of(&body);
            let encoder = encode::request(
                head.method,
                head.target,
                head.host,
                head.headers,
                extent,
                wire.output.tail(),
            );
            state.keep_alive = false;
            state.unsent = true;
            state.body = Some((body, encoder));
        }
        let method = head.method;
        let mut begun = false;
        let head = std::future::poll_fn(|cx| {
            if !std::mem::replace(&mut begun, true) && self.state.borrow_mut().prepare(cx) {
                departures.add(Departure::Request(self.clone()));
            }
            self.state.borrow_mut().poll_head(cx, method, self.limits)
        })
        .await?;
        let body = if head.framing == Framing::None {
            Inbound::Empty
        } else {
            Inbound::Response(self.clone())
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    /// The next frame of the response's body.
    pub(crate) fn poll_body(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        self.state.borrow_mut().poll_body(cx)
    }

    pub(crate) fn is_body_read(&self) -> bool {
        self.state.borrow().decoder.is_end()
    }

    pub(crate) fn body_remaining(&self) -> Option<u64> {
        self.state.borrow().decoder.remaining()
    }

    /// Sends on what is left of the request.
    pub(crate) fn nudge(&self, cx: &mut Context<'_>) {
        self.state.borrow_mut().send_on(cx);
    }

    /// Writes a request that waited. What the socket does not take, or an error, is left to the waiting task.
    pub(super) fn depart(&self) {
        let state = &mut *self.state.borrow_mut();
        let Some(wire) = state.wire.as_mut().filter(|_| state.departing) else {
            return;
        };
        state.departing = false;
        let before = wire.output.len();
        let flushed = wire.flush_now();
        state.unsent &= wire.output.len() == before;
        if flushed.is_err()
            && let Some(waker) = &state.waker
        {
            waker.wake_by_ref();
        }
    }

    /// The socket and what was read from it, for a connection that has switched protocols.
    pub(crate) fn take_wire(&self) -> Option<Wire> {
        self.state.borrow_mut().wire.take()
    }
}

impl State {
    /// Sends what can be sent of the request now. What goes wrong shows when the response is read.
    fn send_on(&mut self, cx: &mut Context<'_>) {
        if (self.body.is_some() || !self.is_flushed()) && !self.deaf && self.write(cx).is_err() {
            self.deaf = true;
        }
    }

    /// Nothing waits to be written, or somebody else will write it.
    fn is_flushed(&self) -> bool {
        self.departing || self.wire.as_ref().is_none_or(|wire| wire.output.is_empty())
    }

    /// Makes the whole request ready to leave, if its body is here and small.
    fn prepare(&mut self, cx: &mut Context<'_>) -> bool {
        let complete = matches!(self.fill(cx), Ok(Filled::Whole));
        self.departing = complete;
        if complete {
            match &mut self.waker {
                Some(known) => known.clone_from(cx.waker()),
                None => self.waker = Some(cx.waker().clone()),
            }
        }
        complete
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let filled = self.fill(cx)?;
            let Some(wire) = &mut self.wire else {
                return Ok(());
            };
            let before = wire.output.len();
            let flushed = wire.poll_flush(cx);
            self.unsent &= wire.output.len() == before;
            if flushed?.is_pending() || filled != Filled::Full {
                return Ok(());
            }
        }
    }

    /// Encodes as much of the request's body as is here and has room.
    fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<Filled> {
        let Some(wire) = &mut self.wire else {
            return Ok(Filled::Whole);
        };
        while let Some((body, encoder)) = &mut self.body {
            if wire.output.is_full() {
                return Ok(Filled::Full);
            }
            let frame = if body.is_end_stream() {
                None
            } else {
                let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                    return Ok(Filled::Waiting);
                };
                // What was taken from the body cannot be put back.
                self.unsent &= frame.is_none();
                frame.transpose().map_err(io::Error::other)?
            };
            let ended = match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    encoder.data(data, &mut wire.output);
                    continue;
                }
                Some(Err(frame)) => encoder.end(frame.trailers_ref(), &mut wire.output),
                None => encoder.end(None, &mut wire.output),
            };
            self.body = None;
            ended.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        }
        Ok(Filled::Whole)
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        limits: Limits,
    ) -> Poll<Result<ResponseHead, SendError>> {
        if (self.body.is_some() || !self.is_flushed())
            && !self.deaf
            && let Err(error) = self.write(cx)
        {
            self.deaf = true;
            if self.unsent {
                let body = self.body.take().map_or(Outgoing::Empty, |(body, _)| body);
                return Poll::Ready(Err(SendError::Unsent(body)));
            }
            // A body that broke off leaves the upstream waiting; there is nothing to hear from it.
            if error.kind() == io::ErrorKind::Other || error.kind() == io::ErrorKind::UnexpectedEof
            {
                return Poll::Ready(Err(SendError::Reset));
            }
        }
        let Some(wire) = &mut self.wire else {
            return Poll::Ready(Err(SendError::Reset));
        };
        loop {
            if !wire.input.is_empty() {
                match head::response(&mut wire.input, &mut self.search, limits, method) {
                    Ok(Some(head)) => {
                        self.decoder = Decoder::new(head.framing);
                        self.keep_alive = head.keep_alive;
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(SendError::Malformed)),
                }
            }
            match ready!(wire.poll_read(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(SendError::Reset)),
                Ok(_) => {}
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        self.send_on(cx);
        let Some(wire) = &mut self.wire else {
            return Poll::Ready(Some(Err(BadBody::Cut)));
        };
        loop {
            match self.decoder.decode(&mut wire.input) {
                Ok(Some(Piece::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Piece::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Some(Piece::End)) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => {
                    self.keep_alive = false;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            if !matches!(ready!(wire.poll_read(cx)), Ok(1..)) {
                self.keep_alive = false;
                return Poll::Ready(self.decoder.close().err().map(Err));
            }
        }
    }
}
