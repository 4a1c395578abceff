//! Three replicas over three etcd members: the duration of a write, and the time until the other replicas show it,
//! alone and beside other writers.

use crate::{
    Result,
    child::{Child, installed, named},
    cloud_map::{Connection, reach},
    http::free_port,
    statistics::percentile,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const SIZE: usize = 3;
/// Other writers, spread over the replicas.
const WRITERS: usize = 48;
/// Pause between two reads, which must not be the load.
const PAUSE: Duration = Duration::from_micros(200);

/// Parameters of the measurement.
pub(crate) struct Options {
    writes: usize,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self { writes: 2000 }),
            ["--quick"] => Some(Self { writes: 200 }),
            ["--writes", writes] => Some(Self {
                writes: writes.parse().ok().filter(|writes| *writes > 0)?,
            }),
            _ => None,
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let etcd = installed("etcd").ok_or("etcd is not installed: `cargo xtask bench` installs it")?;
    let mut ports = Vec::new();
    for _ in 0..SIZE {
        ports.push((free_port()?, free_port()?));
    }
    let mut children = Vec::new();
    for nth in 0..SIZE {
        children.push(member(&etcd, directory.path(), &ports, nth)?);
    }
    let clients: Vec<String> = ports.iter().map(|(at, _)| at.to_string()).collect();
    let store = format!("etcd://{}/bench", clients.join(","));
    let mut replicas = Vec::new();
    for nth in 0..SIZE {
        let api = free_port()?;
        let mut command = Command::new(named("TOMBOLO_BIN")?);
        command
            .args(["server", "--api", &api.to_string(), "--xds", "127.0.0.1:0"])
            .args(["--store", &store]);
        let log = directory.path().join(format!("replica{nth}.log"));
        children.push(Child::start(&mut command, &log)?);
        replicas.push(api);
    }
    let mut connection = reach(replicas[0]).await?;
    let namespace = connection.create_namespace("replicas.bench").await?;
    let service = connection.create_service(&namespace, "service").await?;
    for api in &replicas[1..] {
        reach(*api).await?;
    }

    println!(
        "{SIZE} replicas over {SIZE} etcd members on one machine, {} writes, ms\n",
        options.writes
    );
    println!("{:<34}{:>10}{:>10}", "", "p50", "p99");
    measure("alone", &replicas, &service, options.writes).await?;

    let (go_on, count) = (
        Arc::new(AtomicBool::new(true)),
        Arc::<AtomicUsize>::default(),
    );
    let mut writers = JoinSet::new();
    for nth in 0..WRITERS {
        let (api, service) = (replicas[nth % SIZE], service.clone());
        let (go_on, count) = (go_on.clone(), count.clone());
        writers.spawn(async move {
            let mut connection = Connection::open(api).await?;
            let call = connection.prepare("RegisterInstance", &write(&service, nth + 1, 0));
            while go_on.load(Ordering::Relaxed) {
                connection.send(&call).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, std::io::Error>(())
        });
    }
    let begin = Instant::now();
    let name = format!("beside {WRITERS} other writers");
    measure(&name, &replicas, &service, options.writes).await?;
    let took = begin.elapsed();
    go_on.store(false, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let rate = (count.load(Ordering::Relaxed) + options.writes) as f64 / took.as_secs_f64();
    println!("\nwrites/s of all writers together {rate:>11.0}");
    Ok(())
}

fn member(
    etcd: &Path,
    directory: &Path,
    ports: &[(SocketAddr, SocketAddr)],
    nth: usize,
) -> Result<Child> {
    let cluster: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(nth, (_, peers))| format!("member{nth}=http://{peers}"))
        .collect();
    let (clients, peers) = ports[nth];
    let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
    let mut command = Command::new(etcd);
    command
        .args(["--name", &format!("member{nth}")])
        .arg("--data-dir")
        .arg(directory.join(format!("member{nth}")))
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &cluster.join(",")]);
    Child::start(&mut command, &directory.join(format!("member{nth}.log")))
}

/// Writes to the first replica, one write after the other, and polls the others meanwhile.
async fn measure(what: &str, replicas: &[SocketAddr], service: &str, writes: usize) -> Result<()> {
    let mut writer = Connection::open(replicas[0]).await?;
    let mut readers = Vec::new();
    for api in &replicas[1..] {
        readers.push(Connection::open(*api).await?);
    }
    let question = json!({"ServiceId": service, "InstanceId": "i0"});
    let (mut acknowledged, mut shown, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=writes {
        let call = writer.prepare("RegisterInstance", &write(service, 0, number));
        let begin = Instant::now();
        let mut looks = JoinSet::new();
        for mut reader in readers.drain(..) {
            let look = reader.prepare("GetInstance", &question);
            looks.spawn(async move {
                loop {
                    // Before the first write there is no instance, which is an error.
                    let seen = reader.send(&look).await.ok().and_then(number_of);
                    if seen == Some(number) {
                        return (reader, begin.elapsed());
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        writer.send(&call).await?;
        let took = begin.elapsed();
        acknowledged.push(took);
        while let Some(look) = looks.join_next().await {
            let (reader, elapsed) = look?;
            readers.push(reader);
            shown.push(elapsed);
            behind.push(elapsed.saturating_sub(took));
        }
    }
    println!("{what}");
    for (name, values) in [
        ("  until acknowledged", &mut acknowledged),
        ("  until shown by the others", &mut shown),
        ("  from the one to the other", &mut behind),
    ] {
        values.sort();
        let milliseconds = |percent| percentile(values, percent).as_secs_f64() * 1e3;
        println!(
            "{name:<34}{:>10.2}{:>10.2}",
            milliseconds(50),
            milliseconds(99)
        );
    }
    Ok(())
}

fn write(service: &str, instance: usize, number: usize) -> Value {
    json!({
        "ServiceId": service,
        "InstanceId": format!("i{instance}"),
        "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1", "number": number.to_string()},
    })
}

fn number_of(body: &[u8]) -> Option<usize> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer["Instance"]["Attributes"]["number"]
        .as_str()?
        .parse()
        .ok()
}
