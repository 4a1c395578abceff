//! A client that sends exactly the given bytes and parses just enough HTTP/1 to read the answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that can carry several requests.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout set");
        stream.set_nodelay(true).expect("nodelay set");
        Self(BufReader::new(stream))
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("writes");
    }

    pub fn request(&mut self, raw: &str) -> Response {
        self.write(raw.as_bytes());
        self.read(raw.starts_with("HEAD "))
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: app.test\r\n\r\n"))
    }

    /// Whether the peer closes without sending more.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    pub fn read_raw(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("reads");
        bytes
    }

    pub fn read(&mut self, head_only: bool) -> Response {
        self.try_read(head_only).expect("a whole response")
    }

    pub fn try_read(&mut self, head_only: bool) -> std::io::Result<Response> {
        let (status, headers) = loop {
            let status = self.line()?;
            let code: u16 = status
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .ok_or_else(|| std::io::Error::other(format!("not a status line: {status:?}")))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if code != 100 {
                break (code, headers);
            }
        };
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if head_only || matches!(status, 101 | 204 | 304) {
            return Ok(response);
        }
        if response
            .header("transfer-encoding")
            .is_some_and(|value| value == "chunked")
        {
            loop {
                let size = usize::from_str_radix(self.line()?.trim(), 16)
                    .map_err(std::io::Error::other)?;
                let mut chunk = vec![0; size];
                self.0.read_exact(&mut chunk)?;
                self.line()?;
                if size == 0 {
                    break;
                }
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().map_err(std::io::Error::other)?];
            self.0.read_exact(&mut response.body)?;
        } else {
            self.0.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The response to one request, without the parts that differ between runs.
pub fn stable(address: SocketAddr, raw: &str) -> (u16, Vec<(String, String)>, String) {
    let mut response = send(address, raw);
    response.headers.retain(|(name, _)| name != "date");
    response.headers.sort();
    (response.status, response.headers.clone(), response.text())
}

/// One request on a connection of its own.
pub fn send(address: SocketAddr, raw: &str) -> Response {
    Connection::open(address).request(raw)
}

pub fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).get(path)
}

pub fn raw_post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}")
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Response {
    send(address, &raw_post(path, body))
}
