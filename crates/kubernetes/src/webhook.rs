//! The admission webhooks of a cluster: pods get their sidecar, mesh objects their defaults, their membership and a
//! verdict.
//!
//! A question is decided by pure functions over a view of the cluster, which watches keep ([`tombolo_kube::admit`],
//! [`tombolo_kube::inject`]); nobody is turned away before the API server itself was asked. Paths and names of the
//! webhooks are those of AWS's controller (`facts/controller.md` §2), so that its configurations fit.
//!
//! The certificate is made here and renewed long before it ends. Replicas share the authority in a Secret, and every one
//! keeps the `caBundle` of the configurations right. Or it is mounted, from whoever renews it.
//!
//! Read first: [`Webhook`].

mod certificate;
mod decide;
mod hook;
mod metrics;
mod options;
mod own_certificate;
mod patch;
mod review;
mod server;
mod trust;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tombolo_telemetry::supervisor::Stage;
use tombolo_telemetry::{Supervisor, listen};

pub use decide::Policy;
pub use options::{InjectOptions, OptionsError, Webhook};

use metrics::Metrics;
use own_certificate::OwnCertificate;
use server::{Certificate, Probes};
use view::View;

/// Why the webhook does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option is wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// There is no API server to talk to.
    #[error(
        "no way to the API server: neither a kubeconfig nor a service account is found, or it does not answer"
    )]
    Cluster(#[source] kube::Error),
    /// A socket cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The mounted certificate cannot be used.
    #[error("the certificate of --webhook-cert-dir cannot be used")]
    Certificate(#[from] tombolo_api::FileError),
}

impl Webhook {
    /// Starts everything under a supervisor: what listens in the stage `listeners`, which answers for as long as
    /// [`Webhook::DRAIN`] when it ends, the rest in `background`.
    ///
    /// # Errors
    /// A wrong option, no API server, an address in use, or a mounted certificate that cannot be read.
    pub async fn start(
        &self,
        supervisor: &mut Supervisor,
        listeners: Stage,
        background: Stage,
    ) -> Result<(), StartError> {
        let client = Client::try_default().await.map_err(StartError::Cluster)?;
        let version = client.apiserver_version().await;
        let version = version.map_err(StartError::Cluster)?;
        let policy = self.policy(&version.git_version)?;
        tracing::info!(
            kubernetes = version.git_version,
            native_sidecars = policy.inject.native_sidecars,
            "the API server answers"
        );
        let metrics = Metrics::default();
        let mut registry = tombolo_telemetry::metrics::registry();
        metrics.register(&mut registry);
        supervisor.register_metrics(&mut registry);

        let view = View::new(client.clone());
        view.watch(supervisor, background);
        let certificate = match &self.webhook_cert_dir {
            Some(dir) => {
                let tls = tombolo_api::Tls::open(&dir.join("tls.crt"), &dir.join("tls.key"))?;
                let follow = tls.clone();
                supervisor.spawn(background, "follow the certificate", |stop| async move {
                    stop.run_until_cancelled(follow.reload_on_change()).await;
                    Ok::<_, std::convert::Infallible>(())
                });
                Certificate::Mounted(tls)
            }
            None => {
                let served = own_certificate::Served::default();
                let (places, tls) = (self.places(), self.tls_policy()?);
                let own = OwnCertificate::new(client, places, tls, served.clone(), metrics.clone());
                supervisor.spawn(background, "own certificate", |stop| own.run(stop));
                Certificate::Own(served)
            }
        };
        let webhook = Arc::new(server::Webhook {
            view,
            policy,
            certificate,
            metrics,
            deadline: server::DEADLINE,
        });
        let probes = Arc::new(Probes {
            webhook: webhook.clone(),
            registry,
        });
        let listener = listen_on(self.webhook_addr())?;
        supervisor.spawn(listeners, "webhooks", |stop| {
            server::serve_webhooks(webhook, listener, stop)
        });
        for address in self.probe_addrs() {
            let (listener, probes) = (listen_on(address)?, probes.clone());
            supervisor.spawn(listeners, "probes and metrics", |stop| {
                server::serve_probes(probes, listener, stop)
            });
        }
        Ok(())
    }

    /// How long questions may take to be answered when the process ends.
    pub const DRAIN: std::time::Duration = server::DRAIN;
}

fn listen_on(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let listener = listen::tcp(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        tracing::info!(address = %listener.local_addr()?, "listening");
        Ok(listener)
    };
    listen().map_err(|source| StartError::Listen { address, source })
}
