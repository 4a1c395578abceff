//! `cargo xtask kubernetes`: real clusters of Kubernetes on one machine, for tests.
//!
//! What they are made of is built from sources ([`programs`]). All of it runs in one process namespace ([`serve`]),
//! so that `down` ends one process and the kernel ends the others; what the kernel keeps beyond processes is a bridge with
//! its routes ([`network`]) and control groups ([`cgroup`]).

mod cgroup;
mod client;
mod component;
mod control_plane;
mod dns;
mod images;
mod lifecycle;
mod load_balancer;
mod machine;
mod network;
mod node;
mod owner;
mod pki;
mod programs;
mod registry;
mod serve;

pub(crate) use lifecycle::{down, is_up, prepare, up};
pub(crate) use machine::directory;

use crate::process::{self, Result, is_ci};
use clap::{Parser, Subcommand};
use network::Cluster;
use std::{net::SocketAddr, path::Path, process::ExitCode};

/// Exit code when this machine cannot run clusters, which is what Automake's tests say it by.
const SKIPPED: u8 = 77;
/// Real clusters of Kubernetes on this machine
#[derive(Debug, Parser)]
#[command(name = "cargo xtask kubernetes")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Start clusters; build their programs first if they are not there
    Up(Up),
    /// End them, and remove everything of them
    Down,
    /// Print what a shell needs to use them: eval "$(cargo xtask kubernetes env)"
    Env,
    /// Close a port between clusters, as a security group does
    Deny {
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Open a port between clusters again
    Allow {
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Have the clusters' DNS ask a server for the names of a zone
    Forward {
        /// The zone, and who answers for it
        #[arg(value_name = "ZONE=ADDRESS:PORT", value_parser = dns::parse)]
        zones: Vec<(String, SocketAddr)>,
        /// A zone that is no longer forwarded
        #[arg(long, value_name = "ZONE")]
        forget: Vec<String>,
    },
    /// What `up` starts
    #[command(hide = true)]
    Serve { clusters: u8 },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// How many
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=i64::from(network::MAX_CLUSTERS)))]
    clusters: u8,
    /// A zone that the clusters' DNS asks a server for
    #[arg(long = "zone", value_name = "ZONE=ADDRESS:PORT", value_parser = dns::parse)]
    zones: Vec<(String, SocketAddr)>,
}

/// What became of a task that not every machine can do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// This machine cannot run them, for this reason.
    Skipped(String),
}

/// Runs a task of `cargo xtask kubernetes`, by the words after that.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let arguments: Arguments = match process::parse("cargo xtask kubernetes", words) {
        Ok(arguments) => arguments,
        Err(code) => return Ok(code),
    };
    match arguments.task {
        Task::Up(options) => {
            if let Outcome::Skipped(why) = up(&options, None)? {
                eprintln!("SKIPPED: {why}");
                return Ok(if is_ci() {
                    ExitCode::FAILURE
                } else {
                    ExitCode::from(SKIPPED)
                });
            }
        }
        Task::Down => down()?,
        Task::Env => print!("{}", exports()?),
        Task::Deny { port } => {
            lifecycle::running()?;
            network::deny(port)?;
        }
        Task::Allow { port } => {
            lifecycle::running()?;
            network::allow(port)?;
        }
        Task::Forward { zones, forget } => lifecycle::forward(zones, &forget)?,
        Task::Serve { clusters } => serve::run(clusters)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what takes time.
fn progress(line: &str) {
    eprintln!("kubernetes: {line}");
}

impl Up {
    /// The clusters that tests need.
    pub(crate) fn for_tests() -> Self {
        Self {
            clusters: 2,
            zones: Vec::new(),
        }
    }
}

/// The clusters that are up.
fn clusters(directory: &Path) -> impl Iterator<Item = Cluster> {
    Cluster::first(network::MAX_CLUSTERS)
        .filter(|cluster| serve::kubeconfig(directory, *cluster).is_file())
}

/// What a shell needs to use the clusters.
fn exports() -> Result<String> {
    let directory = lifecycle::running()?;
    let kubeconfigs: Vec<String> = clusters(&directory)
        .map(|cluster| serve::kubeconfig(&directory, cluster).display().to_string())
        .collect();
    let names = dns::hosts_file(&directory);
    let directory = directory.display();
    Ok(format!(
        "export TOMBOLO_KUBERNETES='{directory}'\n\
         export KUBECONFIG='{}'\n\
         export PATH='{directory}/bin':\"$PATH\"\n\
         # Contexts: tombolo-a, tombolo-b. This machine, as pods reach it: {}.\n\
         # Names of load balancers: {}.\n",
        kubeconfigs.join(":"),
        network::MACHINE,
        names.display(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> String {
        let words = std::iter::once("kubernetes").chain(words.iter().copied());
        let error = Arguments::try_parse_from(words).expect_err("it is refused");
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn what_nobody_knows_is_refused_by_its_name() {
        for (words, named) in [
            (["up", "--nodes=2"].as_slice(), "--nodes"),
            (&["up", "--clusters", "0"], "0"),
            (&["up", "--clusters", "5"], "5"),
            (&["up", "--zone", "pvt.local"], "pvt.local"),
            (&["deny", "0"], "0"),
            (&["deny", "65536"], "65536"),
            (&["deny"], "PORT"),
            (&["allow", "http"], "http"),
            (&["forward", "pvt.local=53"], "pvt.local=53"),
            (&["down", "a"], "a"),
            (&["restart"], "restart"),
        ] {
            let told = refused(words);
            assert!(told.contains(named), "{words:?}: {told}");
        }
    }

    #[test]
    fn options_are_checked_as_they_are_declared() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
