use super::*;
use crate::oidc::sample::{self, NOW, Signer, claims};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn form(changes: &[(&str, Option<&str>)]) -> String {
    let mut pairs = vec![
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", "arn:aws:iam::111122223333:role/controller"),
        ("RoleSessionName", "pod-1"),
        ("WebIdentityToken", "token"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.extend(value.map(|value| (*name, value)));
    }
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

#[test]
fn parameters_have_bounds() {
    let read = |name: &str, value: Option<&str>| {
        AssumeRoleWithWebIdentity::read(&form(&[(name, value)])).map_err(|error| error.code)
    };
    let input = read("DurationSeconds", Some("900")).expect("good");
    assert_eq!(
        (input.account.as_str(), input.role.as_str()),
        ("111122223333", "controller")
    );
    assert_eq!(input.duration, 900);
    assert!(!format!("{input:?}").contains("\"token\""));
    let long = "x".repeat(65);
    for (name, value) in [
        ("RoleArn", None),
        ("RoleArn", Some("controller")),
        ("RoleArn", Some("arn:aws:iam::1111:role/controller")),
        ("RoleArn", Some("arn:aws:iam::111122223333:user/controller")),
        ("RoleArn", Some("arn:aws:iam::111122223333:role/")),
        ("RoleArn", Some("arn:aws:iam::111122223333:role/%3Cb%3E")),
        ("RoleSessionName", None),
        ("RoleSessionName", Some("x")),
        ("RoleSessionName", Some("a%2Fb")),
        ("RoleSessionName", Some(&long)),
        ("WebIdentityToken", Some("")),
        ("DurationSeconds", Some("899")),
        ("DurationSeconds", Some("3601")),
        ("DurationSeconds", Some("soon")),
        ("Policy", Some("{}")),
    ] {
        assert_eq!(
            read(name, value),
            Err("ValidationError"),
            "{name} {value:?}"
        );
    }
}

/// A credentials file that trusts the sample's issuer, with its keys beside it.
fn credentials(directory: &Path, keys: &[Value]) -> Credentials {
    let keys_file = directory.join("keys.json");
    fs::write(&keys_file, sample::key_set(keys)).expect("written");
    let file = directory.join("credentials.yaml");
    let text = json!({
        "providers": [{"issuer": sample::ISSUER, "keys": keys_file.to_str()}],
        "roles": [{
            "name": "controller", "account": "111122223333", "policies": ["AWSAppMeshReadOnly"],
            "trust": [{"issuer": sample::ISSUER, "subject": sample::SUBJECT}],
        }],
    });
    fs::write(&file, text.to_string()).expect("written");
    Credentials::open(&file).expect("a good file")
}

#[tokio::test]
async fn a_token_that_the_role_trusts_gets_keys_and_all_others_get_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let (signer, stranger) = (Signer::p256(), Signer::p256());
    let credentials = credentials(directory.path(), &[signer.jwk("a")]);
    let sessions = SessionKeys::new(&[1; 32]);
    let ask = async |role: &str, token: &str| {
        let arn = format!("arn:aws:iam::111122223333:role/{role}");
        let form = form(&[("RoleArn", Some(&arn)), ("WebIdentityToken", Some(token))]);
        let input = AssumeRoleWithWebIdentity::read(&form).expect("good");
        let id = RequestId::new("id");
        let done = input.execute(Some(&credentials), &sessions, NOW, &id).await;
        done.map_err(|error| (error.code, error.status.as_u16(), error.message))
    };
    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        signer.token("a", &claims)
    };
    let good = ask("controller", &signer.token("a", &claims()))
        .await
        .expect("keys");
    let between = |begin: &str, end: &str| {
        let (_, rest) = good.split_once(begin).expect(begin);
        rest.split_once(end).expect(end).0.to_owned()
    };
    let (id, secret) = (
        between("<AccessKeyId>", "<"),
        between("<SecretAccessKey>", "<"),
    );
    let token = between("<SessionToken>", "<");
    assert_eq!(between("<Expiration>", "<"), "2023-11-14T23:13:20Z");
    let arn = "arn:aws:sts::111122223333:assumed-role/controller/pod-1";
    assert_eq!(between("<Arn>", "<"), arn);

    // Every replica knows them, until they end.
    let (keys, replica) = (credentials.key_store(), SessionKeys::new(&[1; 32]));
    let (user, found) = keys.find(&replica, &id, Some(&token), NOW).expect("known");
    assert_eq!((user.arn.as_str(), found.expose()), (arn, secret.as_str()));
    assert!(user.check("appmesh:ListMeshes", || "*".into()).is_ok());
    assert!(user.check("appmesh:CreateMesh", || "*".into()).is_err());
    use crate::sigv4::AuthError;
    let refused = |id: &str, token: Option<&str>, now| keys.find(&replica, id, token, now).err();
    assert_eq!(
        refused(&id, Some(&token), NOW + 3600),
        Some(AuthError::KeyExpired)
    );
    assert_eq!(refused(&id, None, NOW), Some(AuthError::UnknownKey));
    assert_eq!(
        refused("ASIAX", Some(&token), NOW),
        Some(AuthError::UnknownKey)
    );
    assert_eq!(
        refused(&id, Some(&token[1..]), NOW),
        Some(AuthError::UnknownKey)
    );

    let invalid = ("InvalidIdentityToken", 400);
    let denied = ("AccessDenied", 403);
    for (role, token, expected, why) in [
        ("controller", "x".to_owned(), invalid, "not a valid JWT"),
        (
            "controller",
            stranger.token("a", &claims()),
            invalid,
            "signature",
        ),
        (
            "controller",
            stranger.token("b", &claims()),
            invalid,
            "Couldn't find the key",
        ),
        (
            "controller",
            with("iss", "https://evil.example".into()),
            invalid,
            "No OpenIDConnect provider",
        ),
        (
            "controller",
            with("aud", "tombolo".into()),
            invalid,
            "Incorrect token audience",
        ),
        ("controller", with("sub", Value::Null), invalid, ""),
        (
            "controller",
            with("exp", (NOW - 100).into()),
            ("ExpiredTokenException", 400),
            "Token expired",
        ),
        (
            "controller",
            with("nbf", (NOW + 100).into()),
            invalid,
            "not yet valid",
        ),
        (
            "controller",
            with("sub", "system:serviceaccount:default:default".into()),
            denied,
            "Not authorized",
        ),
        (
            "admin",
            signer.token("a", &claims()),
            denied,
            "Not authorized",
        ),
    ] {
        let (code, status, message) = ask(role, &token).await.expect_err(why);
        assert_eq!((code, status), expected, "{message}");
        assert!(message.contains(why), "{message}: {why}");
    }
}

#[tokio::test]
async fn an_issuer_without_keys_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let signer = Signer::p256();
    let credentials = credentials(directory.path(), &[signer.jwk("a")]);
    fs::remove_file(directory.path().join("keys.json")).expect("removed");
    let token = signer.token("a", &claims());
    let input = AssumeRoleWithWebIdentity::read(&form(&[("WebIdentityToken", Some(&token))]));
    let id = RequestId::new("id");
    let sessions = SessionKeys::new(&[1; 32]);
    let done = input
        .expect("good")
        .execute(Some(&credentials), &sessions, NOW, &id);
    assert_eq!(
        done.await.expect_err("no keys").code,
        "IDPCommunicationError"
    );
}
