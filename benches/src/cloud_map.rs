//! Cloud Map calls with as little client-side work as possible: the server is measured.

use crate::Result;
use serde_json::{Value, json};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SERVICE: &str = "servicediscovery";
const TARGET: &str = "Route53AutoNaming_v20170314";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A kept-alive connection to the API.
pub(crate) struct Connection {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

/// An encoded call that can be sent repeatedly.
pub(crate) struct Call(Vec<u8>);

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host: to,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Encodes a call. Servers in development mode accept any signature.
    pub(crate) fn prepare(&self, operation: &str, body: &Value) -> Call {
        let body = body.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: {TARGET}.{operation}\r\nx-amz-date: 20260101T000000Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-west-2/{SERVICE}/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={zero:064}\r\ncontent-length: {length}\r\n\r\n",
            host = self.host,
            zero = 0,
            length = body.len()
        );
        Call((head + &body).into_bytes())
    }

    /// Sends a call that must succeed; the body of the answer.
    pub(crate) async fn send(&mut self, call: &Call) -> io::Result<&[u8]> {
        self.stream.write_all(&call.0).await?;
        self.buffer.clear();
        let (start, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(found) = body(&self.buffer)? {
                break found;
            }
        };
        while self.buffer.len() < start + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !self.buffer.starts_with(b"HTTP/1.1 200") {
            let answer = String::from_utf8_lossy(&self.buffer).into_owned();
            return Err(io::Error::other(answer));
        }
        Ok(&self.buffer[start..start + length])
    }

    /// Makes one call.
    pub(crate) async fn call(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let call = self.prepare(operation, body);
        Ok(serde_json::from_slice(self.send(&call).await?)?)
    }

    /// Creates a namespace and waits for the operation; its id.
    pub(crate) async fn create_namespace(&mut self, name: &str) -> Result<String> {
        let answer = self
            .call("CreateHttpNamespace", &json!({"Name": name}))
            .await?;
        let operation = &answer["OperationId"];
        let start = Instant::now();
        loop {
            let answer = self
                .call("GetOperation", &json!({"OperationId": operation}))
                .await?;
            if let Some(id) = answer["Operation"]["Targets"]["NAMESPACE"].as_str()
                && answer["Operation"]["Status"] == "SUCCESS"
            {
                return Ok(id.to_owned());
            }
            if start.elapsed() > TIMEOUT {
                return Err(format!("namespace {name} was not made: {answer}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Creates a service; its id.
    pub(crate) async fn create_service(&mut self, namespace: &str, name: &str) -> Result<String> {
        let answer = self
            .call(
                "CreateService",
                &json!({"Name": name, "NamespaceId": namespace}),
            )
            .await?;
        let id = answer["Service"]["Id"].as_str();
        Ok(id.ok_or("a service without an id")?.to_owned())
    }
}

/// Connects to a server that may still be starting.
pub(crate) async fn reach(api: SocketAddr) -> Result<Connection> {
    let start = Instant::now();
    loop {
        match Connection::open(api).await {
            Ok(connection) => return Ok(connection),
            Err(error) if start.elapsed() > TIMEOUT => {
                return Err(format!("the server does not answer on {api}: {error}").into());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// A registration of a pod's instance: an address and the attributes that a mesh registers.
pub(crate) fn registration(service: &str, number: usize) -> Value {
    let [_, a, b, c] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let address = format!("10.{a}.{b}.{c}");
    json!({
        "ServiceId": service,
        "InstanceId": address,
        "Attributes": {
            "AWS_INSTANCE_IPV4": address,
            "AWS_INSTANCE_PORT": "8080",
            "app": "colorapp",
            "k8s.io/namespace": "bench",
            "k8s.io/pod": format!("colorapp-5f7d8c9b6-{number:05}"),
            "version": if number.is_multiple_of(2) { "blue" } else { "red" },
        }
    })
}

/// The offset and length of the body, once the whole head has arrived.
fn body(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse().ok());
    match length {
        Some(length) => Ok(Some((end + 4, length))),
        None => Err(io::Error::other("an answer without content-length")),
    }
}
