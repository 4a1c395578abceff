//! Writes responses in wire format.
//!
//! A [`Reply`] starts with a copy of the question, so that the case of its name is preserved. A name that ends like the
//! question's is compressed with a pointer into it; nothing else is compressed. Records that do not fit are left out:
//! additional records silently, others with the truncation bit.

use crate::{
    name::Name,
    question::{HEADER, Question},
    record::{CLASS_IN, QUESTION_POINTER, RECORD_HEAD, RecordType, SRV_TARGET, address_type},
};
use std::net::IpAddr;

/// The maximum length of a response over UDP, in bytes: avoids fragmentation on nearly all paths (DNS flag day 2020).
pub(crate) const UDP_LIMIT: u16 = 1232;

/// The length of a response that every client accepts over UDP, in bytes (RFC 1035 §4.2.1).
const PLAIN_LIMIT: u16 = 512;

/// The length of the OPT record of our responses, which has no options, in bytes.
const OPT_LENGTH: usize = 11;

/// The greatest offset of a compression pointer.
const LAST_POINTABLE: usize = 0x3fff;

/// The transport of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A response code, as its number (RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u16);

impl Code {
    pub(crate) const NO_ERROR: Self = Self(0);
    pub(crate) const FORM_ERR: Self = Self(1);
    pub(crate) const SERV_FAIL: Self = Self(2);
    pub(crate) const NX_DOMAIN: Self = Self(3);
    pub(crate) const NOT_IMP: Self = Self(4);
    pub(crate) const REFUSED: Self = Self(5);
    pub(crate) const BAD_VERS: Self = Self(16);
}

/// The maximum length of the response that the client accepts, in bytes.
pub(crate) fn limit(question: &Question<'_>, transport: Transport) -> u16 {
    match (transport, &question.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.payload.clamp(PLAIN_LIMIT, UDP_LIMIT),
        (Transport::Udp, None) => PLAIN_LIMIT,
    }
}

/// The owner of a record.
#[derive(Clone, Copy)]
enum Owner<'n> {
    /// The name at this offset in the message.
    At(u16),
    Named(&'n Name),
}

/// A response under construction.
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    /// The maximum length without the OPT record, in bytes.
    limit: usize,
    /// The end offset of the question.
    question_end: usize,
    /// The flags of the response, before the code and the bits that [`Reply::finish`] adds.
    flags: u16,
    /// The DO bit, if the query has an OPT record.
    edns: Option<bool>,
    /// The offset of the owner of the next record: the question's name, or the target of the last alias.
    owner: u16,
    /// The number of records in the answer, authority and additional sections.
    counts: [u16; 3],
    truncated: bool,
}

impl<'o> Reply<'o> {
    /// Starts the response to a query in `out`, replacing its content.
    pub(crate) fn start(
        out: &'o mut Vec<u8>,
        question: &Question<'_>,
        transport: Transport,
    ) -> Self {
        out.clear();
        out.extend_from_slice(&question.header.id.to_be_bytes());
        out.extend_from_slice(&[0; HEADER - 2]);
        out.extend_from_slice(question.name);
        out.push(0);
        out.extend_from_slice(&u16::from(question.kind).to_be_bytes());
        out.extend_from_slice(&question.class.to_be_bytes());
        let edns = question.edns.map(|edns| edns.dnssec_ok);
        let reserved = if edns.is_some() { OPT_LENGTH } else { 0 };
        Self {
            limit: usize::from(limit(question, transport)) - reserved,
            question_end: out.len(),
            flags: question.header.response_flags(),
            edns,
            owner: HEADER as u16,
            counts: [0; 3],
            truncated: false,
            out,
        }
    }

    /// Takes the response so far, to be completed with an upstream's records; returns the message and the end
    /// offset of its question.
    pub(crate) fn take_partial(&mut self) -> (Vec<u8>, usize) {
        self.finish(Code::NO_ERROR, false, true);
        (std::mem::take(self.out), self.question_end)
    }

