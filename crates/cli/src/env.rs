//! `tombolo env`: environment variables that point AWS clients at a running mesh.

use crate::{
    control_plane::ApiArgs,
    error::Result,
    local::RunArgs,
    output::{ReportFormat, print_value},
    terminal,
};
use std::{fs, net::SocketAddr};

/// Print the `export` lines that point the aws CLI and SDKs at the running mesh.
///
/// Use it as: eval "$(tombolo env)"
#[derive(clap::Args)]
pub struct Env {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// How: lines for a shell, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
}

impl Env {
    /// Prints the variables.
    ///
    /// # Errors
    /// No server is named or up, or it does not answer.
    pub fn run(self) -> Result<i32> {
        let (endpoint, region) = match self.api.named()? {
            Some(endpoint) => (endpoint.to_string(), self.api.region()),
            None => {
                let server = crate::block_on(self.api.server(&self.run))?;
                let region = server.scope.region.to_string();
                (server.endpoint.to_string(), region)
            }
        };
        let variables = variables(&endpoint, &region);
        if let Some(form) = self.output.data() {
            print_value(form, &variables.into_iter().collect())?;
            return Ok(0);
        }
        let lines = variables.map(|(name, value)| format!("export {name}={value}\n"));
        terminal::print(lines.concat())?;
        // Comments come last: a shell that gets all of this on one line ignores everything after them.
        if let Some(line) = missing_hosts_line(&endpoint) {
            terminal::print(format_args!("# {}\n", hosts_advice(&line)))?;
        }
        Ok(0)
    }
}

/// The service ids in these names are the SDKs' own (facts/aws-wire.md). DiscoverInstances goes to the host
/// `data-127.0.0.1` unless the host prefix is switched off; development mode accepts any credentials.
fn variables(endpoint: &str, region: &str) -> [(&'static str, String); 9] {
    [
        ("AWS_ENDPOINT_URL_APP_MESH", endpoint.to_owned()),
        ("AWS_ENDPOINT_URL_SERVICEDISCOVERY", endpoint.to_owned()),
        ("AWS_ENDPOINT_URL_STS", endpoint.to_owned()),
        (
            "AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API",
            endpoint.to_owned(),
        ),
        ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true".into()),
        ("AWS_REGION", region.to_owned()),
        ("AWS_DEFAULT_REGION", region.to_owned()),
        ("AWS_ACCESS_KEY_ID", "development".into()),
        ("AWS_SECRET_ACCESS_KEY", "development".into()),
    ]
}

/// The line missing in `/etc/hosts` for SDKs that always put `data-` before the host; none if the name resolves, or
/// if the host is not an IPv4 address. There is no such name that resolves on every machine: `*.localhost` needs a
/// resolver that supports it.
pub(crate) fn missing_hosts_line(endpoint: &str) -> Option<String> {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    hosts_line(endpoint)
        .filter(|(_, name)| !has_name(&hosts, name))
        .map(|(line, _)| line)
}

/// The instruction for the line.
pub(crate) fn hosts_advice(line: &str) -> String {
    format!(
        "SDKs for Go v2 and JavaScript v2 and v3 ignore AWS_DISABLE_HOST_PREFIX_INJECTION; their \
         DiscoverInstances needs this line in /etc/hosts: {line}"
    )
}

fn hosts_line(endpoint: &str) -> Option<(String, String)> {
    let (_, authority) = endpoint.split_once("://")?;
    let address: SocketAddr = authority.parse().ok()?;
    let name = format!("data-{}", address.ip());
    address
        .is_ipv4()
        .then(|| (format!("{} {name}", address.ip()), name))
}

fn has_name(hosts: &str, name: &str) -> bool {
    hosts.lines().any(|line| {
        let entry = line.split('#').next().unwrap_or_default();
        entry.split_whitespace().skip(1).any(|known| known == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixed_host_needs_one_line_until_it_is_there() {
        let (line, name) = hosts_line("http://127.0.0.1:8490").expect("an IPv4 address");
        assert_eq!(line, "127.0.0.1 data-127.0.0.1");
        assert!(!has_name(
            "127.0.0.1 localhost\n# 127.0.0.1 data-127.0.0.1\n",
            &name
        ));
        assert!(has_name(
            "127.0.0.1 localhost data-127.0.0.1 # mesh\n",
            &name
        ));
        assert_eq!(hosts_line("http://[::1]:8490"), None);
        assert_eq!(hosts_line("https://mesh.example.org"), None);
    }
}
