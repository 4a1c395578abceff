//! Resolves references to names: converts a spec in another form to the spec of the API in one pass.

use super::{
    References, Union, UnionOf, gateway_route, listener, matching, mesh, retry, route, tls,
    virtual_node,
};
use crate::{FieldPath, Segment, Violation, field_path::camel_case, validation::Validate};

/// Looks up the names of referenced objects.
pub trait Resolver<R: References> {
    /// The error of a reference without a name, and of a union without exactly one member, which no validated spec has.
    type Error: From<Violation>;

    /// The name in the mesh of the object that the value at `at` refers to.
    ///
    /// # Errors
    /// There is no such object, or it has no name.
    fn name(&self, at: &FieldPath, reference: R::Reference) -> Result<String, Self::Error>;
}

/// Part of a spec, whose references can be replaced by names.
pub trait Resolve<R: References>: Sized {
    /// The same part in the form of the API.
    type Resolved;

    /// Replaces every reference by a name. `at` is the path of the value, and is unchanged on success.
    ///
    /// # Errors
    /// The first reference that has no name.
    fn resolve<V: Resolver<R>>(
        self,
        at: &mut FieldPath,
        resolver: &V,
    ) -> Result<Self::Resolved, V::Error>;
}

/// Resolves the member `key` (in snake case or as it is written) of the value at `at`.
pub fn member<T, E>(
    at: &mut FieldPath,
    key: &'static str,
    resolve: impl FnOnce(&mut FieldPath) -> Result<T, E>,
) -> Result<T, E> {
    step(at, Segment::Field(camel_case(key)), resolve)
}

fn step<T, E>(
    at: &mut FieldPath,
    segment: Segment,
    resolve: impl FnOnce(&mut FieldPath) -> Result<T, E>,
) -> Result<T, E> {
    at.push(segment);
    let resolved = resolve(at)?;
    at.pop();
    Ok(resolved)
}

impl<R: References, T: Resolve<R>> Resolve<R> for Option<T> {
    type Resolved = Option<T::Resolved>;

    fn resolve<V: Resolver<R>>(
        self,
        at: &mut FieldPath,
        resolver: &V,
    ) -> Result<Self::Resolved, V::Error> {
        self.map(|value| value.resolve(at, resolver)).transpose()
    }
}

impl<R: References, T: Resolve<R>> Resolve<R> for Vec<T> {
    type Resolved = Vec<T::Resolved>;

    fn resolve<V: Resolver<R>>(
        self,
        at: &mut FieldPath,
        resolver: &V,
    ) -> Result<Self::Resolved, V::Error> {
        let items = self.into_iter().enumerate();
        let resolve = |(index, item): (usize, T)| {
            step(at, Segment::Index(index), |at| item.resolve(at, resolver))
        };
        items.map(resolve).collect()
    }
}

/// Resolves a union of a form in which it may have no member or several.
///
/// # Errors
/// The union does not have exactly one member, or that member's reference has no name.
pub fn resolve_union<R: References, T: Union + Resolve<R>, V: Resolver<R>>(
    union: impl UnionOf<T>,
    at: &mut FieldPath,
    resolver: &V,
) -> Result<T::Resolved, V::Error> {
    let member = union.into_inner().ok_or_else(|| {
        let members = T::MEMBERS.join(", ");
        Violation::new(at.clone(), format!("needs exactly one of {members}"))
    })?;
    member.resolve(at, resolver)
}

/// Implements [`Resolve`] for types without references.
macro_rules! same_in_both_forms {
    ($($name:ty),+ $(,)?) => {$(
        impl<R: $crate::appmesh::spec::References> $crate::appmesh::spec::Resolve<R> for $name {
            type Resolved = Self;

            fn resolve<V: $crate::appmesh::spec::Resolver<R>>(
                self,
                _: &mut $crate::FieldPath,
                _: &V,
            ) -> Result<Self, V::Error> {
                Ok(self)
            }
        }
    )+};
}
pub(super) use same_in_both_forms;

/// Types without references, and without rules of their own.
macro_rules! plain {
    ($($name:ty),+ $(,)?) => {
        same_in_both_forms!($($name),+);
        $(impl Validate for $name {})+
    };
}

plain!(
    String,
    bool,
    u16,
    u32,
    i64,
    listener::DurationUnit,
    listener::Protocol,
    mesh::EgressFilterType,
    mesh::IpPreference,
    retry::GrpcRetryEvent,
    retry::TcpRetryEvent,
    matching::Method,
    route::Scheme,
    gateway_route::Switch,
    tls::TlsMode,
    virtual_node::DnsResponseType,
);
