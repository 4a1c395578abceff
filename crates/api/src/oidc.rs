//! OpenID Connect tokens, such as those of Kubernetes service accounts: who issued one, and about whom.
//!
//! A token is read and verified by pure code ([`jwt`]); only [`KeySets`] does I/O: it gets the public keys of the
//! issuers that an operator trusts, and of no others. What it deliberately is not: it decides nothing about what the
//! bearer may do (see [`crate::access`]).
//!
//! Read first: [`Token`].

mod fetch;
mod jwks;
mod jwt;
mod key_sets;

#[cfg(test)]
pub(crate) mod sample;

pub(crate) use jwks::KeySet;
pub(crate) use jwt::{Claims, Pod, Token, TokenError};
pub(crate) use key_sets::{KeySets, KeySource, Provider, VerifyError, is_safe_url};
