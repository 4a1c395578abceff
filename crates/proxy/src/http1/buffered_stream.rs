//! A socket with its buffers.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::protocol_detection::rewind;

/// Buffer sizes of one read: the initial one, and the maximum while reads keep filling it.
const MIN_READ: usize = 4 * 1024;
const MAX_READ: usize = 64 * 1024;
/// Maximum bytes of a frame that is copied to the end of the output, so that one plain write sends everything.
const COPY_THRESHOLD: usize = 4 * 1024;
/// Bytes of pending output from which no more is produced.
const HIGH_WATERMARK: usize = 64 * 1024;
pub(super) const SLICES: usize = 16;

pub(crate) struct BufferedStream {
    stream: TcpStream,
    /// Bytes read and not consumed yet.
    pub(super) input: BytesMut,
    pub(super) output: WriteBuffer,
    read_size: usize,
}

impl BufferedStream {
    /// `input` are bytes already read from the stream.
    pub(crate) fn new(stream: TcpStream, input: BytesMut) -> Self {
        Self {
            stream,
            input,
            output: WriteBuffer::default(),
            read_size: MIN_READ,
        }
    }

    /// Appends received bytes to the input; 0 at the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.read_size {
            self.input.reserve(self.read_size.max(2 * MIN_READ));
        }
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        if read == room {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if read < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// Whether an idle connection is still open and has no unread bytes. Makes no system call unless the socket is
    /// readable.
    pub(super) fn is_alive(&self) -> bool {
        self.input.is_empty()
            && matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes the whole buffer; pending when the socket's buffer is full.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = if self.output.queue.is_empty() {
                ready!(stream.poll_write(cx, &self.output.tail[self.output.sent..]))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.output.slices(&mut slices);
                ready!(stream.poll_write_vectored(cx, &slices[..count]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the whole buffer if the socket accepts it now. Registers no waker.
    pub(super) fn flush_now(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let written = if self.output.queue.is_empty() {
                self.stream
                    .try_write(&self.output.tail[self.output.sent..])?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.output.slices(&mut slices);
                self.stream.try_write_vectored(&slices[..count])?
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.output.advance(written);
        }
        Ok(())
    }

    /// Frees the buffers of a large message before the connection waits for the next one.
    pub(super) fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 4 * MIN_READ {
            self.input = BytesMut::new();
            self.read_size = MIN_READ;
        }
        if self.output.is_empty() && self.output.tail.capacity() > 4 * MIN_READ {
            self.output.tail = Vec::new();
        }
    }

    /// Shuts the write side down.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Makes the close of the socket a reset, for a truncated body that is delimited by the end of the connection.
    pub(super) fn reset_on_close(&self) {
        // The socket may be closed already.
        let _ = self.stream.set_zero_linger();
    }

    /// The socket; reads return the input buffer first.
    pub(crate) fn into_stream(self) -> impl AsyncRead + AsyncWrite + Unpin {
        rewind(self.stream, self.input)
    }
}

/// Pending output: small frames gathered in one buffer, large ones unchanged.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    /// Frames before the tail.
    queue: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of the tail that are written, while the queue is empty.
    sent: usize,
    queued: usize,
}

impl WriteBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.sent == self.tail.len()
    }

    /// Bytes of pending output.
    pub(super) fn len(&self) -> usize {
        self.queued + self.tail.len() - self.sent
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= HIGH_WATERMARK
    }

    /// The end of the pending output, for appending.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() <= COPY_THRESHOLD {
            self.tail.extend_from_slice(&data);
            return;
        }
        let mut before = Bytes::from(std::mem::take(&mut self.tail));
        before.advance(std::mem::take(&mut self.sent));
        for piece in [before, data] {
            if !piece.is_empty() {
                self.queued += piece.len();
                self.queue.push_back(piece);
            }
        }
    }

    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let pieces = self.queue.iter().map(Bytes::as_ref);
        let mut count = 0;
        for (slice, piece) in slices
            .iter_mut()
            .zip(pieces.chain([&self.tail[self.sent..]]))
        {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    pub(super) fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.queue.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.queued -= written;
                return;
            }
            written -= first.len();
            self.queued -= first.len();
            self.queue.pop_front();
        }
        self.sent += written;
        if self.sent == self.tail.len() {
            self.tail.clear();
            self.sent = 0;
        }
    }
}
