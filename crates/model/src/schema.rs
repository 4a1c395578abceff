//! Schemas: what may be written where, as the OpenAPI schema of a CRD says it.
//!
//! The declarations of specs implement [`HasSchema`], so that a CRD is generated from the same lines that are read and
//! validated. A schema is that of the types: what a kind has narrower than they are is added by the kind.

use crate::field_path::camel_case;
use std::ops::RangeInclusive;

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Nothing: a form does not have the member.
    Nothing,
    /// A map with these members.
    Object(Vec<Member>),
    /// A map with any keys.
    Map(Box<Schema>),
    /// A list.
    List {
        /// Each item.
        items: Box<Schema>,
        /// How many there may be; `i64::MAX` is no upper bound.
        count: Option<RangeInclusive<i64>>,
    },
    /// A string.
    Text {
        /// How many characters it may have.
        length: Option<RangeInclusive<i64>>,
        /// The only values, if not any.
        values: Vec<&'static str>,
        /// An OpenAPI format.
        format: Option<&'static str>,
    },
    /// A number without fraction, of 64 bits.
    Integer(RangeInclusive<i64>),
    /// True or false.
    Boolean,
}

/// A member of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As it is written.
    pub key: String,
    /// One or two sentences for `kubectl explain`; may be empty.
    pub description: String,
    /// Whether the map must have it.
    pub is_required: bool,
    /// The value.
    pub schema: Schema,
}

/// A type with a schema.
pub trait HasSchema {
    /// Whether a member of this type must be written.
    const IS_REQUIRED: bool = true;

    /// What a value of this type may be.
    fn schema() -> Schema;
}

impl Schema {
    /// Any text.
    pub const TEXT: Self = Self::Text {
        length: None,
        values: Vec::new(),
        format: None,
    };

    /// A map with these members, but for those that the form does not have.
    pub fn object(members: impl IntoIterator<Item = Member>) -> Self {
        let exists = |member: &Member| member.schema != Self::Nothing;
        Self::Object(members.into_iter().filter(exists).collect())
    }

    /// One of the words.
    pub fn words(values: impl IntoIterator<Item = &'static str>) -> Self {
        Self::Text {
            length: None,
            values: values.into_iter().collect(),
            format: None,
        }
    }

    /// With bounds: of a number its value, of a text its length in characters, of a list its number of items. Others
    /// have none.
    #[must_use]
    pub fn within(mut self, bounds: RangeInclusive<i64>) -> Self {
        match &mut self {
            Self::Integer(range) => *range = bounds,
            Self::Text { length, .. } => *length = Some(bounds),
            Self::List { count, .. } => *count = Some(bounds),
            Self::Nothing | Self::Object(_) | Self::Map(_) | Self::Boolean => {}
        }
        self
    }
}

impl Member {
    /// A member of type `T`. The name may be in snake case, the documentation a doc comment's text.
    pub fn new<T: HasSchema>(name: &str, documentation: &str) -> Self {
        Self {
            key: camel_case(name),
            description: documentation.trim().to_owned(),
            is_required: T::IS_REQUIRED,
            schema: T::schema(),
        }
    }

    /// With bounds, see [`Schema::within`].
    #[must_use]
    pub fn within(mut self, bounds: RangeInclusive<i64>) -> Self {
        self.schema = self.schema.within(bounds);
        self
    }
}

impl<T: HasSchema> HasSchema for Option<T> {
    const IS_REQUIRED: bool = false;

    fn schema() -> Schema {
        T::schema()
    }
}

impl<T: HasSchema> HasSchema for Vec<T> {
    fn schema() -> Schema {
        Schema::List {
            items: Box::new(T::schema()),
            count: None,
        }
    }
}

macro_rules! primitives {
    ($($name:ty => $schema:expr,)+) => {$(
        impl HasSchema for $name {
            fn schema() -> Schema {
                $schema
            }
        }
    )+};
}

primitives! {
    String => Schema::TEXT,
    bool => Schema::Boolean,
    // The kinds have numbers of 64 bits: what does not fit is refused by whoever reads it, with a better message.
    u16 => Schema::Integer(0..=i64::MAX),
    u32 => Schema::Integer(0..=i64::MAX),
    i64 => Schema::Integer(i64::MIN..=i64::MAX),
}
