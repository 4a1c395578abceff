//! `tombolo env`: pointing AWS clients at a running mesh.

use super::{
    output::{Report, put, put_data},
    run::Run,
};
use std::net::SocketAddr;

/// Print the `export` lines that point the aws CLI and SDKs at the running mesh.
///
/// Use it as: eval "$(tombolo env)"
#[derive(clap::Args)]
pub(crate) struct Env {
    #[command(flatten)]
    run: Run,
    /// A control plane by its address, instead of a running `tombolo up`.
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// Its region, with --api.
    #[arg(long, default_value = super::DEFAULT_REGION, requires = "api")]
    region: String,
    /// How: lines for a shell, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
}

impl Env {
    pub(crate) fn run(self) -> Result<i32, String> {
        let (endpoint, region) = match self.api {
            Some(address) => (format!("http://{address}"), self.region),
            None => {
                let client = self.run.client()?;
                let call = async { client.info().await.map_err(|error| error.to_string()) };
                let info = super::runtime()?.block_on(call)?;
                (info.api, info.region)
            }
        };
        let variables = variables(&endpoint, &region);
        match self.output.data() {
            Some(form) => put_data(form, &variables.into_iter().collect())?,
            None => {
                let lines = variables.map(|(name, value)| format!("export {name}={value}\n"));
                put(lines.concat())?;
            }
        }
        Ok(0)
    }
}

/// facts: the service ids in these names are the SDKs' own; DiscoverInstances would go to the host
/// `data-127.0.0.1` unless told not to; development mode accepts any credentials.
fn variables(endpoint: &str, region: &str) -> [(&'static str, String); 8] {
    [
        ("AWS_ENDPOINT_URL_APP_MESH", endpoint.to_owned()),
        ("AWS_ENDPOINT_URL_SERVICEDISCOVERY", endpoint.to_owned()),
        ("AWS_ENDPOINT_URL_STS", endpoint.to_owned()),
        ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true".into()),
        ("AWS_REGION", region.to_owned()),
        ("AWS_DEFAULT_REGION", region.to_owned()),
        ("AWS_ACCESS_KEY_ID", "development".into()),
        ("AWS_SECRET_ACCESS_KEY", "development".into()),
    ]
}
