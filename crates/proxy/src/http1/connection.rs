//! What the two ends of HTTP/1 share: a connection, and how far the message that arrives on it was read.

use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use hyper::body::Frame;
use tokio::net::TcpStream;

use super::body_decoder::{BodyDecodeError, BodyPart, Decoder};
use super::buffered_stream::BufferedStream;
use super::framing::Framing;
use super::head::HeadFinder;
use crate::http::incoming_body::PollFrame;

pub(super) struct Connection {
    pub(super) stream: BufferedStream,
    pub(super) head_finder: HeadFinder,
    /// Decodes the body of the message that arrives.
    pub(super) decoder: Decoder,
    /// The output waits in the worker's [`WriteCoalescer`](super::WriteCoalescer).
    pub(super) write_deferred: bool,
    /// The task that waits for a message, for when another task reads or writes on the connection.
    waker: Option<Waker>,
}

impl Connection {
    /// `input` is what was read from the stream already.
    pub(super) fn new(stream: TcpStream, input: BytesMut) -> Self {
        Self {
            stream: BufferedStream::new(stream, input),
            head_finder: HeadFinder::default(),
            decoder: Decoder::new(Framing::None),
            write_deferred: false,
            waker: None,
        }
    }

    pub(super) fn register_waker(&mut self, cx: &Context<'_>) {
        let known = self.waker.get_or_insert_with(|| cx.waker().clone());
        known.clone_from(cx.waker());
    }

    /// Wakes the waiting task, unless it is the running one.
    pub(super) fn wake_other(&self, cx: &Context<'_>) {
        if let Some(waker) = &self.waker
            && !waker.will_wake(cx.waker())
        {
            waker.wake_by_ref();
        }
    }

    /// Writes deferred output. What the socket does not take, or an error, is left to the waiting task.
    pub(super) fn flush_deferred(&mut self) {
        if std::mem::take(&mut self.write_deferred)
            && self.stream.flush_now().is_err()
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    /// The next frame of the body that arrives.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> PollFrame<BodyDecodeError> {
        loop {
            let frame = match self.decoder.decode(&mut self.stream.input) {
                Ok(Some(BodyPart::Data(data))) => Some(Ok(Frame::data(data))),
                Ok(Some(BodyPart::Trailers(trailers))) => Some(Ok(Frame::trailers(trailers))),
                Ok(Some(BodyPart::End)) => None,
                Ok(None) if matches!(ready!(self.stream.poll_read(cx)), Ok(1..)) => continue,
                Ok(None) => self.decoder.close().err().map(Err),
                Err(error) => Some(Err(error)),
            };
            return Poll::Ready(frame);
        }
    }
}
