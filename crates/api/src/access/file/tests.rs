use super::*;
use crate::sigv4::AuthError;

const GOOD: &str = r#"
regions: [us-west-2, eu-north-1]
policies:
  color-team:
    - actions: ["appmesh:*"]
      resources: ["arn:aws:appmesh:*:111122223333:mesh/color*"]
    - actions: [servicediscovery:DiscoverInstances]
users:
  - name: alice
    account: "111122223333"
    policies: [AWSAppMeshReadOnly, color-team]
    keys:
      - id: ALICE
        secret: hers
      - id: OLD
        secret: old
        expires: 2000-01-01T00:00:00Z
  - name: team/bob
    account: "444455556666"
    policies: [AWSCloudMapRegisterInstanceAccess]
    keys:
      - { id: BOB, secret: his, session-token: tok }
  - { name: nobody, account: "444455556666", keys: [{ id: NOBODY, secret: "0" }] }
"#;
const NOW: u64 = 1_700_000_000;

fn find(
    access_key: &str,
    token: Option<&str>,
    region: &str,
) -> std::result::Result<Arc<User>, AuthError> {
    let keys = read(GOOD).expect("a good file");
    keys.find(access_key, token, region, NOW)
        .map(|(user, _)| user)
}

#[test]
fn keys_lead_to_their_owners() {
    let alice = find("ALICE", None, "us-west-2").expect("known");
    assert_eq!(alice.arn, "arn:aws:iam::111122223333:user/alice");
    assert!(
        alice.id.starts_with("AIDA") && alice.id.len() == 21,
        "{}",
        alice.id
    );
    let bob = find("BOB", Some("tok"), "eu-north-1").expect("known");
    assert_eq!(
        (bob.account.as_str(), bob.arn.as_str()),
        ("444455556666", "arn:aws:iam::444455556666:user/team/bob")
    );
    for (key, token, region, expected) in [
        ("EVE", None, "us-west-2", AuthError::UnknownKey),
        ("alice", None, "us-west-2", AuthError::UnknownKey),
        ("ALICE", Some("tok"), "us-west-2", AuthError::UnknownKey),
        ("BOB", None, "us-west-2", AuthError::UnknownKey),
        ("BOB", Some("to"), "us-west-2", AuthError::UnknownKey),
        ("OLD", None, "us-west-2", AuthError::KeyExpired),
    ] {
        assert_eq!(
            find(key, token, region).err(),
            Some(expected),
            "{key} {token:?}"
        );
    }
    assert!(matches!(
        find("ALICE", None, "us-west-1"),
        Err(AuthError::Invalid(_))
    ));
}

#[test]
fn policies_allow_what_they_name() {
    let mesh = |name: &str| format!("arn:aws:appmesh:us-west-2:111122223333:mesh/{name}");
    let service = "arn:aws:servicediscovery:us-west-2:444455556666:service/srv-1".to_owned();
    for (key, token, action, resource, expected) in [
        ("ALICE", None, "appmesh:DescribeMesh", mesh("other"), true),
        ("ALICE", None, "appmesh:DeleteMesh", mesh("other"), false),
        ("ALICE", None, "appmesh:DeleteMesh", mesh("color"), true),
        (
            "ALICE",
            None,
            "appmesh:CreateVirtualNode",
            mesh("color/virtualNode/x"),
            true,
        ),
        (
            "ALICE",
            None,
            "servicediscovery:DiscoverInstances",
            "*".into(),
            true,
        ),
        (
            "ALICE",
            None,
            "servicediscovery:DiscoverInstancesRevision",
            "*".into(),
            false,
        ),
        (
            "ALICE",
            None,
            "servicediscovery:ListNamespaces",
            "*".into(),
            false,
        ),
        (
            "BOB",
            Some("tok"),
            "servicediscovery:RegisterInstance",
            service.clone(),
            true,
        ),
        (
            "BOB",
            Some("tok"),
            "servicediscovery:DeleteService",
            service,
            false,
        ),
        (
            "BOB",
            Some("tok"),
            "tombolo:Write",
            "arn:aws:tombolo:r:1:v1/import".into(),
            false,
        ),
        ("NOBODY", None, "appmesh:ListMeshes", "*".into(), false),
    ] {
        let user = find(key, token, "us-west-2").expect("known");
        let allowed = user.check(action, || resource.clone());
        let message = format!(
            "User: {} is not authorized to perform: {action} on resource: {resource}",
            user.arn
        );
        let refusal = Err(AuthError::Denied(message));
        assert_eq!(allowed, if expected { Ok(()) } else { refusal });
    }
}

