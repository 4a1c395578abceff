//! A small encoder for nf_tables: replaces a whole table in one transaction, and reads a set back.
//!
//! Read [`Batch`] first. netlink-packet-netfilter has only a few expressions (no nat, reject, dynset, fib, ct,
//! numgen), so the messages are encoded here; the attribute numbers are those of `linux/netfilter/nf_tables.h`.
//! Expressions pass values to each other in four 32-bit registers, [`REGISTER_0`] to [`REGISTER_3`].

mod attribute;
mod batch;
mod expression;
mod set;
#[cfg(test)]
mod tests;

use attribute::Attributes;

pub use batch::{Batch, Chain, Family, Hook};
pub use expression::{
    Comparison, Expression, Meta, PacketField, REGISTER_0, REGISTER_1, REGISTER_2, REGISTER_3,
    Verdict,
};
pub(crate) use set::{CountedElement, counted_elements};

/// The netlink message kind of an nf_tables operation.
fn message_kind(operation: u8) -> u16 {
    (10 << 8) | u16::from(operation)
}

/// `struct nfgenmsg` (family, version, resource) and the attributes.
fn payload(family: u8, resource: u16, attributes: &Attributes) -> Vec<u8> {
    let mut bytes = vec![family, 0];
    bytes.extend_from_slice(&resource.to_be_bytes());
    bytes.extend_from_slice(attributes.as_bytes());
    bytes
}
