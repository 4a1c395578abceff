//! Reads a set back.

use super::attribute::{Attributes, each, find};
use super::{Family, message_kind, payload};
use crate::netlink::Netlink;
use crate::{Error, Result};

const GET_SET_ELEMENT: u8 = 13;

/// An element of a counting set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CountedElement {
    /// The key's bytes.
    pub(crate) key: Vec<u8>,
    /// Packets counted at this key.
    pub(crate) packets: u64,
}

/// All elements of a set made by [`Batch::counting_set`](super::Batch::counting_set), in the network namespace of
/// `netlink`.
pub(crate) fn counted_elements(
    netlink: &mut Netlink,
    family: Family,
    table: &str,
    set: &str,
) -> Result<Vec<CountedElement>> {
    let attributes = Attributes::new().text(1, table).text(2, set);
    let replies = netlink
        .dump(
            message_kind(GET_SET_ELEMENT),
            &payload(family as u8, 0, &attributes),
        )
        .map_err(|cause| Error::new(format!("read set {set}"), cause))?;
    Ok(replies.iter().flat_map(|reply| elements(reply)).collect())
}

/// Elements in one reply: a four-byte header, then attributes.
pub(super) fn elements(reply: &[u8]) -> Vec<CountedElement> {
    let list = reply
        .get(4..)
        .and_then(|attributes| find(attributes, 3))
        .unwrap_or_default();
    each(list)
        .filter_map(|(_, element)| counted(element))
        .collect()
}

fn counted(element: &[u8]) -> Option<CountedElement> {
    let key = find(find(element, 1)?, 1)?.to_vec();
    // A single expression is encoded directly, several as a list.
    let expression = find(element, 7).or_else(|| find(find(element, 11)?, 1))?;
    let packets = find(find(expression, 2)?, 2)?;
    Some(CountedElement {
        key,
        packets: u64::from_be_bytes(*packets.first_chunk()?),
    })
}
