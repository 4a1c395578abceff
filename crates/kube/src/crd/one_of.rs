//! Unions in the form of the Kubernetes kinds.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tombolo_model::appmesh::spec::{Resolve, Resolver, Union, UnionOf, resolve_union};
use tombolo_model::schema::{HasSchema, Schema};
use tombolo_model::validation::{Validate, Validator};

use super::Refs;
use crate::FieldPath;

/// A union as written. The schema of the kinds leaves unions open, so a map with no member or with several is read,
/// and reported together with all other problems; the API refuses to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOf<T> {
    /// The first member that was given.
    first: Option<T>,
    /// The number of members given.
    count: usize,
}

impl<T> OneOf<T> {
    /// A union with one member.
    pub fn new(member: T) -> Self {
        Self {
            first: Some(member),
            count: 1,
        }
    }
}

impl<T: Union> UnionOf<T> for OneOf<T> {
    fn get(&self) -> Option<&T> {
        self.first.as_ref().filter(|_| self.count == 1)
    }

    fn into_inner(self) -> Option<T> {
        self.first.filter(|_| self.count == 1)
    }
}

impl<T: Union + Resolve<Refs>> Resolve<Refs> for OneOf<T> {
    type Resolved = T::Resolved;

    fn resolve<V: Resolver<Refs>>(
        self,
        at: &mut FieldPath,
        resolver: &V,
    ) -> Result<T::Resolved, V::Error> {
        resolve_union(self, at, resolver)
    }
}

impl<T: Union> Validate for OneOf<T> {
    fn validate(&self, validator: &mut Validator) {
        validator.exactly_one_of(T::MEMBERS.iter().copied(), self.count);
        self.first.validate(validator);
    }
}

/// As the types have it: that exactly one member is given is a rule, not part of the schema.
impl<T: HasSchema> HasSchema for OneOf<T> {
    fn schema() -> Schema {
        T::schema()
    }
}

impl<T: Serialize> Serialize for OneOf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.first {
            Some(member) => member.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

impl<'de, T: Union> Deserialize<'de> for OneOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Union> Visitor<'de> for Members<T> {
    type Value = OneOf<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map with one of {}", T::MEMBERS.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OneOf<T>, A::Error> {
        let (mut first, mut count) = (None, 0);
        while let Some(name) = map.next_key::<String>()? {
            let Some(member) = T::MEMBERS.iter().find(|member| **member == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let mut is_null = false;
            let entry = Entry {
                member: Some(member),
                map: &mut map,
                is_null: &mut is_null,
            };
            match T::deserialize(MapAccessDeserializer::new(entry)) {
                Ok(value) => {
                    count += 1;
                    first.get_or_insert(value);
                }
                Err(_) if is_null => {}
                Err(error) => return Err(error),
            }
        }
        Ok(OneOf { first, count })
    }
}

/// One entry of a map, which an enum reads as its variant.
struct Entry<'a, A> {
    member: Option<&'static str>,
    map: &'a mut A,
    /// Set when the value is null, which means that the member is absent.
    is_null: &'a mut bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entry<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let member = self.member.take();
        member
            .map(|member| seed.deserialize(member.into_deserializer()))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(Nullable(seed))?.ok_or_else(|| {
            *self.is_null = true;
            A::Error::custom("is null")
        })
    }
}

struct Nullable<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}
