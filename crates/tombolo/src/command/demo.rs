//! `tombolo demo`: a mesh over two clusters in one command, and the programs of its pods.

use super::{Error, up::RunArgs};
use axum::http::{Request, header::HOST};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tombolo_local::up::{self, ClusterSource, Output, ProgressView, Running, Source};

/// Start a sample application over two clusters on this machine.
#[derive(clap::Args)]
pub(crate) struct Demo {
    #[command(subcommand)]
    sample: Sample,
}

#[derive(clap::Subcommand)]
enum Sample {
    /// A front in cluster1, a colorapp in cluster2, half of it red and half of it blue.
    Color(Color),
}

#[derive(clap::Args)]
pub(crate) struct Color {
    /// End after the tally; the exit code is 0 when every request was answered and both colors came.
    #[arg(long)]
    once: bool,
    /// How many requests are sent.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    #[command(flatten)]
    run: RunArgs,
}

/// Deadline for the clusters to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// Deadline of one request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);
/// Maximum bytes of an answer, which is one word.
const MAX_BODY: usize = 64 << 10;

impl Demo {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let Sample::Color(color) = self.sample;
        super::runtime()?.block_on(color.run())
    }
}

impl Color {
    async fn run(self) -> Result<i32, Error> {
        let manifests = tombolo_example_color::manifests();
        let source = |name: &str, text: &str| Source {
            name: name.into(),
            text: text.into(),
        };
        let mut options = self.run.options()?;
        let run_name = options.name.clone();
        options.images = vec![source("examples/color/images.yaml", manifests.images)];
        options.clusters = vec![
            ClusterSource {
                name: "cluster1".into(),
                manifests: vec![source("examples/color/cluster1.yaml", manifests.cluster1)],
            },
            ClusterSource {
                name: "cluster2".into(),
                manifests: vec![source("examples/color/cluster2.yaml", manifests.cluster2)],
            },
        ];
        let started = Instant::now();
        let mut view = ProgressView::new(Output::Auto);
        let running = up::start(options, super::this_program()?, move |event| {
            view.event(&event)
        })
        .await
        .map_err(|errors| errors.to_string())?;
        let outcome = match running.ready(READY_DEADLINE).await {
            Ok(_) => self.tally(&running, started).await,
            Err(error) => Err(error.to_string().into()),
        };
        match outcome {
            Ok(complete) if self.once => {
                running.stop().await;
                Ok(i32::from(!complete))
            }
            Ok(_) => {
                print_next_steps(&running, &run_name).await;
                Ok(running.wait().await)
            }
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    /// Sends the requests and prints the tally. `false`: one failed, or a color is missing.
    async fn tally(&self, running: &Running, started: Instant) -> Result<bool, Error> {
        let address = front(running).await?;
        println!(
            "ready after {:.1} s; sending {} requests to http://{address}/color",
            started.elapsed().as_secs_f64(),
            self.requests
        );
        let mut tally: BTreeMap<String, u32> = BTreeMap::new();
        let mut failures: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..self.requests {
            let answer = tokio::time::timeout(REQUEST_DEADLINE, get(address, "/color")).await;
            match answer {
                Ok(Ok((200, body))) => *tally.entry(body).or_default() += 1,
                Ok(Ok((status, body))) => {
                    *failures
                        .entry(format!("status {status}: {body}"))
                        .or_default() += 1;
                }
                Ok(Err(error)) => *failures.entry(error.to_string()).or_default() += 1,
                Err(_) => *failures.entry("no answer in time".into()).or_default() += 1,
            }
        }
        let most = tally.values().max().copied().unwrap_or(1).max(1);
        println!();
        for (color, count) in &tally {
            let bar = "█".repeat((count * 40 / most) as usize);
            println!("  {color:<8} {count:>4}  {bar}");
        }
        for (reason, count) in &failures {
            println!("  failed   {count:>4}  {reason}");
        }
        println!();
        let complete = ["red", "blue"]
            .iter()
            .all(|color| tally.contains_key(*color));
        if !complete {
            println!("a color is missing: `tombolo doctor` says why");
        }
        std::io::stdout().flush()?;
        Ok(complete && failures.is_empty())
    }
}

/// Address of the front's load balancer.
async fn front(running: &Running) -> Result<SocketAddr, Error> {
    let info = running.info();
    let balancer = info
        .load_balancers
        .iter()
        .find(|balancer| balancer.service == "front");
    balancer
        .map(|balancer| balancer.address)
        .ok_or_else(|| "the service front has no load balancer".into())
}

async fn print_next_steps(running: &Running, name: &str) {
    let Ok(address) = front(running).await else {
        return;
    };
    let option = if name == "default" {
        String::new()
    } else {
        format!(" --name {name}")
    };
    println!(
        "\
It stays up until Ctrl-C. Try in another terminal:

  curl http://{address}/color
  tombolo get pods -A -o wide{option}
  tombolo status{option}
  tombolo exec deploy/curler -n color{option} -- curl -s front/color
  tombolo scale deployment/colorapp-red -n color --replicas 3{option}
  tombolo discover color.pvt.local colorapp version=blue{option}
  tombolo network deny --from cluster1 --to cluster2 --port 8080{option}
  eval \"$(tombolo env{option})\" && aws appmesh list-meshes
"
    );
}

/// Makes a GET request on a connection of its own, so that every request passes the load balancer anew.
async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), Error> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, address.to_string());
    let request = request.body(String::new())?;
    let answer = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
        Ok((
            head.status.as_u16(),
            String::from_utf8_lossy(&body).into_owned(),
        ))
    };
    // The connection ends when the answer is read; its errors also show in the answer.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

/// Run a program of the sample applications, so that a demo needs nothing else.
#[derive(clap::Args)]
pub(crate) struct App {
    /// Which one.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(tombolo_example_color::PROGRAMS))]
    program: String,
}

impl App {
    pub(crate) fn run(self) -> Result<i32, Error> {
        let environment = |name: &str| std::env::var(name).ok();
        tombolo_example_color::run(&self.program, &environment)?;
        Ok(0)
    }
}
