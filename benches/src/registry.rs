//! A large registry: the time to fill it, memory per instance, latency of discovery meanwhile, and the time of a
//! restart.

use crate::{
    Result,
    child::{Child, named},
    cloud_map::{Connection, reach, registration},
    http::free_port,
    statistics::percentile,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const NAMESPACE: &str = "registry.bench";
/// Concurrent writers: waiting writes share durable commits.
const WRITERS: usize = 64;
/// Pause between two reads of the reader, which measures latency and must not be the load.
const PAUSE: Duration = Duration::from_millis(2);

/// Parameters of the measurement.
pub(crate) struct Options {
    instances: usize,
    services: usize,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            instances: 1_000_000,
            services: 1_000,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => (options.instances, options.services) = (50_000, 100),
                "--instances" => options.instances = words.next()?.parse().ok()?,
                "--services" => options.services = words.next()?.parse().ok()?,
                _ => return None,
            }
        }
        (options.services > 0 && options.instances >= options.services).then_some(options)
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let api = free_port()?;
    let server = start(api, directory.path())?;
    let mut connection = reach(api).await?;
    let namespace = connection.create_namespace(NAMESPACE).await?;
    let mut services = Vec::with_capacity(options.services);
    for i in 0..options.services {
        let id = connection
            .create_service(&namespace, &format!("service-{i}"))
            .await?;
        services.push(id);
    }
    let before = server.memory()?;

    let filling = Arc::new(AtomicBool::new(true));
    let reader = tokio::spawn(read(api, options.services, filling.clone()));
    let begin = Instant::now();
    fill(api, services.into(), options.instances).await?;
    let took = begin.elapsed();
    filling.store(false, Ordering::Relaxed);
    let mut latencies = reader.await??;
    let after = server.memory()?;
    drop(server);

    let begin = Instant::now();
    let server = start(api, directory.path())?;
    let mut connection = reach(api).await?;
    // Instances are spread over the services in turn, so the first has one more when the division has a remainder.
    let expected = options.instances.div_ceil(options.services).min(1000);
    let found = discover(&mut connection, 0).await?;
    let restart = begin.elapsed();
    if found != expected {
        return Err(format!("after the restart {found} instances, not {expected}").into());
    }

    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let (rate, each) = (
        options.instances as f64 / took.as_secs_f64(),
        (after.saturating_sub(before) * 1024) as f64 / options.instances as f64,
    );
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    latencies.sort();
    println!(
        "{} instances in {} services, {WRITERS} writers, each write durable\n",
        options.instances, options.services
    );
    println!("registrations/s                    {rate:>10.0}");
    println!(
        "DiscoverInstances meanwhile, ms    {:>10.2} p50 {:>8.2} p99 {:>8.2} max",
        milliseconds(percentile(&latencies, 50)),
        milliseconds(percentile(&latencies, 99)),
        milliseconds(percentile(&latencies, 100))
    );
    println!("memory, bytes/instance             {each:>10.0}");
    println!("memory after filling, MiB          {:>10}", after / 1024);
    println!(
        "memory after the restart, MiB      {:>10}",
        server.memory()? / 1024
    );
    println!(
        "restart to the first answer, s     {:>10.2}",
        restart.as_secs_f64()
    );
    Ok(())
}

fn start(api: SocketAddr, directory: &Path) -> Result<Child> {
    let mut command = Command::new(named("TOMBOLO_BIN")?);
    command
        .args(["server", "--api", &api.to_string(), "--xds", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(directory.join("data"));
    Child::start(&mut command, &directory.join("server.log"))
}

/// Registers all instances, spread over the services in turn.
async fn fill(api: SocketAddr, services: Arc<[String]>, instances: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (next, services) = (next.clone(), services.clone());
        writers.spawn(async move {
            let mut connection = Connection::open(api).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= instances {
                    return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(());
                }
                if number.is_multiple_of(100_000) && number > 0 {
                    eprintln!("{number} of {instances} instances");
                }
                let service = &services[number % services.len()];
                let call = connection.prepare("RegisterInstance", &registration(service, number));
                connection.send(&call).await?;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Discovers one service after the other until stopped; the durations of the calls.
async fn read(api: SocketAddr, services: usize, go_on: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(api).await?;
    let mut latencies = Vec::new();
    for i in (0..services).cycle() {
        if !go_on.load(Ordering::Relaxed) {
            break;
        }
        let call = connection.prepare("DiscoverInstances", &question(i));
        let begin = Instant::now();
        connection.send(&call).await?;
        latencies.push(begin.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latencies)
}

async fn discover(connection: &mut Connection, service: usize) -> Result<usize> {
    let mut question = question(service);
    question["MaxResults"] = json!(1000);
    let answer = connection.call("DiscoverInstances", &question).await?;
    Ok(answer["Instances"].as_array().map_or(0, Vec::len))
}

fn question(service: usize) -> Value {
    json!({"NamespaceName": NAMESPACE, "ServiceName": format!("service-{service}")})
}
