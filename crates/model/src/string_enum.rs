//! Enums that are strings on the wire and in the store.

/// Declares an enum whose variants are written as the given strings, with `ALL` and `as_str`.
macro_rules! string_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The value as it is written on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl $crate::schema::HasSchema for $name {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::words(Self::ALL.map(Self::as_str))
            }
        }
    };
}
pub(crate) use string_enum;
