use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use tombolo_linux::container::{
    Container, ContainerSpec, ExecSpec, FileContent, Mount, MountSource, Privileges, User,
};
use tombolo_linux::fabric::Fabric;
use tombolo_linux::sandbox::Mode;
use tombolo_linux::{CapabilitySet, Signal};

use crate::support::{block_on, inside, ip, until};

fn shell(script: &str) -> Vec<OsString> {
    ["/bin/sh", "-c", script].map(OsString::from).to_vec()
}

fn path() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())]
}

/// A pipe: the end to read from, and the end to pass to a process.
fn pipe() -> (File, OwnedFd) {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("makes a pipe");
    (reader.into(), writer)
}

/// Runs a container to its end: its exit code and output.
fn run(mut spec: ContainerSpec) -> (i32, String) {
    let (mut reader, writer) = pipe();
    spec.stderr = Some(writer.try_clone().expect("duplicates"));
    spec.stdout = Some(writer);
    let container = block_on(Container::spawn(spec)).expect("starts");
    let mut output = String::new();
    reader.read_to_string(&mut output).expect("reads");
    (block_on(container.wait()), output)
}

#[test]
fn a_container_sees_what_its_specification_says() {
    inside(|sandbox| {
        let fabric = Fabric::new().expect("makes a fabric");
        let pod = fabric.add_pod("pod", ip("10.1.0.2")).expect("adds a pod");
        let shared = sandbox.state_dir.join("volume");
        fs::create_dir(&shared).expect("makes a directory");
        let files = BTreeMap::from([
            ("plain".into(), FileContent::readable("text")),
            ("deep/er".into(), FileContent::readable("more")),
            (
                "script".into(),
                FileContent {
                    bytes: b"#!/bin/sh\necho it runs\n".to_vec(),
                    mode: 0o750,
                },
            ),
        ]);
        let mount = |at: &str, source, read_only| Mount {
            at: at.into(),
            source,
            read_only,
        };
        let script = r#"
            env | grep -v '^PWD=\|^SHLVL=\|^_='; hostname; pwd; cat /etc/resolv.conf /etc/hosts
            cat /no-such/on-host/config/plain /no-such/on-host/config/deep/er; echo; /no-such/on-host/config/script
            cat /etc/no-such-file-on-host; echo
            echo x > /no-such/on-host/config/plain || echo sealed
            echo data > /volume/file; echo secret > /tmp/private; ls /tmp
            test -e /.tombolo || echo hidden; test -e /proc/2 && test ! -e /proc/100 && echo alone
            cat /sys/class/net/eth0/address > /dev/null 2>&1; cat /proc/net/dev | grep -c eth0
        "#;
        let env = [path(), vec![("COLOR".into(), "blue".into())]].concat();
        let (code, output) = run(ContainerSpec {
            argv: shell(script),
            env,
            cwd: Some("/usr".into()),
            hostname: Some("front-1".into()),
            netns: Some(pod.netns.clone()),
            resolv_conf: Some(b"nameserver 10.96.0.10\n".to_vec()),
            hosts: Some(b"10.1.0.2 front-1\n".to_vec()),
            mounts: vec![
                mount("/no-such/on-host/config", MountSource::Files(files), true),
                mount(
                    "/etc/no-such-file-on-host",
                    MountSource::File(FileContent::readable("one file")),
                    false,
                ),
                mount("/volume", MountSource::Path(shared.clone()), false),
                mount("/tmp", MountSource::Scratch, false),
            ],
            ..ContainerSpec::default()
        });
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| !line.starts_with("PATH="))
            .collect();
        let expected = [
            "COLOR=blue",
            "front-1",
            "/usr",
            "nameserver 10.96.0.10",
            "10.1.0.2 front-1",
            "textmore",
            "it runs",
            "one file",
        ];
        assert_eq!(&lines[..expected.len()], expected, "{output}");
        assert!(
            lines[expected.len()].contains("/no-such/on-host/config/plain"),
            "{output}"
        );
        assert_eq!(
            &lines[expected.len() + 1..],
            ["sealed", "private", "hidden", "alone", "1"],
            "{output}"
        );
        assert_eq!(code, 0, "{output}");
        // Shared is shared, private is private, and the host's files are as they were.
        assert_eq!(fs::read(shared.join("file")).expect("reads"), b"data\n");
        for absent in [
            "/tmp/private",
            "/no-such",
            "/volume",
            "/etc/no-such-file-on-host",
        ] {
            assert!(!Path::new(absent).exists(), "{absent}");
        }
    });
}

