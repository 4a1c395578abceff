//! Pods that have no keys, only the token of their service account: the aws CLI and boto3 as they are.

use crate::{
    authenticated::output,
    issuer::{ISSUER, Issuer},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command};
use tombolo_tests::{Server, need, until};

const SUBJECT: &str = "system:serviceaccount:appmesh-system:appmesh-controller";
const AUDIENCE: &str = "sts.amazonaws.com";
const ROLE: &str = "arn:aws:iam::111122223333:role/appmesh-controller";

/// A server that trusts an issuer, and a pod of the service account.
struct Pod {
    server: Server,
    issuer: Issuer,
}

impl Pod {
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let issuer = Issuer::new("first");
        issuer.publish(&at("keys.json"));
        let credentials = json!({
            "regions": ["us-west-2"],
            "providers": [{"issuer": ISSUER, "keys": at("keys.json").to_str()}],
            "roles": [{
                "name": "appmesh-controller", "account": "111122223333",
                "policies": ["AWSAppMeshReadOnly", "AWSCloudMapFullAccess", "describe"],
                "trust": [{"issuer": ISSUER, "subject": SUBJECT}],
            }],
            "policies": {"describe": [{"actions": ["eks:DescribeCluster"]}]},
        });
        fs::write(at("credentials.yaml"), credentials.to_string()).expect("writable");
        let clusters = json!({"clusters": [{
            "name": "cluster1", "issuer": ISSUER, "service-cidr": "10.96.0.0/16", "version": "1.34",
        }]});
        fs::write(at("clusters.yaml"), clusters.to_string()).expect("writable");
        let path = |name: &str| at(name).display().to_string();
        let arguments = [
            "--credentials".to_owned(),
            path("credentials.yaml"),
            "--clusters".to_owned(),
            path("clusters.yaml"),
        ];
        let log = ("TOMBOLO_LOG", "info,tombolo_api=debug");
        let server = Server::start_in(directory, &arguments, &[log])?;
        let pod = Self { server, issuer };
        pod.mount(&pod.issuer.token(SUBJECT, AUDIENCE, &json!({})));
        Some(pod)
    }

    fn token_file(&self) -> PathBuf {
        self.server.directory().join("token")
    }

    fn mount(&self, token: &str) {
        fs::write(self.token_file(), token).expect("writable");
    }

    /// The environment that EKS gives to a pod of the service account.
    fn environment(&self, command: &mut Command) {
        self.server.aws().environment(command);
        let endpoint = format!("http://{}", self.server.api());
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_ENDPOINT_URL_EKS", endpoint)
            .env("AWS_ROLE_ARN", ROLE)
            .env("AWS_ROLE_SESSION_NAME", "pod-1")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", self.token_file());
    }

    /// The `aws` CLI in the pod.
    fn cli(&self, words: &[&str]) -> Option<Result<Value, String>> {
        let mut command = Command::new(need("TOMBOLO_AWS")?);
        self.environment(&mut command);
        let answer = output(command.args(["--output", "json"]).args(words));
        Some(answer.map(|text| serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Lines of Python in the pod, which print JSON.
    fn python(&self, lines: &str) -> Option<Value> {
        let mut command = Command::new(need("TOMBOLO_PYTHON")?);
        self.environment(&mut command);
        let text = output(command.args(["-c", lines])).expect("Python ends well");
        Some(serde_json::from_str(&text).expect("JSON"))
    }
}

#[test]
fn a_service_account_is_enough_for_the_aws_cli() {
    let Some(pod) = Pod::start() else { return };
    let Some(identity) = pod.cli(&["sts", "get-caller-identity"]) else {
        return;
    };
    let identity = identity.expect("known");
    let session = "arn:aws:sts::111122223333:assumed-role/appmesh-controller/pod-1";
    assert_eq!(
        (&identity["Arn"], &identity["Account"]),
        (&json!(session), &json!("111122223333"))
    );
    let meshes = pod.cli(&["appmesh", "list-meshes"]).expect("there");
    assert_eq!(meshes, Ok(json!({"meshes": []})));
    let refused = pod
        .cli(&["appmesh", "create-mesh", "--mesh-name", "m"])
        .expect("there");
    let refused = refused.expect_err("no policy of the role allows it");
    assert!(
        refused.contains("AccessDenied") && refused.contains(session),
        "{refused}"
    );

    let query = ["eks", "describe-cluster", "--name"];
    let cluster = pod
        .cli(&[&query[..], &["cluster1"]].concat())
        .expect("there");
    let cluster = &cluster.expect("described")["cluster"];
    assert_eq!(cluster["identity"]["oidc"]["issuer"], ISSUER);
    assert_eq!(cluster["status"], "ACTIVE");
    assert_eq!(
        cluster["arn"],
        "arn:aws:eks:us-west-2:111122223333:cluster/cluster1"
    );
    assert_eq!(
        cluster["kubernetesNetworkConfig"],
        json!({"ipFamily": "ipv4", "serviceIpv4Cidr": "10.96.0.0/16"})
    );
    let missing = pod
        .cli(&[&query[..], &["cluster2"]].concat())
        .expect("there");
    assert!(
        missing
            .expect_err("not listed")
            .contains("ResourceNotFoundException")
    );
}

#[test]
fn tokens_that_are_not_good_get_no_keys() {
    let Some(pod) = Pod::start() else { return };
    let stranger = Issuer::new("first");
    let sign =
        |subject: &str, audience: &str, claims: Value| pod.issuer.token(subject, audience, &claims);
    let unsigned = {
        let good = sign(SUBJECT, AUDIENCE, json!({}));
        let (_, rest) = good.split_once('.').expect("three parts");
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{rest}")
    };
    for (token, code) in [
        ("nonsense".to_owned(), "InvalidIdentityToken"),
        (unsigned, "InvalidIdentityToken"),
        (
            stranger.token(SUBJECT, AUDIENCE, &json!({})),
            "InvalidIdentityToken",
        ),
        (
            sign(SUBJECT, AUDIENCE, json!({"iss": "https://evil.test"})),
            "InvalidIdentityToken",
        ),
        (sign(SUBJECT, "tombolo", json!({})), "InvalidIdentityToken"),
        (
            sign(SUBJECT, AUDIENCE, json!({"exp": 1_700_000_000})),
            "ExpiredTokenException",
        ),
        (
            sign(SUBJECT, AUDIENCE, json!({"nbf": 4_000_000_000_u64})),
            "InvalidIdentityToken",
        ),
        (
            sign("system:serviceaccount:default:default", AUDIENCE, json!({})),
            "AccessDenied",
        ),
    ] {
        pod.mount(&token);
        let Some(answer) = pod.cli(&["sts", "get-caller-identity"]) else {
            return;
        };
        let error = answer.expect_err(code);
        assert!(error.contains(code), "{error}");
        assert!(!pod.server.log().contains(&token), "tokens are secrets");
    }
    // A new key of the issuer is found by the first token that it signs.
    let rotated = Issuer::new("second");
    rotated.publish(&pod.server.directory().join("keys.json"));
    pod.mount(&rotated.token(SUBJECT, AUDIENCE, &json!({})));
    until("the new key is known", || {
        pod.cli(&["sts", "get-caller-identity"])
            .expect("there")
            .ok()
    });
}

#[test]
fn boto3_works_by_token_and_under_the_global_name_of_sts() {
    let Some(pod) = Pod::start() else { return };
    let answer = pod.python(
        "import boto3, botocore, json\n\
         registry = boto3.client('servicediscovery')\n\
         namespaces = registry.list_namespaces()['Namespaces']\n\
         # What clients sign for who know STS by its global name.\n\
         identity = boto3.client('sts', region_name='us-east-1').get_caller_identity()\n\
         try:\n    \
             boto3.client('appmesh', region_name='us-east-1').list_meshes()\n    \
             code = 'answered'\n\
         except botocore.exceptions.ClientError as error:\n    \
             code = error.response['Error']['Code']\n\
         frozen = boto3.Session().get_credentials()\n\
         frozen.get_frozen_credentials()\n\
         print(json.dumps({'namespaces': namespaces, 'account': identity['Account'], 'code': code,\n    \
             'method': frozen.method, 'seconds': frozen._seconds_remaining()}))",
    );
    let Some(answer) = answer else { return };
    assert_eq!(answer["namespaces"], json!([]));
    assert_eq!(answer["account"], "111122223333");
    assert_eq!(
        answer["code"], "InvalidSignatureException",
        "the file lists other regions"
    );
    assert_eq!(answer["method"], "assume-role-with-web-identity");
    let seconds = answer["seconds"].as_f64().expect("they end");
    assert!((3500.0..=3600.0).contains(&seconds), "{seconds}");
}
