//! Benchmarks that print ratios against peers measured in the same run.

use crate::{
    process::{self, Result, cargo, is_installed, root},
    tools::{Tools, debian},
};
use std::process::Command;

/// The cargo profile of the measured program: the shipped one.
const PROFILE: &str = "dist";

/// A benchmark of the crate `tombolo-benches`.
pub(crate) struct Benchmark {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// One line for the usage text.
    pub(crate) about: &'static str,
    /// The peers: each a program and its Debian package.
    peers: &'static [(&'static str, &'static str)],
    /// Whether Envoy is a peer.
    envoy: bool,
}

/// All benchmarks.
pub(crate) const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "dns",
        about: "queries per second of CPU time, and per second: ours, unbound, dnsmasq",
        peers: &[
            ("dnsperf", "dnsperf"),
            ("unbound", "unbound"),
            ("dnsmasq", "dnsmasq-base"),
        ],
        envoy: false,
    },
    Benchmark {
        name: "hop",
        about: "CPU time per request of one sidecar hop: ours, Envoy, HAProxy, nginx",
        peers: &[("nginx", "nginx-light"), ("haproxy", "haproxy")],
        envoy: true,
    },
    Benchmark {
        name: "propagate",
        about: "from the API's answer to the first request served the new way",
        peers: &[],
        envoy: false,
    },
    Benchmark {
        name: "api",
        about: "DiscoverInstances against an etcd range read of the same instances",
        peers: &[("etcd", "etcd-server")],
        envoy: false,
    },
    Benchmark {
        name: "registry",
        about: "a large registry: filling, memory, discovery meanwhile, restart",
        peers: &[],
        envoy: false,
    },
    Benchmark {
        name: "replicas",
        about: "three replicas over three etcd members: how long until the others show a write",
        peers: &[("etcd", "etcd-server")],
        envoy: false,
    },
];

/// Runs the benchmark of this name; `words` are its arguments.
pub(crate) fn run(name: &str, words: &[&str]) -> Result<()> {
    let benchmark = BENCHMARKS
        .iter()
        .find(|benchmark| benchmark.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = BENCHMARKS.iter().map(|known| known.name).collect();
            format!("unknown benchmark: {name} (known: {})", known.join(", "))
        })?;
    install_peers(benchmark.peers);
    // Both in one call, so that they share one set of features and nothing is built twice.
    let packages = ["--package", "tombolo", "--package", "tombolo-benches"];
    process::run(cargo().args(["build", "--profile", PROFILE]).args(packages))?;
    let built = root().join("target").join(PROFILE);
    let mut bench = Command::new(built.join("tombolo-benches"));
    bench
        .arg(name)
        .args(words)
        .current_dir(root())
        .env("TOMBOLO_BIN", built.join("tombolo"));
    if benchmark.envoy {
        bench.env("TOMBOLO_ENVOY", Tools::fetch()?.envoy()?);
    }
    eprintln!("measured: profile {PROFILE} (LTO, stripped), the build that is shipped");
    process::run(&mut bench)
}

/// Installs missing peers. Without them the benchmark still runs, and reports them as absent.
fn install_peers(peers: &[(&str, &str)]) {
    let missing: Vec<&str> = peers
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty()
        && let Err(error) = debian(&missing)
    {
        eprintln!("{error}");
    }
}
