//! Running a test inside a sandbox: the test binary launches itself, once for each mode this machine allows.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tombolo_linux::netns::Netns;
use tombolo_linux::sandbox::{self, Inside, Mode, Program, Sandbox};

/// An ordinary user on every Linux machine: "nobody".
const NOBODY: u32 = 65534;
const DEADLINE: Duration = Duration::from_secs(20);
/// The variable that is set in the process of the ordinary user.
const ROLE: &str = "TOMBOLO_TEST_ORDINARY_USER";
const DONE: &str = "the body of the test ran to its end";

/// Runs the body inside a sandbox of each mode; panics here if it panics there.
pub(crate) fn inside<F: FnOnce(&Inside)>(body: F) {
    if let Some(inside) = sandbox::enter() {
        let inside = inside.expect("enters");
        body(&inside);
        inside.host.print(DONE);
        return;
    }
    let name = test_name::<F>();
    in_each_mode(&name, |mode| {
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        let sandbox = launch(&name, mode, move |line| {
            println!("{line}");
            seen.fetch_or(line == DONE, Ordering::SeqCst);
        });
        assert_eq!(
            block_on(sandbox.wait()),
            0,
            "{name} fails in the {mode} sandbox"
        );
        until("the last line arrives", || {
            done.load(Ordering::SeqCst).then_some(())
        });
    });
}

/// This test binary in a sandbox, running the test of this name.
pub(crate) fn launch(name: &str, mode: Mode, print: impl FnMut(&str) + Send + 'static) -> Sandbox {
    let program =
        Program::this(["--exact", name, "--nocapture", "--test-threads=1"]).expect("knows itself");
    Sandbox::launch(program, mode, Vec::new(), print).expect("launches")
}

/// Runs `launcher` in this process for its mode, and, if that is root's, once more as an ordinary user.
pub(crate) fn in_each_mode(name: &str, launcher: impl FnOnce(Mode)) {
    let mode = match sandbox::probe() {
        Ok(mode) => mode,
        Err(error) => return tombolo_need::skip(&error.to_string()),
    };
    launcher(mode);
    if !rustix::process::geteuid().is_root() || env::var_os(ROLE).is_some() {
        return;
    }
    let executable = env::current_exe().expect("knows itself");
    if !everybody_reaches(&executable) {
        return tombolo_need::skip(&format!(
            "an ordinary user cannot reach {}",
            executable.display()
        ));
    }
    let mut command = Command::new(executable);
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .current_dir("/");
    command.uid(NOBODY).gid(NOBODY);
    let status = command.status().expect("starts itself as an ordinary user");
    assert!(
        status.success(),
        "{name} fails as an ordinary user: {status}"
    );
}

fn everybody_reaches(path: &Path) -> bool {
    let open = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o005 == 0o005)
    };
    path.ancestors().all(open)
}

/// The name that libtest knows the test by, from the type of its closure: "kernel::fabric::claim::{{closure}}".
pub(crate) fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.split("::{{")
        .next()
        .expect("split yields one")
        .to_owned()
}

/// Waits for a condition.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("builds");
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, work)
            .await
            .expect("ends in time")
    })
}

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

pub(crate) fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().expect("an address and port")
}

/// Answers each line with "NAME LINE", on every connection, forever.
pub(crate) fn serve(netns: &Netns, address: SocketAddrV4, name: &'static str) {
    let listener = netns
        .run(|| TcpListener::bind(address))
        .expect("enters")
        .expect("listens");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepts");
            thread::spawn(move || {
                let mut line = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut line) {
                    let answer = format!("{name} {}", String::from_utf8_lossy(&line[..length]));
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

pub(crate) fn connect(netns: &Netns, to: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = netns
        .run(|| TcpStream::connect_timeout(&SocketAddr::V4(to), DEADLINE))
        .expect("enters")?;
    stream.set_read_timeout(Some(DEADLINE)).expect("sets");
    stream.set_nodelay(true).expect("sets");
    Ok(stream)
}

pub(crate) fn say(stream: &mut TcpStream, line: &str) -> io::Result<String> {
    stream.write_all(line.as_bytes())?;
    let mut answer = [0; 64];
    match stream.read(&mut answer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(String::from_utf8_lossy(&answer[..length]).into_owned()),
    }
}

/// Sends one line on a new connection; the answer.
pub(crate) fn ask(netns: &Netns, to: SocketAddrV4, line: &str) -> io::Result<String> {
    say(&mut connect(netns, to)?, line)
}
