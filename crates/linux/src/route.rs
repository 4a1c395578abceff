//! Links, addresses, routes and neighbours: rtnetlink's message types over a synchronous socket.
//!
//! rtnetlink's own connection is async and bound to a task; setting up a pod takes a dozen messages to two
//! namespaces, which the kernel answers synchronously, so they are sent as one datagram per namespace.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{Emitable as _, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, RouteMessageBuilder};

use crate::Result;
use crate::netlink::{Message, Netlink};

/// Loopback's index in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;

/// One change. The label names it in errors.
pub(crate) struct Change {
    flags: u16,
    message: RouteNetlinkMessage,
    label: String,
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) index: u32,
    pub(crate) name: &'a str,
    pub(crate) hardware: [u8; 6],
}

impl Change {
    fn new(flags: u16, message: RouteNetlinkMessage, label: impl Into<String>) -> Self {
        let label = label.into();
        Self {
            flags,
            message,
            label,
        }
    }

    /// A veth pair between the socket's namespace and another. The far end stays down: the kernel cannot bring it up
    /// before the near one exists.
    pub(crate) fn veth_pair(near: End<'_>, far: End<'_>, far_namespace: i32) -> Self {
        let mut peer = end(far);
        peer.attributes.push(LinkAttribute::NetNsFd(far_namespace));
        let mut message = up(end(near));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let label = format!("connect {}", near.name);
        Self::new(CREATE, RouteNetlinkMessage::NewLink(message), label)
    }

    pub(crate) fn link_up(index: u32) -> Self {
        let message = RouteNetlinkMessage::SetLink(up(link(index)));
        Self::new(0, message, format!("bring link {index} up"))
    }

    pub(crate) fn delete_link(index: u32) -> Self {
        let message = RouteNetlinkMessage::DelLink(link(index));
        Self::new(0, message, format!("delete link {index}"))
    }

    pub(crate) fn address(index: u32, address: Ipv4Addr) -> Self {
        let message = RouteNetlinkMessage::NewAddress(host_address(index, address));
        Self::new(REPLACE, message, format!("add address {address}"))
    }

    /// A route to one address that is on the link.
    pub(crate) fn direct_route(index: u32, address: Ipv4Addr) -> Self {
        let route: RouteMessage = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let label = format!("add a route to {address}");
        Self::new(CREATE, RouteNetlinkMessage::NewRoute(route), label)
    }

    /// The default route, through a gateway.
    pub(crate) fn default_route(index: u32, gateway: Ipv4Addr) -> Self {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .build();
        let message = RouteNetlinkMessage::NewRoute(route);
        Self::new(CREATE, message, "add a default route")
    }

    /// A permanent neighbour entry, which makes ARP unnecessary.
    pub(crate) fn neighbour(index: u32, address: Ipv4Addr, hardware: [u8; 6]) -> Self {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(hardware.to_vec()),
        ];
        let message = RouteNetlinkMessage::NewNeighbour(message);
        Self::new(REPLACE, message, format!("add neighbour {address}"))
    }

    /// Encodes the payload; the socket adds the header.
    fn encode(&self) -> Message {
        let mut message = NetlinkMessage::new(
            NetlinkHeader::default(),
            NetlinkPayload::from(self.message.clone()),
        );
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let payload = bytes.split_off(message.header.buffer_len());
        Message {
            kind: message.header.message_type,
            flags: self.flags,
            payload,
        }
    }
}

fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn end(end: End<'_>) -> LinkMessage {
    let mut message = link(end.index);
    message.attributes = vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::Address(end.hardware.to_vec()),
    ];
    message
}

fn host_address(index: u32, address: Ipv4Addr) -> AddressMessage {
    let mut message = AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(address, 32)
        .build();
    // Not AddressScope::Host: the kernel never chooses such an address as the source of a packet that leaves.
    message.header.scope = AddressScope::Universe;
    message
}

/// Applies the changes in order, in the socket's namespace. On an error the earlier ones stay.
pub(crate) fn apply(netlink: &mut Netlink, changes: &[Change]) -> Result<()> {
    let Some(last) = changes.len().checked_sub(1) else {
        return Ok(());
    };
    let mut messages: Vec<Message> = changes.iter().map(Change::encode).collect();
    messages[last].flags |= libc::NLM_F_ACK as u16;
    netlink
        .send_batch(&messages, last)
        .map_err(|(index, cause)| {
            let label = index
                .and_then(|index| changes.get(index))
                .map_or("configure links", |change| &change.label);
            crate::Error::new(label, cause)
        })
}

/// Opens a socket for [`apply`] in the calling thread's namespace.
pub(crate) fn open() -> Result<Netlink> {
    Netlink::open(libc::NETLINK_ROUTE as isize)
}

/// Whether the kernel reported that an object does not exist.
pub(crate) fn is_absent(error: &crate::Error) -> bool {
    let absent = [libc::ENODEV, libc::ESRCH].map(Some);
    absent.contains(&error.raw_os_error()) || error.kind() == io::ErrorKind::NotFound
}
