//! Benchmarks against peers measured in the same run.
//!
//! `dns` measures what a DNS answer costs, `hop` what one sidecar hop costs, `propagate` how long a change
//! takes from the API's answer to the traffic, `api` what discovery costs, `registry` how a large registry fills and restarts, `replicas` how fast a write reaches the other replicas. All print
//! ratios or percentiles and assert nothing: a number without its peers on the same machine in the same
//! minute says little.

#![forbid(unsafe_code)]

mod api;
mod child;
mod cloud_map;
mod dns;
mod hop;
mod http;
mod propagate;
mod registry;
mod replicas;
mod statistics;

use std::process::ExitCode;

const USAGE: &str = "\
tombolo-benches dns [--quick]        queries per second of CPU time: ours, unbound, dnsmasq
tombolo-benches hop [--quick]        CPU time per request: ours, Envoy, HAProxy, nginx
tombolo-benches propagate [--quick] [--clients N] [--services N] [--callers N] [--backends N] [--burst N]
                                     from the API's answer to proxies and to the first request served anew;
                                     CPU time for each push, memory for each proxy
tombolo-benches api [--quick] [--instances N]
                                     DiscoverInstances against an etcd range read
tombolo-benches registry [--quick] [--instances N] [--services N]
                                     a large registry: filling, memory, discovery meanwhile, restart
tombolo-benches replicas [--quick] [--writes N]
                                     how long until other replicas over etcd show a write";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let result = match words.as_slice() {
        ["dns"] => runtime.block_on(dns::run(false)),
        ["dns", "--quick"] => runtime.block_on(dns::run(true)),
        ["hop"] => runtime.block_on(hop::run(false)),
        ["hop", "--quick"] => runtime.block_on(hop::run(true)),
        ["propagate", options @ ..] => match propagate::Options::parse(options) {
            Some(options) => runtime.block_on(propagate::run(options)),
            None => Err(USAGE.into()),
        },
        ["api", options @ ..] => match api::Options::parse(options) {
            Some(options) => runtime.block_on(api::run(options)),
            None => Err(USAGE.into()),
        },
        ["replicas", options @ ..] => match replicas::Options::parse(options) {
            Some(options) => runtime.block_on(replicas::run(options)),
            None => Err(USAGE.into()),
        },
        ["registry", options @ ..] => match registry::Options::parse(options) {
            Some(options) => runtime.block_on(registry::run(options)),
            None => Err(USAGE.into()),
        },
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
