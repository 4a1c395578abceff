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

/// How many are taken at once. More share a system call no better, and wait longer for each other.
const MOST: usize = 32;

/// Questions are short; what is longer is cut by the kernel and then malformed.
const LONGEST_QUESTION: usize = 4096;

/// Buffers for questions that came together, and for their answers.
pub(super) struct Batch {
    received: MultiHeaders<SockaddrStorage>,
    sent: MultiHeaders<SockaddrStorage>,
    places: Box<[Place; MOST]>,
    /// The places whose answers are to be sent.
    accepted: Vec<usize>,
    clients: Vec<Option<SockaddrStorage>>,
}

struct Place {
    question: Box<[u8]>,
    length: usize,
    client: Option<SockaddrStorage>,
    answer: Vec<u8>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let place = |_| Place {
            question: vec![0; LONGEST_QUESTION].into(),
            length: 0,
            client: None,
            answer: Vec::new(),
        };
        Self {
            received: MultiHeaders::preallocate(MOST, None),
            sent: MultiHeaders::preallocate(MOST, None),
            places: Box::new(std::array::from_fn(place)),
            accepted: Vec::with_capacity(MOST),
            clients: Vec::with_capacity(MOST),
        }
    }

    /// Waits for a question, and takes those that are there by then. Returns how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> Result<usize, Errno> {
        let mut heard = [(0, None); MOST];
        let mut count = 0;
        let places = self.places.each_mut();
        let mut slices = places.map(|place| [IoSliceMut::new(&mut place.question)]);
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut self.received,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        for message in messages {
            heard[count] = (message.bytes, message.address);
            count += 1;
        }
        for (place, heard) in self.places.iter_mut().zip(&heard[..count]) {
            (place.length, place.client) = *heard;
        }
        Ok(count)
    }

    /// A question, who asks, and where its answer goes.
    pub(super) fn next(&mut self, index: usize) -> Option<(&[u8], SocketAddr, &mut Vec<u8>)> {
        let place = &mut self.places[index];
        let client = address(place.client.as_ref()?)?;
        let question = place.question.get(..place.length)?;
        Some((question, client, &mut place.answer))
    }

    /// Sends the answer to a question with the others.
    pub(super) fn accept(&mut self, index: usize) {
        self.accepted.push(index);
        self.clients.push(self.places[index].client);
    }

    /// Sends all accepted answers. Waiting for room is bounded by the socket's timeout; what cannot be
    /// sent is dropped, and its client asks again. Returns how many these were.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> u64 {
        let mut done = 0;
        let mut unsent = 0;
        while done < self.accepted.len() {
            let answers = self.accepted[done..]
                .iter()
                .map(|i| &self.places[*i].answer);
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
        self.accepted.clear();
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
