//! Propagation of a change: the time from the API's answer to proxies that hold it, and to the first request that is
//! routed the new way.
//!
//! A real control plane with durable storage, a number of proxies that only receive configuration, and one real
//! gateway with traffic. Changes come one after the other, so nothing is batched; then, with `--burst`, a number of
//! them as fast as the API accepts them. CPU time is the server's, for each change and proxy; memory is what each
//! proxy adds to the server.

mod mesh;
mod watchers;

use crate::{
    Result,
    child::{Child, named},
    http::{self, Caller},
    statistics::percentile,
};
use mesh::Mesh;
use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tombolo_xds::Kind;
use watchers::Watchers;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Parameters of the measurement.
pub(crate) struct Options {
    clients: usize,
    changes: usize,
    /// Number of services of the mesh.
    services: usize,
    /// Number of nodes that call them: each has plans of its own.
    callers: usize,
    /// Number of services that each of them calls.
    backends: usize,
    /// Number of changes in the burst.
    burst: usize,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            clients: 20,
            changes: 200,
            services: 1,
            callers: 4,
            backends: usize::MAX,
            burst: 0,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let number = match *word {
                "--quick" => {
                    options.changes = 40;
                    continue;
                }
                "--clients" => &mut options.clients,
                "--services" => &mut options.services,
                "--callers" => &mut options.callers,
                "--backends" => &mut options.backends,
                "--burst" => &mut options.burst,
                "--changes" => &mut options.changes,
                _ => return None,
            };
            *number = words.next()?.parse().ok()?;
        }
        let least = options.clients.min(options.services).min(options.callers);
        (least > 0 && options.backends > 0).then_some(options)
    }
}

/// Latencies of one kind of change.
#[derive(Default)]
struct Latencies {
    /// Times to each proxy.
    held: Vec<Duration>,
    /// Times to the last proxy of each change.
    held_by_all: Vec<Duration>,
    /// Times to the first request that is routed the new way.
    served: Vec<Duration>,
    /// The server's CPU time for all of them.
    cpu: Duration,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (api, xds) = (http::free_port()?, http::free_port()?);
    let mut command = Command::new(named("TOMBOLO_BIN")?);
    command
        .args([
            "server",
            "--api",
            &api.to_string(),
            "--xds",
            &xds.to_string(),
            "--data-dir",
        ])
        .arg(directory.path().join("data"));
    let server = Child::start(&mut command, &directory.path().join("server.log"))?;

    // Two origins on one port, distinguished by address: two instances of one service. And one more node.
    let first = http::origin((Ipv4Addr::LOCALHOST, 0).into(), "aaaa").await?;
    let second = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), first.port());
    http::origin(second, "bbbb").await?;
    let other = http::origin((Ipv4Addr::LOCALHOST, 0).into(), "cccc").await?;
    let gateway = http::free_port()?;
    let mesh = Mesh::create(api, first, other, gateway.port(), &options).await?;
    // The plans exist before memory is measured: all proxies share them.
    let few = Watchers::start(xds, &mesh, options.callers.min(options.clients)).await?;
    let (memory, cpu) = (server.memory()?, server.cpu()?);
    let mut watchers = Watchers::start(xds, &mesh, options.clients).await?;
    let (added, connecting) = (server.memory()?.saturating_sub(memory), server.cpu()? - cpu);
    drop(few);
    let received = &watchers.received().bytes_by_kind;
    let bytes_by_kind = Kind::ALL.map(|kind| received[kind as usize].load(Ordering::Relaxed));

    let mut command = Command::new(named("TOMBOLO_BIN")?);
    command
        .arg("proxy")
        .env("APPMESH_RESOURCE_ARN", mesh.gateway())
        .env("APPMESH_XDS_ENDPOINT", xds.to_string())
        .env(
            "ENVOY_ADMIN_ACCESS_PORT",
            http::free_port()?.port().to_string(),
        )
        .env("TOMBOLO_PROXY_WORKERS", "1");
    let sidecar = Child::start(&mut command, &directory.path().join("proxy.log"))?;
    let mut caller = connect(&sidecar, gateway).await?;

    let mut routes = Latencies::default();
    let cpu = server.cpu()?;
    for i in 0..options.changes {
        let to_other = i % 2 == 0;
        let before = mesh.revision().await?;
        let answered = mesh.route(to_other).await?;
        let word = if to_other { b"cccc" } else { b"aaaa" };
        let measured = measure(
            &mut routes,
            (before, answered),
            (&mut watchers, Kind::Route),
            &mut caller,
            Some(*word),
        )
        .await;
        measured.map_err(|error| format!("change {i} of routes: {error}"))?;
    }
    routes.cpu = server.cpu()? - cpu;
    watchers.quiet().await;
    let mut instances = Latencies::default();
    let cpu = server.cpu()?;
    for i in 0..options.changes {
        let comes = i % 2 == 0;
        let before = mesh.revision().await?;
        let answered = mesh.second_instance(second, comes).await?;
        // One request cannot show that an instance gets no more traffic, so only its addition is measured.
        let word = comes.then_some(*b"bbbb");
        let measured = measure(
            &mut instances,
            (before, answered),
            (&mut watchers, Kind::Endpoint),
            &mut caller,
            word,
        )
        .await;
        measured.map_err(|error| format!("change {i} of instances: {error}"))?;
    }
    instances.cpu = server.cpu()? - cpu;
    watchers.quiet().await;
    println!(
        "{} proxies of {} callers, {} services, {} changes of each kind\n",
        options.clients, options.callers, options.services, options.changes
    );
    let per_proxy = |total: u64| total / options.clients as u64;
    let by_kind = Kind::ALL.map(|kind| {
        let kib = per_proxy(bytes_by_kind[kind as usize] as u64) / 1024;
        format!("{kind} {kib}")
    });
    println!(
        "first configuration: {} KiB ({}) and {:.2} ms of CPU for each proxy; memory: {} MiB, and {} KiB for each proxy\n",
        per_proxy(bytes_by_kind.iter().sum::<usize>() as u64) / 1024,
        by_kind.join(", "),
        connecting.as_secs_f64() * 1e3 / options.clients as f64,
        memory / 1024,
        per_proxy(added)
    );
    let pushes = (options.changes * options.clients) as f64;
    for (name, latencies) in [("route", &routes), ("instance", &instances)] {
        println!(
            "{name}: {:.1} us of CPU for each proxy and change, {:.2} ms for each change",
            latencies.cpu.as_secs_f64() * 1e6 / pushes,
            latencies.cpu.as_secs_f64() * 1e3 / options.changes as f64
        );
    }
    println!(
        "\n{:<44} {:>8} {:>8} {:>8}",
        "from the API's answer, ms", "p50", "p99", "max"
    );
    for (name, latencies) in [("route", routes), ("instance", instances)] {
        show(&format!("{name}: held by a proxy"), latencies.held);
        show(
            &format!("{name}: held by all proxies"),
            latencies.held_by_all,
        );
        show(
            &format!("{name}: first request served the new way"),
            latencies.served,
        );
    }
    if options.burst > 0 {
        burst(&options, &mesh, &server, &mut watchers).await?;
    }
    Ok(())
}

