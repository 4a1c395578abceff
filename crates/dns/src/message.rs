//! Messages: foreign bytes in, bounded bytes out.
//!
//! `hickory-proto` reads and writes the parts. This module decides what is accepted (one question, counts
//! believed only as far as bytes follow) and how an answer that is too long is cut.

use hickory_proto::{
    ProtoError,
    op::{
        Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
        emit_message_parts,
    },
    rr::{
        Record,
        rdata::opt::{EdnsCode, EdnsOption},
    },
    serialize::binary::{BinDecodable, BinDecoder, BinEncoder},
};

/// The largest UDP answer: it fits into an unfragmented packet on every path (DNS flag day 2020).
pub(crate) const UDP_LIMIT: u16 = 1232;

/// What every client takes over UDP (RFC 1035 §4.2.1).
const PLAIN_LIMIT: u16 = 512;

/// The bytes of the OPT record of our answers, which carries no options.
const OPT_LENGTH: u16 = 11;

/// The option that carries the servers a forwarded question came through, eight bytes each; from the
/// range for local use (RFC 6891 §9).
const TRAIL: u16 = 65_360;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A message with one question.
pub(crate) struct Packet {
    pub(crate) metadata: Metadata,
    pub(crate) question: Query,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    pub(crate) edns: Option<Edns>,
}

/// Why bytes are no [`Packet`].
pub(crate) enum Fault {
    /// Not even a header, or a message of the other direction: nobody waits for an answer to it.
    Headless,
    /// No well-formed message; the header is as far as it could be read.
    Malformed(Metadata),
    /// Well-formed so far, but of a kind that has no question as we know it.
    Unsupported(Metadata),
}

impl Packet {
    /// Reads a message. Stops before the question unless `expected` is the message's type, so that no
    /// work is spent on answers that nobody asked for.
    pub(crate) fn read(bytes: &[u8], expected: MessageType) -> Result<Self, Fault> {
        let mut decoder = BinDecoder::new(bytes);
        let Header { metadata, counts } =
            Header::read(&mut decoder).map_err(|_| Fault::Headless)?;
        if metadata.message_type != expected {
            return Err(Fault::Headless);
        }
        if metadata.op_code != OpCode::Query {
            return Err(Fault::Unsupported(metadata));
        }
        // Before anything is reserved by these counts: a question takes five bytes, a record eleven.
        let records = usize::from(counts.answers)
            + usize::from(counts.authorities)
            + usize::from(counts.additionals);
        if counts.queries != 1 || 5 + 11 * records > bytes.len() {
            return Err(Fault::Malformed(metadata));
        }
        let malformed = |_| Fault::Malformed(metadata);
        let question = Query::read(&mut decoder).map_err(malformed)?;
        let mut section = |count: u16, is_last: bool| {
            Message::read_records(&mut decoder, usize::from(count), is_last, OpCode::Query)
                .map_err(malformed)
        };
        let (answers, ..) = section(counts.answers, false)?;
        let (authorities, ..) = section(counts.authorities, false)?;
        let (additionals, edns, _) = section(counts.additionals, true)?;
        let mut metadata = metadata;
        if let Some(edns) = &edns {
            metadata.merge_response_code(edns.rcode_high());
        }
        Ok(Self {
            metadata,
            question,
            answers,
            authorities,
            additionals,
            edns,
        })
    }

    /// The servers that the question came through.
    pub(crate) fn trail(&self) -> &[u8] {
        match self
            .edns
            .as_ref()
            .and_then(|edns| edns.option(EdnsCode::Unknown(TRAIL)))
        {
            Some(EdnsOption::Unknown(_, trail)) => trail,
            _ => &[],
        }
    }
}

/// How the answer to a question has to look, whatever it says.
#[derive(Clone)]
pub(crate) struct Envelope {
    /// The header to answer with.
    pub(crate) metadata: Metadata,
    /// `None` if the question could not be read.
    pub(crate) question: Option<Query>,
    /// Bytes that the client takes.
    limit: u16,
    edns: Option<Edns>,
}