#[test]
fn the_exit_code_or_the_signal_is_reported() {
    inside(|_| {
        let spec = |script: &str| ContainerSpec {
            argv: shell(script),
            env: path(),
            ..ContainerSpec::default()
        };
        assert_eq!(run(spec("exit 7")).0, 7);
        assert_eq!(run(spec("kill -KILL $$")).0, 128 + 9);
        let (mut reader, writer) = pipe();
        let waits = ContainerSpec {
            stdout: Some(writer),
            ..spec("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done")
        };
        let container = block_on(Container::spawn(waits)).expect("starts");
        reader.read_exact(&mut [0; 6]).expect("is ready");
        assert_eq!(container.exited(), None);
        container.signal(Signal::TERM);
        assert_eq!(block_on(container.wait()), 3);
        assert_eq!(container.exited(), Some(3));
        container.signal(Signal::TERM);
    });
}

#[test]
fn an_untrapped_signal_ends_the_program_although_it_leads_its_namespace() {
    inside(|_| {
        let spec = ContainerSpec {
            argv: ["sleep", "1000"].map(OsString::from).to_vec(),
            env: path(),
            ..ContainerSpec::default()
        };
        let container = block_on(Container::spawn(spec)).expect("starts");
        container.signal(Signal::TERM);
        assert_eq!(block_on(container.wait()), 128 + 15);
    });
}

/// Command lines of all processes in this sandbox.
fn commands() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("lists").flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .collect()
}

#[test]
fn killing_a_container_leaves_no_descendant() {
    inside(|_| {
        let running = || {
            commands()
                .iter()
                .filter(|command| command.contains("98765"))
                .count()
        };
        let script = "setsid sh -c 'sleep 98765 & setsid sleep 98765' & trap '' TERM INT HUP; echo ready; while :; do sleep 0.01; done";
        for end in [|it: &Container| it.kill(), |_: &Container| ()] {
            let spec = ContainerSpec {
                argv: shell(script),
                env: path(),
                ..ContainerSpec::default()
            };
            let container = block_on(Container::spawn(spec)).expect("starts");
            until("the descendants run", || (running() >= 3).then_some(()));
            end(&container);
            // Dropping the handle is enough, too.
            drop(container);
            until("nobody is left", || (running() == 0).then_some(()));
        }
    });
}

#[test]
fn what_cannot_start_is_named() {
    inside(|inside| {
        let missing = ContainerSpec {
            argv: vec!["no-such-program".into()],
            env: path(),
            ..ContainerSpec::default()
        };
        let error = block_on(Container::spawn(missing)).expect_err("cannot start");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no-such-program"), "{error}");
        let nowhere = ContainerSpec {
            argv: shell(""),
            cwd: Some("/no/where".into()),
            ..ContainerSpec::default()
        };
        let error = block_on(Container::spawn(nowhere))
            .expect_err("cannot start")
            .to_string();
        assert!(error.contains("/no/where"), "{error}");
        let mount = Mount {
            at: "/x".into(),
            source: MountSource::Path("/no/volume".into()),
            read_only: false,
        };
        let unmounted = ContainerSpec {
            argv: shell(""),
            mounts: vec![mount],
            ..ContainerSpec::default()
        };
        let error = block_on(Container::spawn(unmounted))
            .expect_err("cannot start")
            .to_string();
        assert!(error.contains("/x"), "{error}");
        block_on(Container::spawn(ContainerSpec::default())).expect_err("there is no program");
        let user = Some(User {
            uid: 1337,
            gid: 1337,
        });
        let other = ContainerSpec {
            argv: shell("id -u; id -g; id -G"),
            env: path(),
            user,
            ..ContainerSpec::default()
        };
        match inside.mode {
            Mode::Root => assert_eq!(run(other), (0, "1337\n1337\n1337\n".into())),
            Mode::Rootless => {
                let error = block_on(Container::spawn(other))
                    .expect_err("there is no such user")
                    .to_string();
                assert!(error.contains("1337"), "{error}");
            }
        }
    });
}