/// Comparing takes the product of both lengths, and the caller is told what was compared.
#[test]
fn names_that_are_longer_than_any_are_compared_with_nothing() {
    let alice = find("ALICE", None, "us-west-2").expect("known");
    let long = format!(
        "arn:aws:appmesh:us-west-2:111122223333:mesh/color{}",
        "x".repeat(1 << 20)
    );
    let Err(AuthError::Denied(why)) = alice.check("appmesh:DeleteMesh", || long) else {
        panic!("allowed");
    };
    assert!(why.ends_with("on resource: *"), "{why:.200}");
}

/// Changes a good file in one place; says on which line, and what must be said about it.
#[test]
fn mistakes_are_told_with_their_lines() {
    for (from, to, line, words) in [
        (
            "regions: [us",
            "region: [us",
            2,
            "no field \"region\"; there are: regions, policies, users",
        ),
        ("us-west-2,", "us west,", 2, "letters, digits and dashes"),
        ("  color-team:", "  AWSAppMeshReadOnly:", 4, "AWS manages"),
        ("\"appmesh:*\"", "\"appmsh:*\"", 5, "is no action"),
        ("\"appmesh:*\"", "ListMeshes", 5, "is no action"),
        (
            "\"arn:aws:appmesh:*",
            "\"aws:appmesh:*",
            6,
            "neither an ARN nor *",
        ),
        ("name: alice", "name: al ice", 9, "letters, digits"),
        (
            "\"111122223333\"",
            "111122223333",
            10,
            "put the number in quotes",
        ),
        ("\"111122223333\"", "\"11112222333\"", 10, "twelve digits"),
        (
            "color-team]",
            "colour-team]",
            11,
            "no policy is called \"colour-team\"",
        ),
        ("        secret: hers\n", "", 13, "a key needs 'secret:'"),
        ("secret: hers", "secret: \"\"", 14, "must not be empty"),
        ("id: OLD", "id: ALICE", 15, "the key ALICE is given twice"),
        (
            "2000-01-01T00:00:00Z",
            "tomorrow",
            17,
            "2027-01-01T00:00:00Z",
        ),
        (
            "name: team/bob\n    account: \"444455556666\"",
            "name: alice\n    account: \"111122223333\"",
            18,
            "given twice",
        ),
        ("keys: [{", "key: [{", 23, "no field \"key\""),
        ("users:", "users", 8, "not YAML"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let problem = read(&GOOD.replacen(from, to, 1)).err();
        let problem = problem.unwrap_or_else(|| panic!("{from} -> {to} is read"));
        assert!(
            problem.message.contains(words),
            "{from} -> {to}: {problem:?}"
        );
        assert!(
            problem.line.abs_diff(line) <= usize::from(words == "not YAML"),
            "{from} -> {to}: {problem:?}"
        );
    }
    for text in [
        "",
        "- a",
        "users: 1",
        "a: b\n---\nc: d",
        "users: [*a]",
        "users: []\nusers: []",
        "regions: [a]\nusers: []\nregions: []",
        "users: [&a [*a]]",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", read(GOOD).expect("good"));
    assert!(
        !shown.contains("\"hers\"") && !shown.contains("\"tok\""),
        "{shown}"
    );
}
