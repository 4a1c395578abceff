//! `exec`: the caller's own standard input, output and error are handed to the program, so nothing is copied
//! and a terminal stays a terminal.
//!
//! On the socket: the caller sends one JSON line together with three descriptors (SCM_RIGHTS); then lines go both
//! ways: `{"signal": 2}` from the caller, `{"exit": 0}` or `{"refused": {…}}` from the runtime.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::client::Error;
use super::types::{ExecQuery, Refusal};
use crate::machine::Executed;

/// Bytes of the first line.
const LONGEST: usize = 256 << 10;

/// How long a caller may take for its first line.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Signal(i32),
    Exit(i32),
    Refused(Refusal),
}

/// The caller's side. See [`super::Client::exec`].
pub(super) async fn run(
    socket: &Path,
    query: &ExecQuery,
    mut signals: mpsc::Receiver<i32>,
) -> Result<i32, Error> {
    let broken = |error: io::Error| Error::Broken(error.to_string());
    let stream = StdUnixStream::connect(socket).map_err(broken)?;
    let mut line = serde_json::to_vec(query).map_err(|error| Error::Broken(error.to_string()))?;
    line.push(b'\n');
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    send(
        &stream,
        &line,
        &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
    )
    .map_err(broken)?;
    stream.set_nonblocking(true).map_err(broken)?;
    let (reader, mut writer) = UnixStream::from_std(stream).map_err(broken)?.into_split();
    let mut lines = tokio::io::BufReader::new(reader).lines();
    let mut listening = true;
    loop {
        tokio::select! {
            signal = signals.recv(), if listening => match signal {
                Some(signal) => write(&mut writer, &Word::Signal(signal)).await.map_err(broken)?,
                None => listening = false,
            },
            line = lines.next_line() => match line.map_err(broken)?.map(|line| serde_json::from_str(&line)) {
                Some(Ok(Word::Exit(code))) => return Ok(code),
                Some(Ok(Word::Refused(refusal))) => return Err(Error::Refused(refusal)),
                Some(Ok(Word::Signal(_))) => {}
                Some(Err(error)) => return Err(Error::Broken(error.to_string())),
                None => return Err(Error::Broken("the runtime ended".to_owned())),
            },
        }
    }
}

fn send(stream: &StdUnixStream, line: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    let sent = sendmsg(
        stream,
        &[IoSlice::new(line)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    io::Write::write_all(&mut &*stream, &line[sent..])
}

/// A caller with its descriptors.
pub(super) struct Caller {
    /// What it asks for.
    pub(super) query: ExecQuery,
    /// Its standard input, output and error.
    pub(super) stdio: [Option<OwnedFd>; 3],
    stream: StdUnixStream,
}

/// Reads what a caller asks for. Blocks; foreign bytes are errors, never panics.
pub(super) fn accept(stream: StdUnixStream) -> io::Result<Caller> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
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
        let rest = io::Read::take(&stream, LONGEST as u64);
        BufReader::with_capacity(1, rest).read_until(b'\n', &mut buffer)?;
    }
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    let query = serde_json::from_slice(&buffer).map_err(|error| invalid(error.to_string()))?;
    Ok(Caller {
        query,
        stdio,
        stream,
    })
}

impl Caller {
    /// Says that nothing will run.
    pub(super) async fn refuse(self, refusal: Refusal) {
        self.say(Word::Refused(refusal)).await;
    }

    /// Says that it is over already.
    pub(super) async fn exited(self, code: i32) {
        self.say(Word::Exit(code)).await;
    }

    async fn say(self, word: Word) {
        let _ = async {
            self.stream.set_nonblocking(true)?;
            let mut stream = UnixStream::from_std(self.stream)?;
            write(&mut stream, &word).await
        }
        .await;
    }

    /// Passes signals on until the program ends; a caller that goes away takes the program with it.
    pub(super) async fn attend(self, program: Arc<dyn Executed>) {
        let _ = async {
            self.stream.set_nonblocking(true)?;
            let (reader, mut writer) = UnixStream::from_std(self.stream)?.into_split();
            let mut lines = tokio::io::BufReader::new(tokio::io::AsyncReadExt::take(reader, LONGEST as u64)).lines();
            loop {
                tokio::select! {
                    code = program.wait() => return write(&mut writer, &Word::Exit(code)).await,
                    line = lines.next_line() => match line {
                        Ok(Some(line)) => if let Ok(Word::Signal(number)) = serde_json::from_str(&line) {
                            program.signal(number);
                        },
                        Ok(None) | Err(_) => {
                            program.kill();
                            return Ok(());
                        }
                    },
                }
            }
        }
        .await;
    }
}

async fn write(writer: &mut (impl tokio::io::AsyncWrite + Unpin), word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
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
        let mut line = serde_json::to_vec(&query).unwrap();
        line.push(b'\n');
        let accepted = std::thread::spawn(move || accept(runtime).unwrap());
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        send(
            &caller,
            &line,
            &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        )
        .unwrap();
        let accepted = accepted.join().unwrap();
        assert_eq!(accepted.query.command, query.command);
        assert!(accepted.stdio.iter().all(Option::is_some));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let (caller, runtime) = StdUnixStream::pair().unwrap();
        io::Write::write_all(&mut &caller, b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(accept(runtime).is_err());
        let (caller, runtime) = StdUnixStream::pair().unwrap();
        drop(caller);
        assert!(accept(runtime).is_err());
    }
}
