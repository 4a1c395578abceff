//! `tombolo status` and `tombolo doctor`: how it goes, and what is wrong.

mod control_plane;

use super::{
    output::{Format, print},
    run::{Run, text},
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tombolo_kube::render::Table;
use tombolo_local::control::Status as RunStatus;

/// Show how it goes: each proxy and what it acknowledged, workloads, and what is wrong.
#[derive(clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    run: Run,
    /// A control plane by its address, instead of a running `tombolo up`.
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// How: tables, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Show only what is wrong and how to mend it; the exit code is 1 when something is.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    run: Run,
    /// How: lines, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Something wrong, and the command that mends it where there is one.
struct Complaint {
    message: String,
    fix: String,
}

impl Status {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            if let Some(address) = self.api {
                let control_plane = control_plane::status(&address.to_string()).await?;
                return self.show(None, Ok(control_plane));
            }
            let (run, control_plane) = ask(&self.run).await?;
            self.show(Some(run), control_plane)
        })
    }

    fn show(
        &self,
        run: Option<RunStatus>,
        control_plane: Result<Value, String>,
    ) -> Result<i32, String> {
        if matches!(self.output, Format::Json | Format::Yaml) {
            let mut json = json!({});
            if let Some(run) = &run {
                json = serde_json::to_value(run).map_err(|error| error.to_string())?;
            }
            match &control_plane {
                Ok(status) => json["controlPlane"] = status.clone(),
                Err(error) => json["controlPlane"] = json!({"error": error}),
            }
            print(self.output, &json)?;
            return Ok(0);
        }
        if let Some(run) = &run {
            print_run(run);
        }
        match &control_plane {
            Ok(status) => print_control_plane(status),
            Err(error) => println!("CONTROL PLANE  does not answer: {error}\n"),
        }
        print_complaints(&complaints(run.as_ref(), control_plane.as_ref().ok()));
        Ok(0)
    }
}

impl Doctor {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let (run, control_plane) = ask(&self.run).await?;
            let mut found = complaints(Some(&run), control_plane.as_ref().ok());
            if let Err(error) = control_plane {
                found.insert(
                    0,
                    Complaint {
                        message: format!("the control plane does not answer: {error}"),
                        fix: String::new(),
                    },
                );
            }
            if matches!(self.output, Format::Json | Format::Yaml) {
                let json: Vec<Value> = found
                    .iter()
                    .map(|c| json!({"message": c.message, "fix": c.fix}))
                    .collect();
                print(self.output, &json.into())?;
            } else if found.is_empty() {
                println!("nothing is wrong");
            } else {
                print_complaints(&found);
            }
            Ok(i32::from(!found.is_empty()))
        })
    }
}

async fn ask(run: &Run) -> Result<(RunStatus, Result<Value, String>), String> {
    let status = run
        .client()?
        .status()
        .await
        .map_err(|error| error.to_string())?;
    let authority = status.info.api.trim_start_matches("http://").to_owned();
    let control_plane = control_plane::status(&authority).await;
    Ok((status, control_plane))
}

fn print_run(run: &RunStatus) {
    let info = &run.info;
    println!(
        "RUN            {} ({} sidecars, {})",
        info.name, info.proxy, info.mode
    );
    println!(
        "AWS APIS       {}  account {}  region {}",
        info.api, info.account, info.region
    );
    for balancer in &info.load_balancers {
        println!(
            "LOAD BALANCER  http://{}  {}/{} port {} of {}",
            balancer.address, balancer.namespace, balancer.service, balancer.port, balancer.cluster
        );
    }
    println!();
    if run.workloads.is_empty() {
        return;
    }
    let mut table = Table::of(["WORKLOAD", "NAMESPACE", "READY", "WAITING", "CLUSTER"]);
    for workload in &run.workloads {
        table.push(
            "",
            [
                workload.object.clone(),
                workload.namespace.clone(),
                format!("{}/{}", workload.ready, workload.total),
                workload.waiting.clone().unwrap_or_else(|| "-".into()),
                workload.cluster.clone(),
            ],
        );
    }
    println!("{table}");
}

