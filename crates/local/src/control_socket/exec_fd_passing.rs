//! The protocol of `exec`: the program gets the caller's own standard input, output and error, so nothing is copied and
//! a terminal stays a terminal.
//!
//! The caller sends one JSON line together with three descriptors (SCM_RIGHTS); then lines go both ways:
//! `{"signal": 2}` from the caller, `{"exit": 0}` or `{"refused": {…}}` from the runtime.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tombolo_linux::container::Process;

use super::client::Error;
use super::types::{ErrorResponse, ExecQuery};

/// Maximum bytes of the first line.
const MAX_LINE: usize = 256 << 10;

/// Deadline for the caller's first line.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Message {
    Signal(i32),
    Exit(i32),
    Refused(ErrorResponse),
}

/// The client side. See [`super::Client::exec`].
pub(super) async fn run(
    socket: &Path,
    query: &ExecQuery,
    mut signals: mpsc::Receiver<i32>,
) -> Result<i32, Error> {
    let stream = StdUnixStream::connect(socket)?;
    send(&stream, query)?;
    stream.set_nonblocking(true)?;
    let (reader, mut writer) = UnixStream::from_std(stream)?.into_split();
    let mut lines = tokio::io::BufReader::new(reader).lines();
    let mut listening = true;
    loop {
        tokio::select! {
            signal = signals.recv(), if listening => match signal {
                Some(signal) => write(&mut writer, &Message::Signal(signal)).await?,
                None => listening = false,
            },
            line = lines.next_line() => match line?.map(|line| serde_json::from_str(&line)) {
                Some(Ok(Message::Exit(code))) => return Ok(code),
                Some(Ok(Message::Refused(error))) => return Err(Error::Refused(error)),
                Some(Ok(Message::Signal(_))) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Error::Ended),
            },
        }
    }
}

/// Sends a query together with this process' standard input, output and error.
fn send(stream: &StdUnixStream, query: &ExecQuery) -> io::Result<()> {
    let mut line = serde_json::to_vec(query)?;
    line.push(b'\n');
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let descriptors = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let slices = [IoSlice::new(&line)];
    let sent = sendmsg(stream, &slices, &mut ancillary, SendFlags::NOSIGNAL)?;
    io::Write::write_all(&mut &*stream, &line[sent..])
}

/// A caller of `exec`.
pub(super) struct Caller {
    pub(super) query: ExecQuery,
    /// Standard input, output and error.
    pub(super) stdio: [Option<OwnedFd>; 3],
    stream: StdUnixStream,
}

/// Reads the query of a caller. Blocks for at most [`READ_TIMEOUT`]; foreign bytes are errors, never panics.
pub(super) fn read(stream: StdUnixStream) -> io::Result<Caller> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut buffer = vec![0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?
    .bytes;
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let stdio = [descriptors.next(), descriptors.next(), descriptors.next()];
    drop(descriptors);
    buffer.truncate(received);
    if !buffer.contains(&b'\n') {
        let rest = io::Read::take(&stream, MAX_LINE as u64);
        BufReader::with_capacity(1, rest).read_until(b'\n', &mut buffer)?;
    }
    Ok(Caller {
        query: serde_json::from_slice(&buffer)?,
        stdio,
        stream,
    })
}

impl Caller {
    /// Answers that the program is not started.
    pub(super) async fn refuse(self, error: ErrorResponse) {
        self.send(Message::Refused(error)).await;
    }

    /// Answers with the exit code.
    pub(super) async fn exited(self, code: i32) {
        self.send(Message::Exit(code)).await;
    }

    async fn send(self, message: Message) {
        let _ = async {
            self.stream.set_nonblocking(true)?;
            let mut stream = UnixStream::from_std(self.stream)?;
            write(&mut stream, &message).await
        }
        .await;
    }

    /// Forwards signals until the program ends; kills the program when the caller disconnects.
    pub(super) async fn attach(self, session: Process) {
        let _ = async {
            self.stream.set_nonblocking(true)?;
            let (reader, mut writer) = UnixStream::from_std(self.stream)?.into_split();
            let reader = tokio::io::AsyncReadExt::take(reader, MAX_LINE as u64);
            let mut lines = tokio::io::BufReader::new(reader).lines();
            loop {
                tokio::select! {
                    code = session.wait() => return write(&mut writer, &Message::Exit(code)).await,
                    line = lines.next_line() => {
                        let Ok(Some(line)) = line else {
                            session.kill();
                            return Ok(());
                        };
                        if let Ok(Message::Signal(number)) = serde_json::from_str(&line)
                            && let Some(signal) = Signal::from_named_raw(number)
                        {
                            session.signal(signal);
                        }
                    },
                }
            }
        }
        .await;
    }
}

async fn write(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    message: &Message,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_request_arrive_together() {
        let (caller, runtime) = StdUnixStream::pair().unwrap();
        let query = ExecQuery {
            pod: "web".into(),
            command: vec!["x".repeat(100_000)],
            ..ExecQuery::default()
        };
        let accepted = std::thread::spawn(move || read(runtime).unwrap());
        send(&caller, &query).unwrap();
        let accepted = accepted.join().unwrap();
        assert_eq!(accepted.query.command, query.command);
        assert!(accepted.stdio.iter().all(Option::is_some));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let (caller, runtime) = StdUnixStream::pair().unwrap();
        io::Write::write_all(&mut &caller, b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(read(runtime).is_err());
        let (caller, runtime) = StdUnixStream::pair().unwrap();
        drop(caller);
        assert!(read(runtime).is_err());
    }
}
