use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, StatusCode};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Instant;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(30);

/// A program on a free port of loopback.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn start(program: &str, variables: &[(&str, &str)]) -> Running {
    let env = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let program = Program::new(program, &env).expect("a good environment");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    Running {
        address,
        stop,
        ended: tokio::spawn(listen::serve(listener, program, stopped, GRACE)),
    }
}

impl Running {
    fn request(&self, path: &str) -> hyper::http::request::Builder {
        Request::builder().uri(format!("http://{}{path}", self.address))
    }

    async fn end(self) {
        let _ = self.stop.send(());
        timeout(SOON, self.ended)
            .await
            .expect("ends in time")
            .expect("no panic");
    }
}

async fn send(request: hyper::http::request::Builder) -> Response<String> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let response = timeout(SOON, client.request(request)).await;
    read(response.expect("an answer in time").expect("an answer")).await
}

async fn read(response: Response<hyper::body::Incoming>) -> Response<String> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).expect("text"))
}

fn parts(response: &Response<String>) -> (u16, &str) {
    (response.status().as_u16(), response.body())
}

#[tokio::test]
async fn a_color_answers_every_path_with_its_color() {
    let color = start(
        "color",
        &[("COLOR", "blue"), ("HOSTNAME", "colorapp-blue-1")],
    )
    .await;
    assert_eq!(parts(&send(color.request("/ping")).await), (200, ""));
    for path in ["/", "/color", "/any/other?x=1"] {
        let response = send(color.request(path)).await;
        assert_eq!(parts(&response), (200, "blue"), "{path}");
        assert_eq!(response.headers()["x-pod"], "colorapp-blue-1");
    }
    color.end().await;
}

#[tokio::test]
async fn a_color_delays_its_answer_as_asked() {
    let color = start("color", &[("COLOR", "red")]).await;
    let begin = Instant::now();
    let response = send(color.request("/").header("Latency", "0.2")).await;
    assert_eq!(parts(&response), (200, "red"));
    // At least that long: a lower bound holds however busy the machine is.
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let color = start("color", &[("COLOR", "red")]).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = color
        .request("/")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let response = timeout(SOON, client.request(request))
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(response.version(), hyper::Version::HTTP_2);
    assert_eq!(parts(&read(response).await), (200, "red"));
    assert_eq!(parts(&send(color.request("/")).await), (200, "red"));
}

#[tokio::test]
async fn the_front_passes_on_status_body_and_headers() {
    // A backend that tells what it was asked.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        let answer = "HTTP/1.1 418 I'm a teapot\r\ncontent-length: 5\r\nx-pod: p1\r\nset-cookie: no\r\n\r\nshort";
        stream
            .write_all(answer.as_bytes())
            .await
            .expect("an open connection");
        String::from_utf8(request).expect("text").to_lowercase()
    });
    // A name, so that it has to be resolved.
    let color_host = format!("localhost:{port}");
    let front = start("front", &[("COLOR_HOST", &color_host)]).await;
    let request = front
        .request("/color?q=1")
        .header("color_header", "blue")
        .header("X-B3-TraceId", "1")
        .header("X-Amzn-Trace-Id", "2")
        .header("traceparent", "3")
        .header("x-request-id", "4")
        .header("cookie", "private");
    let response = send(request).await;
    assert_eq!(parts(&response), (418, "short"));
    assert_eq!(response.headers()["x-pod"], "p1");
    assert!(!response.headers().contains_key("set-cookie"));
    let asked = backend.await.expect("no panic");
    assert!(asked.starts_with("get / http/1.1\r\n"), "{asked}");
    for line in [
        &format!("host: {color_host}"),
        "color_header: blue",
        "x-b3-traceid: 1",
        "x-amzn-trace-id: 2",
        "traceparent: 3",
        "x-request-id: 4",
    ] {
        assert!(
            asked.contains(&format!("\r\n{line}\r\n")),
            "{line} in {asked}"
        );
    }
    assert!(!asked.contains("cookie"));
}

