//! A real etcd on loopback, and a way to cut the wire to it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster of one member. Dropping it ends it.
pub(crate) struct Etcd {
    child: Child,
    /// The client address.
    pub(crate) at: SocketAddr,
    directory: tempfile::TempDir,
}

impl Etcd {
    /// Starts one; `None` where there is no program.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("http", &[])
    }

    /// Starts one that serves clients by this scheme, with more options.
    pub(crate) fn start_with(scheme: &str, options: &[&str]) -> Option<Self> {
        let program = tombolo_need::program("etcd", "TOMBOLO_ETCD")?;
        let directory = tempfile::tempdir().expect("a directory");
        let (at, peer) = (free_port(), free_port());
        let (client, peer) = (format!("{scheme}://{at}"), format!("http://{peer}"));
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--name", "one", "--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        Some(Self {
            child,
            at,
            directory,
        })
    }

    /// The output so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Stops its threads, or lets them go on.
    pub(crate) fn pause(&self, is_paused: bool) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = if is_paused {
            Signal::STOP
        } else {
            Signal::CONT
        };
        let id = i32::try_from(self.child.id()).expect("process ids are small");
        kill_process(Pid::from_raw(id).expect("not 0"), signal).expect("it runs");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A wire to an address that can be cut and mended.
pub(crate) struct Wire {
    pub(crate) at: SocketAddr,
    target: Arc<watch::Sender<Option<SocketAddr>>>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let at = listener.local_addr().expect("bound");
        let target = Arc::new(watch::channel(Some(target)).0);
        let state = target.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = state.subscribe();
                let Some(target) = *state.borrow_and_update() else {
                    continue;
                };
                tokio::spawn(async move {
                    let Ok(mut server) = tokio::net::TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.changed() => {}
                    }
                });
            }
        });
        Self { at, target }
    }

    pub(crate) fn cut(&self) {
        self.target.send_replace(None);
    }

    pub(crate) fn mend(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }
}

/// Asks etcd by its JSON gateway.
pub(crate) fn ask(at: SocketAddr, path: &str, body: &serde_json::Value) -> serde_json::Value {
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(at).expect("etcd listens");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: etcd\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

/// Polls until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}
