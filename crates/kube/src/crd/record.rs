//! The declaration of what only the Kubernetes kinds have.

/// Declares a struct whose members are written in camel case, or as `as "key"` says, with its schema: bounds in
/// brackets are part of it. An absent `Option` is not written. Rules are implemented beside it.
macro_rules! record {
    () => {};
    ($(#[$meta:meta])* pub struct $name:ident { $($members:tt)* } $($rest:tt)*) => {
        record!(@members [$(#[$meta])* $name] [] [] $($members)*);
        record!($($rest)*);
    };
    (
        @members $head:tt [$($declared:tt)*] [$($described:tt)*]
        $(#[doc = $doc:literal])* $field:ident $(as $key:literal)?: Option<$type:ty> $([$bounds:expr])?,
        $($rest:tt)*
    ) => {
        record!(
            @members $head
            [
                $($declared)*
                $(#[doc = $doc])*
                $(#[serde(rename = $key)])?
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            ]
            [$($described)* ($field [$($key)?] [Option<$type>] [$($bounds)?] [$($doc)*])]
            $($rest)*
        );
    };
    (
        @members $head:tt [$($declared:tt)*] [$($described:tt)*]
        $(#[doc = $doc:literal])* $field:ident $(as $key:literal)?: $type:ty $([$bounds:expr])?,
        $($rest:tt)*
    ) => {
        record!(
            @members $head
            [
                $($declared)*
                $(#[doc = $doc])*
                $(#[serde(rename = $key)])?
                pub $field: $type,
            ]
            [$($described)* ($field [$($key)?] [$type] [$($bounds)?] [$($doc)*])]
            $($rest)*
        );
    };
    (
        @members [$(#[$meta:meta])* $name:ident] [$($declared:tt)*] [$(($($described:tt)*))*]
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($declared)*
        }

        impl ::tombolo_model::schema::HasSchema for $name {
            fn schema() -> ::tombolo_model::schema::Schema {
                ::tombolo_model::schema::Schema::object([
                    $(record!(@member $($described)*),)*
                ])
            }
        }
    };
    (
        @member $field:ident [$($key:literal)?] [$type:ty] [$($bounds:expr)?] [$($doc:literal)*]
    ) => {
        ::tombolo_model::schema::Member::new::<$type>(
            record!(@key $field $($key)?),
            concat!($($doc),*),
        )$(.within($bounds))?
    };
    (@key $field:ident $key:literal) => {
        $key
    };
    (@key $field:ident) => {
        stringify!($field)
    };
}
pub(super) use record;
