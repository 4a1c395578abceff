//! Servers with known behaviour, chosen by the request's path:
//!
//! - `/status/N` answers with status N; `/flaky/N` with 503 for the first N requests, then 200
//! - `/slow/MS` waits; `/hold` waits for [`Upstream::release`]; `/stall` never answers; `/close` closes without an answer
//! - `/http10` answers as HTTP/1.0, its body ended by close; `/chunked` in chunks
//! - `/die-after` answers and then closes although it promised to keep the connection
//! - anything else answers with what it received

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use parking_lot::{Condvar, Mutex};

use super::resources::static_cluster;

/// A server thread; dropping it closes the socket and all connections.
pub struct Upstream {
    pub address: SocketAddr,
    pub name: &'static str,
    state: Arc<State>,
    acceptor: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    requests: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    flaky: Mutex<HashMap<String, usize>>,
    stopped: AtomicBool,
    /// Every answer has this status, when set.
    forced: AtomicUsize,
    released: Mutex<bool>,
    release: Condvar,
}

impl Upstream {
    pub fn start(name: &'static str) -> Self {
        Self::start_on(name, "127.0.0.1:0".parse().expect("address"))
    }

    pub fn start_on(name: &'static str, address: SocketAddr) -> Self {
        let socket = TcpListener::bind(address).expect("upstream binds");
        let address = socket.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let shared = state.clone();
        let acceptor = std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                if let Ok(copy) = stream.try_clone() {
                    shared.connections.lock().push(copy);
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(name, stream, &shared));
            }
        });
        Self {
            address,
            name,
            state,
            acceptor: Mutex::new(Some(acceptor)),
        }
    }

    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// A cluster of this server alone, with its name.
    pub fn cluster(&self) -> Cluster {
        static_cluster(self.name, &[self.address])
    }

    /// Answers all requests to `/hold`, from now on at once.
    pub fn release(&self) {
        *self.state.released.lock() = true;
        self.state.release.notify_all();
    }

    pub fn wait_for_requests(&self, count: usize) {
        super::wait_until("the request upstream", || self.requests() == count);
    }

    pub fn force_status(&self, status: usize) {
        self.state.forced.store(status, Ordering::SeqCst);
    }

    /// Closes the connections that are open, idle or not, as a killed process would.
    pub fn drop_connections(&self) {
        for stream in self.state.connections.lock().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// No longer accepts, and closes what is open.
    pub fn stop(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        // Until the socket is closed the kernel completes handshakes for it, and data sent on those connections is
        // lost.
        if let Some(acceptor) = self.acceptor.lock().take() {
            let _ = acceptor.join();
        }
        self.drop_connections();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(name: &str, stream: TcpStream, state: &State) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        state.requests.fetch_add(1, Ordering::SeqCst);
        if !answer(name, &request, &mut writer, &mut reader, state) {
            break;
        }
    }
    // The list of open connections holds a copy, so dropping this one would not close it.
    let _ = writer.shutdown(std::net::Shutdown::Both);
}

struct Request {
    line: String,
    path: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let line = line.trim_end().to_owned();
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_owned();
        if header.is_empty() {
            break;
        }
        headers.push(header);
    }
    let value = |name: &str| {
        headers.iter().find_map(|header| {
            header
                .to_ascii_lowercase()
                .strip_prefix(name)
                .map(|v| v.trim().to_owned())
        })
    };
    let mut body = Vec::new();
    if value("transfer-encoding:").is_some_and(|value| value.contains("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend(&chunk[..size]);
        }
    } else if let Some(length) =
        value("content-length:").and_then(|value| value.parse::<usize>().ok())
    {
        body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
    }
    Some(Request {
        line,
        path,
        headers,
        body,
    })
}

/// Returns whether the connection stays open.
fn answer(
    name: &str,
    request: &Request,
    writer: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    state: &State,
) -> bool {
    let forced = state.forced.load(Ordering::SeqCst);
    if forced != 0 {
        return respond(writer, name, forced, "forced");
    }
    let path = request.path.split('?').next().unwrap_or_default();
    let argument: usize = path
        .rsplit('/')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    if request
        .headers
        .iter()
        .any(|header| header.eq_ignore_ascii_case("upgrade: websocket"))
    {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        let _ = writer.write_all(head.as_bytes());
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let _ = writer.write_all(&buffer[..count]);
        }
        return false;
    }
    if path == "/status/204" {
        return writer
            .write_all(b"HTTP/1.1 204 No Content\r\nx-upstream: up\r\n\r\n")
            .is_ok();
    }
    if path.starts_with("/status/") {
        return respond(writer, name, argument, "status");
    }
    if path.starts_with("/flaky/") {
        let mut flaky = state.flaky.lock();
        let seen = flaky.entry(request.path.clone()).or_insert(0);
        *seen += 1;
        let status = if *seen <= argument { 503 } else { 200 };
        drop(flaky);
        return respond(writer, name, status, "flaky");
    }
    if path.starts_with("/slow/") {
        std::thread::sleep(Duration::from_millis(argument as u64));
        return respond(writer, name, 200, "slow");
    }
    match path {
        "/hold" => {
            let mut released = state.released.lock();
            state
                .release
                .wait_while(&mut released, |released| !*released);
            respond(writer, name, 200, "held")
        }
        "/stall" => {
            let _ = reader.read(&mut [0; 1]);
            false
        }
        "/close" => false,
        "/die-after" => {
            // Held back until the close, so that both arrive together: a request sent between them would be lost.
            let _ = socket2::SockRef::from(&*writer).set_tcp_cork(true);
            respond(writer, name, 200, "last");
            false
        }
        "/http10" => {
            let _ = writer.write_all(b"HTTP/1.0 200 OK\r\nX-Old: yes\r\n\r\nuntil close");
            false
        }
        "/chunked" => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
            writer.write_all(head.as_bytes()).is_ok()
        }
        _ => {
            let mut text = format!("{name}\n{}\n", request.line);
            let mut headers = request.headers.clone();
            headers.sort();
            for header in headers {
                text.push_str(&header);
                text.push('\n');
            }
            text.push('\n');
            text.push_str(&String::from_utf8_lossy(&request.body));
            let head_only = request.line.starts_with("HEAD ");
            respond_with(writer, name, 200, &text, head_only)
        }
    }
}

fn respond(writer: &mut TcpStream, name: &str, status: usize, body: &str) -> bool {
    respond_with(writer, name, status, body, false)
}

fn respond_with(
    writer: &mut TcpStream,
    name: &str,
    status: usize,
    body: &str,
    head_only: bool,
) -> bool {
    let mut text = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: text/plain\r\nx-upstream: {name}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    if !head_only {
        text.push_str(body);
    }
    writer.write_all(text.as_bytes()).is_ok()
}
