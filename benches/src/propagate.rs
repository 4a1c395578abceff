//! How long a change takes: from the API's answer to proxies that hold it, and to the first request that
//! is served the new way.
//!
//! A real control plane with durable storage, a number of proxies that only take configuration, and one
//! real sidecar with traffic. Changes come one after the other, so nothing is batched away.

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
    time::{Duration, Instant},
};
use watchers::Watchers;

const PATIENCE: Duration = Duration::from_secs(20);
/// The port of a sidecar's outbound listener. The router listens there too: then a plain connection is
/// one to the service, and no redirect rule is needed.
const EGRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15001);

/// What is measured.
pub(crate) struct Options {
    clients: usize,
    changes: usize,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            clients: 20,
            changes: 200,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.changes = 40,
                "--clients" => options.clients = words.next()?.parse().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Latencies of one kind of change.
#[derive(Default)]
struct Latencies {
    /// To each proxy.
    held: Vec<Duration>,
    /// To the last proxy of each change.
    held_by_all: Vec<Duration>,
    /// To the first request served the new way.
    served: Vec<Duration>,
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
    let _server = Child::start(&mut command, &directory.path().join("server.log"))?;

    // Two origins on one port, told apart by address: two instances of one service. And one more node.
    let first = http::origin((Ipv4Addr::LOCALHOST, 0).into(), "aaaa").await?;
    let second = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), first.port());
    http::origin(second, "bbbb").await?;
    let other = http::origin((Ipv4Addr::LOCALHOST, 0).into(), "cccc").await?;
    let mesh = Mesh::create(api, first, other, EGRESS.port()).await?;
    let mut watchers = Watchers::start(xds, &mesh, options.clients).await?;

    let mut command = Command::new(named("TOMBOLO_BIN")?);
    command
        .arg("proxy")
        .env("APPMESH_RESOURCE_ARN", mesh.front(0))
        .env("APPMESH_XDS_ENDPOINT", xds.to_string())
        .env(
            "ENVOY_ADMIN_ACCESS_PORT",
            http::free_port()?.port().to_string(),
        )
        .env("TOMBOLO_PROXY_WORKERS", "1");
    let is_free = std::net::TcpListener::bind(EGRESS).is_ok();
    let sidecar = if is_free {
        Some(Child::start(
            &mut command,
            &directory.path().join("proxy.log"),
        )?)
    } else {
        eprintln!("{EGRESS} is in use: requests are not measured");
        None
    };
    let mut caller = match &sidecar {
        Some(sidecar) => Some(connect(sidecar).await?),
        None => None,
    };

    let mut routes = Latencies::default();
    for i in 0..options.changes {
        let to_other = i % 2 == 0;
        let before = mesh.revision().await?;
        let answered = mesh.route(to_other).await?;
        let word = if to_other { b"cccc" } else { b"aaaa" };
        let measured = measure(
            &mut routes,
            (before, answered),
            &mut watchers,
            caller.as_mut(),
            Some(*word),
        )
        .await;
        measured.map_err(|error| format!("change {i} of routes: {error}"))?;
    }
    let mut instances = Latencies::default();
    for i in 0..options.changes {
        let comes = i % 2 == 0;
        let before = mesh.revision().await?;
        let answered = mesh.second_instance(second, comes).await?;
        // That nothing more goes to an instance cannot be seen in one request, so only its coming is.
        let word = comes.then_some(*b"bbbb");
        let measured = measure(
            &mut instances,
            (before, answered),
            &mut watchers,
            caller.as_mut(),
            word,
        )
        .await;
        measured.map_err(|error| format!("change {i} of instances: {error}"))?;
    }
    println!(
        "{} proxies, {} changes of each kind, from the API's answer, ms\n",
        options.clients, options.changes
    );
    println!("{:<44} {:>8} {:>8} {:>8}", "", "p50", "p99", "max");
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
    Ok(())
}

/// Follows one change to its end: it is the one after the revision `before`, answered then.
async fn measure(
    latencies: &mut Latencies,
    (before, answered): (u64, Instant),
    watchers: &mut Watchers,
    caller: Option<&mut Caller>,
    word: Option<[u8; 4]>,
) -> Result<()> {
    let serve = async {
        let (Some(caller), Some(word)) = (caller, word) else {
            return Ok::<_, std::io::Error>(None);
        };
        while caller.call().await? != word {}
        Ok(Some(Instant::now()))
    };
    let in_time = |what: &'static str| move |_| format!("a change did not arrive: {what}");
    let held = tokio::time::timeout(PATIENCE, watchers.after(before));
    let served = tokio::time::timeout(PATIENCE, serve);
    let (held, served) = tokio::join!(held, served);
    let held = held.map_err(in_time("a proxy does not hold it"))?;
    let served = served.map_err(in_time("requests are served as before"))?;
    // A proxy may hold a change before the API's answer is here.
    let since = |at: Instant| at.saturating_duration_since(answered);
    let held: Vec<Duration> = held?.into_iter().map(since).collect();
    latencies.held_by_all.extend(held.iter().max());
    latencies.held.extend(held);
    latencies.served.extend(served?.map(since));
    Ok(())
}

async fn connect(sidecar: &Child) -> Result<Caller> {
    let start = Instant::now();
    loop {
        match http::probe(EGRESS, mesh::SERVICE).await {
            Ok(_) => return Ok(Caller::connect(EGRESS, mesh::SERVICE).await?),
            Err(error) if start.elapsed() > PATIENCE => {
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
