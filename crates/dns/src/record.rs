//! Records, ready to be copied into answers.

use crate::name::Name;
use std::{fmt, net::IpAddr};

/// A type of record, as its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

#[allow(missing_docs)]
impl RecordType {
    pub const A: Self = Self(1);
    pub const NS: Self = Self(2);
    pub const CNAME: Self = Self(5);
    pub const SOA: Self = Self(6);
    pub const PTR: Self = Self(12);
    pub const TXT: Self = Self(16);
    pub const AAAA: Self = Self(28);
    pub const SRV: Self = Self(33);
    pub const OPT: Self = Self(41);
    pub const TKEY: Self = Self(249);
    pub const TSIG: Self = Self(250);
    pub const IXFR: Self = Self(251);
    pub const AXFR: Self = Self(252);
    pub const MAILB: Self = Self(253);
    pub const MAILA: Self = Self(254);
    pub const ANY: Self = Self(255);
}

/// The types that are counted and shown by name.
pub(crate) const NAMED: [(RecordType, &str); 10] = [
    (RecordType::A, "A"),
    (RecordType::AAAA, "AAAA"),
    (RecordType::SRV, "SRV"),
    (RecordType::PTR, "PTR"),
    (RecordType::CNAME, "CNAME"),
    (RecordType::NS, "NS"),
    (RecordType::SOA, "SOA"),
    (RecordType::TXT, "TXT"),
    (RecordType::ANY, "ANY"),
    (RecordType::AXFR, "AXFR"),
];

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(kind, _)| kind == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The class of everything here.
pub(crate) const CLASS_IN: u16 = 1;

/// Where the question's name is in every message, as a compression pointer (RFC 1035 §4.1.4).
pub(crate) const QUESTION_POINTER: [u8; 2] = [0xc0, 12];

/// Bytes of a record before its data when its owner is a pointer.
pub(crate) const RECORD_HEAD: usize = 12;

/// Records of one type, in wire form, all owned by the name of the question.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<u32>,
}

impl Records {
    /// Adds a record; one with more data than a record can have is left out.
    pub(crate) fn push(&mut self, kind: RecordType, ttl: u32, data: &[u8]) {
        let Ok(length) = u16::try_from(data.len()) else {
            return;
        };
        self.bytes.extend_from_slice(&QUESTION_POINTER);
        self.bytes.extend_from_slice(&kind.0.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(data);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Adds an address, as `A` or `AAAA`.
    pub(crate) fn push_address(&mut self, ttl: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.push(RecordType::A, ttl, &address.octets()),
            IpAddr::V6(address) => self.push(RecordType::AAAA, ttl, &address.octets()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether one of them has just this data.
    pub(crate) fn holds(&self, data: &[u8]) -> bool {
        (0..self.len()).any(|index| self.get(index)[RECORD_HEAD..] == *data)
    }

    /// The bytes of a record, which must be one of these.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        &self.bytes[start..self.ends[index] as usize]
    }
}

/// The type of an address's record.
pub(crate) fn address_type(address: IpAddr) -> RecordType {
    match address {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    }
}

/// The data of an `SRV` record. Its target must not be compressed (RFC 2782).
pub(crate) fn srv_data(priority: u16, weight: u16, port: u16, target: &Name) -> Vec<u8> {
    let mut data = Vec::with_capacity(7 + target.as_wire().len());
    for number in [priority, weight, port] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend_from_slice(target.as_wire());
    data.push(0);
    data
}

/// Where the target is within the data of an `SRV` record.
pub(crate) const SRV_TARGET: usize = 6;
