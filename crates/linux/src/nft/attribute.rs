//! Netlink attributes: length, type, value, padding to four bytes. Integers of nf_tables are big-endian.

const NESTED: u16 = 1 << 15;
const KIND: u16 = 0x3fff;

/// A growing list of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds bytes. Panics when one attribute exceeds 64 KiB: callers bound the length of nested attributes.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("an attribute is shorter than 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A string with its closing zero.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn nested(self, kind: u16, inner: &Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// The items as attributes of kind 1, the form of nf_tables lists.
    pub(super) fn list(items: impl Iterator<Item = Attributes>) -> Self {
        items.fold(Self::new(), |list, item| list.nested(1, &item))
    }

    pub(super) fn followed_by(mut self, rest: &Attributes) -> Self {
        self.0.extend_from_slice(&rest.0);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Kind (without flags) and value of every attribute, up to the first malformed one.
pub(super) fn each(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND, value))
    })
}

/// The value of the first attribute of this kind.
pub(super) fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    each(attributes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}
