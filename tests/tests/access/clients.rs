//! Real clients with right and wrong keys, regions and clocks, and with different permissions.

use crate::authenticated::{
    ADMIN, AuthenticatedServer, COLOR, HERE, Key, OTHER, TEMPORARY, boto, python,
};
use serde_json::{Value, json};
use tombolo_tests::http::Request;

#[test]
fn callers_are_who_their_keys_say() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    for (key, account, user) in [
        (ADMIN, "111122223333", "admin"),
        (TEMPORARY, "111122223333", "admin"),
        (OTHER, "444455556666", "other"),
    ] {
        let Some(answer) = server.cli(key, &["sts", "get-caller-identity"]) else {
            return;
        };
        let identity: Value = serde_json::from_str(&answer.expect("allowed")).expect("JSON");
        assert_eq!(
            identity["Arn"],
            format!("arn:aws:iam::{account}:user/{user}")
        );
        assert_eq!(identity["Account"], account);
        let id = identity["UserId"].as_str().unwrap_or_default();
        assert!(id.starts_with("AIDA"), "{id}");
    }
}

/// Access key, secret and session token, region, clock skew in seconds, service; and the status, the code and words
/// of the message in the answer.
const REFUSED: &str = "
ADMIN     wrong            -     us-west-2         0 appmesh          403 InvalidSignatureException   does not match
ADMIN     wrong            -     us-west-2         0 servicediscovery 400 InvalidSignatureException   does not match
ADMIN     wrong            -     us-west-2         0 sts              403 SignatureDoesNotMatch       does not match
NOBODY    x                -     us-west-2         0 appmesh          403 UnrecognizedClientException invalid
NOBODY    x                -     us-west-2         0 servicediscovery 400 UnrecognizedClientException invalid
NOBODY    x                -     us-west-2         0 sts              403 InvalidClientTokenId        invalid
TEMPORARY short-lived      -     us-west-2         0 appmesh          403 UnrecognizedClientException invalid
TEMPORARY short-lived      x     us-west-2         0 appmesh          403 UnrecognizedClientException invalid
TEMPORARY wrong            TOKEN us-west-2         0 appmesh          403 InvalidSignatureException   does not match
EXPIRED   over             -     us-west-2         0 appmesh          403 ExpiredTokenException       expired
EXPIRED   over             -     us-west-2         0 sts              403 ExpiredToken                expired
ADMIN     admin/secret+key -     mars-north-1      0 appmesh          403 InvalidSignatureException   valid region
ADMIN     admin/secret+key -     us-west-2     -3600 appmesh          403 InvalidSignatureException   Signature expired
ADMIN     admin/secret+key -     us-west-2      3600 servicediscovery 400 InvalidSignatureException   Signature not yet
ADMIN     admin/secret+key -     us-west-2     -3600 sts              403 SignatureDoesNotMatch       Signature expired
";

/// A call that every caller of the service may make.
fn call_of(service: &str) -> (&str, &'static str, Value) {
    let operation = match service {
        "appmesh" => "list_meshes",
        "servicediscovery" => "list_namespaces",
        _ => "get_caller_identity",
    };
    (service, operation, json!({}))
}

