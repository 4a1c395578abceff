//! Authentication and TLS of the AWS APIs.

use crate::{command::Error, listen::Endpoint};
use std::{convert::Infallible, path::PathBuf};
use tombolo_api::{Clusters, Credentials, Server, Tls};
use tombolo_telemetry::{
    ErrorChain, Supervisor,
    supervisor::{Stage, restart_delays},
};

/// Options about callers.
#[derive(clap::Args)]
pub(crate) struct Callers {
    /// YAML file of access keys, accounts and policies, read again when it changes. Without it any credentials
    /// are accepted, and --api must be on loopback.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// YAML file of the Kubernetes clusters that EKS DescribeCluster answers for, read again when it changes.
    #[arg(long, value_name = "FILE")]
    clusters: Option<PathBuf>,
    /// Serve the AWS APIs over HTTPS with this certificate and its chain (PEM). Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "api_key")]
    api_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "api_cert")]
    api_key: Option<PathBuf>,
}

impl Callers {
    /// Rejects addresses that unauthenticated callers could reach. The parent process is responsible for inherited
    /// sockets.
    pub(super) fn check(&self, api: &[Endpoint]) -> Result<(), Error> {
        let is_reachable = |endpoint: &&Endpoint| match endpoint {
            Endpoint::Address(address) => !address.ip().is_loopback(),
            Endpoint::Inherited(_) => false,
        };
        if let Some(address) = api.iter().find(is_reachable)
            && self.credentials.is_none()
        {
            return Err(format!(
                "--api {address}: without --credentials anybody may do anything, so only loopback addresses \
                 are served; give a credentials file (docs/operate/access.md), or --api 127.0.0.1:8490"
            )
            .into());
        }
        Ok(())
    }

    /// Whether all callers are on this machine, and may do everything (development mode).
    pub(super) fn are_trusted(&self) -> bool {
        self.credentials.is_none()
    }

    /// The keys, roles and policies of the credentials file, which is followed; none without a file.
    pub(super) fn credentials(
        &self,
        supervisor: &mut Supervisor,
        stage: Stage,
    ) -> Result<Option<Credentials>, Error> {
        let Some(path) = &self.credentials else {
            return Ok(None);
        };
        let credentials = Credentials::open(path)
            .map_err(|error| format!("--credentials {}", ErrorChain(&error)))?;
        let followed = credentials.clone();
        let delays = restart_delays();
        supervisor.spawn_restarting(stage, "credentials file", delays, move |stop| {
            let credentials = followed.clone();
            async move {
                stop.run_until_cancelled(credentials.reload_on_change())
                    .await;
                Ok::<_, Infallible>(())
            }
        });
        Ok(Some(credentials))
    }

    /// Enables authentication and TLS of a server as configured, and reloads the files when they change.
    pub(super) fn guard(
        &self,
        mut server: Server,
        credentials: Option<Credentials>,
        supervisor: &mut Supervisor,
        stage: Stage,
    ) -> Result<Server, Error> {
        if let Some(credentials) = credentials {
            server = server.with_credentials(credentials);
        }
        if let Some(path) = &self.clusters {
            let clusters = Clusters::open(path)
                .map_err(|error| format!("--clusters {}", ErrorChain(&error)))?;
            server = server.with_clusters(clusters.clone());
            let delays = restart_delays();
            supervisor.spawn_restarting(stage, "clusters file", delays, move |stop| {
                let clusters = clusters.clone();
                async move {
                    stop.run_until_cancelled(clusters.reload_on_change()).await;
                    Ok::<_, Infallible>(())
                }
            });
        }
        if let (Some(cert), Some(key)) = (&self.api_cert, &self.api_key) {
            let tls = Tls::open(cert, key)
                .map_err(|error| format!("--api-cert, --api-key: {}", ErrorChain(&error)))?;
            server = server.with_tls(tls.clone());
            let delays = restart_delays();
            supervisor.spawn_restarting(stage, "certificate files", delays, move |stop| {
                let tls = tls.clone();
                async move {
                    stop.run_until_cancelled(tls.reload_on_change()).await;
                    Ok::<_, Infallible>(())
                }
            });
        }
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_needs_credentials() {
        for (api, credentials, is_served) in [
            ("127.0.0.1:1", false, true),
            ("fd://3", false, true),
            ("0.0.0.0:1", false, false),
            ("10.0.0.1:1", true, true),
        ] {
            let callers = Callers {
                credentials: credentials.then(PathBuf::new),
                clusters: None,
                api_cert: None,
                api_key: None,
            };
            let endpoint = |text: &str| text.parse::<Endpoint>().expect("an endpoint");
            let refusal = callers.check(&[endpoint("[::1]:1"), endpoint(api)]).err();
            let refusal = refusal.map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(refusal.is_empty(), is_served, "{api}: {refusal}");
            assert!(
                is_served || refusal.contains("--credentials"),
                "{api}: {refusal}"
            );
        }
    }
}
