//! Batches of datagrams, received and sent with one system call each (`recvmmsg`, `sendmmsg`).

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg},
};
use std::{
    io::{IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

/// The greatest number of messages per system call: more do not lower the cost further, and increase the latency.
const MAX_MESSAGES: usize = 32;

/// The maximum length of a query, in bytes; the kernel truncates longer ones, which are malformed then.
const MAX_QUERY_LEN: usize = 4096;

/// The buffers of a batch of queries and of their answers.
pub(super) struct Batch {
    received: MultiHeaders<SockaddrStorage>,
    sent: MultiHeaders<SockaddrStorage>,
    slots: Box<[Slot; MAX_MESSAGES]>,
    /// The slots whose responses are to be sent.
    queued: Vec<usize>,
    clients: Vec<Option<SockaddrStorage>>,
}

/// The buffers of one query and its answer.
struct Slot {
    question: Box<[u8]>,
    /// The length of the received query, in bytes.
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

    /// Waits for a query, and receives all that have arrived by then, up to the limit. Returns their number.
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

    /// The query in a slot, its client, and the buffer of its answer. `None` if the client's address is unknown.
    pub(super) fn query(&mut self, index: usize) -> Option<(&[u8], SocketAddr, &mut Vec<u8>)> {
        let slot = &mut self.slots[index];
        let client = address(slot.client.as_ref()?)?;
        let question = slot.question.get(..slot.length)?;
        Some((question, client, &mut slot.answer))
    }

    /// Queues the answer in a slot for [`Batch::send`].
    pub(super) fn queue(&mut self, index: usize) {
        self.queued.push(index);
        self.clients.push(self.slots[index].client);
    }

    /// Sends all queued answers. The wait for space in the send buffer is limited by the socket's timeout; answers that
    /// cannot be sent are dropped, and their clients repeat the query. Returns the number of dropped answers.
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
                // Skip the first one, which cannot be sent.
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
