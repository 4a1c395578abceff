//! Parses queries.
//!
//! The parser copies nothing and follows no compression pointer: the name of a question cannot have one (only
//! the header precedes it), and the names of other records are skipped. So it cannot loop, and its work is
//! bounded by the length of the message.

use crate::{
    name::{Key, MAX_LABEL_LEN, MAX_NAME_LEN},
    record::RecordType,
};

/// The length of a message's header, in bytes.
pub(crate) const HEADER: usize = 12;

/// The EDNS option that lists the servers that forwarded a query, eight bytes each; from the
/// range for local use (RFC 6891 §9).
pub(crate) const HOPS_OPTION: u16 = 65_360;

/// The id and the flags of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u16,
    flags: u16,
}

impl Header {
    pub(crate) fn opcode(self) -> u8 {
        (self.flags >> 11) as u8 & 15
    }

    fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(crate) fn recursion_desired(self) -> bool {
        self.flags & 0x0100 != 0
    }

    pub(crate) fn checking_disabled(self) -> bool {
        self.flags & 0x0010 != 0
    }

    /// The flags of the response: the QR bit, and the flags that a response copies from the query.
    pub(crate) fn response_flags(self) -> u16 {
        // Opcode, recursion desired, checking disabled.
        0x8000 | self.flags & 0x7910
    }
}

/// A parsed query.
pub(crate) struct Question<'a> {
    pub(crate) header: Header,
    /// The name as wire labels without the root's zero byte, in its original case.
    pub(crate) name: &'a [u8],
    pub(crate) key: Key,
    pub(crate) kind: RecordType,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns<'a>>,
}

/// The content of an OPT record (RFC 6891 §6).
#[derive(Clone, Copy)]
pub(crate) struct Edns<'a> {
    /// The longest response that the client accepts over UDP, in bytes.
    pub(crate) payload: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    options: &'a [u8],
}

impl<'a> Edns<'a> {
    /// The ids of the servers that forwarded the query, eight bytes each.
    pub(crate) fn hops(&self) -> &'a [u8] {
        let mut reader = Reader(self.options);
        while let Some((code, value)) = reader.option() {
            if code == HOPS_OPTION {
                return value;
            }
        }
        &[]
    }
}

/// Bytes that are no valid query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QuestionError {
    /// No header, or itself a response: no response is sent.
    NoQuery,
    /// Not exactly one well-formed question: FORMERR.
    Malformed(Header),
    /// An opcode other than QUERY: NOTIMP.
    Unsupported(Header),
}

impl<'a> Question<'a> {
    /// Parses a message.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, QuestionError> {
        let mut reader = Reader(bytes);
        let head: &[u8; HEADER] = reader
            .take(HEADER)
            .and_then(|head| head.try_into().ok())
            .ok_or(QuestionError::NoQuery)?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let header = Header {
            id: word(0),
            flags: word(2),
        };
        if header.is_response() {
            return Err(QuestionError::NoQuery);
        }
        if header.opcode() != 0 {
            return Err(QuestionError::Unsupported(header));
        }
        // One question, no answers. A query of IXFR has the client's SOA in the authority section.
        let (questions, answers, authorities, additionals) = (word(4), word(6), word(8), word(10));
        if questions != 1 || answers != 0 {
            return Err(QuestionError::Malformed(header));
        }
        Self::read_body(header, &mut reader, authorities, additionals)
            .filter(|_| reader.0.is_empty())
            .ok_or(QuestionError::Malformed(header))
    }

    fn read_body(
        header: Header,
        reader: &mut Reader<'a>,
        authorities: u16,
        additionals: u16,
    ) -> Option<Self> {
        let name = reader.question_name()?;
        let kind = RecordType::from(reader.u16()?);
        let class = reader.u16()?;
        for _ in 0..authorities {
            let record = reader.record()?;
            if record.kind == RecordType::OPT {
                return None;
            }
        }
        let mut edns = None;
        for _ in 0..additionals {
            let record = reader.record()?;
            if record.kind != RecordType::OPT {
                continue;
            }
            let mut options = Reader(record.data);
            while options.option().is_some() {}
            if edns.is_some() || !record.is_at_root || !options.0.is_empty() {
                return None;
            }
            edns = Some(Edns {
                payload: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & 0x8000 != 0,
                options: record.data,
            });
        }
        Some(Self {
            header,
            name,
            key: Key::of_wire(name)?,
            kind,
            class,
            edns,
        })
    }
}

/// The fixed fields of a record, and its data.
struct RecordHeader<'a> {
    /// Whether the owner is the root.
    is_at_root: bool,
    kind: RecordType,
    class: u16,
    ttl: u32,
    data: &'a [u8],
}

/// A reader of the remaining bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Reads a name without pointers; returns its labels without the root's zero byte.
    fn question_name(&mut self) -> Option<&'a [u8]> {
        let mut length = 0;
        loop {
            let label = usize::from(*self.0.get(length)?);
            if label == 0 {
                break;
            }
            length += 1 + label;
            if label > MAX_LABEL_LEN || length > MAX_NAME_LEN {
                return None;
            }
        }
        let name = self.take(length)?;
        self.take(1)?;
        Some(name)
    }

    /// Skips a name, which may end in a compression pointer; returns whether it is the root.
    fn skip_name(&mut self) -> Option<bool> {
        let mut length = 0;
        loop {
            let label = self.take(1)?[0];
            match label {
                0 => return Some(length == 0),
                // A compression pointer ends the name; it is not followed.
                0xc0.. => {
                    self.take(1)?;
                    return Some(false);
                }
                _ if usize::from(label) > MAX_LABEL_LEN => return None,
                _ => {
                    self.take(usize::from(label))?;
                    length += 1 + usize::from(label);
                    if length > MAX_NAME_LEN {
                        return None;
                    }
                }
            }
        }
    }

    fn record(&mut self) -> Option<RecordHeader<'a>> {
        let is_at_root = self.skip_name()?;
        let kind = RecordType::from(self.u16()?);
        let class = self.u16()?;
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let length = self.u16()?;
        Some(RecordHeader {
            is_at_root,
            kind,
            class,
            ttl,
            data: self.take(usize::from(length))?,
        })
    }

    /// The next EDNS option; `None` at the end, and if the remaining bytes are no option.
    fn option(&mut self) -> Option<(u16, &'a [u8])> {
        let before = self.0;
        let option = (|| {
            let code = self.u16()?;
            let length = self.u16()?;
            Some((code, self.take(usize::from(length))?))
        })();
        if option.is_none() {
            self.0 = before;
        }
        option
    }
}

#[cfg(test)]
mod tests;
