//! The operations whose inputs are commands of the model.

use super::{
    Empty, errors,
    lookup::{namespace_arn, service_arn},
};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation},
    wire::json,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use std::fmt;
use tombolo_model::{Command, Reply, Scope, apply::cloudmap, cloudmap::NamespaceType};

pub(crate) use cloudmap::{
    DeleteNamespace, DeleteService, DeleteServiceAttributes, DeregisterInstance, RegisterInstance,
    UpdateInstanceCustomHealthStatus, UpdateService, UpdateServiceAttributes,
};

/// The output of asynchronous operations: the id to poll with `GetOperation`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OperationId {
    pub(crate) operation_id: String,
}

/// Declares the operations that create and update namespaces of one type. Members that only other types have are
/// ignored.
macro_rules! namespace_operations {
    ($($kind:ident: $create:ident without $hidden:expr, $update:ident;)+) => {$(
        #[derive(Debug, Serialize)]
        #[serde(transparent)]
        pub(crate) struct $create(pub(crate) cloudmap::CreateNamespace);

        impl<'de> Deserialize<'de> for $create {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(HideMembers(&$hidden)).map(Self)
            }
        }

        #[derive(Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $update(pub(crate) cloudmap::UpdateNamespace);

        impl From<$create> for cloudmap::Command {
            fn from($create(command): $create) -> Self {
                let kind = NamespaceType::$kind;
                cloudmap::CreateNamespace { kind, ..command }.into()
            }
        }

        impl From<$update> for cloudmap::Command {
            fn from($update(command): $update) -> Self {
                let kind = NamespaceType::$kind;
                cloudmap::UpdateNamespace { kind, ..command }.into()
            }
        }
    )+};
}

namespace_operations! {
    HTTP: CreateHttpNamespace without ["Vpc", "Properties"], UpdateHttpNamespace;
    DNS_PRIVATE: CreatePrivateDnsNamespace without [""; 0], UpdatePrivateDnsNamespace;
    DNS_PUBLIC: CreatePublicDnsNamespace without ["Vpc"], UpdatePublicDnsNamespace;
}

/// Deserializes the creation of a namespace and ignores these members, which its type does not have.
struct HideMembers(&'static [&'static str]);

impl<'de> Visitor<'de> for HideMembers {
    type Value = cloudmap::CreateNamespace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let hidden = self.0;
        Deserialize::deserialize(MapAccessDeserializer::new(VisibleMembers { map, hidden }))
    }
}

struct VisibleMembers<A> {
    map: A,
    hidden: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for VisibleMembers<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if !self.hidden.contains(&key.as_str()) {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            self.map.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Implements operations: the output, and the resource that policies protect.
macro_rules! commands {
    ($($name:ident -> $output:ident: $resource:expr;)+) => {$(
        impl RpcOperation for $name {
            type Output = $output;

            fn resource(&self, scope: &Scope) -> String {
                let resource: fn(&Self, &Scope) -> String = $resource;
                resource(self, scope)
            }

            async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
                run(call, self).await
            }
        }
    )+};
}

commands! {
    CreateHttpNamespace -> OperationId: |_, _| ANY.to_owned();
    CreatePrivateDnsNamespace -> OperationId: |_, _| ANY.to_owned();
    CreatePublicDnsNamespace -> OperationId: |_, _| ANY.to_owned();
    UpdateHttpNamespace -> OperationId: |it, scope| namespace_arn(scope, &it.0.id);
    UpdatePrivateDnsNamespace -> OperationId: |it, scope| namespace_arn(scope, &it.0.id);
    UpdatePublicDnsNamespace -> OperationId: |it, scope| namespace_arn(scope, &it.0.id);
    DeleteNamespace -> OperationId: |it, scope| namespace_arn(scope, &it.id);

    UpdateService -> OperationId: |it, scope| service_arn(scope, &it.id);
    DeleteService -> Empty: |it, scope| service_arn(scope, &it.id);
    UpdateServiceAttributes -> Empty: |it, scope| service_arn(scope, &it.service_id);
    DeleteServiceAttributes -> Empty: |it, scope| service_arn(scope, &it.service_id);

    RegisterInstance -> OperationId: |it, scope| service_arn(scope, &it.service_id);
    DeregisterInstance -> OperationId: |it, scope| service_arn(scope, &it.service_id);
    UpdateInstanceCustomHealthStatus -> Empty: |it, scope| service_arn(scope, &it.service_id);
}

/// Commits a command; its output is an [`OperationId`] or [`Empty`].
async fn run(call: &Call<'_>, command: impl Into<cloudmap::Command>) -> Result<Vec<u8>, ApiError> {
    let committed = call.commit(Command::CloudMap(command.into())).await;
    Ok(match committed.map_err(errors::from_commit)? {
        Reply::Operation(id) => json::write(&OperationId {
            operation_id: id.to_string(),
        }),
        _ => json::write(&Empty {}),
    })
}
