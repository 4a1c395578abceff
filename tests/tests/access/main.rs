//! Who may call: real AWS clients with right and wrong keys against a server with a credentials file, and
//! botocore's signer as the oracle of ours.

mod clients;
mod files;
mod guarded;
mod signatures;
mod tls;
