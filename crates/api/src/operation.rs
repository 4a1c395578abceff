//! Operations: what a request asks for, as a type.
//!
//! A request is read once, into an [`Operation`]. Policies decide on it, it carries itself out, and our own
//! client sends the same types. The operations of the services that are called by name are in the table of
//! their service (see [`operations!`]): a new one is a type that implements [`RpcOperation`] and a line in the
//! table, and the compiler asks for the rest: what policies protect, what it answers, what it does.

use crate::{
    access::User,
    appmesh,
    call::Call,
    cloudmap,
    error::ApiError,
    service::{Service, rpc_path},
    sigv4::AuthError,
    sts, tagging,
    wire::{Protocol, cbor, json},
};
use http::{StatusCode, request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, future::Future};
use tombolo_model::Scope;

/// An operation of any service.
#[derive(Debug)]
pub(crate) enum Operation {
    AppMesh(appmesh::Request),
    CloudMap(cloudmap::Operation),
    Sts(sts::Operation),
    Tagging(tagging::Operation),
}

/// The name of an operation of a service with operations that are called by name.
pub(crate) trait Named {
    const NAME: &'static str;
}

/// An operation that is called by its name, with an object for its input. The type is the input.
pub(crate) trait RpcOperation: Named + Serialize + DeserializeOwned {
    /// What it answers.
    type Output: DeserializeOwned;

    /// The ARN of what it is about, for policies; [`ANY`] where it is about no one resource.
    fn resource(&self, scope: &Scope) -> String;

    /// Carries it out; answers with the JSON of its output (see [`reply`]).
    fn execute(self, call: &Call<'_>) -> impl Future<Output = Result<Vec<u8>, ApiError>> + Send;
}

/// The resource of operations that are about no one resource.
pub(crate) const ANY: &str = "*";

/// The answer of an operation.
pub(crate) fn reply<O: RpcOperation<Output: Serialize>>(
    output: &O::Output,
) -> Result<Vec<u8>, ApiError> {
    Ok(json::write(output))
}

/// Makes the `Operation` of a service out of the types of its operations, which are called as the types are.
macro_rules! operations {
    ($bounds:expr; $($name:ident),* $(,)?) => {
        /// An operation of this service, with its input.
        #[derive(Debug)]
        pub(crate) enum Operation {
            $($name($name)),*
        }

        $(impl $crate::operation::Named for $name {
            const NAME: &'static str = stringify!($name);
        })*

        impl Operation {
            /// The names of all operations.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Reads the input of the operation of this name.
            pub(crate) fn read(
                name: &str,
                input: impl FnOnce() -> Result<$crate::wire::json::Object, $crate::error::ApiError>,
                            unknown: impl FnOnce() -> $crate::error::ApiError,
            ) -> Result<Self, $crate::error::ApiError> {
                match name {
                    $(stringify!($name) => {
                        $crate::wire::json::input(input()?, $bounds).map(Self::$name)
                    })*
                    _ => Err(unknown()),
                }
            }

            /// The name, as in policies.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name)),*
                }
            }

            /// The ARN of what it is about.
            pub(crate) fn resource(&self, scope: &::tombolo_model::Scope) -> String {
                match self {
                    $(Self::$name(operation) => operation.resource(scope)),*
                }
            }

            /// Carries it out.
            pub(crate) async fn execute(
                self,
                call: &$crate::call::Call<'_>,
            ) -> Result<Vec<u8>, $crate::error::ApiError> {
                match self {
                    $(Self::$name(operation) => operation.execute(call).await),*
                }
            }
        }
    };
}
pub(crate) use operations;

