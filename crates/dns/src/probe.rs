//! Queries of zones in tests, and their answers as text; `hickory-proto` writes and parses the messages.

use crate::{
    range::Views,
    reply::Transport,
    responder::{Client, Responder, Step},
    zone::Zone,
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// A client of one zone.
pub(crate) struct Probe {
    zone: Arc<dyn Zone>,
    views: Arc<Views>,
    from: IpAddr,
    seed: u64,
    can_forward: bool,
}

/// The name of a dotted text in which nothing is escaped.
pub(crate) fn name(text: &str) -> Name {
    let text = text.strip_suffix('.').unwrap_or(text);
    Name::from_labels(text.split('.').map(str::as_bytes)).expect("a name")
}

pub(crate) fn question(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

/// A message as bytes.
pub(crate) fn wire(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

/// The message in these bytes.
pub(crate) fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).expect("a well-formed message")
}

impl Probe {
    pub(crate) fn new(zone: Arc<dyn Zone>) -> Self {
        Self {
            zone,
            views: Arc::default(),
            from: Ipv4Addr::new(192, 0, 2, 1).into(),
            seed: 1,
            can_forward: true,
        }
    }

    pub(crate) fn from(mut self, from: IpAddr) -> Self {
        self.from = from;
        self
    }

    /// A client of a server that forwards nothing.
    pub(crate) fn alone(mut self) -> Self {
        self.can_forward = false;
        self
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn views(mut self, views: &Arc<Views>) -> Self {
        self.views = views.clone();
        self
    }

    /// The answer over TCP; `None` if the query would be forwarded and the zone added nothing.
    pub(crate) fn message(&self, asked: &Message) -> Option<Message> {
        let zones = vec![self.zone.clone()];
        let responder = Responder::new(zones, self.can_forward, self.views.clone(), 7);
        let client = Client {
            address: self.from,
            transport: Transport::Tcp,
        };
        let shard = responder.metrics.shard();
        let mut out = Vec::new();
        match responder.respond(&wire(asked), client, self.seed, &shard, &mut out) {
            Step::Ignore => panic!("ignored"),
            Step::Reply => Some(read(&out)),
            Step::Forward(pending) => {
                let partial = read(&pending.partial);
                (!partial.answers.is_empty()).then_some(partial)
            }
        }
    }

    /// The answer as text: data with TTLs in order, or `nodata`, `nxdomain`, `refused`, `not mine`.
    pub(crate) fn ask(&self, text: &str, kind: RecordType) -> String {
        let asked = question(text, kind);
        let Some(answer) = self.message(&asked) else {
            return "not mine".into();
        };
        assert!(answer.queries[0].name.eq_case(&asked.queries[0].name));
        let words = |records: &[Record]| {
            let mut words: Vec<String> = records
                .iter()
                .map(|record| format!("{} {} {}", record.record_type(), record.data, record.ttl))
                .collect();
            words.sort();
            words.join(", ")
        };
        let negative = |word: &str| {
            let soa = answer.authorities.first().expect("an SOA");
            assert!(matches!(soa.data, RData::SOA(_)) && answer.answers.is_empty());
            format!("{word} {}", soa.ttl)
        };
        match answer.metadata.response_code {
            ResponseCode::NXDomain => negative("nxdomain"),
            ResponseCode::Refused => "refused".into(),
            ResponseCode::NoError if answer.answers.is_empty() => negative("nodata"),
            ResponseCode::NoError => {
                // The answers after an alias have other owners.
                let is_alias = answer.answers[0].record_type() == RecordType::CNAME;
                for record in &answer.answers {
                    assert!(is_alias || record.name == asked.queries[0].name);
                }
                match answer.additionals.is_empty() {
                    true => words(&answer.answers),
                    false => format!(
                        "{} + {}",
                        words(&answer.answers),
                        words(&answer.additionals)
                    ),
                }
            }
            code => code.to_string(),
        }
    }
}
