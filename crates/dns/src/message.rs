//! Messages to and from upstreams.
//!
//! Queries are written here; answers are parsed and written by `hickory-proto`, after their header and question were
//! compared with the query, byte for byte.

use crate::{
    name::Name as OwnName,
    question::{HEADER, HOPS_OPTION},
    record::{CLASS_IN, RecordType},
    reply::{Code, UDP_LIMIT},
    responder::Pending,
};
use fastrand::Rng;
use hickory_proto::{
    ProtoError,
    op::{Edns, Message, Metadata, ResponseCode, emit_message_parts},
    rr::{Name, Record},
    serialize::binary::BinEncoder,
};

/// The length of the OPT record of our answers, which has no options, in bytes.
const OPT_LENGTH: u16 = 11;

/// A query to an upstream.
pub(crate) struct ForwardedQuery {
    pub(crate) bytes: Vec<u8>,
    /// Offset of the end of the question section.
    end: usize,
}

/// A datagram or message from an upstream, parsed.
pub(crate) enum ParsedResponse {
    /// No response to this query, or no message at all.
    Ignored,
    /// A response whose name differs from the query's in case only.
    CaseMismatch,
    /// A truncated response: the query must be repeated over TCP.
    Truncated,
    /// The response.
    Answer(UpstreamResponse),
}

/// The response of an upstream.
pub(crate) struct UpstreamResponse(pub(crate) Message);

impl UpstreamResponse {
    pub(crate) fn code(&self) -> Code {
        Code(u16::from(self.0.metadata.response_code))
    }
}

impl ForwardedQuery {
    /// A query with a random id and with its name in random case: a forger of answers has to guess both
    /// (draft-vixie-dnsext-dns0x20). Old servers may need a query without `edns`.
    pub(crate) fn new(pending: &Pending, rng: &mut Rng, edns: bool) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + 300);
        let mut flags = 0x0100;
        if pending.checking_disabled {
            flags |= 0x0010;
        }
        for word in [rng.u64(..) as u16, flags, 1, 0, 0, u16::from(edns)] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        let mut random_bits = 0;
        for (index, byte) in pending.target.as_wire().iter().enumerate() {
            if index % 64 == 0 {
                random_bits = rng.u64(..);
            }
            // Length bytes are at most 63, so they are no letters.
            let flip = byte.is_ascii_alphabetic() && random_bits >> (index % 64) & 1 == 1;
            bytes.push(if flip { byte ^ 0x20 } else { *byte });
        }
        bytes.push(0);
        bytes.extend_from_slice(&u16::from(pending.kind).to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        let end = bytes.len();
        if edns {
            bytes.push(0);
            bytes.extend_from_slice(&u16::from(RecordType::OPT).to_be_bytes());
            bytes.extend_from_slice(&UDP_LIMIT.to_be_bytes());
            let dnssec_ok = if pending.dnssec_ok { 0x80 } else { 0 };
            bytes.extend_from_slice(&[0, 0, dnssec_ok, 0]);
            // Invariant: at most `MAX_HOPS` servers, eight bytes each.
            let hops = pending.hops.len() as u16;
            for word in [hops + 4, HOPS_OPTION, hops] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes.extend_from_slice(&pending.hops);
        }
        Self { bytes, end }
    }

    /// Parses a message from the upstream. With `exact`, the case of the name must be that of the query.
    pub(crate) fn parse_response(&self, bytes: &[u8], exact: bool) -> ParsedResponse {
        let Some(head) = bytes.get(..self.end) else {
            return ParsedResponse::Ignored;
        };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        // A response with opcode QUERY and one question.
        let is_response = word(2) & 0xf800 == 0x8000 && word(4) == 1;
        let (asked, answered) = (&self.bytes[HEADER..self.end], &head[HEADER..]);
        if head[..2] != self.bytes[..2] || !is_response || !answered.eq_ignore_ascii_case(asked) {
            return ParsedResponse::Ignored;
        }
        if exact && answered != asked {
            return ParsedResponse::CaseMismatch;
        }
        if word(2) & 0x0200 != 0 {
            return ParsedResponse::Truncated;
        }
        // Checked before memory is reserved by these counts: a record takes at least eleven bytes.
        let records: usize = [6, 8, 10].map(|at| usize::from(word(at))).iter().sum();
        if 11 * records > bytes.len() {
            return ParsedResponse::Ignored;
        }
        match Message::from_vec(bytes) {
            Ok(message) => ParsedResponse::Answer(UpstreamResponse(message)),
            Err(_) => ParsedResponse::Ignored,
        }
    }
}

