//! Who may have which proxy's configuration, and TLS of xDS.

use crate::{command::Error, listen::Endpoint};
use std::{convert::Infallible, path::PathBuf, sync::Arc};
use tombolo_api::{
    Authority, Credentials, ProxyAccess, Tls, authority::OwnCertificate, proxy_access::ProxyRefusal,
};
use tombolo_model::{RecordKey, arn};
use tombolo_plan::{Publisher, Workload};
use tombolo_store::Store;
use tombolo_telemetry::{
    ErrorChain, Supervisor,
    supervisor::{Stage, restart_delays},
};
use tombolo_xds::{
    Node, Status,
    server::{Certificates, Peer, Snapshots, Source},
};

/// Options about proxies.
#[derive(clap::Args)]
pub(crate) struct Proxies {
    /// Serve xDS over TLS with this certificate and its chain (PEM), and know each proxy by the token of its pod or
    /// by its signature; needs --credentials. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "xds_key")]
    xds_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "xds_cert")]
    xds_key: Option<PathBuf>,
    /// As --xds-cert, with a certificate for this name or address that the server makes itself; may be given several
    /// times. Its root is at /tombolo/v1/xds-root, the same for all replicas.
    #[arg(long, value_name = "NAME", conflicts_with = "xds_cert")]
    xds_name: Vec<String>,
    /// Serve xDS on addresses other than loopback without TLS, or without knowing the proxies.
    #[arg(long)]
    allow_unauthenticated: bool,
}

impl Proxies {
    /// Refuses an address at which proxies that are not known, or anybody on their way, could get configurations.
    /// Inherited sockets are the parent's responsibility.
    pub(super) fn check(&self, xds: &Endpoint, has_credentials: bool) -> Result<(), Error> {
        let is_reachable = matches!(xds, Endpoint::Address(address) if !address.ip().is_loopback());
        if !is_reachable || self.allow_unauthenticated {
            return Ok(());
        }
        if !self.is_encrypted() {
            return Err(format!(
                "--xds {xds}: without TLS only loopback addresses are served: give --xds-name with the name by \
                 which proxies reach this server, or --xds-cert and --xds-key (docs/operate/proxies.md); \
                 --allow-unauthenticated lifts this where the network is trusted"
            )
            .into());
        }
        if !has_credentials {
            return Err(format!(
                "--xds {xds}: proxies are known by the roles of a credentials file: give --credentials \
                 (docs/operate/proxies.md); --allow-unauthenticated lifts this where the network is trusted"
            )
            .into());
        }
        Ok(())
    }

    fn is_encrypted(&self) -> bool {
        self.xds_cert.is_some() || !self.xds_name.is_empty()
    }

    /// The certificates of xDS; none for plaintext.
    pub(super) fn certificates(
        &self,
        store: &Store,
        supervisor: &mut Supervisor,
        stage: Stage,
    ) -> Result<Option<Certificates>, Error> {
        if let (Some(cert), Some(key)) = (&self.xds_cert, &self.xds_key) {
            let tls = Tls::open_http2(cert, key)
                .map_err(|error| format!("--xds-cert, --xds-key: {}", ErrorChain(&error)))?;
            let followed = tls.clone();
            let delays = restart_delays();
            supervisor.spawn_restarting(stage, "certificate files of xds", delays, move |stop| {
                let tls = followed.clone();
                async move {
                    stop.run_until_cancelled(tls.reload_on_change()).await;
                    Ok::<_, Infallible>(())
                }
            });
            return Ok(Some(Certificates::new(move || tls.newest())));
        }
        if self.xds_name.is_empty() {
            return Ok(None);
        }
        let own = Authority::new(store.secret().expose())
            .and_then(|authority| OwnCertificate::new(authority, self.xds_name.clone()));
        let own = own.map_err(|error| format!("--xds-name: {}", ErrorChain(&error)))?;
        let own = Arc::new(own);
        Ok(Some(Certificates::new(move || own.newest())))
    }

    /// What proxies get, and which of them.
    pub(super) fn source(
        &self,
        publisher: Publisher,
        credentials: Option<&Credentials>,
        store: &Store,
    ) -> KnownProxies {
        let is_asked = self.is_encrypted() && !self.allow_unauthenticated;
        let credentials = credentials.filter(|_| is_asked).cloned();
        let secret = store.secret().expose();
        KnownProxies {
            access: credentials.map(|credentials| ProxyAccess::new(credentials, secret)),
            publisher,
        }
    }
}

/// Gives each proxy the configuration that it may have.
pub(super) struct KnownProxies {
    publisher: Publisher,
    /// Absent where every proxy is believed.
    access: Option<ProxyAccess>,
}

impl KnownProxies {
    /// Turns away a caller that may not have the configuration of this node.
    async fn admit(&self, access: &ProxyAccess, node: &Node, peer: &Peer) -> Result<(), Status> {
        let caller = access.identify(peer.head()).await.map_err(refusal)?;
        let wanted = self.publisher.workload_of(node)?;
        if let Some(resource) = caller.resource() {
            let named = Node {
                id: resource.to_owned(),
                ..Node::default()
            };
            let own = self.publisher.workload_of(&named)?;
            if own != wanted {
                return Err(Status::permission_denied(format!(
                    "the token of {caller} is for {own}, not for {wanted}"
                )));
            }
        }
        let arn = resource_arn(&wanted)?;
        caller.check(&wanted.scope, &arn).map_err(refusal)?;
        tracing::debug!(%caller, %wanted, "a proxy is known");
        Ok(())
    }
}

impl Source for KnownProxies {
    async fn subscribe(&self, node: &Node, peer: &Peer) -> Result<Snapshots, Status> {
        if let Some(access) = &self.access {
            let admitted = self.admit(access, node, peer).await;
            admitted.inspect_err(|status| {
                let (code, reason) = (status.code(), status.message());
                tracing::info!(node = ?node.id, peer = ?peer.addr, ?code, reason, "a proxy was turned away");
            })?;
        }
        self.publisher.subscribe(node, peer).await
    }
}

fn resource_arn(workload: &Workload) -> Result<String, Status> {
    match &workload.key {
        RecordKey::Resource(key) => Ok(arn::of_resource(&workload.scope, key)),
        other => Err(Status::invalid_argument(format!("{other} has no proxies"))),
    }
}

fn refusal(refusal: ProxyRefusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        ProxyRefusal::Unauthenticated(_) => Status::unauthenticated(message),
        ProxyRefusal::Denied(_) => Status::permission_denied(message),
        ProxyRefusal::Unavailable(_) => Status::unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_needs_tls_and_credentials() {
        for (xds, encrypted, credentials, allowed, expected) in [
            ("[::1]:1", false, false, false, ""),
            ("fd://4", false, false, false, ""),
            ("0.0.0.0:1", false, true, false, "--xds-name"),
            ("0.0.0.0:1", true, false, false, "--credentials"),
            ("0.0.0.0:1", true, true, false, ""),
            ("0.0.0.0:1", false, false, true, ""),
        ] {
            let proxies = Proxies {
                xds_cert: None,
                xds_key: None,
                xds_name: encrypted
                    .then(|| "xds.mesh.test".to_owned())
                    .into_iter()
                    .collect(),
                allow_unauthenticated: allowed,
            };
            let endpoint = xds.parse::<Endpoint>().expect("an endpoint");
            let refusal = proxies.check(&endpoint, credentials).err();
            let refusal = refusal.map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(refusal.is_empty(), expected.is_empty(), "{xds}: {refusal}");
            assert!(refusal.contains(expected), "{xds}: {refusal}");
        }
    }
}
