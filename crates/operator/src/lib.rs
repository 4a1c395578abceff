//! The operator API of a control plane: `/tombolo/v1`, beside the AWS APIs on the same listeners.
//!
//! The types here are what the server answers and what its clients (the command line, later the console and
//! links between clusters) read, so the two cannot disagree; [`docs/reference/openapi.json`] is generated from
//! them. It is not an AWS API: requests are signed for the service `tombolo`, and policies allow the actions
//! `tombolo:Read` and `tombolo:Write`. It knows neither xDS nor plans: the server hands in a function that fills in a
//! [`Status`].
//!
//! Read first: [`Status`], then [`routes`] or [`Client`].
//!
//! [`docs/reference/openapi.json`]: https://github.com/tombolo-mesh/tombolo/blob/main/docs/reference/openapi.json

#![forbid(unsafe_code)]

mod backup;
mod client;
#[cfg(test)]
mod openapi;
mod server;
mod types;

pub use backup::{ImportError, import};
pub use client::{Client, Error};
pub use server::routes;
pub use types::*;

/// `GET`: a [`Status`].
pub const STATUS_PATH: &str = "/tombolo/v1/status";
/// `GET`: the whole state as YAML.
pub const EXPORT_PATH: &str = "/tombolo/v1/export";
/// `POST`: replaces the state by such YAML; `?overwrite=true` discards the state that is there. Answers with
/// [`Imported`], or with [`ErrorBody`].
pub const IMPORT_PATH: &str = "/tombolo/v1/import";
/// `GET`: this API as an OpenAPI document.
pub const OPENAPI_PATH: &str = "/tombolo/v1/openapi.json";
/// The root of the certificates that a server makes for xDS, as PEM. It needs no signature: a root is public.
pub const XDS_ROOT_PATH: &str = "/tombolo/v1/xds-root";