/// Writes the response to a forwarded query into `out`: the aliases from our zones, then the upstream's records;
/// SERVFAIL if no upstream answered. Returns the code, and whether the response was truncated.
pub(crate) fn complete(
    pending: &Pending,
    response: Option<UpstreamResponse>,
    out: &mut Vec<u8>,
) -> (Code, bool) {
    let partial = Message::from_vec(&pending.partial).map_err(ProtoError::from);
    let written = partial.and_then(|mut message| {
        message.metadata.recursion_available = true;
        message.metadata.authoritative = false;
        match response {
            Some(UpstreamResponse(response)) => join(pending, &mut message, response)?,
            None => {
                message.answers.clear();
                message.metadata.response_code = ResponseCode::ServFail;
            }
        }
        let code = Code(u16::from(message.metadata.response_code));
        Ok((code, write(&message, pending.limit, out)?))
    });
    written.unwrap_or_else(|error| {
        tracing::warn!(%error, "an upstream's answer cannot be passed on");
        // The client must get a response: the partial one without its records, with SERVFAIL.
        out.clear();
        out.extend_from_slice(&pending.partial[..pending.question_end]);
        out[3] = 0x80 | Code::SERV_FAIL.0 as u8;
        out[6..HEADER].fill(0);
        (Code::SERV_FAIL, false)
    })
}

/// Adds the records of the upstream's response.
fn join(pending: &Pending, message: &mut Message, response: Message) -> Result<(), ProtoError> {
    message.metadata.response_code = response.metadata.response_code;
    let target = name(&pending.target)?;
    if pending.flattened {
        // Only records of the query's type, under the query's name; aliases in between are left out.
        let asked = message.queries.first().map(|query| query.name.clone());
        let of_type = response
            .answers
            .into_iter()
            .filter(|record| record.record_type() == pending.kind);
        message.answers.extend(of_type.map(|mut record| {
            record.name = asked.clone().unwrap_or_default();
            record
        }));
        if response.metadata.response_code == ResponseCode::NXDomain {
            // The query's name exists; its alias target does not.
            message.metadata.response_code = ResponseCode::NoError;
        }
        return Ok(());
    }
    // Restore the case of the name, which was random for the upstream.
    let restore = |mut record: Record| {
        if record.name == target {
            record.name = target.clone();
        }
        record
    };
    message
        .answers
        .extend(response.answers.into_iter().map(restore));
    message.authorities = response.authorities;
    message.additionals = response.additionals.into_iter().map(restore).collect();
    Ok(())
}

fn name(name: &OwnName) -> Result<Name, ProtoError> {
    Name::from_labels(name.labels())
}

/// Writes a message into `out`, replacing its content. True if the message was truncated.
///
/// A response that is too long loses its additional records first, without the truncation bit. Then it gets as
/// many answers as fit and the truncation bit, so that a client can repeat the query over TCP or use these answers.
fn write(message: &Message, limit: u16, out: &mut Vec<u8>) -> Result<bool, ProtoError> {
    let mut emit = |metadata: &Metadata,
                    answers: &[Record],
                    rest: [&[Record]; 2],
                    limit,
                    edns: Option<&Edns>| {
        out.clear();
        let mut encoder = BinEncoder::new(out);
        encoder.set_max_size(limit);
        emit_message_parts(
            metadata,
            &mut message.queries.iter(),
            &mut answers.iter(),
            &mut rest[0].iter(),
            &mut rest[1].iter(),
            edns,
            None,
            &mut encoder,
        )
    };
    let edns = message.edns.as_ref();
    let mut metadata = message.metadata;
    metadata.truncation = false;
    let candidates: [[&[Record]; 2]; 2] = [
        [&message.authorities, &message.additionals],
        [&message.authorities, &[]],
    ];
    for rest in candidates {
        if !emit(&metadata, &message.answers, rest, limit, edns)?
            .metadata
            .truncation
        {
            return Ok(false);
        }
    }
    // Count the answers that fit beside the OPT record.
    let limit_without_opt = limit.saturating_sub(OPT_LENGTH);
    let header = emit(
        &metadata,
        &message.answers,
        [&[], &[]],
        limit_without_opt,
        None,
    )?;
    let fitting = usize::from(header.counts.answers).min(message.answers.len());
    metadata.truncation = true;
    let answers = &message.answers[..fitting];
    emit(&metadata, answers, [&[], &[]], limit, edns)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
