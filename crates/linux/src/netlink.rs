//! A netlink socket: batches and dumps.
//!
//! The kernel answers a netlink message while it is being sent, so all calls are synchronous.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::Result;
use crate::error::Attempt as _;

const HEADER: usize = 16;
/// Receive buffer for one datagram: the kernel fills at most 32 KiB in each step of a dump.
const RECEIVE: usize = 64 * 1024;
/// Size of the socket's buffers: room for about a hundred thousand rules in one transaction.
const BUFFER: usize = 64 * 1024 * 1024;
/// Maximum bytes of a dump.
const MAX_DUMP: usize = 256 * 1024 * 1024;

/// A message without its sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) payload: Vec<u8>,
}

/// A socket of one netlink family, in the network namespace in which it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        let mut socket = Socket::new(protocol).attempt(|| "open a netlink socket".into())?;
        socket
            .bind_auto()
            .attempt(|| "bind a netlink socket".into())?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .attempt(|| "connect a netlink socket".into())?;
        socket.set_ext_ack(true).ok();
        // Only root may exceed the system's limits. For an ordinary user, the system's limit bounds transactions.
        if sockopt::set_socket_send_buffer_size_force(&socket, BUFFER).is_err() {
            sockopt::set_socket_send_buffer_size(&socket, BUFFER).ok();
        }
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, BUFFER).ok();
        }
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends messages as one datagram. `last` is the index of the message that requests an acknowledgement. An error
    /// carries the index of the message that the kernel refused, if it named one.
    pub(crate) fn send_batch(
        &mut self,
        messages: &[Message],
        last: usize,
    ) -> Result<(), (Option<usize>, io::Error)> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for message in messages {
            self.encode(message, &mut bytes);
        }
        self.socket.send(&bytes, 0).map_err(|cause| (None, cause))?;
        let mut acknowledged = false;
        let mut failure = None;
        let mut buffer = Vec::with_capacity(RECEIVE);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((None, error)),
            }
            for reply in replies(&buffer) {
                let index = reply.sequence.wrapping_sub(first) as usize;
                match reply.error() {
                    Some(error) if failure.is_none() => failure = Some((Some(index), error)),
                    None if reply.kind == libc::NLMSG_ERROR as u16 && index == last => {
                        acknowledged = true
                    }
                    _ => {}
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None if acknowledged => Ok(()),
            None => Err((
                None,
                io::Error::other("the kernel did not acknowledge the request"),
            )),
        }
    }

    /// Sends a request for a list; returns the payload of each reply.
    pub(crate) fn dump(&mut self, kind: u16, payload: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        let mut bytes = Vec::new();
        self.encode(
            &Message {
                kind,
                flags,
                payload: payload.to_vec(),
            },
            &mut bytes,
        );
        self.socket.send(&bytes, 0)?;
        let mut payloads = Vec::new();
        let mut total = 0;
        let mut buffer = Vec::with_capacity(RECEIVE);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            for reply in replies(&buffer).filter(|reply| reply.sequence == self.sequence) {
                if let Some(error) = reply.error() {
                    return Err(error);
                }
                if reply.kind == libc::NLMSG_DONE as u16 || reply.kind == libc::NLMSG_ERROR as u16 {
                    return Ok(payloads);
                }
                total += reply.payload.len();
                if total > MAX_DUMP {
                    return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                }
                payloads.push(reply.payload.to_vec());
            }
        }
    }

    fn encode(&mut self, message: &Message, bytes: &mut Vec<u8>) {
        self.sequence = self.sequence.wrapping_add(1);
        let length =
            u32::try_from(HEADER + message.payload.len()).expect("a message is shorter than 4 GiB");
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&message.kind.to_ne_bytes());
        bytes.extend_from_slice(&(message.flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&message.payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
}

struct Reply<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Reply<'_> {
    /// The error of an ERROR or DONE message; error number zero is an acknowledgement.
    fn error(&self) -> Option<io::Error> {
        if self.kind != libc::NLMSG_ERROR as u16 && self.kind != libc::NLMSG_DONE as u16 {
            return None;
        }
        let code = i32::from_ne_bytes(*self.payload.first_chunk()?);
        (code != 0).then(|| io::Error::from_raw_os_error(code.wrapping_neg()))
    }
}

/// The messages of one datagram, up to the first malformed one.
fn replies(mut rest: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*rest.get(8..)?.first_chunk()?);
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply {
            kind,
            sequence,
            payload,
        })
    })
}