/// Many changes at once: the number of messages, and their cost.
async fn burst(
    options: &Options,
    mesh: &Arc<Mesh>,
    server: &Child,
    watchers: &mut Watchers,
) -> Result<()> {
    let messages = |watchers: &Watchers| watchers.received().messages.load(Ordering::Relaxed);
    let (cpu, before, start) = (server.cpu()?, messages(watchers), Instant::now());
    for i in 0..options.burst {
        let at = SocketAddr::from((Ipv4Addr::new(10, 200, 0, 1), 9000));
        mesh.second_instance(at, i % 2 == 0).await?;
    }
    let written = start.elapsed();
    watchers.quiet().await;
    println!(
        "\nburst: {} changes in {:.2} s are {:.1} messages for each proxy and {:.2} s of CPU",
        options.burst,
        written.as_secs_f64(),
        (messages(watchers) - before) as f64 / options.clients as f64,
        (server.cpu()? - cpu).as_secs_f64()
    );
    Ok(())
}

/// Follows one change to its end: the one after the revision `before`, answered at this time.
async fn measure(
    latencies: &mut Latencies,
    (before, answered): (u64, Instant),
    (watchers, kind): (&mut Watchers, Kind),
    caller: &mut Caller,
    word: Option<[u8; 4]>,
) -> Result<()> {
    let serve = async {
        let Some(word) = word else {
            return Ok::<_, std::io::Error>(None);
        };
        while caller.call().await? != word {}
        Ok(Some(Instant::now()))
    };
    let in_time = |what: &'static str| move |_| format!("a change did not arrive: {what}");
    let held = tokio::time::timeout(TIMEOUT, watchers.after(before, kind));
    let served = tokio::time::timeout(TIMEOUT, serve);
    let (held, served) = tokio::join!(held, served);
    let held = held.map_err(in_time("a proxy does not hold it"))?;
    let served = served.map_err(in_time("requests are served as before"))?;
    // A proxy may hold a change before the API's answer has arrived.
    let since = |at: Instant| at.saturating_duration_since(answered);
    let held: Vec<Duration> = held?.into_iter().map(since).collect();
    latencies.held_by_all.extend(held.iter().max());
    latencies.held.extend(held);
    latencies.served.extend(served?.map(since));
    Ok(())
}

async fn connect(sidecar: &Child, gateway: SocketAddr) -> Result<Caller> {
    let start = Instant::now();
    loop {
        match http::probe(gateway, mesh::SERVICE).await {
            Ok(_) => return Ok(Caller::connect(gateway, mesh::SERVICE).await?),
            Err(error) if start.elapsed() > TIMEOUT => {
                return Err(
                    format!("the sidecar does not serve: {error}: {}", sidecar.printed()).into(),
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn show(name: &str, mut values: Vec<Duration>) {
    values.sort();
    if values.is_empty() {
        println!("{name:<44} {:>8}", "-");
        return;
    }
    let text = |percent| format!("{:.2}", percentile(&values, percent).as_secs_f64() * 1e3);
    println!(
        "{name:<44} {:>8} {:>8} {:>8}",
        text(50),
        text(99),
        text(100)
    );
}
