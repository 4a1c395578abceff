//! One transaction: all of it takes effect at once, or none.

use super::attribute::Attributes;
use super::expression::Expression;
use super::{message_kind, payload};
use crate::netlink::{Message, Netlink};
use crate::{Error, Result};

const NEW_TABLE: u8 = 0;
const DELETE_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const NEW_RULE: u8 = 6;
const NEW_SET: u8 = 9;
const NEW_SET_ELEMENT: u8 = 12;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

const KERNEL_LACKS: &str = "the kernel may lack a part of nf_tables, among nft_nat, nft_redir, nft_reject, nft_fib, \
                            nft_ct and nft_numgen; try to load them with modprobe";
const TOO_MANY: &str = "the rules exceed what an ordinary user may send at once; raise the limit as root with \
                        `sysctl -w net.core.wmem_max=67108864`, or run this as root";

/// The address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4 = 2,
    /// IPv6.
    Ipv6 = 10,
}

/// The hook of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Packets that arrive, before routing.
    Prerouting = 0,
    /// Packets that this namespace forwards.
    Forward = 2,
    /// Packets that this namespace sends.
    Output = 3,
    /// Packets that leave, after routing.
    Postrouting = 4,
}

/// A base chain: attached to a hook, with the policy "accept".
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// Name, unique in the table.
    pub name: &'a str,
    /// "nat" or "filter".
    pub kind: &'a str,
    /// The hook.
    pub hook: Hook,
    /// Priority at the hook; lower runs first. Destination NAT is -100, filters 0, source NAT 100.
    pub priority: i32,
}

/// A transaction that replaces one table. Add to it, then [`commit`](Batch::commit).
#[derive(Debug)]
pub struct Batch {
    family: Family,
    table: String,
    messages: Vec<Message>,
    /// Description of each message, for errors. Same length and order as `messages`.
    labels: Vec<String>,
    sets: u32,
}

impl Batch {
    /// Starts a transaction after which the table contains exactly what is added to the batch.
    pub fn replacing(family: Family, table: &str) -> Self {
        let mut batch = Self::deleting(family, table);
        batch.add_table();
        batch
    }

    /// Starts a transaction after which the table does not exist.
    pub fn deleting(family: Family, table: &str) -> Self {
        let mut batch = Self {
            family,
            table: table.into(),
            messages: Vec::new(),
            labels: Vec::new(),
            sets: 0,
        };
        batch.boundary(BATCH_BEGIN, "begin a packet rule transaction");
        // Deleting a table that does not exist fails the transaction, so it is created first.
        batch.add_table();
        let label = format!("delete table {table}");
        batch.push(DELETE_TABLE, 0, &Attributes::new(), label);
        batch
    }

    fn boundary(&mut self, kind: u16, label: &str) {
        self.messages.push(Message {
            kind,
            flags: 0,
            payload: payload(0, SUBSYSTEM, &Attributes::new()),
        });
        self.labels.push(label.into());
    }

    fn add_table(&mut self) {
        let label = format!("add table {}", self.table);
        self.push(NEW_TABLE, CREATE, &Attributes::new().u32(2, 0), label);
    }

    /// Adds a message. In each kind of message, the first attribute is the name of the table.
    fn push(&mut self, kind: u8, flags: u16, attributes: &Attributes, label: String) {
        let attributes = Attributes::new()
            .text(1, &self.table)
            .followed_by(attributes);
        self.messages.push(Message {
            kind: message_kind(kind),
            flags,
            payload: payload(self.family as u8, 0, &attributes),
        });
        self.labels.push(label);
    }

    /// Adds a base chain, which receives packets from its hook.
    pub fn base_chain(&mut self, chain: Chain<'_>) {
        const ACCEPT: u32 = 1;
        let hook = Attributes::new()
            .u32(1, chain.hook as u32)
            .u32(2, chain.priority as u32);
        let attributes = Attributes::new()
            .text(3, chain.name)
            .nested(4, &hook)
            .u32(5, ACCEPT)
            .text(7, chain.kind);
        let label = format!("add chain {}", chain.name);
        self.push(NEW_CHAIN, CREATE, &attributes, label);
    }

    /// Adds a chain that rules jump to.
    pub fn chain(&mut self, name: &str) {
        let attributes = Attributes::new().text(3, name);
        self.push(NEW_CHAIN, CREATE, &attributes, format!("add chain {name}"));
    }

