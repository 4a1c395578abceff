//! A value to a typed one, by one deserializer for all types.
//!
//! `serde_path_to_error` over `serde_ignored` does the same by wrapping: every type is then compiled for each layer of
//! wrappers, which was four fifths of the code of the crate that reads Kubernetes objects. A single concrete
//! [`Deserializer`] compiles each type once.

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected,
        MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor, value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};
use std::{cell::RefCell, fmt};
use tombolo_model::FieldPath;

/// A typed value, and what was in the document and not in the type.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The typed value.
    pub value: T,
    /// Paths of the fields that the type does not have, in the order of the document.
    pub unknown: Vec<FieldPath>,
}

/// Why a value is not of the type asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// The field at fault; of a missing field, the structure that lacks it.
    pub field: FieldPath,
    /// What is wrong, in serde's words: "invalid type: string \"x\", expected u16".
    pub message: String,
    /// Whether a value has the wrong JSON type, in contrast to a missing field or a value out of its range. A null
    /// stands for an absent field, so a null is never a wrong type.
    pub is_wrong_type: bool,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_root() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// Decodes a value and reports the fields that the type does not have.
///
/// # Errors
/// The first field that does not fit the type.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<Decoded<T>, DecodeError> {
    let unknown = RefCell::default();
    let value = read(value, &unknown)?;
    Ok(Decoded {
        value,
        unknown: unknown.into_inner(),
    })
}

/// Decodes a value and ignores the fields that the type does not have.
///
/// # Errors
/// The first field that does not fit the type.
pub fn decode_known<T: DeserializeOwned>(value: &Value) -> Result<T, DecodeError> {
    read(value, &RefCell::default())
}

fn read<T: DeserializeOwned>(
    value: &Value,
    unknown: &RefCell<Vec<FieldPath>>,
) -> Result<T, DecodeError> {
    let node = Node {
        value,
        path: Path::Root,
        unknown,
    };
    T::deserialize(node).map_err(|error| DecodeError {
        field: error.field.unwrap_or_default(),
        message: error.message,
        is_wrong_type: error.is_wrong_type,
    })
}

/// A value on its way into a type.
#[derive(Clone, Copy)]
struct Node<'de, 'p> {
    value: &'de Value,
    path: Path<'de, 'p>,
    unknown: &'p RefCell<Vec<FieldPath>>,
}

