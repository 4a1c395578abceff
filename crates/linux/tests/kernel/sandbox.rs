use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{env, fs};

use tombolo_linux::Signal;
use tombolo_linux::container::{Container, ContainerSpec};
use tombolo_linux::fabric::Fabric;
use tombolo_linux::netns::Netns;
use tombolo_linux::sandbox::{self, Inside, Mode};

use crate::support::{block_on, in_each_mode, launch, test_name, until};

/// Runs `runtime` inside the sandbox and `launcher` outside of it.
fn run_both_halves<R: FnOnce(Inside), L: FnOnce(Mode, &str)>(runtime: R, launcher: L) {
    match sandbox::enter() {
        Some(inside) => runtime(inside.expect("enters")),
        None => in_each_mode(&test_name::<R>(), |mode| launcher(mode, &test_name::<R>())),
    }
}

#[test]
fn the_runtime_is_asked_to_stop_and_its_exit_code_is_passed_on() {
    run_both_halves(
        |inside| {
            inside.host.print("ready");
            block_on(inside.host.stop_requested());
            std::process::exit(42);
        },
        |mode, name| {
            let (sender, lines) = mpsc::channel();
            let sandbox = launch(name, mode, move |line| {
                sender.send(line.to_owned()).expect("is received")
            });
            assert_eq!(lines.recv().as_deref(), Ok("ready"));
            sandbox.stop();
            assert_eq!(block_on(sandbox.wait()), 42);
        },
    );
}

#[test]
fn the_runtime_listens_on_the_host() {
    run_both_halves(
        |inside| {
            let host = &inside.host;
            let listener = block_on(host.listen_tcp("127.0.0.1:0".parse().expect("an address")))
                .expect("listens");
            listener.set_nonblocking(false).expect("sets");
            let path = env::temp_dir().join(format!(
                "tombolo-linux-{}-{}.sock",
                inside.mode,
                rustix::process::getuid().as_raw()
            ));
            let unix = block_on(host.listen_unix(&path)).expect("listens");
            unix.set_nonblocking(false).expect("sets");
            let taken = block_on(host.listen_tcp(listener.local_addr().expect("has one")))
                .expect_err("is taken");
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            block_on(host.listen_unix("relative".as_ref())).expect_err("is relative");
            // The host is only reachable through the link.
            TcpStream::connect(listener.local_addr().expect("has one"))
                .expect_err("is in another network");
            host.print(&listener.local_addr().expect("has one").to_string());
            host.print(path.to_str().expect("is text"));
            listener
                .accept()
                .expect("accepts")
                .0
                .write_all(b"tcp")
                .expect("writes");
            unix.accept()
                .expect("accepts")
                .0
                .write_all(b"unix")
                .expect("writes");
            block_on(host.stop_requested());
            std::process::exit(0);
        },
        |mode, name| {
            let (sender, lines) = mpsc::channel();
            let sandbox = launch(name, mode, move |line| {
                sender.send(line.to_owned()).expect("is received")
            });
            let [tcp, path] = [(); 2].map(|()| lines.recv().expect("a line"));
            let mut answer = String::new();
            TcpStream::connect(tcp)
                .expect("connects")
                .read_to_string(&mut answer)
                .expect("reads");
            UnixStream::connect(&path)
                .expect("connects")
                .read_to_string(&mut answer)
                .expect("reads");
            assert_eq!(answer, "tcpunix");
            sandbox.stop();
            assert_eq!(block_on(sandbox.wait()), 0);
            drop(sandbox);
            assert!(!fs::exists(&path).expect("looks"), "the socket is removed");
        },
    );
}

#[test]
fn a_listener_of_the_launcher_is_handed_over_and_lines_that_nobody_reads_hold_up_nothing() {
    const ADDRESS: &str = "TOMBOLO_TEST_LISTENER";
    run_both_halves(
        |inside| {
            for _ in 0..10_000 {
                inside.host.print("a line");
            }
            let address = env::var(ADDRESS)
                .expect("is set")
                .parse()
                .expect("an address");
            let listener = block_on(inside.host.listen_tcp(address)).expect("listens");
            let again = block_on(inside.host.listen_tcp(address)).expect_err("is taken");
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
            listener.set_nonblocking(false).expect("sets");
            let (mut stream, _) = listener.accept().expect("accepts");
            stream.write_all(b"handed over").expect("writes");
            std::process::exit(0);
        },
        |mode, name| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
            let address = listener.local_addr().expect("has one");
            let mut program =
                sandbox::Program::this(["--exact", name, "--nocapture", "--test-threads=1"])
                    .expect("knows itself");
            program
                .env
                .push((ADDRESS.into(), address.to_string().into()));
            let (reader, read) = mpsc::channel::<()>();
            let print = move |_: &str| {
                let _ = read.recv();
            };
            let sandbox = sandbox::Sandbox::launch(program, mode, vec![listener], print);
            let sandbox = sandbox.expect("launches");
            // The listener was open all the time: this connection may be older than the runtime.
            let mut answer = String::new();
            TcpStream::connect(address)
                .expect("connects")
                .read_to_string(&mut answer)
                .expect("reads");
            assert_eq!(answer, "handed over");
            assert_eq!(block_on(sandbox.wait()), 0);
            drop(reader);
        },
    );
}

