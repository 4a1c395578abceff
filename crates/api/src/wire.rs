//! The wire formats that several services share: protocols, encodings, parsing of inputs, paging of lists.

pub(crate) mod cbor;
pub(crate) mod epoch;
pub(crate) mod json;
pub(crate) mod paging;
pub(crate) mod percent;
mod protocol;
pub(crate) mod xml;

pub(crate) use paging::Paging;
pub(crate) use protocol::Protocol;
