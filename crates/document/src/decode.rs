//! Decodes values to types, with one concrete deserializer for all types.
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
use serde_json::Value;
use std::{cell::RefCell, fmt};
use tombolo_model::FieldPath;

/// A decoded value, and the fields in the document that its type does not have.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The typed value.
    pub value: T,
    /// Paths of the fields that the type does not have, in the order of the document.
    pub unknown: Vec<FieldPath>,
}

impl<T> Decoded<T> {
    /// The same with another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Decoded<U> {
        Decoded {
            value: map(self.value),
            unknown: self.unknown,
        }
    }
}

/// A value that does not fit a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// The invalid field; for a missing field, the structure that lacks it.
    pub field: FieldPath,
    /// The error, in serde's words: "invalid type: string \"x\", expected u16".
    pub message: String,
    /// Whether a value has the wrong JSON type, unlike a missing field or a value out of range. A null
    /// is an absent field, so it is never a wrong type.
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
    T::deserialize(node).map_err(|error| *error.0)
}

/// The deserializer of a value.
///
/// Every method that is generic is compiled for each type and each field of it, some thousand times: they are short,
/// and what can be done in a function that is not generic is done there.
#[derive(Clone, Copy)]
struct Node<'de, 'p> {
    value: &'de Value,
    path: Path<'de, 'p>,
    unknown: &'p RefCell<Vec<FieldPath>>,
}

/// The position of a value, as a linked list on the stack: a path is built only when needed.
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

/// An error during decoding. Its field is the root until the innermost member or item sets it.
#[derive(Debug)]
struct Error(Box<DecodeError>);

impl Error {
    #[cold]
    fn locate(&mut self, path: Path<'_, '_>) {
        if self.0.field.is_root() {
            self.0.field = path.to_field_path();
        }
    }

    fn new(message: fmt::Arguments<'_>, is_wrong_type: bool) -> Self {
        Self(Box::new(DecodeError {
            field: FieldPath::root(),
            message: message.to_string(),
            is_wrong_type,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(format_args!("{message}"), false)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        if matches!(unexpected, Unexpected::Unit) {
            return Self::custom(format_args!("invalid type: null, expected {expected}"));
        }
        Self::new(
            format_args!("invalid type: {unexpected}, expected {expected}"),
            true,
        )
    }
}

impl<'de, 'p> Node<'de, 'p> {
    #[cold]
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

    fn null<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn boolean<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Array(items) = self.value else {
            return Err(self.wrong_type(&visitor));
        };
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

    fn object<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Object(members) = self.value else {
            return Err(self.wrong_type(&visitor));
        };
        visitor.visit_map(Members {
            node: self,
            members: members.iter(),
            next: None,
        })
    }

    /// The member that names a variant of an enum, and its content.
    fn variant(self) -> Result<Variant<'de, 'p>, Error> {
        let (name, content) = match self.value {
            Value::String(name) => (name, None),
            Value::Object(members) => {
                let mut entries = members.iter();
                let (Some((name, content)), None) = (entries.next(), entries.next()) else {
                    return Err(Error::invalid_value(
                        Unexpected::Map,
                        &"map with a single key",
                    ));
                };
                (name, Some(content))
            }
            _ => return Err(self.wrong_type(&"string or map")),
        };
        Ok(Variant {
            node: self,
            name,
            content,
        })
    }
}

/// Implements deserializer methods, each by the function above for its JSON type.
macro_rules! ask_for {
    ($($read:ident: $($method:ident)+;)+) => {$($(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$read(visitor)
        }
    )+)+};
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => self.null(visitor),
            Value::Bool(_) => self.boolean(visitor),
            Value::Number(_) => self.number(visitor),
            Value::String(_) => self.text(visitor),
            Value::Array(_) => self.array(visitor),
            Value::Object(_) => self.object(visitor),
        }
    }

    ask_for! {
        null: deserialize_unit;
        boolean: deserialize_bool;
        number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
            deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64;
        text: deserialize_char deserialize_str deserialize_string deserialize_identifier;
        array: deserialize_seq;
        object: deserialize_map;
    }

    forward_to_deserialize_any! { bytes byte_buf unit_struct tuple tuple_struct }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// serde accepts an array for a structure, with the fields in their order; here it is a wrong type.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.object(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.variant()?)
    }

    /// serde ignores any value only if the type has no such field.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unknown.borrow_mut().push(self.path.to_field_path());
        visitor.visit_unit()
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
        let item = Node {
            value,
            path,
            unknown: self.node.unknown,
        };
        match seed.deserialize(item) {
            Ok(value) => Ok(Some(value)),
            Err(mut error) => {
                error.locate(path);
                Err(error)
            }
        }
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
        match seed.deserialize(BorrowedStrDeserializer::<Error>::new(key)) {
            Ok(key) => Ok(Some(key)),
            Err(mut error) => {
                error.locate(Path::Field(&self.node.path, key));
                Err(error)
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (key, value) = self.next.take().expect("serde takes the key first");
        let path = Path::Field(&self.node.path, key);
        let member = Node {
            value,
            path,
            unknown: self.node.unknown,
        };
        let mut result = seed.deserialize(member);
        if let Err(error) = &mut result {
            error.locate(path);
        }
        result
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
        let name = seed.deserialize(BorrowedStrDeserializer::<Error>::new(self.name))?;
        Ok((name, self))
    }
}

impl<'de> Variant<'de, '_> {
    fn path(&self) -> Path<'de, '_> {
        Path::Field(&self.node.path, self.name)
    }

    /// Decodes the content; fails if there is none.
    fn content<T>(
        &self,
        expected: &str,
        decode: impl FnOnce(Node<'de, '_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(value) = self.content else {
            return Err(Error::invalid_type(Unexpected::UnitVariant, &expected));
        };
        let mut result = decode(Node {
            value,
            path: self.path(),
            unknown: self.node.unknown,
        });
        if let Err(error) = &mut result {
            error.locate(self.path());
        }
        result
    }
}

impl<'de> VariantAccess<'de> for Variant<'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => self.content("unit variant", |node| Err(node.wrong_type(&"unit variant"))),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.content("newtype variant", |node| seed.deserialize(node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _size: usize, visitor: V) -> Result<V::Value, Error> {
        self.content("tuple variant", |node| node.array(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.content("struct variant", |node| node.object(visitor))
    }
}

#[cfg(test)]
mod tests;
