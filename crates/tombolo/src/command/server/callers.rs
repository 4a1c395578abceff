//! Authentication and TLS of the AWS APIs.

use crate::{command::Error, listen::Endpoint};
use std::{convert::Infallible, path::PathBuf};
use tombolo_api::{Credentials, Server, Tls};
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
    /// Serve the AWS APIs over HTTPS with this certificate and its chain (PEM). Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "api_key")]
    api_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "api_cert")]
    api_key: Option<PathBuf>,
    /// Serve xDS on addresses other than loopback although proxies are not authenticated yet.
    #[arg(long)]
    allow_unauthenticated: bool,
}

impl Callers {
    /// Rejects addresses that unauthenticated callers could reach. The parent process is responsible for inherited
    /// sockets.
    pub(super) fn check(&self, api: &[Endpoint], xds: &Endpoint) -> Result<(), Error> {
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
        if is_reachable(&xds) && !self.allow_unauthenticated {
            return Err(format!(
                "--xds {xds}: proxies are not authenticated in this version, so only loopback addresses are \
                 served; --allow-unauthenticated lifts this where the network is trusted"
            )
            .into());
        }
        Ok(())
    }

    /// Whether all callers are on this machine, and may do everything (development mode).
    pub(super) fn are_trusted(&self) -> bool {
        self.credentials.is_none()
    }

    /// Enables authentication and TLS of a server as configured, and reloads the files when they change.
    pub(super) fn guard(
        &self,
        mut server: Server,
        supervisor: &mut Supervisor,
        stage: Stage,
    ) -> Result<Server, Error> {
        if let Some(path) = &self.credentials {
            let credentials = Credentials::open(path)
                .map_err(|error| format!("--credentials {}", ErrorChain(&error)))?;
            server = server.with_credentials(credentials.clone());
            let delays = restart_delays();
            supervisor.spawn_restarting(stage, "credentials file", delays, move |stop| {
                let credentials = credentials.clone();
                async move {
                    stop.run_until_cancelled(credentials.reload_on_change())
                        .await;
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

    fn check(api: &str, xds: &str, credentials: bool, allowed: bool) -> Result<(), Error> {
        let callers = Callers {
            credentials: credentials.then(PathBuf::new),
            api_cert: None,
            api_key: None,
            allow_unauthenticated: allowed,
        };
        let endpoint = |text: &str| text.parse::<Endpoint>().expect("an endpoint");
        callers.check(&[endpoint("[::1]:1"), endpoint(api)], &endpoint(xds))
    }

    #[test]
    fn an_address_that_others_reach_needs_authentication() {
        for (api, xds, credentials, allowed, expected) in [
            ("127.0.0.1:1", "[::1]:1", false, false, ""),
            ("fd://3", "fd://4", false, false, ""),
            ("0.0.0.0:1", "127.0.0.1:1", false, true, "--credentials"),
            ("10.0.0.1:1", "127.0.0.1:1", true, false, ""),
            (
                "127.0.0.1:1",
                "0.0.0.0:1",
                true,
                false,
                "--allow-unauthenticated",
            ),
            ("[::]:1", "0.0.0.0:1", true, true, ""),
        ] {
            let refusal = check(api, xds, credentials, allowed)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert_eq!(
                refusal.is_empty(),
                expected.is_empty(),
                "{api} {xds}: {refusal}"
            );
            assert!(refusal.contains(expected), "{api} {xds}: {refusal}");
        }
    }
}
