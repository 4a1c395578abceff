//! Structures are JSON objects. serde also takes an array for one, with the members in their order, and has no
//! way to forbid it: AWS refuses such an input, so this reads values in serde's place.

use serde::{
    de::{
        Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

/// A value under which no structure is an array.
pub(super) struct Strict(pub(super) Value);

impl<'de> IntoDeserializer<'de, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn map<'de>(
    members: Map<String, Value>,
) -> MapDeserializer<'de, impl Iterator<Item = (String, Strict)>, Error> {
    MapDeserializer::new(
        members
            .into_iter()
            .map(|(name, value)| (name, Strict(value))),
    )
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Strict));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(members) => {
                let mut members = map(members);
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    /// An enumeration is a word, or an object whose one member names the variant and holds its content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(map(members)))
            }
            plain => plain.deserialize_enum(name, variants, visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        name: String,
        inner: Option<Inner>,
        list: Option<Vec<Inner>>,
        map: Option<BTreeMap<String, Inner>>,
        union: Option<Union>,
        anything: Option<Value>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        #[serde(default)]
        size: Option<u8>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Union {
        Inner(Inner),
        Many(Vec<Inner>),
        Members { size: u8 },
        Word,
    }

    fn of(value: &Value) -> Result<Outer, Error> {
        Outer::deserialize(Strict(value.clone()))
    }

    #[test]
    fn objects_are_read_as_ever() {
        for union in [
            json!({"Members": {"size": 4}}),
            json!({"Inner": {"size": 4}}),
            json!({"Many": [{"size": 4}, {}]}),
            json!("Word"),
            Value::Null,
        ] {
            let value = json!({"name": "x", "inner": {"size": 1}, "list": [{"size": 2}, {}],
                "map": {"k": {"size": 3}}, "union": union, "anything": [1, [2], {"three": 3}]});
            assert_eq!(of(&value).ok(), serde_json::from_value(value).ok());
        }
    }

    #[test]
    fn arrays_are_no_structures_at_any_depth() {
        for value in [
            json!(["x"]),
            json!({"name": "x", "inner": [1]}),
            json!({"name": "x", "inner": []}),
            json!({"name": "x", "list": [[1]]}),
            json!({"name": "x", "map": {"k": [1]}}),
            json!({"name": "x", "union": {"Inner": [1]}}),
            json!({"name": "x", "union": {"Many": [[1]]}}),
            json!({"name": "x", "union": {"Members": [1]}}),
        ] {
            let error = of(&value).expect_err("an array").to_string();
            assert!(error.contains("invalid type: sequence"), "{value}: {error}");
        }
    }

    #[test]
    fn a_union_has_one_member() {
        for union in [json!({}), json!({"Word": null, "Inner": {}}), json!([])] {
            let value = json!({"name": "x", "union": union});
            assert!(of(&value).is_err(), "{value}");
        }
    }
}