    /// Whether there are no records so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts == [0; 3]
    }

    /// Sets the truncation bit.
    pub(crate) fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// Removes all records.
    pub(crate) fn clear(&mut self) {
        self.out.truncate(self.question_end);
        self.owner = HEADER as u16;
        self.counts = [0; 3];
        self.truncated = false;
    }

    /// Adds a record of [`crate::record::Records`] to the answers.
    pub(crate) fn answer(&mut self, record: &[u8]) {
        let at = self.out.len();
        if !self.fits(record.len()) {
            self.truncated = true;
            return;
        }
        self.out.extend_from_slice(record);
        if self.owner != HEADER as u16 {
            self.out[at..at + 2].copy_from_slice(&pointer(self.owner));
        }
        self.counts[0] += 1;
    }

    /// Adds an `SRV` record like [`Reply::answer`]; returns the offset of its target, for
    /// [`Reply::additional`]. `None` if the record did not fit, or the offset is too great for a compression pointer.
    pub(crate) fn answer_srv(&mut self, record: &[u8]) -> Option<u16> {
        let at = self.out.len();
        self.answer(record);
        let target = at + RECORD_HEAD + SRV_TARGET;
        (self.out.len() > at && target <= LAST_POINTABLE).then_some(target as u16)
    }

    /// Adds an answer whose data is a name, such as `NS` or `PTR`.
    pub(crate) fn answer_name(&mut self, kind: RecordType, ttl: u32, name: &Name) {
        let owner = Owner::At(self.owner);
        self.record(0, owner, kind, ttl, |reply| {
            reply.name(name);
        });
    }

    /// Adds a `CNAME` record; its target owns the answers that are added after it.
    pub(crate) fn alias(&mut self, ttl: u32, target: &Name) {
        let owner = Owner::At(self.owner);
        let mut at = 0;
        let written = self.record(0, owner, RecordType::CNAME, ttl, |reply| {
            at = reply.name(target);
        });
        // Invariant: at most eight aliases of at most 267 bytes are before this one.
        if written && at <= LAST_POINTABLE {
            self.owner = at as u16;
        }
    }

    /// Adds the zone's SOA to the answers.
    pub(crate) fn answer_soa(&mut self, authority: &Authority, serial: u32) {
        let owner = Owner::At(self.owner);
        self.soa(0, owner, authority, serial);
    }

    /// Adds the zone's SOA to the authority section, for negative caching (RFC 2308).
    pub(crate) fn negative(&mut self, authority: &Authority, serial: u32) {
        self.soa(1, Owner::Named(&authority.zone), authority, serial);
    }

    /// Adds an address to the answers.
    pub(crate) fn answer_address(&mut self, ttl: u32, address: IpAddr) {
        self.address(0, Owner::At(self.owner), ttl, address);
    }

    /// Adds an address of the name at offset `owner` of the message to the additional section, if it fits.
    pub(crate) fn additional(&mut self, owner: u16, ttl: u32, address: IpAddr) {
        self.extra(Owner::At(owner), ttl, address);
    }

    /// Adds an address of a name to the additional section, if it fits.
    pub(crate) fn additional_of(&mut self, owner: &Name, ttl: u32, address: IpAddr) {
        self.extra(Owner::Named(owner), ttl, address);
    }

    fn extra(&mut self, owner: Owner<'_>, ttl: u32, address: IpAddr) {
        let truncated = self.truncated;
        self.address(2, owner, ttl, address);
        // Omitted additional records do not set the truncation bit.
        self.truncated = truncated;
    }

    fn address(&mut self, section: usize, owner: Owner<'_>, ttl: u32, address: IpAddr) {
        let kind = address_type(address);
        self.record(section, owner, kind, ttl, |reply| match address {
            IpAddr::V4(address) => reply.out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => reply.out.extend_from_slice(&address.octets()),
        });
    }

    fn soa(&mut self, section: usize, owner: Owner<'_>, authority: &Authority, serial: u32) {
        let ttl = authority.ttl;
        self.record(section, owner, RecordType::SOA, ttl, |reply| {
            reply.name(&authority.name_server);
            reply.name(&authority.contact);
            // Refresh, retry and expiry are those of Route 53; these zones are not transferred.
            for number in [serial, 7200, 900, 1_209_600, ttl] {
                reply.out.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    /// Adds a record; returns `false`, with nothing written, if it does not fit.
    fn record(
        &mut self,
        section: usize,
        owner: Owner<'_>,
        kind: RecordType,
        ttl: u32,
        data: impl FnOnce(&mut Self),
    ) -> bool {
        debug_assert!(self.counts[section + 1..].iter().all(|count| *count == 0));
        let start = self.out.len();
        match owner {
            Owner::At(offset) => self.out.extend_from_slice(&pointer(offset)),
            Owner::Named(name) => {
                self.name(name);
            }
        }
        self.out.extend_from_slice(&u16::from(kind).to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&[0; 2]);
        let data_start = self.out.len();
        data(self);
        // Invariant: names and numbers, far below 65,536 bytes.
        let length = (self.out.len() - data_start) as u16;
        self.out[data_start - 2..data_start].copy_from_slice(&length.to_be_bytes());
        if !self.fits(0) {
            self.out.truncate(start);
            self.truncated = true;
            return false;
        }
        self.counts[section] += 1;
        true
    }

    fn fits(&self, more: usize) -> bool {
        !self.truncated && self.out.len() + more <= self.limit
    }

    /// Writes a name, compressed if it ends like the question's. Returns its offset.
    fn name(&mut self, name: &Name) -> usize {
        let wire = name.as_wire();
        // The end of the question's name, without the root's zero byte, the type and the class.
        let asked_end = self.question_end - 5;
        let mut front = 0;
        while front < wire.len() {
            let rest = &wire[front..];
            if let Some(start) = asked_end.checked_sub(rest.len()).filter(|at| *at >= HEADER)
                && self.out[start..asked_end].eq_ignore_ascii_case(rest)
            {
                let at = self.out.len();
                self.out.extend_from_slice(&wire[..front]);
                self.out.extend_from_slice(&pointer(start as u16));
                return if front == 0 { start } else { at };
            }
            front += 1 + usize::from(rest[0]);
        }
        let at = self.out.len();
        self.out.extend_from_slice(wire);
        self.out.push(0);
        at
    }

    /// Writes the OPT record and the header. Returns whether the response was truncated.
    pub(crate) fn finish(&mut self, code: Code, authoritative: bool, recursion: bool) -> bool {
        let mut additionals = self.counts[2];
        if let Some(dnssec_ok) = self.edns.take() {
            additionals += 1;
            // The upper bits of an extended code.
            let high = (code.0 >> 4) as u8;
            self.out.push(0);
            self.out
                .extend_from_slice(&u16::from(RecordType::OPT).to_be_bytes());
            self.out.extend_from_slice(&UDP_LIMIT.to_be_bytes());
            let dnssec_ok = if dnssec_ok { 0x80 } else { 0 };
            self.out.extend_from_slice(&[high, 0, dnssec_ok, 0, 0, 0]);
        }
        let mut flags = self.flags | code.0 & 15;
        for (bit, is_set) in [
            (0x0400, authoritative),
            (0x0200, self.truncated),
            (0x0080, recursion),
        ] {
            if is_set {
                flags |= bit;
            }
        }
        let words = [flags, 1, self.counts[0], self.counts[1], additionals];
        for (field, word) in self.out[2..HEADER].chunks_exact_mut(2).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        self.truncated
    }
}

/// A zone's SOA record without its serial.
pub(crate) struct Authority {
    pub(crate) zone: Name,
    pub(crate) name_server: Name,
    pub(crate) contact: Name,
    /// The TTL of the record and of negative answers, in seconds.
    pub(crate) ttl: u32,
}

impl Authority {
    /// The SOA of a zone whose name server is `<name_server>.<zone>`.
    pub(crate) fn new(zone: Name, name_server: &str, ttl: u32) -> Self {
        // If these names are too long, the zone's own name is used.
        let under = |text| Name::under(text, &zone).unwrap_or_else(|| zone.clone());
        Self {
            name_server: under(name_server),
            contact: under("hostmaster"),
            ttl,
            zone,
        }
    }
}

fn pointer(offset: u16) -> [u8; 2] {
    (u16::from_be_bytes(QUESTION_POINTER) & 0xc000 | offset).to_be_bytes()
}

/// Writes a response to a message without a valid question: the header only.
pub(crate) fn header_only(header: crate::question::Header, code: Code, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&header.id.to_be_bytes());
    out.extend_from_slice(&(header.response_flags() | code.0).to_be_bytes());
    out.extend_from_slice(&[0; HEADER - 4]);
}

#[cfg(test)]
mod tests;