#[test]
fn wrong_callers_are_told_what_is_wrong_as_aws_does() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    for row in REFUSED.trim().lines() {
        let mut cells = row.split_whitespace();
        let mut cell = || cells.next().expect("a full row");
        let (id, secret) = (cell(), cell());
        let token = match cell() {
            "-" => "",
            "TOKEN" => TEMPORARY.2,
            token => token,
        };
        let (region, skew, service) = (cell(), cell().parse().expect("seconds"), cell());
        let (status, code) = (cell().parse::<u16>().expect("a status"), cell());
        let words = cells.collect::<Vec<_>>().join(" ");
        let key = Key(id, secret, token);
        let Some(answer) = boto(&server, key, region, skew, call_of(service)) else {
            return;
        };
        assert_eq!(
            (&answer["status"], &answer["code"]),
            (&json!(status), &json!(code)),
            "{row}"
        );
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(&words), "{row}: {answer}");
    }
    let log = server.log();
    assert!(log.contains("does not match"), "{log}");
    assert!(!log.contains(TEMPORARY.2), "session tokens are secrets");
    for skew in [-600, 600] {
        let Some(answer) = boto(&server, ADMIN, HERE, skew, call_of("appmesh")) else {
            return;
        };
        assert!(
            answer["ok"].is_object(),
            "ten minutes do not matter: {answer}"
        );
    }
    // A request without a signature.
    let (status, text) = server.unsigned(&Request::get("/v20190125/meshes"));
    assert_eq!(status, 403);
    assert!(
        text.contains("MissingAuthenticationTokenException"),
        "{text}"
    );
    for path in ["/tombolo/v1/status", "/tombolo/v1/export", "/nothing"] {
        let (status, text) = server.unsigned(&Request::get(path));
        assert_eq!(status, 403, "{path}: {text}");
    }
    // Load balancers cannot sign.
    let alive = server.unsigned(&Request::get("/healthz"));
    assert_eq!(alive, (200, "ok\n".to_owned()));
}

/// A call in the default region with a correct clock.
fn call(server: &AuthenticatedServer, key: Key, operation: &str, params: Value) -> Option<Value> {
    let service = match operation {
        "list_namespaces" => "servicediscovery",
        _ => "appmesh",
    };
    boto(server, key, HERE, 0, (service, operation, params))
}

#[test]
fn policies_decide_what_callers_may_do() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let make = |key, mesh: &str| {
        let answer = call(&server, key, "create_mesh", json!({"meshName": mesh}))?;
        let is_made = answer["ok"].is_object();
        Some(if is_made {
            "made".into()
        } else {
            answer["message"].clone()
        })
    };
    let denied = |action: &str, resource: &str| {
        json!(format!(
            "User: arn:aws:iam::111122223333:user/color is not authorized to perform: {action} on resource: \
             {resource}"
        ))
    };
    let Some(made) = make(COLOR, "color") else {
        return;
    };
    assert_eq!(made, "made");
    let arn = "arn:aws:appmesh:us-west-2:111122223333:mesh/other";
    let refused = denied("appmesh:CreateMesh", arn);
    assert_eq!(make(COLOR, "other"), Some(refused));
    assert_eq!(make(ADMIN, "other"), Some("made".into()));
    let node = json!({"meshName": "color", "virtualNodeName": "n", "spec": {}});
    let made = call(&server, COLOR, "create_virtual_node", node);
    assert!(made.expect("Python")["ok"].is_object());

    let answer = call(&server, COLOR, "list_namespaces", json!({})).expect("Python");
    assert_eq!(answer["code"], "AccessDeniedException");
    assert_eq!(answer["status"], 400);
    let refused = denied("servicediscovery:ListNamespaces", "*");
    assert_eq!(answer["message"], refused);

    // The command line shows the same message.
    let Some(answer) = server.cli(COLOR, &["appmesh", "delete-mesh", "--mesh-name", "other"])
    else {
        return;
    };
    let error = answer.expect_err("not allowed");
    assert!(
        error.contains("(AccessDeniedException) when calling the DeleteMesh operation"),
        "{error}"
    );
    let Some(answer) = server.cli(COLOR, &["appmesh", "describe-mesh", "--mesh-name", "other"])
    else {
        return;
    };
    answer.expect("to look is allowed");
}

