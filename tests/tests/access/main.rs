//! Authentication: real AWS clients with right and wrong keys against a server with a credentials file, and
//! botocore's signer as the oracle.

mod authenticated;
mod clients;
mod files;
mod issuer;
mod proxies;
mod signatures;
mod tls;
mod web_identity;
