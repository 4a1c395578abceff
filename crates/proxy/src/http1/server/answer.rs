//! Writing responses, and ending connections.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, Response, StatusCode, Version};
use hyper::body::{Body, Frame};

use super::super::departures::Departure;
use super::super::encode::{self, Asked, Encoder, Extent};
use super::super::head::Malformed;
use super::super::spare;
use super::{Downstream, Facts};
use crate::http::relay::Reply;
use crate::http::upgrade::Tunnel;
use crate::http::{Session, refusal};

/// How long we listen to a client that we are done with, and to how much, so that it reads our answer before it
/// learns of the end.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// What becomes of a connection after a response.
pub(super) enum After {
    Next,
    Close,
    Broken,
    Tunnel(Box<Tunnel>),
}

impl Downstream {
    /// Writes a response, and settles what its request left behind.
    pub(super) async fn answer(&self, facts: &Facts, response: Response<Reply>) -> After {
        let (head, mut reply) = response.into_parts();
        let extent = Extent::of(&reply);
        let (encoder, stays) = {
            let state = &mut *self.0.borrow_mut();
            let asked = Asked {
                method: &facts.method,
                version: facts.version,
                keep_alive: facts.keep_alive,
                trailers: facts.trailers,
            };
            let out = state.wire.output.tail();
            encode::response(head.status, &head.headers, asked, extent, out)
        };
        spare::give(head.headers);
        let mut encoder = encoder.filter(|_| extent != Extent::Empty);
        let last = !stays || head.status == StatusCode::SWITCHING_PROTOCOLS;
        let written =
            std::future::poll_fn(|cx| self.poll_reply(&mut reply, &mut encoder, last, cx)).await;
        if written.is_err() {
            return After::Broken;
        }
        if let Some(tunnel) = reply.take_tunnel() {
            return After::Tunnel(tunnel);
        }
        drop(reply);
        let clean = std::future::poll_fn(|cx| Poll::Ready(self.0.borrow_mut().skip_body(cx))).await;
        if stays && clean {
            After::Next
        } else {
            After::Close
        }
    }

    /// Writes the body. Its end may be left to the departures unless it is the connection's `last` word.
    /// An error ends the connection.
    fn poll_reply(
        &self,
        reply: &mut Reply,
        encoder: &mut Option<Encoder>,
        last: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        loop {
            let mut waiting = false;
            // The state is not borrowed while the reply is polled, because that may read the request's body.
            while let Some(writing) = encoder.as_mut().filter(|_| !self.is_full()) {
                let Poll::Ready(frame) = Pin::new(&mut *reply).poll_frame(cx) else {
                    waiting = true;
                    break;
                };
                let output = &mut self.0.borrow_mut().wire.output;
                let ended = match frame.map(|frame| frame.map(Frame::into_data)) {
                    None => Some(writing.end(None, output)),
                    Some(Err(_)) => return Poll::Ready(Err(())),
                    Some(Ok(Ok(data))) => {
                        writing.data(data, output);
                        (reply.is_end_stream() || writing.is_full())
                            .then(|| writing.end(None, output))
                    }
                    Some(Ok(Err(frame))) => Some(writing.end(frame.trailers_ref(), output)),
                };
                match ended {
                    Some(Ok(())) => *encoder = None,
                    Some(Err(_)) => return Poll::Ready(Err(())),
                    None => {}
                }
            }
            if encoder.is_none() && !last && !self.is_full() {
                return Poll::Ready(Ok(()));
            }
            let flushed = self.0.borrow_mut().wire.poll_flush(cx);
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Ready(Ok(())) if encoder.is_none() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if waiting => {
                    return self.poll_trouble(cx).map(|_| Err(()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {
                    // That the client reads slowly must not keep the upstream from the rest of the request.
                    reply.nudge(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Leaves the end of a response to the worker's departures.
    pub(super) fn depart_with(self: &Rc<Self>, session: &Session) {
        {
            let state = &mut *self.0.borrow_mut();
            if state.departing || state.wire.output.is_empty() {
                return;
            }
            state.departing = true;
        }
        let departures = &session.worker.departures;
        departures.add(Departure::Response(self.clone()));
    }

    /// Writes a response that waited. What the socket does not take, or an error, is left to the serving task.
    pub(in crate::http1) fn depart(&self) {
        let state = &mut *self.0.borrow_mut();
        if std::mem::take(&mut state.departing)
            && state.wire.flush_now().is_err()
            && let Some(waker) = &state.waker
        {
            waker.wake_by_ref();
        }
    }

    /// Writes what is left before the connection ends.
    pub(super) async fn flush(&self) {
        // The connection ends either way.
        let _ = std::future::poll_fn(|cx| self.0.borrow_mut().wire.poll_flush(cx)).await;
    }

    fn is_full(&self) -> bool {
        self.0.borrow().wire.output.is_full()
    }

    /// Answers what is no request, and closes.
    pub(super) async fn refuse(&self, session: &Session, how: Malformed) {
        let status = match how {
            Malformed::Syntax => StatusCode::BAD_REQUEST,
            Malformed::Version => StatusCode::UPGRADE_REQUIRED,
            Malformed::Coding => StatusCode::NOT_IMPLEMENTED,
            Malformed::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
            // It would not understand.
            Malformed::Http2 => return,
        };
        let asked = Asked {
            method: &Method::GET,
            version: Version::HTTP_11,
            keep_alive: false,
            trailers: false,
        };
        let (head, body) = refusal(session, status).into_parts();
        {
            let output = &mut self.0.borrow_mut().wire.output;
            let extent = Extent::Exact(body.len() as u64);
            encode::response(status, &head.headers, asked, extent, output.tail());
            output.push(body);
        }
        self.flush().await;
        self.linger().await;
    }

    /// Ends the connection after a response.
    pub(super) async fn close(&self) {
        self.flush().await;
        let unread = {
            let state = self.0.borrow();
            !state.decoder.is_end() || !state.wire.input.is_empty()
        };
        if unread {
            self.linger().await;
        } else {
            // It may be closed already.
            let _ = std::future::poll_fn(|cx| self.0.borrow_mut().wire.poll_shutdown(cx)).await;
        }
    }

    /// Says goodbye and listens for a while: the kernel throws away what the client has not read of our answer when
    /// a socket is closed with unread bytes.
    async fn linger(&self) {
        let mut left = LINGER_BYTES;
        let heard = std::future::poll_fn(|cx| {
            let state = &mut *self.0.borrow_mut();
            loop {
                state.wire.input.clear();
                match ready!(state.wire.poll_read(cx)) {
                    Ok(read @ 1..) if read < left => left -= read,
                    _ => return Poll::Ready(()),
                }
            }
        });
        let shut = std::future::poll_fn(|cx| self.0.borrow_mut().wire.poll_shutdown(cx)).await;
        if shut.is_ok() {
            // Either way there is nothing more to do.
            let _ = tokio::time::timeout(LINGER, heard).await;
        }
    }
}