#[test]
fn accounts_and_regions_are_apart() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let names = |key, region| {
        let answer = boto(&server, key, region, 0, call_of("appmesh"))?;
        let meshes = answer["ok"]["meshes"].as_array().expect("a list");
        Some(
            meshes
                .iter()
                .map(|mesh| mesh["arn"].clone())
                .collect::<Vec<_>>(),
        )
    };
    for (key, region) in [(ADMIN, HERE), (ADMIN, "eu-north-1"), (OTHER, HERE)] {
        let call = ("appmesh", "create_mesh", json!({"meshName": "m"}));
        let Some(made) = boto(&server, key, region, 0, call) else {
            return;
        };
        assert!(made["ok"].is_object(), "{made}");
    }
    for (key, region, account) in [
        (ADMIN, HERE, "111122223333"),
        (ADMIN, "eu-north-1", "111122223333"),
        (OTHER, HERE, "444455556666"),
    ] {
        let arn = json!(format!("arn:aws:appmesh:{region}:{account}:mesh/m"));
        assert_eq!(names(key, region), Some(vec![arn]));
    }
    assert_eq!(names(OTHER, "eu-north-1"), Some(vec![]));
}

#[test]
fn a_presigned_url_proves_who_made_it() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let endpoint = format!("http://{}", server.api);
    for method in ["GET", "POST"] {
        let made = python(&json!({
            "do": "presign", "endpoint": endpoint, "key": COLOR.0, "secret": COLOR.1, "region": HERE,
            "method": method,
        }));
        let Some(made) = made else {
            return;
        };
        let url = made[0]["url"].as_str().expect("a URL");
        let target = url.strip_prefix(&endpoint).expect("ours");
        let (status, text) = server.unsigned(&Request::new(method, target));
        assert_eq!(status, 200, "{method}: {text}");
        assert!(
            text.contains("<Arn>arn:aws:iam::111122223333:user/color</Arn>"),
            "{text}"
        );
    }
}

#[test]
fn tombolo_commands_sign_with_the_callers_key() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let api = server.api.to_string();
    let status = server.tombolo(Some(ADMIN), &["status", "--api", &api]);
    status.expect("allowed");
    server
        .tombolo(Some(TEMPORARY), &["status", "--api", &api])
        .expect("allowed");
    let export = server.tombolo(Some(ADMIN), &["export", "--api", &api, "-"]);
    export.expect("allowed");
    let refused = server.tombolo(Some(COLOR), &["export", "--api", &api, "-"]);
    let error = refused.expect_err("not allowed");
    assert!(
        error.contains("not authorized to perform: tombolo:Read on resource"),
        "{error}"
    );
    let error = server
        .tombolo(None, &["export", "--api", &api, "-"])
        .expect_err("nobody");
    assert!(error.contains("UnrecognizedClientException"), "{error}");
    assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
}

#[test]
fn policies_say_who_may_read_tags() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let words = ["resourcegroupstaggingapi", "get-resources"];
    let Some(allowed) = server.cli(ADMIN, &words) else {
        return;
    };
    assert!(allowed.is_ok(), "{allowed:?}");
    let refused = server.cli(COLOR, &words).expect("the CLI is there");
    let why = refused.expect_err("no policy allows it");
    assert!(
        why.contains("AccessDeniedException") && why.contains("tag:GetResources on resource: *"),
        "{why}"
    );
}

/// Scripts call more services than the ones implemented. They get that message, not one about the signature.
#[test]
fn services_that_are_not_here_are_named_to_real_clients() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let endpoint = format!("http://{}", server.api);
    for (command, service) in [
        (["ecs", "list-clusters"], "ecs"),
        (["iam", "list-users"], "iam"),
        (["lambda", "list-functions"], "lambda"),
        (["cloudwatch", "list-metrics"], "monitoring"),
        (["route53", "list-hosted-zones"], "route53"),
    ] {
        let words = [&["--endpoint-url", &endpoint][..], &command].concat();
        let Some(answer) = server.cli(ADMIN, &words) else {
            return;
        };
        let why = answer.expect_err("it is not here");
        let code = "(UnknownOperationException)";
        assert!(
            why.contains(code) && why.contains(&format!("\"{service}\"")),
            "{command:?}: {why}"
        );
    }
}
