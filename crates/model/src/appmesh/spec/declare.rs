//! Macros that declare the types of specs, so that each member is written once: its serde attributes, its place in
//! validation and in the resolution of references follow from the declaration.

/// Declares structs of specs.
///
/// - Members are public, spelled in camel case, or as `as "key"` says. An absent `Option` is not written.
/// - With `<R>` a struct is generic over the form (see [`References`](super::References)), and resolves member by member;
///   without, it is the same in both forms.
/// - With `: Validate` its rules are those of its members, whose bounds may stand in brackets (see
///   [`Bounded`](crate::validation::Bounded)); otherwise [`Validate`](crate::validation::Validate) is implemented
///   beside it, and bounds in brackets are those of the schema.
macro_rules! spec {
    () => {};
    (
        $(#[$meta:meta])* pub struct $name:ident<R> $(: $validate:ident)? { $($members:tt)* }
        $($rest:tt)*
    ) => {
        spec!(@members [$(#[$meta])* $name (<R>) ($($validate)?)] [] [] $($members)*);
        spec!($($rest)*);
    };
    (
        $(#[$meta:meta])* pub struct $name:ident $(: $validate:ident)? { $($members:tt)* }
        $($rest:tt)*
    ) => {
        spec!(@members [$(#[$meta])* $name () ($($validate)?)] [] [] $($members)*);
        spec!($($rest)*);
    };

    // Takes one member after the other: its declaration, then its name, key and bounds.
    (
        @members $head:tt [$($declared:tt)*] [$($named:tt)*]
        $(#[doc = $doc:literal])* $(#[serde($($serde:tt)*)])?
        $field:ident $(as $key:literal)?: Option<$type:ty> $([$bounds:expr])?,
        $($rest:tt)*
    ) => {
        spec!(
            @members $head
            [
                $($declared)*
                $(#[doc = $doc])*
                $(#[serde($($serde)*)])?
                $(#[serde(rename = $key)])?
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            ]
            [$($named)* ($field [$($key)?] [$($bounds)?] [Option<$type>] [$($doc)*])]
            $($rest)*
        );
    };
    (
        @members $head:tt [$($declared:tt)*] [$($named:tt)*]
        $(#[doc = $doc:literal])* $field:ident $(as $key:literal)?: $type:ty $([$bounds:expr])?,
        $($rest:tt)*
    ) => {
        spec!(
            @members $head
            [$($declared)* $(#[doc = $doc])* $(#[serde(rename = $key)])? pub $field: $type,]
            [$($named)* ($field [$($key)?] [$($bounds)?] [$type] [$($doc)*])]
            $($rest)*
        );
    };

    (
        @members [$(#[$meta:meta])* $name:ident (<R>) $validate:tt]
        [$($declared:tt)*]
        [$(($field:ident [$($key:literal)?] $bounds:tt $type:tt $doc:tt))*]
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(bound = "", rename_all = "camelCase")]
        pub struct $name<R: $crate::appmesh::spec::References = $crate::appmesh::spec::Names> {
            $($declared)*
        }

        impl<R: $crate::appmesh::spec::References> $crate::appmesh::spec::Resolve<R> for $name<R> {
            type Resolved = $name;

            fn resolve<V: $crate::appmesh::spec::Resolver<R>>(
                self,
                at: &mut $crate::FieldPath,
                resolver: &V,
            ) -> Result<$name, V::Error> {
                use $crate::appmesh::spec::{Resolve, resolve::member};
                Ok($name {
                    $($field: member(at, spec!(@key $field $($key)?), |at| {
                        Resolve::<R>::resolve(self.$field, at, resolver)
                    })?,)*
                })
            }
        }

        spec!(
            @rules $validate (<R: $crate::appmesh::spec::References>) ($name<R>)
            [$(($field [$($key)?] $bounds $type $doc))*]
        );
        spec!(
            @schema (<R: $crate::appmesh::spec::References>) ($name<R>)
            [$(($field [$($key)?] $bounds $type $doc))*]
        );
    };
    (
        @members [$(#[$meta:meta])* $name:ident () $validate:tt]
        [$($declared:tt)*] $named:tt
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($declared)*
        }

        $crate::appmesh::spec::resolve::same_in_both_forms!($name);

        spec!(@rules $validate () ($name) $named);
        spec!(@schema () ($name) $named);
    };

    (
        @schema ($($generics:tt)*) ($($name:tt)+)
        [$(($field:ident [$($key:literal)?] [$($bounds:expr)?] [$type:ty] [$($doc:literal)*]))*]
    ) => {
        impl $($generics)* $crate::schema::HasSchema for $($name)+ {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::object([$(
                    $crate::schema::Member::new::<$type>(
                        spec!(@key $field $($key)?),
                        concat!($($doc),*),
                    )$(.within($bounds))?,
                )*])
            }
        }
    };

    (@rules () $($of:tt)*) => {};
    (
        @rules (Validate) ($($generics:tt)*) ($($name:tt)+)
        [$(($field:ident [$($key:literal)?] $bounds:tt $type:tt $doc:tt))*]
    ) => {
        impl $($generics)* $crate::validation::Validate for $($name)+ {
            fn validate(&self, validator: &mut $crate::validation::Validator) {
                $(validator.within(spec!(@key $field $($key)?), |validator| {
                    spec!(@rule validator (&self.$field) $bounds);
                });)*
            }
        }
    };
    (@rule $validator:ident ($value:expr) []) => {
        $crate::validation::Validate::validate($value, $validator)
    };
    (@rule $validator:ident ($value:expr) [$bounds:expr]) => {
        $crate::validation::Bounded::validate_in($value, $validator, $bounds)
    };

    (@key $field:ident $key:literal) => {
        $key
    };
    (@key $field:ident) => {
        stringify!($field)
    };
}
pub(super) use spec;

/// Declares a union: an enum that is written as a map with exactly one member. Generics and `: Validate` are as with
/// [`spec!`]. Messages list the members in the order of the variants.
macro_rules! union {
    ($(#[$meta:meta])* pub enum $name:ident<R> $(: $validate:ident)? { $($variants:tt)* }) => {
        union!(
            @declare [$(#[$meta])* #[serde(bound = "")]]
            (<R: $crate::appmesh::spec::References = $crate::appmesh::spec::Names>)
            (<R: $crate::appmesh::spec::References>) ($name <R>) ($($validate)?) $($variants)*
        );
        union!(@resolve $name $($variants)*);
    };
    ($(#[$meta:meta])* pub enum $name:ident $(: $validate:ident)? { $($variants:tt)* }) => {
        union!(@declare [$(#[$meta])*] () () ($name) ($($validate)?) $($variants)*);
        $crate::appmesh::spec::resolve::same_in_both_forms!($name);
    };

    (
        @declare [$(#[$meta:meta])*] ($($parameters:tt)*) ($($generics:tt)*) ($name:ident $($of:tt)*)
        $validate:tt
        $($(#[doc = $doc:literal])* $variant:ident($type:ty) as $member:literal $([$bounds:expr])?,)+
    ) => {
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        $(#[$meta])*
        pub enum $name $($parameters)* {
            $($(#[doc = $doc])* #[serde(rename = $member)] $variant($type),)+
        }

        impl $($generics)* $crate::appmesh::spec::Union for $name $($of)* {
            const MEMBERS: &'static [&'static str] = &[$($member),+];

            fn member(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $member,)+
                }
            }
        }

        impl $($generics)* $crate::schema::HasSchema for $name $($of)* {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::object([$(
                    $crate::schema::Member::new::<Option<$type>>($member, concat!($($doc),*))
                        $(.within($bounds))?,
                )+])
            }
        }

        union!(
            @rules $validate ($($generics)*) ($name $($of)*) $($variant $member [$($bounds)?])+
        );
    };
    (@resolve $name:ident $($(#[doc = $doc:literal])* $variant:ident($type:ty) as $member:literal $([$bounds:expr])?,)+) => {
        impl<R: $crate::appmesh::spec::References> $crate::appmesh::spec::Resolve<R> for $name<R> {
            type Resolved = $name;

            fn resolve<V: $crate::appmesh::spec::Resolver<R>>(
                self,
                at: &mut $crate::FieldPath,
                resolver: &V,
            ) -> Result<$name, V::Error> {
                use $crate::appmesh::spec::{Resolve, resolve::member};
                match self {
                    $(Self::$variant(value) => member(at, $member, |at| {
                        Resolve::<R>::resolve(value, at, resolver)
                    })
                    .map($name::$variant),)+
                }
            }
        }
    };
    (@rules () $($of:tt)*) => {};
    (
        @rules (Validate) ($($generics:tt)*) ($($name:tt)+)
        $($variant:ident $member:literal $bounds:tt)+
    ) => {
        impl $($generics)* $crate::validation::Validate for $($name)+ {
            fn validate(&self, validator: &mut $crate::validation::Validator) {
                match self {
                    $(Self::$variant(value) => validator.within($member, |validator| {
                        spec!(@rule validator (value) $bounds);
                    }),)+
                }
            }
        }
    };
}
pub(super) use union;
