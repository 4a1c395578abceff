//! The part that both ends of HTTP/1 share: a connection, and the decoder of the incoming message.

use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use hyper::body::Frame;
use tokio::net::TcpStream;

use super::body_decoder::{BodyDecodeError, BodyPart, Decoder};
use super::buffered_stream::BufferedStream;
use super::framing::Framing;
use super::head::HeadFinder;
use crate::http::received_body::PollFrame;

pub(super) struct Connection {
    pub(super) stream: BufferedStream,
    pub(super) head_finder: HeadFinder,
    /// Decodes the body of the incoming message.
    pub(super) decoder: Decoder,
    /// Whether the output waits in the worker's [`WriteCoalescer`](super::WriteCoalescer).
    pub(super) write_deferred: bool,
    /// The waker of the task that waits for a message, for when another task reads or writes on the connection.
    waker: Option<Waker>,
}

impl Connection {
    /// `input` are bytes already read from the stream.
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

    /// Wakes the waiting task, unless it is the current one.
    pub(super) fn wake_other(&self, cx: &Context<'_>) {
        if let Some(waker) = &self.waker
            && !waker.will_wake(cx.waker())
        {
            waker.wake_by_ref();
        }
    }

    /// Writes deferred output. The waiting task handles errors and the part that the socket does not accept.
    pub(super) fn flush_deferred(&mut self) {
        if std::mem::take(&mut self.write_deferred)
            && self.stream.flush_now().is_err()
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    /// The next frame of the incoming body.
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
