//! Cost of discovery: DiscoverInstances of a service against an etcd range read of the same instances.
//!
//! Rounds are interleaved and medians compared. Both servers may use every core; the load runs beside them on the
//! same machine, so CPU time per request is more meaningful than the rate.

mod etcd;

use crate::{
    Result,
    child::{Child, named},
    cloud_map::{Call, Connection, reach, registration},
    http::free_port,
    statistics::{median, sorted},
};
use etcd::Etcd;
use serde_json::json;
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const NAMESPACE: &str = "discovery.bench";
const SERVICE: &str = "hundred";
const CONNECTIONS: usize = 16;

/// Parameters of the measurement.
pub(crate) struct Options {
    instances: usize,
    rounds: usize,
    window: Duration,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            instances: 100,
            rounds: 7,
            window: Duration::from_secs(2),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => (options.rounds, options.window) = (3, Duration::from_millis(500)),
                "--instances" => options.instances = words.next()?.parse().ok()?,
                _ => return None,
            }
        }
        // One answer of Cloud Map has at most a thousand.
        (1..=1000).contains(&options.instances).then_some(options)
    }
}

/// Microseconds of CPU per request, and requests per second.
#[derive(Clone, Copy)]
struct Measure {
    cost: f64,
    rate: f64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let api = free_port()?;
    let mut command = Command::new(named("TOMBOLO_BIN")?);
    command
        .args(["server", "--api", &api.to_string(), "--xds", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(directory.path().join("data"));
    let server = Child::start(&mut command, &directory.path().join("server.log"))?;
    let call = prepare(api, options.instances).await?;
    let etcd = match crate::child::installed("etcd") {
        Some(program) => Some(start_etcd(&program, directory.path(), options.instances).await?),
        None => None,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let load = discover(api, call.clone()).await?;
        ours.push(measure(&server, load, options.window).await?);
        if let Some(etcd) = &etcd {
            let load = etcd.load(CONNECTIONS).await?;
            theirs.push(measure(etcd.child(), load, options.window).await?);
        }
        eprintln!("round {} of {}", round + 1, options.rounds);
    }
    println!(
        "{} instances per answer, {CONNECTIONS} connections, medians\n",
        options.instances
    );
    println!(
        "{:<28} {:>12} {:>8} {:>12} {:>8}",
        "", "us/request", "ratio", "requests/s", "ratio"
    );
    let median = |of: fn(&Measure) -> f64, all: &[Measure]| median(&sorted(all.iter().map(of)));
    let (cost, rate) = (|m: &Measure| m.cost, |m: &Measure| m.rate);
    for (name, measures) in [("DiscoverInstances", &ours), ("etcd range read", &theirs)] {
        if measures.is_empty() {
            println!("{name:<28} absent: it is not installed");
            continue;
        }
        let (own_cost, own_rate) = (median(cost, measures), median(rate, measures));
        let to_peer = |own: f64, of: fn(&Measure) -> f64| {
            if theirs.is_empty() {
                "-".to_owned()
            } else {
                format!("{:.2}", own / median(of, &theirs))
            }
        };
        println!(
            "{name:<28} {own_cost:>12.1} {:>8} {own_rate:>12.0} {:>8}",
            to_peer(own_cost, cost),
            to_peer(own_rate, rate)
        );
    }
    Ok(())
}

/// A running load: its counters, and its end.
struct Load {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<Result<()>>,
}

impl Load {
    fn new() -> Self {
        Self {
            count: Arc::default(),
            stop: Arc::default(),
            callers: JoinSet::new(),
        }
    }
}

async fn measure(child: &Child, mut load: Load, window: Duration) -> Result<Measure> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begin = (
        child.cpu()?,
        load.count.load(Ordering::Relaxed),
        Instant::now(),
    );
    tokio::time::sleep(window).await;
    let cpu = child.cpu()? - begin.0;
    let count = load.count.load(Ordering::Relaxed) - begin.1;
    let took = begin.2.elapsed();
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.callers.join_next().await {
        ended??;
    }
    if count == 0 {
        return Err(format!("no request was answered: {}", child.printed()).into());
    }
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let count = count as f64;
    Ok(Measure {
        cost: cpu.as_secs_f64() * 1e6 / count,
        rate: count / took.as_secs_f64(),
    })
}

/// Registers the instances; the call that discovers all of them.
async fn prepare(api: SocketAddr, instances: usize) -> Result<Arc<Call>> {
    let mut connection = reach(api).await?;
    let namespace = connection.create_namespace(NAMESPACE).await?;
    let service = connection.create_service(&namespace, SERVICE).await?;
    for number in 0..instances {
        connection
            .call("RegisterInstance", &registration(&service, number))
            .await?;
    }
    let question = json!({
        "NamespaceName": NAMESPACE,
        "ServiceName": SERVICE,
        "MaxResults": instances,
        "HealthStatus": "ALL",
    });
    let answer = connection.call("DiscoverInstances", &question).await?;
    let found = answer["Instances"].as_array().map_or(0, Vec::len);
    if found != instances {
        return Err(format!("{found} instances discovered, not {instances}").into());
    }
    Ok(Arc::new(connection.prepare("DiscoverInstances", &question)))
}

async fn discover(api: SocketAddr, call: Arc<Call>) -> Result<Load> {
    let mut load = Load::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(api).await?;
        let (count, stop, call) = (load.count.clone(), load.stop.clone(), call.clone());
        load.callers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                connection.send(&call).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    Ok(load)
}

async fn start_etcd(program: &Path, directory: &Path, instances: usize) -> Result<Etcd> {
    let mut etcd = Etcd::start(program, directory).await?;
    for number in 0..instances {
        let instance = registration(SERVICE, number);
        let id = instance["InstanceId"].as_str().unwrap_or_default();
        etcd.put(
            &format!("{NAMESPACE}/{SERVICE}/{id}"),
            &instance.to_string(),
        )
        .await?;
    }
    etcd.ask_for(&format!("{NAMESPACE}/{SERVICE}/"), instances)
        .await?;
    Ok(etcd)
}
