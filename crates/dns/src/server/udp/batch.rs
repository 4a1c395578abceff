//! Datagrams that come and go together: as many as are there with one system call, up to a limit.

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg},
};
use std::{
    io::{IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

/// Messages per system call, at most: more do not lower its cost further, and wait longer for each other.
const MAX_MESSAGES: usize = 32;

/// Bytes of a query; the kernel truncates longer ones, which are then malformed.
const MAX_QUERY_LEN: usize = 4096;

/// Buffers for questions that came together, and for their answers.
pub(super) struct Batch {
    received: MultiHeaders<SockaddrStorage>,
    sent: MultiHeaders<SockaddrStorage>,
    slots: Box<[Slot; MAX_MESSAGES]>,
    /// The slots whose responses are to be sent.
    queued: Vec<usize>,
    clients: Vec<Option<SockaddrStorage>>,
}

struct Slot {
    question: Box<[u8]>,
    length: usize,
    client: Option<SockaddrStorage>,
    answer: Vec<u8>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let slot = |_| Slot {
            question: vec![0; MAX_QUERY_LEN].into(),
            length: 0,
            client: None,
            answer: Vec::new(),
        };
        Self {
            received: MultiHeaders::preallocate(MAX_MESSAGES, None),
            sent: MultiHeaders::preallocate(MAX_MESSAGES, None),
            slots: Box::new(std::array::from_fn(slot)),
            queued: Vec::with_capacity(MAX_MESSAGES),
            clients: Vec::with_capacity(MAX_MESSAGES),
        }
    }

    /// Waits for a question, and takes those that are there by then. Returns how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> Result<usize, Errno> {
        let mut received = [(0, None); MAX_MESSAGES];
        let mut count = 0;
        let slots = self.slots.each_mut();
        let mut slices = slots.map(|slot| [IoSliceMut::new(&mut slot.question)]);
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut self.received,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        for message in messages {
            received[count] = (message.bytes, message.address);
            count += 1;
        }
        for (slot, received) in self.slots.iter_mut().zip(&received[..count]) {
            (slot.length, slot.client) = *received;
        }
        Ok(count)
    }

    /// A question, who asks, and where its answer goes.
    pub(super) fn next(&mut self, index: usize) -> Option<(&[u8], SocketAddr, &mut Vec<u8>)> {
        let slot = &mut self.slots[index];
        let client = address(slot.client.as_ref()?)?;
        let question = slot.question.get(..slot.length)?;
        Some((question, client, &mut slot.answer))
    }

    /// Sends the answer to a question with the others.
    pub(super) fn queue(&mut self, index: usize) {
        self.queued.push(index);
        self.clients.push(self.slots[index].client);
    }

    /// Sends all queued responses. Waiting for room is bounded by the socket's timeout; what cannot be
    /// sent is dropped, and its client asks again. Returns how many these were.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> u64 {
        let mut done = 0;
        let mut unsent = 0;
        while done < self.queued.len() {
            let answers = self.queued[done..].iter().map(|i| &self.slots[*i].answer);
            let slices: Vec<[IoSlice<'_>; 1]> =
                answers.map(|answer| [IoSlice::new(answer)]).collect();
            let nothing: [ControlMessage<'_>; 0] = [];
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.sent,
                slices.iter(),
                &self.clients[done..],
                nothing,
                MsgFlags::empty(),
            );
            done += match sent {
                Ok(sent) => sent.count().max(1),
                // The first one cannot be sent; perhaps the others can.
                Err(error) => {
                    tracing::debug!(%error, "cannot answer");
                    unsent += 1;
                    1
                }
            };
        }
        self.queued.clear();
        self.clients.clear();
        unsent
    }
}

fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    match of.as_sockaddr_in() {
        Some(v4) => Some(SocketAddr::V4((*v4).into())),
        None => Some(SocketAddr::V6((*of.as_sockaddr_in6()?).into())),
    }
}