/// Where a node is, as a list on the stack: no path is built until somebody asks.
#[derive(Clone, Copy)]
enum Path<'de, 'p> {
    Root,
    Field(&'p Path<'de, 'p>, &'de str),
    Index(&'p Path<'de, 'p>, usize),
}

impl Path<'_, '_> {
    fn to_field_path(self) -> FieldPath {
        match self {
            Self::Root => FieldPath::root(),
            Self::Field(parent, name) => parent.to_field_path().field(name),
            Self::Index(parent, index) => parent.to_field_path().index(index),
        }
    }
}

/// An error on its way out; the innermost node that sees it says where it is.
#[derive(Debug)]
struct Error {
    field: Option<FieldPath>,
    message: String,
    is_wrong_type: bool,
}

impl Error {
    fn at(mut self, path: Path<'_, '_>) -> Self {
        self.field.get_or_insert_with(|| path.to_field_path());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            field: None,
            message: message.to_string(),
            is_wrong_type: false,
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        if matches!(unexpected, Unexpected::Unit) {
            return Self::custom(format_args!("invalid type: null, expected {expected}"));
        }
        Self {
            is_wrong_type: true,
            ..Self::custom(format_args!(
                "invalid type: {unexpected}, expected {expected}"
            ))
        }
    }
}

impl<'de> Node<'de, '_> {
    fn wrong_type(&self, expected: &dyn Expected) -> Error {
        let unexpected = match self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Unexpected::Unsigned(value),
                (None, Some(value)) => Unexpected::Signed(value),
                (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        };
        Error::invalid_type(unexpected, expected)
    }

    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => self.visit_items(items, visitor),
            Value::Object(members) => self.visit_members(members, visitor),
        }
    }

    fn visit_items<V: Visitor<'de>>(
        self,
        items: &'de [Value],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut access = Items {
            node: self,
            items: items.iter().enumerate(),
        };
        let value = visitor.visit_seq(&mut access)?;
        match access.items.next() {
            None => Ok(value),
            Some(_) => Err(Error::invalid_length(
                items.len(),
                &"fewer elements in array",
            )),
        }
    }

    fn visit_members<V: Visitor<'de>>(
        self,
        members: &'de Map<String, Value>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Members {
            node: self,
            members: members.iter(),
            next: None,
        })
    }

    /// Decodes what is in this node, one step further in.
    fn descend<S: DeserializeSeed<'de>>(
        &self,
        path: Path<'de, '_>,
        value: &'de Value,
        seed: S,
    ) -> Result<S::Value, Error> {
        let node = Node {
            value,
            path,
            unknown: self.unknown,
        };
        // Types that decode by a function of their own make errors that no node has seen.
        seed.deserialize(node).map_err(|error| error.at(path))
    }
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(visitor).map_err(|error| error.at(self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
        .map_err(|error| error.at(self.path))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|error| error.at(self.path))
    }

    /// serde takes an array for a structure, with the fields in their order; here it is a wrong type.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(members) => self.visit_members(members, visitor),
            _ => Err(self.wrong_type(&visitor)),
        }
        .map_err(|error| error.at(self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (variant, content) = match self.value {
            Value::String(variant) => (variant, None),
            Value::Object(members) if members.len() == 1 => {
                let (variant, content) = members.iter().next().expect("there is one");
                (variant, Some(content))
            }
            Value::Object(_) => {
                let error = Error::invalid_value(Unexpected::Map, &"map with a single key");
                return Err(error.at(self.path));
            }
            _ => return Err(self.wrong_type(&"string or map").at(self.path)),
        };
        let variant = Variant {
            node: self,
            name: variant,
            content,
        };
        visitor
            .visit_enum(variant)
            .map_err(|error| error.at(self.path))
    }

    /// serde asks for nothing in particular only where a type has no such field.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unknown.borrow_mut().push(self.path.to_field_path());
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Items<'de, 'p> {
    node: Node<'de, 'p>,
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for &mut Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        let path = Path::Index(&self.node.path, index);
        self.node.descend(path, value, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members<'de, 'p> {
    node: Node<'de, 'p>,
    members: serde_json::map::Iter<'de>,
    /// The member whose key was taken and whose value was not.
    next: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Members<'de, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some((key, value)) = self.members.next() else {
            return Ok(None);
        };
        self.next = Some((key, value));
        let path = Path::Field(&self.node.path, key);
        seed.deserialize(BorrowedStrDeserializer::new(key))
            .map(Some)
            .map_err(|error: Error| error.at(path))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (key, value) = self.next.take().expect("serde takes the key first");
        let path = Path::Field(&self.node.path, key);
        self.node.descend(path, value, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}

/// One variant of an enum: `"name"`, or `{"name": content}`.
struct Variant<'de, 'p> {
    node: Node<'de, 'p>,
    name: &'de str,
    content: Option<&'de Value>,
}

impl<'de> EnumAccess<'de> for Variant<'de, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name = seed.deserialize(BorrowedStrDeserializer::new(self.name))?;
        Ok((name, self))
    }
}

impl<'de> Variant<'de, '_> {
    fn path(&self) -> Path<'de, '_> {
        Path::Field(&self.node.path, self.name)
    }

    /// The content as a node; an error where there is none.
    fn content<'p>(&'p self, expected: &str) -> Result<Node<'de, 'p>, Error> {
        match self.content {
            Some(value) => Ok(Node {
                value,
                path: self.path(),
                unknown: self.node.unknown,
            }),
            None => Err(Error::invalid_type(Unexpected::UnitVariant, &expected)),
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(self
                .content("unit variant")?
                .wrong_type(&"unit variant")
                .at(self.path())),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let node = self.content("newtype variant")?;
        seed.deserialize(node)
            .map_err(|error| error.at(self.path()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _size: usize, visitor: V) -> Result<V::Value, Error> {
        self.content("tuple variant")?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.content("struct variant")?
            .deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests;
