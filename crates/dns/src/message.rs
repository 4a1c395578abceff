//! Messages to and from upstreams.
//!
//! A question is a few bytes that are written here; an answer is read and written by `hickory-proto`,
//! after its header and question were compared with what was asked, byte for byte.

use crate::{
    name::Name as OwnName,
    question::{HEADER, TRAIL},
    record::{CLASS_IN, RecordType},
    reply::{Code, UDP_LIMIT},
    responder::Pending,
    zone::Draw,
};
use hickory_proto::{
    ProtoError,
    op::{Edns, Message, Metadata, ResponseCode, emit_message_parts},
    rr::{Name, Record},
    serialize::binary::BinEncoder,
};

/// The bytes of the OPT record of our answers, which carries no options.
const OPT_LENGTH: u16 = 11;

/// A question to an upstream.
pub(crate) struct Asked {
    pub(crate) bytes: Vec<u8>,
    /// Where its question section ends.
    end: usize,
}

/// What comes back.
pub(crate) enum Heard {
    /// Not the answer to this question, or no message at all.
    Noise,
    /// An answer to this question, but for the upper and lower case of its name.
    OtherCase,
    /// The answer, which is cut.
    Cut,
    /// The answer.
    Answer(Upstream),
}

/// The answer of an upstream.
pub(crate) struct Upstream(pub(crate) Message);

impl Upstream {
    pub(crate) fn code(&self) -> Code {
        Code(u16::from(self.0.metadata.response_code))
    }
}

impl Asked {
    /// A question with a random id, and with its name in random upper and lower case: both have to be
    /// guessed by whoever forges an answer (draft-vixie-dnsext-dns0x20). Without `edns`, it is one that
    /// every old server understands.
    pub(crate) fn new(pending: &Pending, draw: &mut Draw, edns: bool) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + 300);
        let mut flags = 0x0100;
        if pending.checking_disabled {
            flags |= 0x0010;
        }
        for word in [draw.next() as u16, flags, 1, 0, 0, u16::from(edns)] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        let mut coins = 0;
        for (index, byte) in pending.target.as_wire().iter().enumerate() {
            if index % 64 == 0 {
                coins = draw.next();
            }
            // Lengths are no letters.
            let flip = byte.is_ascii_alphabetic() && coins >> (index % 64) & 1 == 1;
            bytes.push(if flip { byte ^ 0x20 } else { *byte });
        }
        bytes.push(0);
        bytes.extend_from_slice(&pending.kind.0.to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        let end = bytes.len();
        if edns {
            bytes.push(0);
            bytes.extend_from_slice(&RecordType::OPT.0.to_be_bytes());
            bytes.extend_from_slice(&UDP_LIMIT.to_be_bytes());
            let dnssec_ok = if pending.dnssec_ok { 0x80 } else { 0 };
            bytes.extend_from_slice(&[0, 0, dnssec_ok, 0]);
            // Invariant: a trail is at most eight servers long.
            let trail = pending.trail.len() as u16;
            for word in [trail + 4, TRAIL, trail] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes.extend_from_slice(&pending.trail);
        }
        Self { bytes, end }
    }

    /// Reads what came back. With `exact`, the case of the name has to be the one that was asked in.
    pub(crate) fn hear(&self, bytes: &[u8], exact: bool) -> Heard {
        let Some(front) = bytes.get(..self.end) else {
            return Heard::Noise;
        };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        // An answer, to an ordinary question, with one question in it.
        let is_answer = word(2) & 0xf800 == 0x8000 && word(4) == 1;
        let (asked, heard) = (&self.bytes[HEADER..self.end], &front[HEADER..]);
        if front[..2] != self.bytes[..2] || !is_answer || !heard.eq_ignore_ascii_case(asked) {
            return Heard::Noise;
        }
        if exact && heard != asked {
            return Heard::OtherCase;
        }
        if word(2) & 0x0200 != 0 {
            return Heard::Cut;
        }
        // Before anything is reserved by these counts: a record takes eleven bytes or more.
        let records: usize = [6, 8, 10].map(|at| usize::from(word(at))).iter().sum();
        if 11 * records > bytes.len() {
            return Heard::Noise;
        }
        match Message::from_vec(bytes) {
            Ok(message) => Heard::Answer(Upstream(message)),
            Err(_) => Heard::Noise,
        }
    }
}

/// Writes the answer to a forwarded question into `out`: what was known, and what the upstream said. A
/// question that no upstream answered fails. Returns the code, and whether the answer had to be cut.
pub(crate) fn complete(
    pending: &Pending,
    said: Option<Upstream>,
    out: &mut Vec<u8>,
) -> (Code, bool) {
    let begun = Message::from_vec(&pending.begun).map_err(ProtoError::from);
    let written = begun.and_then(|mut message| {
        message.metadata.recursion_available = true;
        message.metadata.authoritative = false;
        match said {
            Some(Upstream(said)) => join(pending, &mut message, said)?,
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
        // The client must not wait: what was begun, without its records, says that it failed.
        out.clear();
        out.extend_from_slice(&pending.begun[..pending.question_end]);
        out[3] = 0x80 | Code::SERV_FAIL.0 as u8;
        out[6..HEADER].fill(0);
        (Code::SERV_FAIL, false)
    })
}

/// Adds what the upstream said.
fn join(pending: &Pending, message: &mut Message, said: Message) -> Result<(), ProtoError> {
    message.metadata.response_code = said.metadata.response_code;
    let target = name(&pending.target)?;
    if pending.stands {
        // Only the records that the name asked for is to have; where they came from is nobody's business.
        let asked = message.queries.first().map(|query| query.name.clone());
        let wanted = said
            .answers
            .into_iter()
            .filter(|record| u16::from(record.record_type()) == pending.kind.0);
        message.answers.extend(wanted.map(|mut record| {
            record.name = asked.clone().unwrap_or_default();
            record
        }));
        if said.metadata.response_code == ResponseCode::NXDomain {
            // The name asked for exists.
            message.metadata.response_code = ResponseCode::NoError;
        }
        return Ok(());
    }
    // The random case was the upstream's business alone.
    let restore = |mut record: Record| {
        if record.name == target {
            record.name = target.clone();
        }
        record
    };
    message
        .answers
        .extend(said.answers.into_iter().map(restore));
    message.authorities = said.authorities;
    message.additionals = said.additionals.into_iter().map(restore).collect();
    Ok(())
}

fn name(name: &OwnName) -> Result<Name, ProtoError> {
    Name::from_labels(name.labels())
}

/// Writes a message into `out`, replacing what it held. True if it had to be cut.
///
/// An answer that is too long loses its additional records first, which nobody misses. Then it keeps as
/// many answers as fit and says so: a client that cannot ask again over TCP has something, the others ask
/// again.
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
    let whole: [[&[Record]; 2]; 2] = [
        [&message.authorities, &message.additionals],
        [&message.authorities, &[]],
    ];
    for rest in whole {
        if !emit(&metadata, &message.answers, rest, limit, edns)?
            .metadata
            .truncation
        {
            return Ok(false);
        }
    }
    // Room for the OPT record is kept by counting how many answers fit beside it.
    let room = limit.saturating_sub(OPT_LENGTH);
    let header = emit(&metadata, &message.answers, [&[], &[]], room, None)?;
    let fitting = usize::from(header.counts.answers).min(message.answers.len());
    metadata.truncation = true;
    let answers = &message.answers[..fitting];
    emit(&metadata, answers, [&[], &[]], limit, edns)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
