//! `tombolo status` and `tombolo doctor`: how it goes, and what is wrong.

mod control_plane;
mod idle;
mod problem;
mod remedy;
mod tables;

use super::{
    output::{Report, put, put_data},
    run::{Run, api_of},
};
use problem::Problem;
use serde_json::{Value, json};
use std::time::Duration;
use tombolo_api::client::{Client as ApiClient, Endpoint};
use tombolo_local::control::{Client, Status as RunStatus};
use tombolo_model::Scope;

/// How long the routes are searched for targets without instances.
const SEARCH: Duration = Duration::from_secs(5);

/// Show how it goes: each proxy and what it acknowledged, workloads, and what is wrong.
#[derive(clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    subject: Subject,
    /// How: tables, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
}

/// Show only what is wrong and how to mend it; the exit code is 1 when something is.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    subject: Subject,
    /// How: lines, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
}

/// What is looked at.
#[derive(clap::Args)]
struct Subject {
    #[command(flatten)]
    run: Run,
    /// A control plane by its address, instead of a running `tombolo up`;
    /// https:// where it speaks TLS.
    #[arg(long, value_name = "URL")]
    api: Option<Endpoint>,
}

/// What was seen.
struct Picture {
    /// The run; absent for a control plane alone.
    run: Option<RunStatus>,
    control_plane: Result<Value, String>,
    problems: Vec<Problem>,
}

impl Status {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let picture = self.subject.look().await?;
            match self.output.data() {
                Some(form) => put_data(form, &picture.to_json()?)?,
                None => put(tables::all(&picture) + &problem::lines(&picture.problems))?,
            }
            Ok(0)
        })
    }
}

impl Doctor {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let problems = self.subject.look().await?.problems;
            match self.output.data() {
                Some(form) => put_data(form, &problem::to_json(&problems))?,
                None => put(problem::lines(&problems))?,
            }
            Ok(i32::from(!problems.is_empty()))
        })
    }
}

impl Subject {
    async fn look(&self) -> Result<Picture, String> {
        let told = |error: tombolo_local::control::Error| error.to_string();
        let (client, run, endpoint) = match &self.api {
            Some(endpoint) => (None, None, endpoint.clone()),
            None => {
                let client = self.run.client()?;
                let status = client.status().await.map_err(told)?;
                let endpoint = status.info.api.parse()?;
                (Some(client), Some(status), endpoint)
            }
        };
        let control_plane = control_plane::status(&endpoint).await;
        if let (None, Err(error)) = (&run, &control_plane) {
            return Err(format!("the control plane does not answer: {error}"));
        }
        let mut problems = problem::all(run.as_ref(), control_plane.as_ref());
        if let Ok(status) = &control_plane {
            problems.extend(search(client, run.as_ref(), &endpoint, status).await);
        }
        Ok(Picture {
            run,
            control_plane,
            problems,
        })
    }
}

/// Searches the mesh for routes to virtual nodes without instances. That it could not be searched is a
/// problem too.
async fn search(
    client: Option<Client>,
    run: Option<&RunStatus>,
    endpoint: &Endpoint,
    status: &Value,
) -> Vec<Problem> {
    let found = async {
        let api = match run {
            Some(run) => api_of(&run.info)?,
            None => {
                let word = |key: &str| status[key].as_str().unwrap_or_default();
                let scope = Scope::parse(word("account"), word("region"))?;
                ApiClient::new(&endpoint.to_string(), scope).map_err(|error| error.to_string())?
            }
        };
        let idle = idle::find(&api, client.as_ref()).await?;
        Ok::<_, String>(remedy::problems(idle, client.as_ref()).await)
    };
    let reason = match tokio::time::timeout(SEARCH, found).await {
        Ok(Ok(problems)) => return problems,
        Ok(Err(error)) => error,
        Err(_) => format!("it takes longer than {} s", SEARCH.as_secs()),
    };
    vec![Problem::new(
        format!("routes could not be searched for targets without instances: {reason}"),
        "",
    )]
}

impl Picture {
    fn to_json(&self) -> Result<Value, String> {
        let mut json = match &self.run {
            Some(run) => serde_json::to_value(run).map_err(|error| error.to_string())?,
            None => json!({}),
        };
        json["controlPlane"] = match &self.control_plane {
            Ok(status) => status.clone(),
            Err(error) => json!({"error": error}),
        };
        json["problems"] = problem::to_json(&self.problems);
        Ok(json)
    }
}
