//! A small HTTP/1.1 client for tests that check every byte of a response.

use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(20);
const MAX_HEADERS: usize = 64;

/// A request. The body is sent as it is.
pub struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A GET request.
    pub fn get(path: &'a str) -> Self {
        Self::new("GET", path)
    }

    /// A request without a body.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A call of Cloud Map.
    pub fn cloud_map(operation: &str, body: &Value) -> Self {
        Self::new("POST", "/")
            .header("content-type", "application/x-amz-json-1.1")
            .header(
                "x-amz-target",
                format!("Route53AutoNaming_v20170314.{operation}"),
            )
            .signed("servicediscovery")
            .json(body)
    }

    /// A call of App Mesh: the path is relative to the API version.
    pub fn app_mesh(method: &'a str, path: &'a str, body: &Value) -> Self {
        let request = Self::new(method, path).signed("appmesh");
        if body.is_null() {
            return request;
        }
        request
            .header("content-type", "application/json")
            .json(body)
    }

    /// A call of STS, with the encoded form.
    pub fn sts(form: &str) -> Self {
        Self::new("POST", "/")
            .header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            .signed("sts")
            .body(form.as_bytes().to_vec())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    /// Adds a signature, of which a development control plane only reads the region.
    fn signed(self, service: &str) -> Self {
        let credential = format!(
            "AKIDEXAMPLE/20260101/{}/{service}/aws4_request",
            crate::REGION
        );
        self.header(
            "authorization",
            // It is not verified, but has the form of a signature.
            format!(
                "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature={:064}",
                0
            ),
        )
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers: names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept alive.
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
}

impl Connection {
    /// Opens a connection.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_within(address, DEADLINE)
    }

    /// Opens a connection to a server that may not answer: each operation fails after this timeout.
    pub fn open_within(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address })
    }

    /// Sends a request and reads the whole answer. After an error the connection is unusable.
    pub fn send(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        self.ask(request)?;
        self.answer()
    }

    /// Sends a request; its answer must be read before the next request.
    pub fn ask(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\ncontent-length: {}\r\n",
            request.method,
            request.path,
            request.body.len()
        );
        // A request may have a `host` other than the address of the server.
        if !request.headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&request.body);
        self.stream.write_all(&bytes)
    }

    /// Reads the whole answer to the last request.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut received = Vec::new();
        loop {
            let mut chunk = [0; 16 * 1024];
            let count = self.stream.read(&mut chunk)?;
            received.extend_from_slice(&chunk[..count]);
            if let Some(answer) = parse(&received, count == 0)? {
                return Ok(answer);
            }
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A GET request on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    Connection::open(address)?.send(&Request::get(path).header("connection", "close"))
}

/// The answer in these bytes, if it is complete.
fn parse(bytes: &[u8], ended: bool) -> io::Result<Option<Answer>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let size = match head
        .parse(bytes)
        .map_err(|error| invalid(error.to_string()))?
    {
        httparse::Status::Complete(size) => size,
        httparse::Status::Partial => return Ok(None),
    };
    let status = head.code.unwrap_or_default();
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value);
            (header.name.to_ascii_lowercase(), value.into_owned())
        })
        .collect();
    let header = |name: &str| {
        let found = headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone())
    };
    let rest = &bytes[size..];
    let body = if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        chunked(rest)
    } else if let Some(length) = header("content-length") {
        let length: usize = length.trim().parse().map_err(|_| invalid(length.clone()))?;
        (rest.len() >= length).then(|| rest[..length].to_vec())
    } else {
        ended.then(|| rest.to_vec())
    };
    Ok(body.map(|body| Answer {
        status,
        headers,
        body,
    }))
}

fn chunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) else {
            return None;
        };
        let size = usize::try_from(size).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(start..start + size)?);
        rest = rest.get(start + size + 2..)?;
    }
}