impl Operation {
    /// Reads a request: the only place where its target and its body are looked at.
    pub(crate) fn read(
        service: Service,
        protocol: Protocol,
        request: &Parts,
        body: &[u8],
    ) -> Result<Self, ApiError> {
        match service {
            Service::AppMesh => appmesh::Request::read(request, body).map(Self::AppMesh),
            Service::Sts => sts::Operation::read(request, body).map(Self::Sts),
            Service::CloudMap | Service::Tagging => {
                let name = rpc_name(protocol, request);
                let unknown = || unknown_operation(service, &name);
                let input = || match protocol {
                    Protocol::RpcV2Cbor if !body.is_empty() => json::of_value(cbor::read(body)?),
                    _ => json::object(body),
                };
                if service == Service::CloudMap {
                    let operation = cloudmap::Operation::read(&name, input, unknown);
                    return operation.map(Self::CloudMap);
                }
                tagging::Operation::read(&name, input, unknown).map(Self::Tagging)
            }
        }
    }

    /// The name, as in policies, without the service.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::AppMesh(request) => request.operation.name().into(),
            Self::CloudMap(operation) => operation.name().into(),
            Self::Tagging(operation) => operation.name().into(),
            Self::Sts(sts::Operation::GetCallerIdentity) => "GetCallerIdentity".into(),
        }
    }

    /// The action in policies: `appmesh:CreateMesh`. None for what everybody may do: ask who they are.
    fn action(&self) -> Option<String> {
        let prefix = match self {
            Self::AppMesh(_) => "appmesh",
            Self::CloudMap(_) => "servicediscovery",
            Self::Tagging(_) => "tag",
            Self::Sts(sts::Operation::GetCallerIdentity) => return None,
        };
        Some(format!("{prefix}:{}", self.name()))
    }

    /// The ARN of what it is about.
    fn resource(&self, scope: &Scope) -> String {
        match self {
            Self::AppMesh(request) => request.operation.resource(scope),
            Self::CloudMap(operation) => operation.resource(scope),
            Self::Tagging(operation) => operation.resource(scope),
            Self::Sts(sts::Operation::GetCallerIdentity) => ANY.to_owned(),
        }
    }

    /// Refuses what the policies of a user do not allow.
    pub(crate) fn authorize(&self, user: &User, scope: &Scope) -> Result<(), AuthError> {
        match self.action() {
            Some(action) => user.check(&action, || self.resource(scope)),
            None => Ok(()),
        }
    }

    /// Carries it out; answers with the body of its success: JSON, or XML for STS.
    pub(crate) async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::AppMesh(request) => request.execute(call).await,
            Self::CloudMap(operation) => operation.execute(call).await,
            Self::Tagging(operation) => operation.execute(call).await,
            Self::Sts(operation) => Ok(operation.execute(call)),
        }
    }
}

/// What names the operation in a call by name.
fn rpc_name(protocol: Protocol, request: &Parts) -> String {
    if protocol == Protocol::RpcV2Cbor {
        let path = rpc_path(request.uri.path());
        return path.map_or("", |(_, name)| name).to_owned();
    }
    let target = request.headers.get("x-amz-target");
    let target = target.map(|target| String::from_utf8_lossy(target.as_bytes()));
    let target = target.unwrap_or_default();
    let name = target.split_once('.').map(|(_, name)| name);
    name.unwrap_or_default().to_owned()
}

fn unknown_operation(service: Service, name: &str) -> ApiError {
    let service = service.signing_name();
    ApiError::bad_request(
        "UnknownOperationException",
        format!("{service} has no operation {name:?}"),
    )
}

/// The answer to a call of a service that is not here.
pub(crate) fn absent_service(name: &str, protocol: Protocol) -> ApiError {
    let status = match protocol {
        Protocol::RestJson | Protocol::Operator => StatusCode::NOT_FOUND,
        Protocol::Json11 | Protocol::RpcV2Cbor | Protocol::Query => StatusCode::BAD_REQUEST,
    };
    ApiError::new(
        status,
        "UnknownOperationException",
        format!(
            "the service {name:?} is not here; this server answers appmesh, servicediscovery, sts and tagging"
        ),
    )
}

#[cfg(test)]
mod tests;
