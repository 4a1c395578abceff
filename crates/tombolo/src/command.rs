//! The subcommands: those of `tombolo_cli`, and those that run servers, sidecars or clusters.

mod agent;
mod backup;
mod controller;
mod demo;
mod proxy;
mod server;
mod storage;
mod up;
mod webhook;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use tombolo_cli::{DEFAULT_ACCOUNT, DEFAULT_REGION};
use tombolo_telemetry::{
    Supervisor,
    supervisor::{Signals, Stop},
};

/// One service mesh across many clusters.
#[derive(Parser)]
#[command(
    name = "tombolo",
    version,
    propagate_version = true,
    max_term_width = 100,
    help_template = "\
{about}

{usage-heading} {usage}

Start here:
  demo       A sample application over two clusters on this machine
  up         Kubernetes manifests with mesh objects, run on this machine
  down       Stop a running `tombolo up`

Inspect:
  get        Objects of clusters, or resources of a control plane
  describe   Resources with everything that is related to them
  status     Every proxy and what it acknowledged
  doctor     What is wrong, and how to fix it
  logs       The log of a container
  discover   Instances of a service in the registry

Change:
  apply      Create or change objects from files
  diff       What `apply` would change
  delete     Delete objects
  convert    Manifests of appmesh.k8s.aws/v1beta1 as v1beta2
  scale      How many pods a Deployment has
  exec       Run a program in a pod
  network    Which ports clusters open to each other

Connect:
  env        Variables for the aws CLI and SDKs

Operate a control plane:
  server     Run one: AWS APIs, xDS and DNS over one store
  controller Reconcile mesh objects of Kubernetes clusters into one
  export     Its whole state as YAML
  import     Such a state in place of an empty one
  registry   Another Cloud Map's instances, imported and followed

In a Kubernetes cluster:
  webhook    Admission: sidecars for pods, defaults and verdicts for mesh objects

In a pod:
  proxy      Run the sidecar
  envoy      Run a real Envoy as the sidecar
  agent      Connect another proxy to the control plane, with the pod's token
  init       Redirect the pod's traffic to it
  ready      Wait until it is ready

{options}

`tombolo COMMAND --help` has details and examples."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Declares the subcommands, each a struct of arguments with `run`, which returns the exit code.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident($arguments:ty),)*) => {
        #[derive(Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($arguments),)*
        }

        /// Runs a subcommand; the exit code.
        pub(crate) fn run(arguments: Arguments) -> Result<i32, Error> {
            Ok(match arguments.command {
                $(Command::$name(command) => command.run()?,)*
            })
        }
    };
}

commands! {
    Demo(demo::Demo),
    Up(up::Up),
    Down(tombolo_cli::Down),
    Get(tombolo_cli::Get),
    Describe(tombolo_cli::Describe),
    Status(tombolo_cli::Status),
    Doctor(tombolo_cli::Doctor),
    Logs(tombolo_cli::Logs),
    Discover(tombolo_cli::Discover),
    Apply(tombolo_cli::Apply),
    Diff(tombolo_cli::Diff),
    Delete(tombolo_cli::Delete),
    Convert(tombolo_cli::Convert),
    Scale(tombolo_cli::Scale),
    Exec(tombolo_cli::Exec),
    Network(tombolo_cli::Network),
    Env(tombolo_cli::Env),
    Registry(tombolo_cli::Registry),
    Server(server::Server),
    Controller(controller::Controller),
    Export(backup::Export),
    Import(backup::Import),
    Proxy(proxy::Proxy),
    Envoy(proxy::Envoy),
    Agent(agent::Agent),
    Init(proxy::Init),
    Ready(proxy::Ready),
    Webhook(webhook::Webhook),
    #[command(hide = true)]
    App(demo::App),
}

/// The reason why a command failed. It is only printed.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A tokio runtime for commands with many concurrent tasks.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}").into())
}

/// The signals that stop a long-running command, from now on.
fn signals() -> Result<Signals, Error> {
    Signals::listen().map_err(|error| format!("signals: {error}").into())
}

/// Runs the tasks of a long-running command until one fails or a signal comes, and then drains them.
///
/// # Errors
/// A task that failed, a stage that did not end in time, or a second signal during the drain.
async fn run_until_signal(supervisor: Supervisor, mut signals: Signals) -> Result<(), Error> {
    let stop = Stop::new();
    let stopped = stop.clone().cancelled_owned();
    let interrupted = async {
        let first = signals.received().await;
        tracing::info!(signal = first, "a second signal ends the process at once");
        stop.cancel();
        signals.received().await
    };
    tokio::select! {
        ended = supervisor.run(stopped) => Ok(ended?),
        signal = interrupted => Err(format!("ended by {signal} before everything was drained").into()),
    }
}

/// The path of this program, for child processes. The link in `/proc` is kept: it names the running file even after
/// it was replaced by a newer build.
fn this_program() -> Result<PathBuf, Error> {
    std::env::current_exe()
        .map_err(|error| format!("cannot find this program's file: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_help_names_every_command_once_in_its_group() {
        let mut command = Arguments::command();
        let help = command.render_help().to_string();
        let all = command.get_subcommands();
        let shown = all.filter(|it| !it.is_hide_set() && it.get_name() != "help");
        for name in shown.map(|it| it.get_name().to_owned()).collect::<Vec<_>>() {
            let lines = help.lines().filter(|line| {
                let words = line.strip_prefix("  ").unwrap_or_default();
                words.split(' ').next() == Some(name.as_str())
            });
            assert_eq!(lines.count(), 1, "{name}:\n{help}");
        }
        command.debug_assert();
    }

    /// `docs/reference/commands.md`, generated from clap.
    #[test]
    fn the_reference_says_what_the_help_says() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/commands.md"
        );
        let mut text = String::from(
            "# Commands\n\nGenerated from the program; `UPDATE=1 cargo test -p tombolo` writes it again.\n",
        );
        let mut command = Arguments::command().term_width(100);
        command.build();
        for command in command.get_subcommands_mut() {
            if command.is_hide_set() || command.get_name() == "help" {
                continue;
            }
            // The page must not depend on the environment of its generation.
            let mut command = command
                .clone()
                .mut_args(|argument| argument.hide_env_values(true));
            let help = command.render_long_help().to_string();
            let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
            text += &format!(
                "\n## {}\n\n```\n{}\n```\n",
                command.get_name(),
                lines.join("\n")
            );
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file, &text).expect("docs/reference can be written");
        }
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            kept == text,
            "docs/reference/commands.md is out of step: `UPDATE=1 cargo test -p tombolo` writes it"
        );
    }
}
