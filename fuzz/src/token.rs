//! Tokens of OpenID Connect issuers, and the key sets that they are verified with.
//!
//! A line with a key set, then a token. Whatever they are: no panic, and no token is believed for a key whose owner
//! has not signed it.

use tombolo_api::fuzzing::verifies_token;

/// A key that has signed no token of the corpus.
const STRANGER: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// The target.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (keys, token) = data.split_at(end.unwrap_or(data.len()));
    let Ok(token) = std::str::from_utf8(token) else {
        return;
    };
    verifies_token(keys, token.trim());
    assert!(!verifies_token(STRANGER, token.trim()), "nobody signed it");
}