    /// Adds a rule at the end of a chain. `label` names it in errors.
    pub fn rule(
        &mut self,
        chain: &str,
        label: &str,
        expressions: impl IntoIterator<Item = Expression>,
    ) {
        let list = Attributes::list(expressions.into_iter().map(|expression| expression.0));
        let attributes = Attributes::new().text(2, chain).nested(4, &list);
        let label = format!("add packet rule \"{label}\" to chain {chain}");
        self.push(NEW_RULE, CREATE | APPEND, &attributes, label);
    }

    /// Adds a set to which rules add elements (see [`Expression::count_in`]), with at most `size` elements.
    pub fn counting_set(&mut self, name: &str, key_length: u32, size: u32) {
        const EVALUATED: u32 = 0x20;
        self.set(name, EVALUATED, key_length, None, size as usize);
    }

    /// Adds a set with these elements, each `key_length` bytes.
    pub fn constant_set(&mut self, name: &str, key_length: u32, elements: &[Vec<u8>]) {
        self.set(name, 0, key_length, None, elements.len());
        self.elements(name, elements.iter().map(|key| element(key)).collect());
    }

    /// Adds a map with these keys and values, each `key_length` and `value_length` bytes.
    pub fn constant_map(
        &mut self,
        name: &str,
        key_length: u32,
        value_length: u32,
        elements: &[(Vec<u8>, Vec<u8>)],
    ) {
        const MAP: u32 = 0x8;
        self.set(name, MAP, key_length, Some(value_length), elements.len());
        let with_value = |(key, value): &(Vec<u8>, Vec<u8>)| {
            element(key).nested(2, &Attributes::new().bytes(1, value))
        };
        self.elements(name, elements.iter().map(with_value).collect());
    }

    fn set(
        &mut self,
        name: &str,
        flags: u32,
        key_length: u32,
        value_length: Option<u32>,
        size: usize,
    ) {
        self.sets += 1;
        let size = u32::try_from(size.max(1)).unwrap_or(u32::MAX);
        let mut attributes = Attributes::new()
            .text(2, name)
            .u32(3, flags)
            .u32(4, 0)
            .u32(5, key_length)
            .nested(9, &Attributes::new().u32(1, size))
            .u32(10, self.sets);
        if let Some(length) = value_length {
            attributes = attributes.u32(6, 0).u32(7, length);
        }
        self.push(NEW_SET, CREATE, &attributes, format!("add set {name}"));
    }

    fn elements(&mut self, set: &str, elements: Vec<Attributes>) {
        // An attribute is at most 64 KiB long.
        for some in elements.chunks(500) {
            let list = Attributes::list(some.iter().cloned());
            let attributes = Attributes::new().text(2, set).nested(3, &list);
            let label = format!("add elements to set {set}");
            self.push(NEW_SET_ELEMENT, CREATE, &attributes, label);
        }
    }

    /// Sends the transaction to the network namespace of `netlink`, which must be a netfilter socket.
    pub(crate) fn commit_on(mut self, netlink: &mut Netlink) -> Result<()> {
        if let Some(last) = self.messages.last_mut() {
            last.flags |= libc::NLM_F_ACK as u16;
        }
        let last = self.messages.len() - 1;
        self.boundary(BATCH_END, "end a packet rule transaction");
        netlink
            .send_batch(&self.messages, last)
            .map_err(|(index, cause)| {
                let label = index.and_then(|index| self.labels.get(index));
                let error = Error::new(label.map_or("change packet rules", String::as_str), cause);
                match error.raw_os_error() {
                    Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT) => {
                        error.hint(KERNEL_LACKS)
                    }
                    Some(libc::EMSGSIZE) => error.hint(TOO_MANY),
                    _ => error,
                }
            })
    }

    /// Sends the transaction to the current network namespace.
    ///
    /// # Errors
    /// The rule that the kernel refused, with a hint when it lacks a feature or the rules exceed a limit.
    pub fn commit(self) -> Result<()> {
        self.commit_on(&mut Netlink::open(libc::NETLINK_NETFILTER as isize)?)
    }
}

fn element(key: &[u8]) -> Attributes {
    Attributes::new().nested(1, &Attributes::new().bytes(1, key))
}
