//! Minimal HTTP/1.1 for benchmarks: one fixed response, one fixed request.

use crate::Result;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A loopback address whose port was free.
pub(crate) fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Answers every request with a word of four letters, forever.
pub(crate) async fn origin(at: SocketAddr, word: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{word}",
        word.len()
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move { answer_all(stream, answer.as_bytes()).await });
        }
    });
    Ok(address)
}

async fn answer_all(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        if buffer.ends_with(b"\r\n\r\n") {
            buffer.clear();
            stream.write_all(answer).await?;
        }
    }
}

/// A keep-alive connection that repeats one request.
pub(crate) struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Caller {
    pub(crate) async fn connect(at: SocketAddr, host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request: format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes(),
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends the request; the body, four bytes of a 200.
    pub(crate) async fn call(&mut self) -> io::Result<[u8; 4]> {
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            let Some(end) = end else { continue };
            if !self.buffer.starts_with(b"HTTP/1.1 200") {
                let answer = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(io::Error::other(answer));
            }
            let Some(body) = self.buffer.get(end + 4..end + 8) else {
                continue;
            };
            return Ok(body.try_into().expect("four bytes"));
        }
    }
}

/// One request on a connection of its own, with a timeout of a second.
pub(crate) async fn probe(at: SocketAddr, host: &str) -> io::Result<[u8; 4]> {
    let call = async { Caller::connect(at, host).await?.call().await };
    tokio::time::timeout(Duration::from_secs(1), call).await?
}

/// The body of a GET on a connection of its own.
pub(crate) async fn get(at: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await?;
    // HTTP/1.0, so that the body ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nhost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(answer.split_off(end.ok_or("the answer is not HTTP")? + 4))
}
