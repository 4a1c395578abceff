//! Names as they are looked up.

use hickory_proto::rr::Name;

/// The longest name on the wire, without the root's zero byte.
const LONGEST: usize = 254;

/// A name as lower-case wire labels (length, bytes, length, bytes …) without the root's zero byte.
///
/// In this form each enclosing domain is a suffix slice, so that a lookup from the full name up to the
/// root costs no allocation, and labels that hold dots or any other byte need no escapes.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Key {
    fn of_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        let mut length = 0;
        for label in labels {
            let end = length + 1 + label.len();
            if label.is_empty() || label.len() > 63 || end > LONGEST {
                return None;
            }
            bytes[length] = label.len() as u8;
            bytes[length + 1..end].copy_from_slice(label);
            bytes[length + 1..end].make_ascii_lowercase();
            length = end;
        }
        Some(Self {
            bytes,
            length: length as u8,
        })
    }

    /// The key of a name; `None` for what cannot be a name.
    pub(crate) fn of(name: &Name) -> Option<Self> {
        Self::of_labels(name.iter())
    }

    /// The key of a dotted text, with or without a dot at its end. There are no escapes: every dot
    /// separates, every other byte stands for itself. `None` if a label is empty or anything is too long.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        Self::of_labels(text.split('.').map(str::as_bytes))
    }

    /// The wire labels.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// This name and each enclosing domain, longest first, without the root.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        parents(self.as_bytes())
    }
}

/// A name in wire labels and each enclosing domain, longest first, without the root.
pub(crate) fn parents(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        let this = rest;
        rest = rest.get(1 + length..)?;
        Some(this)
    })
}

/// The first label of a name in wire labels.
pub(crate) fn first_label(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*bytes.first()?);
    bytes.get(1..1 + length)
}

/// The name with these labels in front of a domain; `None` if it grows too long. As in [`Key::parse`],
/// every dot separates and nothing is escaped.
pub(crate) fn name_under(text: &str, domain: &Name) -> Option<Name> {
    let labels = text.split('.').map(str::as_bytes).chain(domain.iter());
    Name::from_labels(labels).ok()
}

/// The name of a dotted text; `None` for what [`Key::parse`] refuses.
pub(crate) fn name_of(text: &str) -> Option<Name> {
    Key::parse(text)?;
    let text = text.strip_suffix('.').unwrap_or(text);
    Name::from_labels(text.split('.').map(str::as_bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_climb_to_the_top_level() {
        let key = Key::parse("Blue.Color.Local.").expect("a name");
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
    fn what_cannot_be_a_name_has_no_key() {
        let long_label = "a".repeat(64);
        let long_name = format!("{}a", format!("{}.", "a".repeat(63)).repeat(4));
        for text in ["", ".", "a..b", ".a", &long_label, &long_name] {
            assert!(Key::parse(text).is_none(), "{text:?}");
            assert!(name_of(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn name_and_text_have_the_same_key() {
        for text in ["a", "_http._tcp.Web.example", "x/y:1@z.ns"] {
            let name = name_of(text).expect("a name");
            assert_eq!(
                Key::of(&name).expect("a key").as_bytes(),
                Key::parse(text).expect("a key").as_bytes()
            );
        }
    }
}
