//! Keys, certificates and kubeconfigs of a cluster.

use super::network::Cluster;
use crate::process::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The folder of a cluster's keys.
#[derive(Clone, Debug)]
pub(super) struct Pki(PathBuf);

impl Pki {
    /// Makes all keys of a cluster. `kubeconfig` gets the administrator's.
    pub(super) fn create(cluster: Cluster, folder: PathBuf, kubeconfig: &Path) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let pki = Self(folder);
        let authority = pki.create_authority(cluster)?;
        let mut api_names: Vec<String> =
            ["", ".default", ".default.svc", ".default.svc.cluster.local"]
                .map(|suffix| format!("kubernetes{suffix}"))
                .into();
        api_names.extend([
            "localhost".into(),
            cluster.control_plane().to_string(),
            cluster.api_service().to_string(),
        ]);
        pki.issue(&authority, "apiserver", ("kube-apiserver", None), api_names)?;
        let etcd = vec![cluster.control_plane().to_string()];
        pki.issue(&authority, "etcd", ("etcd", None), etcd)?;
        let node = cluster.node_name();
        let names = vec![node.clone(), cluster.node().to_string()];
        let node = format!("system:node:{node}");
        pki.issue(&authority, "node", (&node, Some("system:nodes")), names)?;
        for (name, user, group) in [
            ("admin", "admin", Some("system:masters")),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
            ("proxy", "system:kube-proxy", None),
        ] {
            pki.issue(&authority, name, (user, group), Vec::new())?;
        }
        for name in ["controller-manager", "scheduler", "proxy", "node"] {
            pki.write_kubeconfig(cluster, name, &pki.kubeconfig(name))?;
        }
        pki.write_kubeconfig(cluster, "admin", kubeconfig)?;
        let tokens = KeyPair::generate().map_err(failed)?;
        pki.write("service-account.key", &tokens.serialize_pem())?;
        pki.write("service-account.pub", &tokens.public_key_pem())?;
        Ok(pki)
    }

    /// The path of a file, such as `ca.crt` or `node.key`.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// The kubeconfig of a program.
    pub(super) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.kubeconfig"))
    }

    fn create_authority(&self, cluster: Cluster) -> Result<Issuer<'static, KeyPair>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("tombolo-kubernetes-{cluster}"), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        self.write("ca.key", &key.serialize_pem())?;
        self.write("ca.crt", &certificate.pem())?;
        Ok(Issuer::new(params, key))
    }

    /// A certificate for a server of these names, and for a client that is `subject`: a user, perhaps of a group.
    fn issue(
        &self,
        authority: &Issuer<'_, KeyPair>,
        file: &str,
        (user, group): (&str, Option<&str>),
        names: Vec<String>,
    ) -> Result<()> {
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = name(user, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, authority).map_err(failed)?;
        self.write(&format!("{file}.key"), &key.serialize_pem())?;
        self.write(&format!("{file}.crt"), &certificate.pem())
    }

    /// A kubeconfig as JSON, which is YAML. It names the files of keys by their paths.
    fn write_kubeconfig(&self, cluster: Cluster, user: &str, path: &Path) -> Result<()> {
        let context = cluster.context();
        let user_name = format!("{context}-{user}");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": context, "cluster": {
                "server": format!("https://{}:6443", cluster.control_plane()),
                "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{ "name": user_name, "user": {
                "client-certificate": self.path(&format!("{user}.crt")),
                "client-key": self.path(&format!("{user}.key")),
            }}],
            "contexts": [{ "name": context, "context": { "cluster": context, "user": user_name } }],
            "current-context": context,
        });
        fs::write(path, format!("{config:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::write(&path, text).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)
    }
}

fn name(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common);
    name
}

fn failed(error: rcgen::Error) -> String {
    format!("a certificate cannot be made: {error}")
}
