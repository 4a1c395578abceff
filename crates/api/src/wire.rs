//! What several services share on the wire: protocols, encodings, reading inputs, pages of lists.

pub(crate) mod cbor;
pub(crate) mod epoch;
pub(crate) mod json;
pub(crate) mod paging;
pub(crate) mod percent;
mod protocol;
pub(crate) mod xml;

pub(crate) use paging::Paging;
pub(crate) use protocol::Protocol;