#[test]
fn capabilities_beyond_the_given_ones_are_gone() {
    inside(|_| {
        let kept = CapabilitySet::NET_ADMIN | CapabilitySet::CHOWN;
        let argv = shell("grep CapEff /proc/self/status; grep CapBnd /proc/self/status");
        let spec = ContainerSpec {
            argv,
            env: path(),
            privileges: Privileges {
                capabilities: kept,
                ..Privileges::default()
            },
            ..ContainerSpec::default()
        };
        let (code, output) = run(spec);
        assert_eq!(code, 0, "{output}");
        for line in output.lines() {
            let bits = line.split_whitespace().last().expect("has a value");
            assert_eq!(u64::from_str_radix(bits, 16), Ok(kept.bits()), "{output}");
        }
    });
}

#[test]
fn a_container_has_no_capability_no_device_and_nothing_of_the_host_to_write() {
    inside(|sandbox| {
        let volume = sandbox.state_dir.join("volume");
        fs::create_dir(&volume).expect("makes a directory");
        let mount = |at: &str, source| Mount {
            at: at.into(),
            source,
            read_only: false,
        };
        let script = r#"
            grep Cap /proc/self/status | grep -v '0000000000000000'
            for place in / /etc /usr /var /home /root /opt /sys /proc/sys/kernel /run /dev; do
                touch $place/tombolo-was-here 2>/dev/null && echo "wrote in $place"
            done
            (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null && echo "wrote a setting"
            test -w /proc/sysrq-trigger && echo "may write sysrq-trigger"
            find /dev /run -type b; find /run -type s
            mount -t tmpfs none /mnt 2>/dev/null && echo "mounted"
            mknod /volume/device b 8 0 2>/dev/null && echo "made a device"
            echo x > /dev/null && echo y > /dev/shm/y && echo z > /volume/z && echo t > /tmp/t && echo works
            test -e /dev/pts && head -c 1 /dev/urandom > /dev/null && echo random
            grep NoNewPrivs /proc/self/status
        "#;
        for no_new_privileges in [false, true] {
            let (code, output) = run(ContainerSpec {
                argv: shell(script),
                env: path(),
                mounts: vec![
                    mount("/volume", MountSource::Path(volume.clone())),
                    mount("/tmp", MountSource::Scratch),
                ],
                privileges: Privileges {
                    no_new_privileges,
                    ..Privileges::default()
                },
                ..ContainerSpec::default()
            });
            let flag = format!("NoNewPrivs:\t{}", u8::from(no_new_privileges));
            assert_eq!(
                output.lines().collect::<Vec<_>>(),
                ["works", "random", &flag]
            );
            assert_eq!(code, 0);
        }
    });
}

#[test]
fn ports_below_1024_need_no_capability() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let pod = fabric.add_pod("pod", ip("10.1.0.2")).expect("adds a pod");
        let first = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let (code, output) = run(ContainerSpec {
            argv: shell(&format!("cat {first}")),
            env: path(),
            netns: Some(pod.netns.clone()),
            ..ContainerSpec::default()
        });
        assert_eq!((code, output.as_str()), (0, "0\n"));
    });
}

#[test]
fn mounts_below_dev_and_run_are_possible() {
    inside(|_| {
        let mounts = [
            "/dev/shm",
            "/dev/extra/deep",
            "/run/app",
            "/var/run/app/deeper",
        ];
        let mounts = mounts.map(|at| Mount {
            at: at.into(),
            source: MountSource::Scratch,
            read_only: false,
        });
        let (code, output) = run(ContainerSpec {
            argv: shell(
                "echo 1 > /dev/shm/a && echo 2 > /dev/extra/deep/b && echo 3 > /run/app/c && echo ok",
            ),
            env: path(),
            mounts: mounts.to_vec(),
            ..ContainerSpec::default()
        });
        assert_eq!((code, output.as_str()), (0, "ok\n"));
    });
}

