//! The typed operations of all services.
//!
//! A request is parsed once, into an [`Operation`], which is authorized and executed. Our client sends the same types.
//! Each RPC service has a table of its operations (see [`operations!`]): a new operation is a type that implements
//! [`RpcOperation`], and a line in the table.

use crate::{
    access::User,
    appmesh,
    call::Call,
    cloudmap, eks,
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
    Eks(eks::Operation),
    Sts(sts::Operation),
    Tagging(tagging::Operation),
}

/// The name of an RPC operation.
pub(crate) trait Named {
    const NAME: &'static str;
}

/// An operation that is called by name, with an object as its input. The type has the members of the input.
pub(crate) trait RpcOperation: Named + Serialize + DeserializeOwned {
    /// The output.
    type Output: DeserializeOwned;

    /// The ARN of the resource that policies protect; [`ANY`] if it is not a single one.
    fn resource(&self, scope: &Scope) -> String;
    /// Executes the operation; returns the JSON of its output (see [`reply`]).
    fn execute(self, call: &Call<'_>) -> impl Future<Output = Result<Vec<u8>, ApiError>> + Send;
}

/// The resource of operations that do not target a single resource.
pub(crate) const ANY: &str = "*";

/// The JSON of an operation's output.
pub(crate) fn reply<O: RpcOperation<Output: Serialize>>(
    output: &O::Output,
) -> Result<Vec<u8>, ApiError> {
    Ok(json::write(output))
}

/// Declares the enum `Operation` of an RPC service from the types of its operations, whose names are those of the
/// types.
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

            /// Parses the input of the operation of this name.
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

            /// The ARN of the resource that policies protect.
            pub(crate) fn resource(&self, scope: &::tombolo_model::Scope) -> String {
                match self {
                    $(Self::$name(operation) => operation.resource(scope)),*
                }
            }

            /// Executes the operation; returns the JSON of its output.
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
    /// Parses a request. Its target and its body are read here only.
    pub(crate) fn read(
        service: Service,
        protocol: Protocol,
        request: &Parts,
        body: &[u8],
    ) -> Result<Self, ApiError> {
        match service {
            Service::AppMesh => appmesh::Request::read(request, body).map(Self::AppMesh),
            Service::Eks => eks::Operation::read(request).map(Self::Eks),
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
            Self::Eks(operation) => operation.name().into(),
            Self::Sts(operation) => operation.name().into(),
        }
    }

    /// The action in policies: `appmesh:CreateMesh`. `None` for the operations of STS, which are always allowed.
    fn action(&self) -> Option<String> {
        let prefix = match self {
            Self::AppMesh(_) => "appmesh",
            Self::CloudMap(_) => "servicediscovery",
            Self::Eks(_) => "eks",
            Self::Tagging(_) => "tag",
            // Who has a token is allowed by the role that the token is for.
            Self::Sts(_) => return None,
        };
        Some(format!("{prefix}:{}", self.name()))
    }

    /// The ARN of the resource that policies protect.
    fn resource(&self, scope: &Scope) -> String {
        match self {
            Self::AppMesh(request) => request.operation.resource(scope),
            Self::CloudMap(operation) => operation.resource(scope),
            Self::Tagging(operation) => operation.resource(scope),
            Self::Eks(operation) => operation.resource(scope),
            Self::Sts(_) => ANY.to_owned(),
        }
    }

    /// Checks that the policies of a user allow the operation.
    ///
    /// # Errors
    /// No policy allows it.
    pub(crate) fn authorize(&self, user: &User, scope: &Scope) -> Result<(), AuthError> {
        match self.action() {
            Some(action) => user.check(&action, || self.resource(scope)),
            None => Ok(()),
        }
    }

    /// Executes the operation; returns the body of its output: JSON, or XML for STS.
    pub(crate) async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::AppMesh(request) => request.execute(call).await,
            Self::CloudMap(operation) => operation.execute(call).await,
            Self::Tagging(operation) => operation.execute(call).await,
            Self::Eks(operation) => operation.execute(call),
            Self::Sts(operation) => operation.execute(call).await,
        }
    }
}

/// The name of the operation in an RPC call, from the path or from `X-Amz-Target`.
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

/// The error of a call of a service that is not implemented.
pub(crate) fn absent_service(name: &str, protocol: Protocol) -> ApiError {
    let status = match protocol {
        Protocol::RestJson | Protocol::Operator => StatusCode::NOT_FOUND,
        Protocol::Json11 | Protocol::RpcV2Cbor | Protocol::Query => StatusCode::BAD_REQUEST,
    };
    ApiError::new(
        status,
        "UnknownOperationException",
        format!(
            "the service {name:?} is not here; this server answers appmesh, servicediscovery, eks (DescribeCluster), sts and tagging"
        ),
    )
}

#[cfg(test)]
mod tests;
