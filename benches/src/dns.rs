//! Cost of a DNS answer: queries per second of CPU time, and per second, for the same zone on Tombolo, unbound and
//! dnsmasq, driven by dnsperf over loopback.
//!
//! Each server may use all cores (dnsmasq has one thread). Rounds are interleaved, so that a busy machine affects all
//! alike, and medians are compared. Before the measurement, every server has to give the same answers. The load runs
//! beside the servers on the same cores, so queries per second compare whole machines; queries per CPU second compare
//! the servers.

mod peer;
mod zone;

use crate::{
    Result,
    child::installed,
    statistics::{median, sorted},
};
use peer::Peer;
use std::{path::Path, process::Stdio};
use tokio::process::Command;

/// Number and length of the rounds.
struct Plan {
    rounds: usize,
    seconds: u32,
}

const FULL: Plan = Plan {
    rounds: 7,
    seconds: 4,
};
const QUICK: Plan = Plan {
    rounds: 3,
    seconds: 2,
};

/// Sockets of dnsperf; the kernel spreads them over the servers' threads.
const CLIENTS: u32 = 32;
/// Queries in flight.
const OUTSTANDING: u32 = 256;

/// The results of a round.
#[derive(Clone, Copy)]
struct Measure {
    /// Queries per second of the server's CPU time.
    per_cpu: f64,
    /// Queries per second.
    rate: f64,
    lost: u64,
}

pub(crate) async fn run(quick: bool) -> Result<()> {
    let plan = if quick { QUICK } else { FULL };
    let Some(dnsperf) = installed("dnsperf") else {
        return Err("dnsperf is not installed: apt-get install dnsperf".into());
    };
    let directory = tempfile::tempdir()?;
    let questions = directory.path().join("questions");
    std::fs::write(&questions, zone::questions())?;
    let mut peers = peer::start_all(directory.path()).await?;
    let mut measures: Vec<Vec<Measure>> = vec![Vec::new(); peers.len()];
    for round in 0..plan.rounds {
        for (peer, measures) in peers.iter_mut().zip(&mut measures) {
            measures.push(measure(&dnsperf, &questions, peer, plan.seconds).await?);
        }
        eprintln!("round {} of {}", round + 1, plan.rounds);
    }
    show(&peers, &measures)
}

async fn measure(
    dnsperf: &Path,
    questions: &Path,
    peer: &mut Peer,
    seconds: u32,
) -> Result<Measure> {
    peer.child
        .check()
        .map_err(|error| format!("{}: {error}", peer.name))?;
    let before = peer.child.cpu()?;
    let output = Command::new(dnsperf)
        .args(["-s", &peer.address.ip().to_string()])
        .args(["-p", &peer.address.port().to_string()])
        .arg("-d")
        .arg(questions)
        .args(["-l", &seconds.to_string()])
        .args(["-c", &CLIENTS.to_string(), "-q", &OUTSTANDING.to_string()])
        .stdin(Stdio::null())
        .output()
        .await?;
    let cpu = peer.child.cpu()? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| -> Result<f64> {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|line| line.split_whitespace().next());
        let number = word.and_then(|word| word.parse().ok());
        Ok(number.ok_or_else(|| format!("dnsperf told no {label:?}: {text}"))?)
    };
    let completed = number("Queries completed:")?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    let lost = number("Queries lost:")? as u64;
    Ok(Measure {
        per_cpu: completed / cpu.as_secs_f64(),
        rate: number("Queries per second:")?,
        lost,
    })
}

fn show(peers: &[Peer], measures: &[Vec<Measure>]) -> Result<()> {
    println!(
        "{} services of {} instances; {CLIENTS} clients, {OUTSTANDING} questions under way; medians\n",
        zone::SERVICES,
        zone::INSTANCES
    );
    println!(
        "{:<10} {:>14} {:>12} {:>12} {:>12} {:>8} {:>10}",
        "server", "queries/CPU-s", "to unbound", "queries/s", "to unbound", "lost", "peak MiB"
    );
    let median = |i: usize, of: fn(&Measure) -> f64| median(&sorted(measures[i].iter().map(of)));
    let unbound = peers.iter().position(|peer| peer.name == peer::UNBOUND);
    for (i, peer) in peers.iter().enumerate() {
        let ratio = |of: fn(&Measure) -> f64| {
            unbound.map_or("-".into(), |unbound| {
                format!("{:.2}", median(i, of) / median(unbound, of))
            })
        };
        println!(
            "{:<10} {:>14.0} {:>12} {:>12.0} {:>12} {:>8} {:>10}",
            peer.name,
            median(i, |measure| measure.per_cpu),
            ratio(|measure| measure.per_cpu),
            median(i, |measure| measure.rate),
            ratio(|measure| measure.rate),
            measures[i].iter().map(|measure| measure.lost).sum::<u64>(),
            peer.child.peak_memory()? / 1024,
        );
    }
    for name in peer::NAMES {
        if !peers.iter().any(|peer| peer.name == name) {
            println!("{name:<10} absent: it is not installed");
        }
    }
    Ok(())
}
