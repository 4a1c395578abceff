//! An etcd member as a child process.

use crate::{Program, free_port, until};
use std::{net::SocketAddr, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A cluster of several members on loopback. Each can be killed and started again with its data.
pub struct Etcd {
    program: PathBuf,
    directory: TempDir,
    members: Vec<Member>,
}

struct Member {
    clients: SocketAddr,
    peers: SocketAddr,
    running: Option<Program>,
}

impl Etcd {
    /// Starts a cluster; `None`, after a message, when etcd is not installed.
    pub fn start(members: usize) -> Option<Self> {
        let program = tombolo_need::program("etcd", "TOMBOLO_ETCD")?;
        let member = |_| Member {
            clients: free_port(),
            peers: free_port(),
            running: None,
        };
        let mut cluster = Self {
            program,
            directory: tempfile::tempdir().expect("a directory"),
            members: (0..members).map(member).collect(),
        };
        for nth in 0..members {
            cluster.run(nth);
        }
        Some(cluster)
    }

    /// Starts a member, or restarts it after [`Etcd::kill`].
    pub fn run(&mut self, nth: usize) {
        until("an etcd member listens", || {
            let member = &mut self.members[nth];
            // While it was down, another connection may have used its port.
            let is_up = member
                .running
                .as_mut()
                .is_some_and(|program| program.ended().is_none());
            if is_up {
                return std::net::TcpStream::connect(member.clients).ok();
            }
            self.spawn(nth);
            None
        });
    }

    fn spawn(&mut self, nth: usize) {
        let name = |nth: usize| format!("member{nth}");
        let all = self.members.iter().enumerate();
        let cluster: Vec<String> = all
            .map(|(nth, member)| format!("{}=http://{}", name(nth), member.peers))
            .collect();
        let Member { clients, peers, .. } = &self.members[nth];
        let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
        let mut command = Command::new(&self.program);
        command
            .args(["--name", &name(nth)])
            .arg("--data-dir")
            .arg(self.directory.path().join(name(nth)))
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &cluster.join(",")]);
        let log = self.directory.path().join(format!("{}.log", name(nth)));
        self.members[nth].running = Some(Program::start(&mut command, &log));
    }

    /// Kills a member at once (SIGKILL).
    pub fn kill(&mut self, nth: usize) {
        drop(self.members[nth].running.take());
    }

    /// Pauses a member (SIGSTOP), or resumes it.
    pub fn pause(&self, nth: usize, is_paused: bool) {
        let member = self.members[nth].running.as_ref().expect("it is running");
        if is_paused {
            member.pause();
        } else {
            member.resume();
        }
    }

    /// The address in the form of `tombolo server --store`.
    pub fn address(&self) -> String {
        let members = self.members.iter().map(|member| member.clients.to_string());
        format!("etcd://{}/test", members.collect::<Vec<_>>().join(","))
    }
}
