//! Resource records in wire format, to be copied into answers.

use crate::name::Name;
pub use hickory_proto::rr::RecordType;
use std::net::IpAddr;

/// The record types with their own counters.
pub(crate) const NAMED: [RecordType; 10] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::SOA,
    RecordType::TXT,
    RecordType::ANY,
    RecordType::AXFR,
];

/// The class `IN`, the only one that is served.
pub(crate) const CLASS_IN: u16 = 1;

/// The compression pointer to the question's name, whose offset is the same in every message (RFC 1035 §4.1.4).
pub(crate) const QUESTION_POINTER: [u8; 2] = [0xc0, 12];

/// The length of a record before its data, if its owner is a compression pointer, in bytes.
pub(crate) const RECORD_HEAD: usize = 12;

/// Records of one type in wire format, all owned by the question's name.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// The end offset of each record.
    ends: Vec<u32>,
}

impl Records {
    /// Adds a record, unless its data is longer than 65,535 bytes.
    pub(crate) fn push(&mut self, kind: RecordType, ttl: u32, data: &[u8]) {
        let Ok(length) = u16::try_from(data.len()) else {
            return;
        };
        self.bytes.extend_from_slice(&QUESTION_POINTER);
        self.bytes.extend_from_slice(&u16::from(kind).to_be_bytes());
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

    /// Whether one of the records has exactly this data.
    pub(crate) fn contains(&self, data: &[u8]) -> bool {
        (0..self.len()).any(|index| self.get(index)[RECORD_HEAD..] == *data)
    }

    /// The bytes of a record.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        &self.bytes[start..self.ends[index] as usize]
    }
}

/// The type of the record of an address.
pub(crate) fn address_type(address: IpAddr) -> RecordType {
    match address {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    }
}

/// The data of an `SRV` record, whose target must not be compressed (RFC 2782).
pub(crate) fn srv_data(priority: u16, weight: u16, port: u16, target: &Name) -> Vec<u8> {
    let mut data = Vec::with_capacity(7 + target.as_wire().len());
    for number in [priority, weight, port] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend_from_slice(target.as_wire());
    data.push(0);
    data
}

/// The offset of the target within the data of an `SRV` record, in bytes.
pub(crate) const SRV_TARGET: usize = 6;
