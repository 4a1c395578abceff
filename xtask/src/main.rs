//! Development tasks, run as `cargo xtask TASK`.

#![forbid(unsafe_code)]

mod bench;
mod fuzz;
mod process;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK

  tidy             check the architecture: who may use whom, sizes, documentation
  test [FILTER…]   fetch what the tests need, build, and run all tests; words after it go to `cargo test`
  tools            fetch what the tests need (a Python environment with Envoy, the aws CLI and boto3; etcd)
  fuzz [TARGET…] [--seconds N]
                   run fuzz targets, ten minutes each if nothing is said, and keep what they learn
  bench dns        queries per second of CPU time, and per second: ours, unbound, dnsmasq
  bench hop        CPU time per request of one sidecar hop: ours, Envoy, HAProxy, nginx
  bench propagate  from the API's answer to the first request served the new way
  bench api        DiscoverInstances against an etcd range read of the same instances
  bench registry   a large registry: filling, memory, discovery meanwhile, restart
  bench replicas   three replicas over three etcd members: how long until the others show a write";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["test", rest @ ..] => test::run(rest),
        ["tools"] => tools::Tools::fetch().map(|tools| println!("{tools}")),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", "dns", rest @ ..] => bench::dns::run(rest),
        ["bench", "hop", rest @ ..] => bench::hop::run(rest),
        ["bench", "propagate", rest @ ..] => bench::propagate::run(rest),
        ["bench", "api", rest @ ..] => bench::api::run(rest),
        ["bench", "registry", rest @ ..] => bench::registry::run(rest),
        ["bench", "replicas", rest @ ..] => bench::replicas::run(rest),
        [] | ["help" | "--help" | "-h", ..] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("unknown task: {}\n\n{USAGE}", words.join(" "))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
