use super::*;
use crate::{access::SessionKeys, sigv4::AuthError};

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

fn find(access_key: &str, token: Option<&str>, region: &str) -> Result<Arc<User>, AuthError> {
    let found = read(GOOD).expect("a good file");
    let sessions = SessionKeys::new(&[0; 32]);
    let (user, _) = found.find(&sessions, access_key, token, NOW)?;
    found.check_region("appmesh", region).map(|()| user)
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
    let mesh = "arn:aws:appmesh:us-west-2:111122223333:mesh";
    let service = "arn:aws:servicediscovery:us-west-2:444455556666:service";
    for case in [
        "allowed ALICE appmesh:DescribeMesh MESH/other",
        "denied  ALICE appmesh:DeleteMesh MESH/other",
        "allowed ALICE appmesh:DeleteMesh MESH/color",
        "allowed ALICE appmesh:CreateVirtualNode MESH/color/virtualNode/x",
        "allowed ALICE servicediscovery:DiscoverInstances *",
        "denied  ALICE servicediscovery:DiscoverInstancesRevision *",
        "denied  ALICE servicediscovery:ListNamespaces *",
        "allowed BOB servicediscovery:RegisterInstance SERVICE/srv-1",
        "denied  BOB servicediscovery:DeleteService SERVICE/srv-1",
        "denied  BOB tombolo:Write arn:aws:tombolo:r:1:v1/import",
        "denied  NOBODY appmesh:ListMeshes *",
    ] {
        let words: Vec<&str> = case.split_whitespace().collect();
        let [outcome, key, action, resource] = *words else {
            panic!("{case}");
        };
        let resource = resource.replace("MESH", mesh).replace("SERVICE", service);
        let token = (key == "BOB").then_some("tok");
        let user = find(key, token, "us-west-2").expect("known");
        let denied = AuthError::Denied(format!(
            "User: {} is not authorized to perform: {action} on resource: {resource}",
            user.arn
        ));
        let expected = if outcome == "allowed" {
            Ok(())
        } else {
            Err(denied)
        };
        assert_eq!(user.check(action, || resource), expected, "{case}");
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

/// Replacements in a valid file, each with the line of the expected problem and words in its message.
const MISTAKES: &str = r#"
regions: [us            | region: [us              | 2  | unknown field `region`, expected one of `regions`
us-west-2,              | us west,                 | 2  | letters, digits and dashes
  color-team:           |   AWSAppMeshReadOnly:    | 4  | AWS manages
"appmesh:*"             | "appmsh:*"               | 5  | is no action
"appmesh:*"             | ListMeshes               | 5  | is no action
"arn:aws:appmesh:*      | "aws:appmesh:*           | 6  | neither an ARN nor *
name: alice             | name: al ice             | 9  | letters, digits
"111122223333"          | 111122223333             | 10 | put the number in quotes
"111122223333"          | "11112222333"            | 10 | twelve digits
color-team]             | colour-team]             | 11 | no policy is called "colour-team"
        secret: hers    |                          | 13 | users[0].keys[0]: missing field `secret`
secret: hers            | secret: ""               | 14 | must not be empty
id: OLD                 | id: ALICE                | 15 | the key ALICE is given twice
2000-01-01T00:00:00Z    | tomorrow                 | 17 | 2027-01-01T00:00:00Z
team/bob\n    account: "444455556666" | alice\n    account: "111122223333" | 18 | given twice
keys: [{                | key: [{                  | 23 | unknown field `key`
users:                  | users                    | 8  | not YAML
"#;

#[test]
fn mistakes_are_reported_with_their_lines() {
    for mistake in MISTAKES.trim_matches('\n').lines() {
        let columns: Vec<String> = mistake
            .split('|')
            .map(|column| column.trim_end().replace("\\n", "\n"))
            .collect();
        let [from, to, line, words] = columns.as_slice() else {
            panic!("{mistake}");
        };
        let (to, line, words) = (
            to.strip_prefix(' ').unwrap_or(to),
            line.trim(),
            words.trim(),
        );
        assert!(GOOD.contains(from.as_str()), "{mistake}");
        let problem = read(&GOOD.replacen(from, to, 1)).err();
        let problem = problem.unwrap_or_else(|| panic!("not refused: {mistake}"));
        let line: usize = line.parse().expect("a line");
        let is_near = problem.line.abs_diff(line) <= usize::from(words == "not YAML");
        assert!(
            is_near && problem.message.contains(words),
            "{mistake}: {problem:?}"
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
    let problem = read(&GOOD.replacen("secret: hers", "secret: 4711", 1)).expect_err("a number");
    assert!(!problem.message.contains("4711"), "{problem:?}");
    let shown = format!("{:?}", read(GOOD).expect("good"));
    assert!(
        !shown.contains("\"hers\"") && !shown.contains("\"tok\""),
        "{shown}"
    );
}
