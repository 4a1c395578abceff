//! Proxies that prove who they are: by the token of their pod, or by a signature; over TLS.

use crate::{
    authenticated::{ADMIN, as_caller, output},
    issuer::{ISSUER, Issuer, now},
};
use http::{HeaderValue, Method, Request};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::timeout;
use tombolo_tests::{Program, Server, free_port, http::get, need, until};
use tombolo_xds::{
    Client, ClientOptions, Code, Node, Status,
    client::Server as ControlPlane,
    envoy::pb::envoy::{
        config::core::v3 as core,
        service::discovery::v3::{
            DiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
};
use tonic::transport::Endpoint;

const RED: &str = "mesh/color/virtualNode/red";
const BLUE: &str = "mesh/color/virtualNode/blue";
const SUBJECT: &str = "system:serviceaccount:color:default";
const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane that knows its proxies, with a mesh of two nodes.
struct Mesh {
    server: Server,
    issuer: Issuer,
}

impl Mesh {
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let issuer = Issuer::new("key");
        issuer.publish(&at("keys.json"));
        let stream = |resource: &str| {
            let resource = format!("arn:aws:appmesh:us-west-2:111122223333:{resource}");
            json!([{"actions": ["appmesh:StreamAggregatedResources"], "resources": [resource]}])
        };
        let credentials = json!({
            "policies": {"color": stream("mesh/color/*"), "red": stream(RED)},
            "providers": [{"issuer": ISSUER, "keys": at("keys.json").to_str()}],
            "roles": [{
                "name": "proxies", "account": "111122223333", "policies": ["color"],
                "trust": [{
                    "issuer": ISSUER, "subject": "system:serviceaccount:color:*", "audience": "tombolo",
                }],
            }],
            "users": [
                {"name": "admin", "account": "111122223333", "policies": ["AdministratorAccess"],
                 "keys": [{"id": ADMIN.0, "secret": ADMIN.1}]},
                {"name": "envoy", "account": "111122223333", "policies": ["red"],
                 "keys": [{"id": "ENVOY", "secret": "hers"}]},
            ],
        });
        fs::write(at("credentials.yaml"), credentials.to_string()).expect("writable");
        let file = at("credentials.yaml").display().to_string();
        let arguments = ["--credentials", &file, "--xds-name", "127.0.0.1"].map(str::to_owned);
        let server = Server::start_in(directory, &arguments, &[])?;
        let mesh = Self { server, issuer };
        mesh.cli(&["create-mesh", "--mesh-name", "color"])?;
        for node in ["red", "blue"] {
            let spec = json!({
                "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
                "serviceDiscovery": {"dns": {"hostname": format!("{node}.mesh.test")}},
            });
            let spec = spec.to_string();
            let words = [
                "--mesh-name",
                "color",
                "--virtual-node-name",
                node,
                "--spec",
                &spec,
            ];
            mesh.cli(&[&["create-virtual-node"], &words[..]].concat())?;
        }
        let root = get(mesh.server.api(), "/tombolo/v1/xds-root").expect("an answer");
        fs::write(mesh.at("root.pem"), root.text()).expect("writable");
        Some(mesh)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.server.directory().join(name)
    }

    fn cli(&self, words: &[&str]) -> Option<()> {
        let mut command = Command::new(need("TOMBOLO_AWS")?);
        self.server.aws().environment(&mut command);
        as_caller(&mut command, ADMIN);
        let done = output(command.arg("appmesh").args(words));
        done.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        Some(())
    }

    fn endpoint(&self) -> String {
        format!("https://{}", self.server.xds())
    }

    /// The token of a pod whose proxy is that of a resource, in a file.
    fn token(&self, name: &str, resource: &str, claims: &Value) -> PathBuf {
        let audience = format!("tombolo/{resource}");
        let token = self.issuer.token(SUBJECT, &audience, claims);
        fs::write(self.at(name), token).expect("writable");
        self.at(name)
    }

    /// What becomes of a proxy that says it is `resource`: its resources, or why there is no stream.
    async fn ask(
        &self,
        endpoint: String,
        resource: &str,
        token: Option<&Path>,
    ) -> Result<usize, String> {
        let node = Node {
            id: resource.to_owned(),
            ..Node::default()
        };
        let options = ClientOptions {
            authorities: Some(self.at("root.pem")),
            token_file: token.map(Path::to_owned),
            ..ClientOptions::new(endpoint, node)
        };
        let mut client = Client::start(options).expect("a good endpoint");
        let mut status = client.status();
        let asked = async {
            tokio::select! {
                update = client.next() => Ok(update.expect("the client runs").changed.len()),
                refused = status.wait_for(|status| status.last_error.is_some()) => {
                    let refused = refused.expect("the client runs");
                    Err(refused.last_error.clone().unwrap_or_default())
                }
            }
        };
        timeout(PATIENCE, asked).await.expect("an answer")
    }

    /// `tombolo` as an operator.
    fn tombolo(&self, words: &[&str]) -> String {
        let mut command = Command::new(self.server.binary());
        self.server.aws().environment(&mut command);
        as_caller(&mut command, ADMIN);
        let api = format!("http://{}", self.server.api());
        output(command.args(words).args(["--api", &api])).expect("answered")
    }

    /// Whether a proxy of this program is connected and has acknowledged all that it should hold.
    fn is_synced(&self, user_agent: &str) -> bool {
        let status = self.tombolo(&["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let proxies = status["controlPlane"]["proxies"].as_array();
        proxies.into_iter().flatten().any(|proxy| {
            let (acked, wanted) = (&proxy["revision_acked"], &proxy["revision_wanted"]);
            proxy["node"]["user_agent"] == user_agent
                && proxy["connected"] == true
                && acked.as_u64() >= wanted.as_u64()
                && acked.as_u64() > Some(0)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_has_its_own_configuration_and_no_other() {
    let Some(mesh) = Mesh::start() else { return };
    let red = mesh.token("red", RED, &json!({}));
    let blue = mesh.token("blue", BLUE, &json!({}));
    assert!(
        mesh.ask(mesh.endpoint(), RED, Some(&red))
            .await
            .expect("admitted")
            > 0
    );
    let arn = format!("arn:aws:appmesh:us-west-2:111122223333:{RED}");
    assert!(mesh.ask(mesh.endpoint(), &arn, Some(&red)).await.is_ok());

    let expired = mesh.token("expired", RED, &json!({"exp": now() - 100}));
    let unbound = mesh.token("unbound", RED, &json!({"kubernetes.io": null}));
    let other_mesh = mesh.token("other-mesh", "mesh/money/virtualNode/red", &json!({}));
    let stranger = mesh.at("stranger");
    let forged = Issuer::new("key").token(SUBJECT, &format!("tombolo/{RED}"), &json!({}));
    fs::write(&stranger, forged).expect("writable");
    for (resource, token, expected) in [
        (
            RED,
            Some(&blue),
            "PermissionDenied: the token of pod color/pod-1",
        ),
        (
            "mesh/money/virtualNode/red",
            Some(&other_mesh),
            "PermissionDenied: User",
        ),
        (RED, None, "Unauthenticated: Missing Authentication Token"),
        (RED, Some(&expired), "Unauthenticated: Token expired"),
        (
            RED,
            Some(&unbound),
            "Unauthenticated: the token is not bound to a pod",
        ),
        (RED, Some(&stranger), "Unauthenticated: The signature"),
    ] {
        let answer = mesh
            .ask(mesh.endpoint(), resource, token.map(|it| it.as_path()))
            .await;
        let refused = answer.expect_err(expected);
        assert!(refused.contains(expected), "{refused}");
    }
    // Plaintext is no way in.
    let plaintext = format!("http://{}", mesh.server.xds());
    assert!(mesh.ask(plaintext, RED, Some(&red)).await.is_err());

    let doctor = mesh.tombolo(&["status"]);
    for word in [
        "was turned away",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        RED,
    ] {
        assert!(doctor.contains(word), "{word}: {doctor}");
    }
    let log = mesh.server.log();
    let secret = fs::read_to_string(&red).expect("there");
    assert!(
        !log.contains(&secret) && log.contains("a proxy was turned away"),
        "{log}"
    );
}

#[test]
fn a_server_that_others_reach_knows_its_proxies() {
    let Some(binary) = need("TOMBOLO_BIN") else {
        return;
    };
    for (options, expected) in [
        (&["--xds", "0.0.0.0:0"][..], "--xds-name"),
        (
            &["--xds", "0.0.0.0:0", "--xds-name", "mesh.test"],
            "--credentials",
        ),
    ] {
        let mut command = Command::new(&binary);
        let refused = output(
            command
                .args(["server", "--api", "127.0.0.1:0"])
                .args(options),
        );
        let refused = refused.expect_err("anybody could have all configurations");
        assert!(refused.contains(expected), "{refused}");
    }
}

/// The variables of a sidecar.
fn sidecar(mesh: &Mesh, command: &mut Command, token: &Path) {
    command
        .env("APPMESH_RESOURCE_ARN", RED)
        .env("APPMESH_XDS_ENDPOINT", mesh.endpoint())
        .env("TOMBOLO_XDS_CA", mesh.at("root.pem"))
        .env("TOMBOLO_XDS_TOKEN_FILE", token)
        .env("ENVOY_ADMIN_ACCESS_PORT", free_port().port().to_string());
}

#[test]
fn both_sidecars_connect_over_tls_with_their_token() {
    let Some(mesh) = Mesh::start() else { return };
    let Some(envoy) = need("TOMBOLO_ENVOY") else {
        return;
    };
    let red = mesh.token("red", RED, &json!({}));
    for (name, user_agent) in [("proxy", "tombolo-proxy"), ("envoy", "envoy")] {
        let mut command = Command::new(mesh.server.binary());
        sidecar(&mesh, command.arg(name), &red);
        command.env("TOMBOLO_ENVOY", &envoy);
        let program = Program::start(&mut command, &mesh.at(&format!("{name}.log")));
        until(&format!("{name} is configured"), || {
            mesh.is_synced(user_agent).then_some(())
        });
        drop(program);
    }
}

/// AWS's Envoy image with `APPMESH_XDS_ENDPOINT=unix:///…`: it neither signs nor reads a token.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_lets_others_in_by_a_socket() {
    let Some(mesh) = Mesh::start() else { return };
    let red = mesh.token("red", RED, &json!({}));
    let socket = mesh.at("agent").join("xds.sock");
    let mut command = Command::new(mesh.server.binary());
    command.args(["agent", "--xds", &mesh.endpoint()]);
    command.arg("--socket").arg(&socket);
    command.arg("--xds-ca").arg(mesh.at("root.pem"));
    command.arg("--xds-token-file").arg(&red);
    let agent = Program::start(&mut command, &mesh.at("agent.log"));
    until("the agent listens", || socket.exists().then_some(()));
    let endpoint = format!("unix://{}", socket.display());
    let found = mesh.ask(endpoint.clone(), RED, None).await;
    assert!(found.expect("admitted") > 0);
    let refused = mesh.ask(endpoint.clone(), BLUE, None).await;
    assert!(refused.expect_err("another's").contains("PermissionDenied"));
    mesh.token("red", RED, &json!({"exp": now() - 100}));
    let refused = mesh.ask(endpoint, RED, None).await;
    assert!(
        refused
            .expect_err("it is read anew")
            .contains("Token expired")
    );
    drop(agent);
}

/// As AWS's Envoy image: state-of-the-world ADS, with SigV4 call credentials.
async fn signed_stream(mesh: &Mesh, resource: &str, secret: &str) -> Result<String, Status> {
    let server = ControlPlane::encrypted(&mesh.endpoint()).expect("https");
    let authority = server.authority();
    let channel = Endpoint::from_shared(format!("http://{authority}")).expect("a URL");
    let channel = channel.connect_with_connector(server.connector(Some(mesh.at("root.pem"))));
    let channel = channel.await.expect("it listens");
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
    // The hash of no body.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let head = Request::builder().method(Method::POST).uri(path);
    let head = head
        .header("host", authority)
        .header("x-amz-content-sha256", empty);
    let (mut head, ()) = head.body(()).expect("a request").into_parts();
    let key = tombolo_api::fuzzing::Key {
        id: "ENVOY",
        secret,
        token: None,
        region: "us-west-2",
        service: "appmesh",
        now: now(),
    };
    key.sign(&mut head, b"").expect("signed");
    head.headers.remove("host");
    let request = DiscoveryRequest {
        node: Some(core::Node {
            id: resource.to_owned(),
            ..core::Node::default()
        }),
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..DiscoveryRequest::default()
    };
    let pending =
        tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let mut call = tonic::Request::new(pending);
    for (name, value) in &head.headers {
        let name: &HeaderValue = &HeaderValue::from_str(name.as_str()).expect("text");
        let key = tonic::metadata::MetadataKey::from_bytes(name.as_bytes()).expect("a key");
        let value = value.to_str().expect("text").parse().expect("a value");
        call.metadata_mut().insert(key, value);
    }
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let answered = async {
        let mut answers = client.stream_aggregated_resources(call).await?.into_inner();
        let first = answers.message().await?;
        Ok(first.expect("an answer").type_url)
    };
    timeout(PATIENCE, answered).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_gets_what_its_policies_allow() {
    let Some(mesh) = Mesh::start() else { return };
    let found = signed_stream(&mesh, RED, "hers").await.expect("admitted");
    assert!(found.ends_with("Cluster"), "{found}");
    let refused = signed_stream(&mesh, BLUE, "hers")
        .await
        .expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused
            .message()
            .contains("appmesh:StreamAggregatedResources"),
        "{refused}"
    );
    let refused = signed_stream(&mesh, RED, "his")
        .await
        .expect_err("a wrong secret");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}
