//! What an upstream says to a forwarded question.
//!
//! The first four bytes choose the question; what follows stands behind the header and the question of the
//! upstream's message, so that it is taken for the answer. Whatever it is: no panic, and what the client
//! gets is an answer to its question, no longer than it takes, that hickory can read.

use crate::dns;
use hickory_proto::op::Message;
use std::sync::{Arc, OnceLock};
use tombolo_dns::fuzzing::Forwarding;

/// Asked for, with and without EDNS: a name of nobody; one whose alias leads elsewhere; one that stands for
/// another.
const NAMES: [&str; 3] = [
    "www.example.com",
    "far.p.local",
    "far.default.svc.cluster.local",
];

/// The target.
pub fn run(data: &[u8]) {
    static FORWARDING: OnceLock<Forwarding> = OnceLock::new();
    let Some((&[how, kind, flags, code], said)) = data.split_first_chunk() else {
        return;
    };
    let forwarding = FORWARDING.get_or_init(|| Forwarding::new(dns::zones(&Arc::default())));
    let question = question(NAMES[usize::from(how) % NAMES.len()], kind, how & 0x40 != 0);
    let over_udp = how & 0x80 == 0;
    let answer = forwarding.answer(&question, over_udp, 7, |asked| {
        // Its id and its question, then what was handed in: the counts of records first.
        let end = 12
            + asked[12..]
                .iter()
                .position(|byte| *byte == 0)
                .expect("a root")
            + 5;
        let mut answer = asked[..end].to_vec();
        answer[2] = 0x80 | flags & 7;
        answer[3] = code;
        let (counts, records) = said.split_at(said.len().min(6));
        answer[6..12].fill(0);
        answer[6..6 + counts.len()].copy_from_slice(counts);
        answer.extend_from_slice(records);
        answer
    });
    let Some(answer) = answer else {
        return;
    };
    let edns = how & 0x40 != 0;
    let limit = match (over_udp, edns) {
        (false, _) => usize::from(u16::MAX),
        (true, true) => 1232,
        (true, false) => 512,
    };
    assert!(answer.len() <= limit, "{} > {limit}", answer.len());
    let read = Message::from_vec(&answer);
    let read = read.unwrap_or_else(|error| panic!("{error}: {answer:02x?}"));
    assert_eq!(read.metadata.id, 0x1234);
    let end = question.len() - if edns { 11 } else { 0 };
    assert_eq!(question[12..end], answer[12..end], "the question");
}

fn question(name: &str, kind: u8, edns: bool) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns.into()];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, kind, 0, 1]);
    if edns {
        bytes.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    }
    bytes
}
