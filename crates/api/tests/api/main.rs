//! The doors as their callers see them: requests in, answers out, nothing behind.

mod access;
mod appmesh;
mod client;
mod cloudmap;
mod corpus;
mod foreign;
mod harness;
mod server;
mod tagging;
