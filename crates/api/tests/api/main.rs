//! The api as their callers see them: requests in, answers out, nothing behind.

mod access;
mod appmesh;
mod client;
mod cloudmap;
mod corpus;
mod harness;
mod malformed_input;
mod server;
mod tagging;