fn print_control_plane(status: &Value) {
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
    println!(
        "CONTROL PLANE  revision {}, published {}\n",
        number("revision"),
        number("publishedRevision")
    );
    let proxies = status["proxies"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if proxies.is_empty() {
        println!("no proxy has connected yet\n");
        return;
    }
    let mut table = Table::of([
        "PROXY",
        "NODE",
        "AGENT",
        "STATE",
        "WANTED",
        "ACKED",
        "LAST NACK",
        "CLUSTER",
    ]);
    for proxy in proxies {
        table.push("", proxy_cells(proxy));
    }
    println!("{table}");
}

fn proxy_cells(proxy: &Value) -> [String; 8] {
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let metadata = |key: &str| {
        proxy["node"]["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let node = text(proxy, "/node/id");
    let agent = format!(
        "{} {}",
        text(proxy, "/node/user_agent"),
        text(proxy, "/node/user_agent_version")
    );
    let name = match metadata("tombolo.io/pod") {
        pod if pod.is_empty() => or_dash(text(proxy, "/peer")),
        pod => pod,
    };
    [
        name,
        node.rsplit_once("mesh/")
            .map_or(node.clone(), |(_, path)| path.to_owned()),
        or_dash(agent.trim().to_owned()),
        state(proxy).to_owned(),
        proxy["revision_wanted"]
            .as_u64()
            .map_or_else(|| "-".into(), |wanted| wanted.to_string()),
        proxy["revision_acked"].to_string(),
        last_nack(proxy).map_or_else(|| "-".into(), |nack| shortened(&nack)),
        or_dash(metadata("tombolo.io/cluster")),
    ]
}

fn state(proxy: &Value) -> &'static str {
    let rejects = |kind: &Value| {
        kind["nack"]["revision"].as_u64().is_some_and(|nacked| {
            kind["revision_acked"]
                .as_u64()
                .is_none_or(|acked| acked < nacked)
        })
    };
    let kinds = proxy["kinds"].as_object();
    if proxy["connected"] != true {
        "disconnected"
    } else if kinds.is_some_and(|kinds| kinds.values().any(rejects)) {
        "rejected"
    } else if proxy["revision_acked"].as_u64() >= proxy["revision_wanted"].as_u64() {
        "synced"
    } else {
        "pending"
    }
}

/// The newest rejection of any kind of resource.
fn last_nack(proxy: &Value) -> Option<String> {
    let kinds = proxy["kinds"].as_object()?;
    let nacks = kinds.iter().filter(|(_, kind)| kind["nack"].is_object());
    let (kind, progress) = nacks.max_by_key(|(_, kind)| kind["nack"]["at_ms"].as_u64())?;
    Some(format!("{kind}: {}", text(progress, "/nack/reason")))
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Everything that is wrong, from both sources.
fn complaints(run: Option<&RunStatus>, control_plane: Option<&Value>) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut add = |message: String, fix: &str| {
        found.push(Complaint {
            message,
            fix: fix.into(),
        })
    };
    if let Some(run) = run {
        for finding in &run.findings {
            add(finding.message.clone(), &finding.fix);
        }
        for problem in &run.mesh_problems {
            let place = format!(
                "{} {} in {}",
                problem.object, problem.namespace, problem.cluster
            );
            add(format!("{place}: {}", problem.message), "");
        }
        for workload in run
            .workloads
            .iter()
            .filter(|workload| workload.ready < workload.total)
        {
            let waiting = workload
                .waiting
                .as_deref()
                .unwrap_or("not all pods are ready");
            let place = format!("{} in {}", workload.object, workload.cluster);
            let fix = format!("tombolo get pods -n {}", workload.namespace);
            add(
                format!(
                    "{place}: {}/{} ready: {waiting}",
                    workload.ready, workload.total
                ),
                &fix,
            );
        }
    }
    let array = |field: &str| {
        control_plane
            .and_then(|status| status[field].as_array())
            .into_iter()
            .flatten()
    };
    for proxy in array("proxies").filter(|proxy| state(proxy) == "rejected") {
        let [name, ..] = proxy_cells(proxy);
        let reason = last_nack(proxy).unwrap_or_default();
        add(
            format!("proxy {name} rejected its configuration: {reason}"),
            "",
        );
    }
    for workload in array("warnings") {
        for warning in workload["warnings"].as_array().into_iter().flatten() {
            let object = text(warning, "/object");
            add(format!("{object}: {}", text(warning, "/message")), "");
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|complaint| seen.insert(complaint.message.clone()));
    found
}

fn print_complaints(complaints: &[Complaint]) {
    for complaint in complaints {
        println!("! {}", complaint.message);
        if !complaint.fix.is_empty() {
            println!("    {}", complaint.fix);
        }
    }
}