impl Envelope {
    /// For a question that was understood.
    pub(crate) fn of(packet: &Packet, transport: Transport, recursion_available: bool) -> Self {
        let mut metadata = Metadata::response_from_request(&packet.metadata);
        metadata.recursion_available = recursion_available;
        let limit = match (transport, &packet.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_LIMIT, UDP_LIMIT),
            (Transport::Udp, None) => PLAIN_LIMIT,
        };
        let edns = packet.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_LIMIT);
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        Self {
            metadata,
            question: Some(packet.question.clone()),
            limit,
            edns,
        }
    }

    /// For a message that was not.
    pub(crate) fn of_fault(metadata: &Metadata) -> Self {
        Self {
            metadata: Metadata::response_from_request(metadata),
            question: None,
            limit: PLAIN_LIMIT,
            edns: None,
        }
    }
}

/// What an answer says.
#[derive(Default)]
pub(crate) struct Response {
    pub(crate) code: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Response {
    pub(crate) fn of_code(code: ResponseCode) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    /// Writes the answer into `out`, replacing what it held. True if it had to be cut.
    ///
    /// An answer that is too long loses its additional records first, which nobody misses. Then it keeps
    /// as many answers as fit and says so: a client that cannot ask again over TCP has something, the
    /// others ask again.
    pub(crate) fn write(&self, envelope: &Envelope, out: &mut Vec<u8>) -> bool {
        let mut metadata = envelope.metadata;
        metadata.response_code = self.code;
        metadata.authoritative = self.authoritative;
        let emit = |metadata: &Metadata,
                    answers: &[Record],
                    rest: [&[Record]; 2],
                    limit,
                    edns,
                    out: &mut Vec<u8>| {
            out.clear();
            let mut encoder = BinEncoder::new(out);
            encoder.set_max_size(limit);
            emit_message_parts(
                metadata,
                &mut envelope.question.iter(),
                &mut answers.iter(),
                &mut rest[0].iter(),
                &mut rest[1].iter(),
                edns,
                None,
                &mut encoder,
            )
        };
        let edns = envelope.edns.as_ref();
        let whole: [[&[Record]; 2]; 2] = [
            [&self.authorities, &self.additionals],
            [&self.authorities, &[]],
        ];
        for rest in whole {
            match emit(&metadata, &self.answers, rest, envelope.limit, edns, out) {
                Ok(header) if !header.metadata.truncation => return false,
                Ok(_) => {}
                Err(error) => return unwritable(envelope, &error, out),
            }
        }
        // Room for the OPT record is kept by counting how many answers fit beside it.
        let room = envelope.limit.saturating_sub(OPT_LENGTH);
        let fitting = match emit(&metadata, &self.answers, [&[], &[]], room, None, out) {
            Ok(header) => usize::from(header.counts.answers),
            Err(error) => return unwritable(envelope, &error, out),
        };
        metadata.truncation = true;
        let answers = &self.answers[..fitting.min(self.answers.len())];
        match emit(&metadata, answers, [&[], &[]], envelope.limit, edns, out) {
            Ok(_) => true,
            Err(error) => unwritable(envelope, &error, out),
        }
    }
}

/// An answer that cannot be encoded at all becomes a bare `SERVFAIL`; the client must not wait.
fn unwritable(envelope: &Envelope, error: &ProtoError, out: &mut Vec<u8>) -> bool {
    tracing::warn!(%error, "an answer cannot be written");
    let mut metadata = envelope.metadata;
    metadata.response_code = ResponseCode::ServFail;
    let message = Message::new(metadata.id, MessageType::Response, metadata.op_code);
    out.clear();
    let mut encoder = BinEncoder::new(out);
    // Invariant: a header of twelve bytes always fits.
    let _ = emit_message_parts(
        &metadata,
        &mut envelope.question.iter(),
        &mut message.answers.iter(),
        &mut message.authorities.iter(),
        &mut message.additionals.iter(),
        None,
        None,
        &mut encoder,
    );
    false
}

/// The bytes of a question to another server, with the servers it came through.
pub(crate) fn ask(
    id: u16,
    question: &Query,
    trail: Option<Vec<u8>>,
) -> Result<Vec<u8>, ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(question.clone());
    if let Some(trail) = trail {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_LIMIT);
        edns.options_mut().insert(EdnsOption::Unknown(TRAIL, trail));
        message.set_edns(edns);
    }
    message.to_vec()
}
