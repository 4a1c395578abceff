use super::*;
use crate::oidc::sample::{self, ISSUER, NOW, SUBJECT, Signer, claims};
use serde_json::{Value, json};

fn check(text: &str, keys: &[Value]) -> Result<Claims, TokenError> {
    let token = Token::read(text)?;
    token.verify(&sample::read(keys))?;
    token.check_time(NOW)?;
    Ok(token.claims().clone())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

#[test]
fn both_algorithms_are_verified() {
    for signer in [Signer::rsa(), &Signer::p256()] {
        let token = signer.token("a", &claims());
        let keys = [Signer::p256().jwk("other"), signer.jwk("a")];
        let found = check(&token, &keys).expect("good");
        assert_eq!(
            (found.issuer.as_str(), found.subject.as_str()),
            (ISSUER, SUBJECT)
        );
        assert_eq!(
            check(&token, &[signer.jwk("b")]),
            Err(TokenError::UnknownKey)
        );
        let stranger = Signer::p256();
        let forged = stranger.token("a", &claims());
        assert!(check(&forged, &keys).is_err());
    }
}

#[test]
fn what_was_signed_is_what_is_read() {
    let signer = Signer::p256();
    let keys = [signer.jwk("a")];
    let token = signer.token("a", &claims());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = signed.split_once('.').expect("three parts");
    let root = changed(|claims| claims["sub"] = "system:serviceaccount:kube-system:root".into());
    let root = BASE64URL_NOPAD.encode(root.to_string().as_bytes());
    assert_eq!(
        check(&format!("{header}.{root}.{signature}"), &keys),
        Err(TokenError::Signature)
    );
    let none = signer.sign(&json!({"alg": "ES256", "kid": "a"}), &claims());
    assert!(check(&none, &keys).is_ok(), "typ may be absent");
}

/// The classic ways around a signature.
#[test]
fn the_algorithm_is_not_the_bearers_choice() {
    let signer = Signer::p256();
    let rsa = Signer::rsa();
    let keys = [signer.jwk("a"), rsa.jwk("r")];
    for alg in ["none", "None", "HS256", "ES384", "PS256", ""] {
        let token = signer.sign(&json!({"alg": alg, "kid": "a"}), &claims());
        assert_eq!(check(&token, &keys), Err(TokenError::Algorithm(alg.into())));
        let (unsigned, _) = token.rsplit_once('.').expect("three parts");
        assert_eq!(
            check(&format!("{unsigned}."), &keys),
            Err(TokenError::Algorithm(alg.into()))
        );
    }
    // A key of the other kind is no key for it.
    let confused = signer.sign(&json!({"alg": "RS256", "kid": "a"}), &claims());
    assert_eq!(check(&confused, &keys), Err(TokenError::UnknownKey));
    let empty = signer.token("a", &claims());
    let (signed, _) = empty.rsplit_once('.').expect("three parts");
    assert_eq!(
        check(&format!("{signed}."), &keys),
        Err(TokenError::Signature)
    );
    let critical = json!({"alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false});
    assert!(matches!(
        check(&signer.sign(&critical, &claims()), &keys),
        Err(TokenError::Malformed(_))
    ));
    // Without an id every key of the kind is tried.
    let anonymous = signer.sign(&json!({"alg": "ES256"}), &claims());
    assert!(check(&anonymous, &[Signer::p256().jwk("x"), signer.jwk("a")]).is_ok());
}

#[test]
fn times_have_bounds() {
    let signer = Signer::p256();
    let keys = [signer.jwk("a")];
    let at = |member: &str, value: Value| {
        let claims = changed(|claims| claims[member] = value);
        check(&signer.token("a", &claims), &keys).err()
    };
    assert_eq!(at("exp", (NOW - 59).into()), None);
    assert!(matches!(
        at("exp", (NOW - 60).into()),
        Some(TokenError::Expired { .. })
    ));
    assert!(matches!(
        at("exp", json!(-1)),
        Some(TokenError::Expired { .. })
    ));
    assert_eq!(at("exp", json!(NOW as f64 + 0.5)), None);
    for member in ["nbf", "iat"] {
        assert_eq!(at(member, (NOW + 60).into()), None);
        assert!(matches!(
            at(member, (NOW + 61).into()),
            Some(TokenError::NotYet { .. })
        ));
        assert_eq!(at(member, Value::Null), None);
    }
    assert_eq!(at("exp", Value::Null), Some(TokenError::Missing("exp")));
    for member in ["iss", "sub"] {
        assert!(matches!(
            at(member, "".into()),
            Some(TokenError::Missing(_))
        ));
    }
    assert_eq!(at("aud", json!([])), Some(TokenError::Missing("aud")));
    assert_eq!(at("aud", "one".into()), None);
    assert!(matches!(
        at("aud", json!({})),
        Some(TokenError::Malformed(_))
    ));
    assert!(matches!(
        at("exp", "soon".into()),
        Some(TokenError::Malformed(_))
    ));
}

#[test]
fn the_pod_is_read() {
    let signer = Signer::p256();
    let keys = [signer.jwk("a")];
    let bound = changed(|claims| {
        claims["kubernetes.io"] = json!({
            "namespace": "color", "pod": {"name": "red-1", "uid": "u"},
            "serviceaccount": {"name": "default", "uid": "v"}, "node": {"name": "n", "uid": "w"},
        });
    });
    let pod = check(&signer.token("a", &bound), &keys)
        .expect("good")
        .pod();
    let pod = pod.expect("bound");
    assert_eq!(
        (pod.namespace.as_str(), pod.name.as_str()),
        ("color", "red-1")
    );
    assert_eq!(
        check(&signer.token("a", &claims()), &keys)
            .expect("good")
            .pod(),
        None
    );
}

#[test]
fn texts_that_are_no_tokens_are_refused() {
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b",
        "e30.e30.",
        &"x".repeat(20_001),
    ] {
        assert!(
            matches!(Token::read(text), Err(TokenError::Malformed(_))),
            "{text:.20}"
        );
    }
}
