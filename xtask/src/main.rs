//! Development tasks, run as `cargo xtask TASK`.

#![forbid(unsafe_code)]

mod bench;
mod chart;
mod crds;
mod digest;
mod fuzz;
mod image;
mod kubernetes;
mod logs;
mod process;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK

  tidy             check the architecture: who may use whom, sizes, documentation
  logs             write the catalogue of log events (docs/reference/logs.md) from the source
  test [FILTER…]   fetch what the tests need, build, start clusters of Kubernetes, and run all tests; words after it go
                   to `cargo test`
  tools            fetch what the tests need (a Python environment with Envoy, the aws CLI and boto3; etcd)
  fuzz [TARGET…] [--seconds N]
                   run fuzz targets, ten minutes each if nothing is said, and keep what they learn
  image            write an OCI image of the program (--help tells more)
  kubernetes TASK  up, down, env …: real clusters of Kubernetes on this machine (--help tells more)
  crds [--check]   write the CustomResourceDefinitions of the chart from the types
  chart [--output DIR] [--server URL]
                   package the charts as a Helm repository (target/charts); --server writes the control plane's
                   address into their values
  bench NAME [WORD…]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["kubernetes", rest @ ..] => return exit(kubernetes::run(rest)),
        ["image", rest @ ..] => return exit(image::run(rest)),
        ["tidy"] => tidy::run(),
        ["logs"] => logs::run(),
        ["test", rest @ ..] => test::run(rest),
        ["tools"] => tools::Tools::fetch().map(|tools| println!("{tools}")),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["crds"] => crds::run(false),
        ["crds", "--check"] => crds::run(true),
        ["chart", rest @ ..] => chart::run(rest),
        ["bench", name, rest @ ..] => bench::run(name, rest),
        [] | ["help" | "--help" | "-h", ..] => {
            println!("{}", usage());
            Ok(())
        }
        _ => Err(format!("unknown task: {}\n\n{}", words.join(" "), usage())),
    };
    exit(result.map(|()| ExitCode::SUCCESS))
}

fn exit(result: process::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// The output of `cargo xtask help`.
fn usage() -> String {
    let benchmarks = bench::BENCHMARKS
        .iter()
        .map(|benchmark| format!("\n    {:<14} {}", benchmark.name, benchmark.about));
    format!("{USAGE}{}", benchmarks.collect::<String>())
}
