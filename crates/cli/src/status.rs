//! `tombolo status` and `tombolo doctor`: proxies, workloads and problems.

mod dead_targets;
mod listening;
mod problem;
mod sidecar_logs;
mod suggestions;
mod tables;

use crate::{
    DEFAULT_REGION,
    control_plane::ApiArgs,
    env,
    error::{Error, Result},
    local::RunArgs,
    output::{ReportFormat, print_value},
    resource::lookup::Lookup,
    terminal,
};
use problem::Problem;
use serde_json::{Value, json};
use std::time::Duration;
use tombolo_api::client::{Client as ApiClient, Endpoint};
use tombolo_local::control_socket::{self, Client};
use tombolo_model::Scope;
use tombolo_operator as operator;
use tombolo_telemetry::ErrorChain;

/// Deadline of the search for routes whose targets have no instances.
const SEARCH: Duration = Duration::from_secs(5);

/// Show proxies with the revisions that they acknowledged, workloads, and problems.
#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    args: Args,
}

/// Show only problems and how to fix them; the exit code is 1 when there is one.
#[derive(clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    args: Args,
}

/// A run, or a control plane alone.
#[derive(clap::Args)]
struct Args {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// How: tables and lines, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
}

/// The data of a report.
struct StatusReport {
    /// The run; absent for a control plane alone.
    run: Option<control_socket::Status>,
    control_plane: Result<operator::Status, operator::Error>,
    problems: Vec<Problem>,
    /// The endpoint of the AWS APIs.
    endpoint: String,
}

impl Status {
    /// Prints everything.
    ///
    /// # Errors
    /// There is no answer.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let report = self.args.report().await?;
            match self.args.output.data() {
                Some(form) => print_value(form, &report.to_json()?)?,
                None => terminal::print(tables::all(&report) + &problem::lines(&report.problems))?,
            }
            Ok(0)
        })
    }
}

impl Doctor {
    /// Prints the problems.
    ///
    /// # Errors
    /// There is no answer.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let report = self.args.report().await?;
            match self.args.output.data() {
                Some(form) => print_value(form, &problem::to_json(&report.problems))?,
                None => {
                    terminal::print(problem::lines(&report.problems))?;
                    if let Some(line) = env::missing_hosts_line(&report.endpoint) {
                        terminal::note("note", &env::hosts_advice(&line));
                    }
                }
            }
            Ok(i32::from(!report.problems.is_empty()))
        })
    }
}

impl Args {
    async fn report(&self) -> Result<StatusReport> {
        let (mut client, mut run) = (None, None);
        if !self.api.is_selected(&self.run) {
            let found = self.run.client()?;
            run = Some(found.status().await?);
            client = Some(found);
        }
        let endpoint = self.api.server(&self.run).await?.endpoint;
        let operator = operator::Client::from_environment(endpoint.clone(), DEFAULT_REGION)?;
        let control_plane = operator.status().await;
        let control_plane = match (&run, control_plane) {
            (None, Err(error)) => return Err(error.into()),
            (_, control_plane) => control_plane,
        };
        let mut problems = problem::all(run.as_ref(), control_plane.as_ref());
        if let (Some(client), Some(run)) = (&client, &run) {
            problems.extend(listening::problems(&run.pods));
            problems.extend(sidecar_logs::problems(client, &run.pods).await);
        }
        if let Ok(status) = &control_plane {
            problems.extend(search(client, &endpoint, status).await);
        }
        Ok(StatusReport {
            run,
            control_plane,
            problems,
            endpoint: endpoint.to_string(),
        })
    }
}

/// Searches the mesh for routes to virtual nodes without instances. A failed search is a problem too.
async fn search(
    client: Option<Client>,
    endpoint: &Endpoint,
    status: &operator::Status,
) -> Vec<Problem> {
    let found = async {
        let scope = Scope::parse(&status.account, &status.region)
            .map_err(|error| Error::usage(error.to_string()))?;
        let lookup = Lookup::new(ApiClient::new(&endpoint.to_string(), scope)?);
        let dead = dead_targets::find(&lookup, client.as_ref()).await?;
        Ok::<_, Error>(suggestions::problems(dead, client.as_ref()).await)
    };
    let reason = match tokio::time::timeout(SEARCH, found).await {
        Ok(Ok(problems)) => return problems,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it takes longer than {} s", SEARCH.as_secs()),
    };
    vec![Problem::new(
        format!("routes could not be searched for targets without instances: {reason}"),
        "",
    )]
}

impl StatusReport {
    fn to_json(&self) -> Result<Value> {
        let mut json = match &self.run {
            Some(run) => serde_json::to_value(run)?,
            None => json!({}),
        };
        json["controlPlane"] = match &self.control_plane {
            Ok(status) => serde_json::to_value(status)?,
            Err(error) => json!({"error": ErrorChain(error).to_string()}),
        };
        json["problems"] = problem::to_json(&self.problems);
        Ok(json)
    }
}
