//! The doors as their callers see them: requests in, answers out, nothing behind.

mod appmesh;
mod client;
mod cloudmap;
mod corpus;
mod foreign;
mod harness;
mod server;
