//! AWS Signature Version 4: verifies the signatures of callers, and signs for our own client (facts/aws-wire.md §2).
//!
//! Pure code: the clock, the keys and the body are arguments. It deliberately has no accounts and no policies (see
//! [`crate::access`]), and refuses SigV4a.
//!
//! Read first: [`Claim`].

mod auth_error;
pub(crate) mod canonical;
mod claim;
pub(crate) mod date;
mod hash;
mod payload;
mod sign;
mod verify;

pub(crate) use auth_error::AuthError;
pub(crate) use canonical::has_normal_path;
pub(crate) use claim::Claim;
pub(crate) use hash::{is_equal, sha256};
pub(crate) use sign::{Secret, Signer, authorize};
pub(crate) use verify::Candidate;

/// The only supported algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last word of every credential scope.
const TERMINATOR: &str = "aws4_request";
