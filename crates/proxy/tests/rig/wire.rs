//! Peers that write and read raw bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// The HTTP/2 preface, and an empty SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A server that hands each connection to `script` in a thread of its own.
pub fn scripted(script: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let script = script.clone();
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

/// Reads everything and never answers.
pub fn silent(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Connects and sends `bytes`; every operation on the connection has a timeout of 20 s.
pub fn connect(address: SocketAddr, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("timeout set");
    stream.set_write_timeout(timeout).expect("timeout set");
    send(&mut stream, bytes);
    stream
}

pub fn send(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).expect("writes");
}

/// Reads a message's head byte by byte; the part received if the peer closes.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// The bytes received until the peer closes in order.
pub fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("ends in order");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bytes received until the peer closes, in order or by a reset; panics when it does neither.
pub fn read_to_close(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("still open: {error}"),
    }
}

/// An HTTP/2 frame's type, flags and payload.
pub fn read_frame(stream: &mut TcpStream) -> std::io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [a, b, c, kind, flags, ..] = head;
    let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
    stream.read_exact(&mut payload)?;
    Ok((kind, flags, payload))
}

/// The value of a setting in the server's first frame.
pub fn http2_setting(address: SocketAddr, wanted: u16) -> Option<u32> {
    let mut stream = connect(address, [PREFACE, EMPTY_SETTINGS].concat());
    let (kind, _, settings) = read_frame(&mut stream).expect("a frame");
    assert_eq!(kind, 4, "settings come first");
    settings.chunks_exact(6).find_map(|setting| {
        let id = u16::from_be_bytes([setting[0], setting[1]]);
        let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
        (id == wanted).then_some(value)
    })
}