#[tokio::test]
async fn the_front_says_why_there_is_no_color() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").to_string()
    };
    let front = start("front", &[("COLOR_HOST", &gone)]).await;
    let response = send(front.request("/color")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.body().contains(&gone), "{}", response.body());
    assert!(response.body().contains("refused"), "{}", response.body());
    assert_eq!(parts(&send(front.request("/ping")).await), (200, ""));

    // Not a name that anybody is asked about: labels may not be this long.
    let nobody = format!("{}:80", "a".repeat(64));
    let front = start("front", &[("COLOR_HOST", &nobody)]).await;
    let response = send(front.request("/color")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.body().contains("dns error"), "{}", response.body());
}

#[tokio::test]
async fn the_front_connects_again_after_the_color_was_replaced() {
    let color = start("color", &[("COLOR", "blue")]).await;
    let address = color.address;
    let front = start("front", &[("COLOR_HOST", &address.to_string())]).await;
    assert_eq!(parts(&send(front.request("/color")).await), (200, "blue"));
    color.end().await;
    let failed = send(front.request("/color")).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let listener = TcpListener::bind(address)
        .await
        .expect("the port is free again");
    let program = Program::new("color", &|name| (name == "COLOR").then(|| "red".into()));
    let program = program.expect("a good environment");
    tokio::spawn(listen::serve(
        listener,
        program,
        std::future::pending(),
        GRACE,
    ));
    assert_eq!(parts(&send(front.request("/color")).await), (200, "red"));
}

#[tokio::test]
async fn requests_under_way_are_answered_before_the_end() {
    let color = start("color", &[("COLOR", "blue")]).await;
    let address = color.address;
    // The head of a request, whose end comes only after the signal to stop.
    let mut slow = tokio::net::TcpStream::connect(address)
        .await
        .expect("a listener");
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nlatency: 0.3\r\n\r\n")
        .await
        .expect("open");
    // The connection is accepted, since a later one is answered.
    assert_eq!(parts(&send(color.request("/ping")).await), (200, ""));
    let begin = Instant::now();
    color.end().await;
    assert!(begin.elapsed() < SOON);
    let mut answer = String::new();
    timeout(SOON, slow.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("closed in order");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("blue"),
        "{answer}"
    );
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

/// Not a test: the program for the test below, in a process that can get a signal of its own.
#[test]
fn child() {
    if std::env::var("COLOR_TEST_CHILD").is_ok() {
        run("color", &|name| (name == "PORT").then(|| "0".into())).expect("runs");
    }
}

#[test]
fn sigterm_ends_a_program_with_success() {
    use std::io::{BufRead, BufReader};
    let program = std::env::current_exe().expect("a path");
    let mut child = std::process::Command::new(program)
        .args(["--exact", "program::tests::child", "--nocapture"])
        .env("COLOR_TEST_CHILD", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let is_ready = lines.any(|line| line.expect("text").contains("color listens on 0.0.0.0:"));
    assert!(is_ready);
    let id = child.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();
    assert!(kill.expect("a kill command").success());
    let deadline = Instant::now() + SOON;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("a child");
            panic!("still running");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_wrong_environment_is_named() {
    let message = |program: &str, variables: &[(&str, &str)]| {
        let env = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let refused = port(&env).and_then(|_| Program::new(program, &env).map(drop));
        refused.expect_err("must be refused").to_string()
    };
    assert!(message("tint", &[]).contains("front, color"));
    assert!(message("color", &[("PORT", "many")]).contains("PORT=\"many\""));
    assert!(message("front", &[("SERVER_PORT", "70000")]).contains("SERVER_PORT"));
    for value in [
        "",
        "a b",
        "host/path",
        "host?x",
        "host:port",
        "host:70000",
        "user@host",
        "http://host",
    ] {
        let message = message("front", &[("COLOR_HOST", value)]);
        assert!(message.contains("COLOR_HOST"), "{value:?}: {message}");
    }
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let error = run("color", &|name| (name == "PORT").then(|| port.clone()));
    let message = error.expect_err("the port is taken").to_string();
    assert!(
        message.starts_with("cannot listen on 0.0.0.0:"),
        "{message}"
    );
}
