//! Domain names in wire format, and as keys of look-ups.

use std::{fmt, net::IpAddr};

/// The maximum length of a name in wire format, without the root's zero byte, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 254;

/// The maximum length of a label, in bytes.
pub(crate) const MAX_LABEL_LEN: usize = 63;

/// A name as wire labels (length, bytes, length, bytes …) without the root's zero byte. The case is preserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(Box<[u8]>);

impl Name {
    /// The name of these labels; `None` if a label is empty or too long, or the name is too long.
    pub(crate) fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = Vec::new();
        for label in labels {
            if label.is_empty() || label.len() > MAX_LABEL_LEN {
                return None;
            }
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        (wire.len() <= MAX_NAME_LEN).then(|| Self(wire.into()))
    }

    /// Parses a dotted name, with or without a trailing dot. There are no escapes: every dot
    /// separates, every other byte is literal. `None` if it is not valid, and for the root.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::from_labels(text.split('.').map(str::as_bytes))
    }

    /// The name with these labels, separated by dots without escapes, in front of a domain.
    pub(crate) fn under(text: &str, domain: &Name) -> Option<Self> {
        let labels = text.split('.').map(str::as_bytes).chain(domain.labels());
        Self::from_labels(labels)
    }

    /// The name with this one label of any bytes in front of a domain.
    pub(crate) fn child(label: &[u8], domain: &Name) -> Option<Self> {
        Self::from_labels(std::iter::once(label).chain(domain.labels()))
    }

    /// The name of wire labels, which must be well-formed and not too long.
    pub(crate) fn from_wire(wire: &[u8]) -> Self {
        debug_assert!(wire.len() <= MAX_NAME_LEN);
        Self(wire.into())
    }

    /// The reverse name of an address (RFC 1035 §3.5, RFC 3596 §2.5).
    pub(crate) fn reverse(address: IpAddr) -> Self {
        let text = match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(address) => {
                let mut text = String::with_capacity(72);
                for byte in address.octets().iter().rev() {
                    text.push_str(&format!("{:x}.{:x}.", byte & 15, byte >> 4));
                }
                text + "ip6.arpa"
            }
        };
        // Invariant: at most 34 labels of at most 7 bytes.
        Self::parse(&text).expect("short labels")
    }

    /// The wire labels.
    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels, first to last.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }

    /// The key of the name for look-ups.
    pub(crate) fn key(&self) -> Key {
        // Invariant: a name is no longer than a key.
        Key::of_wire(&self.0).expect("a name fits into a key")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

/// A name as lower-case wire labels without the root's zero byte.
///
/// In this form each ancestor is a suffix slice, so that a look-up from the full name up to the root needs no
/// allocation, and labels with dots or any other byte need no escapes.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    bytes: [u8; MAX_NAME_LEN],
    length: u8,
}

impl Key {
    /// The key of wire labels, which must be well-formed; `None` if they are too long.
    pub(crate) fn of_wire(wire: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_NAME_LEN];
        let key = bytes.get_mut(..wire.len())?;
        key.copy_from_slice(wire);
        // Length bytes are at most 63, which is below every letter.
        key.make_ascii_lowercase();
        Some(Self {
            bytes,
            length: wire.len() as u8,
        })
    }

    /// The wire labels.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// This name and its ancestors, longest first, without the root.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        parents(self.as_bytes())
    }

    /// The address of a reverse name.
    pub(crate) fn reversed_address(&self) -> Option<IpAddr> {
        let bytes = self.as_bytes();
        if let Some(front) = bytes.strip_suffix(b"\x07in-addr\x04arpa") {
            let mut octets = [0; 4];
            let mut found = labels(front);
            for octet in octets.iter_mut().rev() {
                let text = std::str::from_utf8(found.next()?).ok()?;
                *octet = text.parse().ok()?;
                // Reject other spellings (`010`, `+1`) of the same address.
                if octet.to_string() != text {
                    return None;
                }
            }
            return found.next().is_none().then(|| octets.into());
        }
        let front = bytes.strip_suffix(b"\x03ip6\x04arpa")?;
        let mut bits = 0_u128;
        let mut found = labels(front);
        for nibble in 0..32 {
            let &[digit] = found.next()? else { return None };
            let digit = char::from(digit).to_digit(16)?;
            bits |= u128::from(digit) << (4 * nibble);
        }
        found.next().is_none().then(|| bits.to_be_bytes().into())
    }
}

/// A name in wire labels and its ancestors, longest first, without the root.
pub(crate) fn parents(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        let this = rest;
        rest = rest.get(1 + length..)?;
        Some(this)
    })
}

/// The labels in wire labels.
fn labels(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    parents(bytes).filter_map(first_label)
}

/// The first label of a name in wire labels.
pub(crate) fn first_label(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*bytes.first()?);
    bytes.get(1..1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_climb_to_the_top_level() {
        let key = Name::parse("Blue.Color.Local.").expect("a name").key();
        let found: Vec<&[u8]> = key.suffixes().collect();
        assert_eq!(
            found,
            [
                b"\x04blue\x05color\x05local".as_slice(),
                b"\x05color\x05local",
                b"\x05local"
            ]
        );
    }

    #[test]
    fn what_cannot_be_a_name_is_none() {
        let long_label = "a".repeat(64);
        let long_name = format!("{}a", format!("{}.", "a".repeat(63)).repeat(4));
        for text in ["", ".", "a..b", ".a", &long_label, &long_name] {
            assert!(Name::parse(text).is_none(), "{text:?}");
        }
        let longest = format!(
            "{}{}",
            format!("{}.", "a".repeat(63)).repeat(3),
            "a".repeat(61)
        );
        assert_eq!(Name::parse(&longest).expect("a name").as_wire().len(), 254);
        assert!(Name::parse(&format!("{longest}a")).is_none());
    }

    #[test]
    fn addresses_have_reverse_names_and_back() {
        for (address, name) in [
            ("10.1.2.3", "3.2.1.10.in-addr.arpa."),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
            ),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let reverse = Name::reverse(address);
            assert_eq!(reverse.to_string(), name);
            assert_eq!(reverse.key().reversed_address(), Some(address));
        }
        for text in [
            "2.1.10.in-addr.arpa",
            "0.3.2.1.10.in-addr.arpa",
            "03.2.1.10.in-addr.arpa",
            "256.2.1.10.in-addr.arpa",
            "+3.2.1.10.in-addr.arpa",
            "1.0.ip6.arpa",
            "in-addr.arpa",
            "x.example",
        ] {
            let key = Name::parse(text).expect("a name").key();
            assert_eq!(key.reversed_address(), None, "{text}");
        }
    }

    #[test]
    fn odd_bytes_are_shown_escaped() {
        let domain = Name::parse("s.n").expect("a name");
        let name = Name::child(b"a.b\\ \x00", &domain).expect("a name");
        assert_eq!(name.to_string(), "a\\.b\\\\\\032\\000.s.n.");
    }
}