#[test]
fn a_signal_to_the_launcher_is_a_request_to_stop_and_a_second_one_kills() {
    const ROLE: &str = "TOMBOLO_TEST_SUPERVISOR";
    run_both_halves(
        |inside| {
            inside.host.print("ready");
            block_on(inside.host.stop_requested());
            inside.host.print("stopping");
            if env::var(ROLE).as_deref() == Ok("stubborn") {
                block_on(std::future::pending())
            }
            std::process::exit(42);
        },
        |mode, name| {
            if env::var_os(ROLE).is_some() {
                let sandbox = launch(name, mode, |line| println!("{line}"));
                std::process::exit(block_on(sandbox.supervise()));
            }
            for (temper, code) in [("meek", 42), ("stubborn", 128 + 9)] {
                let mut launcher = Command::new(env::current_exe().expect("knows itself"))
                    .args(["--exact", name, "--nocapture", "--test-threads=1"])
                    .env(ROLE, temper)
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("starts");
                let pid = rustix::process::Pid::from_child(&launcher);
                let mut lines = BufReader::new(launcher.stdout.take().expect("is piped"))
                    .lines()
                    .map_while(Result::ok);
                lines
                    .find(|line| line.contains("ready"))
                    .expect("gets ready");
                // There is no event for the installation of the handlers; an earlier signal would end the launcher.
                until("the launcher handles signals", || {
                    handles_signals(launcher.id()).then_some(())
                });
                rustix::process::kill_process(pid, Signal::TERM).expect("sends");
                lines
                    .find(|line| line.contains("stopping"))
                    .expect("is asked to stop");
                if temper == "stubborn" {
                    rustix::process::kill_process(pid, Signal::INT).expect("sends");
                }
                assert_eq!(
                    launcher.wait().expect("waits").code(),
                    Some(code),
                    "{temper}"
                );
            }
        },
    );
}

/// Whether a process has a handler for SIGTERM.
fn handles_signals(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .expect("is listed");
    u64::from_str_radix(caught.trim(), 16).expect("is a number") & (1 << (15 - 1)) != 0
}

/// The kernel's number of a process's network namespace.
fn network_of(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net"))
        .ok()
        .map(|metadata| metadata.ino())
}

fn processes() -> Vec<String> {
    let names = fs::read_dir("/proc")
        .expect("lists")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

#[test]
fn killing_the_launcher_leaves_no_process_and_no_network() {
    const ROLE: &str = "TOMBOLO_TEST_LAUNCHER";
    run_both_halves(
        |inside| {
            let fabric = Fabric::new().expect("makes a fabric");
            let pod = fabric
                .add_pod("pod", "10.1.0.2".parse().expect("an address"))
                .expect("adds a pod");
            let argv = [
                "/bin/sh",
                "-c",
                "trap '' TERM HUP INT; setsid sleep 5000 & while :; do sleep 1; done",
            ];
            let spec = ContainerSpec {
                argv: argv.map(Into::into).to_vec(),
                env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                netns: Some(pod.netns.clone()),
                ..ContainerSpec::default()
            };
            let container = block_on(Container::spawn(spec)).expect("starts");
            let inode = |netns: &Netns| rustix::fs::fstat(netns).expect("looks").st_ino;
            let init = block_on(inside.host.host_pid(container.pid())).expect("is found");
            let own = block_on(inside.host.host_pid(std::process::id())).expect("is found");
            block_on(inside.host.host_pid(4_000_000)).expect_err("there is none");
            let networks = (inode(&Netns::current().expect("opens")), inode(&pod.netns));
            inside
                .host
                .print(&format!("ready {init} {own} {} {}", networks.0, networks.1));
            block_on(std::future::pending())
        },
        |mode, name| {
            if env::var_os(ROLE).is_some() {
                let sandbox = launch(name, mode, |line| println!("{line}"));
                block_on(sandbox.wait());
                unreachable!("it is killed before");
            }
            let mut launcher = Command::new(env::current_exe().expect("knows itself"))
                .args(["--exact", name, "--nocapture", "--test-threads=1"])
                .env(ROLE, "1")
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let output = BufReader::new(launcher.stdout.take().expect("is piped"));
            let ready = output
                .lines()
                .map_while(Result::ok)
                .find(|line| line.contains("ready "))
                .expect("gets ready");
            let numbers = ready.split_once("ready ").expect("was found").1;
            let words: Vec<u64> = numbers
                .split(' ')
                .map(|word| word.parse().expect("a number"))
                .collect();
            let [init, own, ref networks @ ..] = words[..] else {
                panic!("{ready}")
            };
            assert_eq!(network_of(&own.to_string()), Some(networks[0]));
            assert_eq!(network_of(&init.to_string()), Some(networks[1]));
            launcher.kill().expect("kills");
            launcher.wait().expect("waits");
            let networks: BTreeSet<u64> = networks.iter().copied().collect();
            until("no process is left in the sandbox's networks", || {
                let left = processes()
                    .into_iter()
                    .any(|pid| network_of(&pid).is_some_and(|own| networks.contains(&own)));
                (!left).then_some(())
            });
        },
    );
}

#[test]
fn no_network_program_is_needed() {
    run_both_halves(
        |inside| {
            // PATH leads nowhere, so that no program can be found.
            assert_eq!(env::var("PATH").as_deref(), Ok("/no/where"));
            let fabric = Fabric::new().expect("makes a fabric");
            fabric
                .add_pod("pod", "10.1.0.2".parse().expect("an address"))
                .expect("adds a pod");
            fabric.apply(&Default::default()).expect("applies");
            drop(inside);
            std::process::exit(0);
        },
        |mode, name| {
            let mut program =
                sandbox::Program::this(["--exact", name, "--nocapture", "--test-threads=1"])
                    .expect("knows itself");
            program.env.push(("PATH".into(), "/no/where".into()));
            let sandbox =
                sandbox::Sandbox::launch(program, mode, Vec::new(), |_| ()).expect("launches");
            assert_eq!(block_on(sandbox.wait()), 0);
        },
    );
}