#[test]
fn a_program_can_be_run_in_a_running_container() {
    inside(|_| {
        let mount = Mount {
            at: "/only-here".into(),
            source: MountSource::Scratch,
            read_only: false,
        };
        let spec = ContainerSpec {
            argv: shell("sleep 1000"),
            env: path(),
            mounts: vec![mount],
            hostname: Some("box".into()),
            ..ContainerSpec::default()
        };
        let container = block_on(Container::spawn(spec)).expect("starts");
        let (mut reader, writer) = pipe();
        let exec = ExecSpec {
            argv: shell(
                "hostname; ls -d /only-here; test -e /proc/2 && test ! -e /proc/100 && echo same; exit 5",
            ),
            env: path(),
            stdout: Some(writer),
            ..ExecSpec::default()
        };
        let executed = block_on(container.exec(exec)).expect("starts");
        let mut output = String::new();
        reader.read_to_string(&mut output).expect("reads");
        assert_eq!(output, "box\n/only-here\nsame\n");
        assert_eq!(block_on(executed.wait()), 5);
        // It ends with the container.
        let long = ExecSpec {
            argv: shell("sleep 1000"),
            env: path(),
            ..ExecSpec::default()
        };
        let executed = block_on(container.exec(long)).expect("starts");
        container.kill();
        assert_eq!(block_on(executed.wait()), 128 + 9);
        let late = ExecSpec {
            argv: shell("true"),
            env: path(),
            ..ExecSpec::default()
        };
        block_on(container.wait());
        block_on(container.exec(late)).expect_err("the container is gone");
    });
}

#[test]
fn signals_that_this_process_ignores_end_programs() {
    inside(|_| {
        // SAFETY: no handler is installed. A shell does the same to what it starts in the background.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGINT, libc::SIG_IGN)
        };
        let interrupt = || shell("kill -INT $$; sleep 1000");
        let spec = |argv| ContainerSpec {
            argv,
            env: path(),
            ..ContainerSpec::default()
        };
        let interrupted = block_on(Container::spawn(spec(interrupt()))).expect("starts");
        let code = until("the container has ended", || interrupted.exited());
        assert_eq!(code, 128 + 2);
        let container = block_on(Container::spawn(spec(shell("sleep 1000")))).expect("starts");
        let exec = ExecSpec {
            argv: interrupt(),
            env: path(),
            ..ExecSpec::default()
        };
        let executed = block_on(container.exec(exec)).expect("starts");
        let code = until("the program has ended", || executed.exited());
        assert_eq!(code, 128 + 2);
    });
}

#[test]
fn an_executed_program_can_control_a_terminal() {
    inside(|_| {
        use rustix::fs::OFlags;
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let spec = ContainerSpec {
            argv: shell("sleep 1000"),
            env: path(),
            ..ContainerSpec::default()
        };
        let container = block_on(Container::spawn(spec)).expect("starts");
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("opens");
        grantpt(&master).ok();
        unlockpt(&master).expect("unlocks");
        let name = ptsname(&master, Vec::new()).expect("has a name");
        let terminal = rustix::fs::open(
            &name,
            OFlags::RDWR | OFlags::NOCTTY,
            rustix::fs::Mode::empty(),
        )
        .expect("opens");
        let copy = || Some(terminal.try_clone().expect("duplicates"));
        let exec = ExecSpec {
            argv: shell("test -t 0 && echo interactive > /dev/tty; sleep 1000"),
            env: path(),
            stdin: copy(),
            stdout: copy(),
            stderr: copy(),
            terminal: true,
            ..ExecSpec::default()
        };
        let executed = block_on(container.exec(exec)).expect("starts");
        drop(terminal);
        let mut master = File::from(master);
        let mut seen = [0; 11];
        master.read_exact(&mut seen).expect("reads");
        assert_eq!(&seen, b"interactive");
        // Ctrl-C reaches the program because the terminal is its own. A shell that is about to fork may miss it once.
        let code = until("the program is interrupted", || {
            master.write_all(b"\x03").expect("writes");
            executed.exited()
        });
        assert_eq!(code, 128 + 2);
    });
}
