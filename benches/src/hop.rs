//! Cost of one sidecar hop: CPU time of the proxy per request, over keep-alive connections on loopback.
//!
//! Envoy and Tombolo get the same configuration from the same xDS server; HAProxy and nginx the plain equivalent. One
//! worker each. Rounds are interleaved, so that a busy machine affects all alike, and medians are compared. Load and
//! origin run in this process and are not counted.

mod config;
mod load;
mod peer;

use crate::{Result, http};
use peer::Peer;
use std::{net::Ipv4Addr, time::Duration};

/// Number and length of the rounds.
struct Plan {
    rounds: usize,
    warm_up: Duration,
    window: Duration,
}

const FULL: Plan = Plan {
    rounds: 7,
    warm_up: Duration::from_millis(300),
    window: Duration::from_millis(1500),
};
const QUICK: Plan = Plan {
    rounds: 3,
    warm_up: Duration::from_millis(200),
    window: Duration::from_millis(500),
};

/// The results of a round.
#[derive(Clone, Copy)]
struct Measure {
    /// Microseconds of CPU per request.
    cost: f64,
    /// Requests per second.
    rate: f64,
}

pub(crate) async fn run(quick: bool) -> Result<()> {
    let plan = if quick { QUICK } else { FULL };
    let origin = http::origin((Ipv4Addr::LOCALHOST, 0).into(), "pong").await?;
    let directory = tempfile::tempdir()?;
    let mut peers = peer::start_all(origin, directory.path()).await?;
    let mut measures: Vec<Vec<Measure>> = vec![Vec::new(); peers.len()];
    for round in 0..plan.rounds {
        for (peer, measures) in peers.iter_mut().zip(&mut measures) {
            measures.push(measure(peer, &plan).await?);
        }
        eprintln!("round {} of {}", round + 1, plan.rounds);
    }
    show(&peers, &measures)
}

async fn measure(peer: &mut Peer, plan: &Plan) -> Result<Measure> {
    peer.child
        .check()
        .map_err(|error| format!("{}: {error}", peer.name))?;
    let load = load::start(peer.address);
    tokio::time::sleep(plan.warm_up).await;
    let (cpu, count, start) = (peer.child.cpu()?, load.count(), std::time::Instant::now());
    tokio::time::sleep(plan.window).await;
    let (cpu, count, took) = (
        peer.child.cpu()? - cpu,
        load.count() - count,
        start.elapsed(),
    );
    let failed = load.stop().await;
    if failed > 0 || count == 0 {
        return Err(format!(
            "{}: {failed} connections failed, {count} requests: {}",
            peer.name,
            peer.child.printed()
        )
        .into());
    }
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let count = count as f64;
    Ok(Measure {
        cost: cpu.as_secs_f64() * 1e6 / count,
        rate: count / took.as_secs_f64(),
    })
}

fn show(peers: &[Peer], measures: &[Vec<Measure>]) -> Result<()> {
    let costs = |i: usize| sorted(measures[i].iter().map(|measure| measure.cost));
    let envoy = peers
        .iter()
        .position(|peer| peer.name == peer::ENVOY)
        .map(|i| median(&costs(i)));
    println!(
        "{} connections, 4-byte answers, one worker; CPU time of the proxy per request, medians\n",
        load::CONNECTIONS
    );
    println!(
        "{:<10} {:>10} {:>17} {:>10} {:>12} {:>10}",
        "proxy", "us/request", "(min..max)", "to Envoy", "requests/s", "peak MiB"
    );
    for (i, peer) in peers.iter().enumerate() {
        let costs = costs(i);
        let ratio = envoy.map_or("-".into(), |envoy| format!("{:.2}", median(&costs) / envoy));
        let rate = median(&sorted(measures[i].iter().map(|measure| measure.rate)));
        let range = format!("({:.1}..{:.1})", costs[0], costs[costs.len() - 1]);
        let memory = peer.child.peak_memory()? / 1024;
        println!(
            "{:<10} {:>10.1} {range:>17} {ratio:>10} {rate:>12.0} {memory:>10}",
            peer.name,
            median(&costs)
        );
    }
    for name in peer::NAMES {
        if !peers.iter().any(|peer| peer.name == name) {
            println!("{name:<10} absent: it is not installed");
        }
    }
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted values.
fn median(values: &[f64]) -> f64 {
    values[values.len() / 2]
}
