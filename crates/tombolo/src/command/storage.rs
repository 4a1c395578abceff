//! The options of a control plane's store, and opening the store.

use super::Error;
use std::path::PathBuf;
use tombolo_store::Store;

/// Options of every command that opens a store itself.
#[derive(clap::Args)]
pub(crate) struct Storage {
    /// The directory where the state is kept.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "store")]
    data_dir: Option<PathBuf>,
    /// The etcd cluster where the state is kept and shared with other replicas, as
    /// etcd://host:2379,host:2379/prefix. The prefix may be left out.
    #[arg(long, value_name = "ADDRESS")]
    store: Option<String>,
    /// PEM file of the CA of etcd's certificates; enables TLS.
    #[arg(long, value_name = "FILE", requires = "store")]
    etcd_ca: Option<PathBuf>,
    /// PEM file of the client certificate, where etcd requires one.
    #[arg(long, value_name = "FILE", requires = "etcd_ca", requires = "etcd_key")]
    etcd_cert: Option<PathBuf>,
    /// PEM file of the client certificate's private key.
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
    /// The user name for etcd.
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,
    /// File with the password of the user.
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
}

impl Storage {
    /// Whether a store is configured.
    pub(crate) fn is_named(&self) -> bool {
        self.data_dir.is_some() || self.store.is_some()
    }

    /// Opens the configured store; one in memory when none is configured.
    pub(crate) async fn open(&self) -> Result<Store, Error> {
        match (&self.data_dir, &self.store) {
            (Some(directory), _) => {
                Store::open(directory).map_err(|error| format!("--data-dir: {error}").into())
            }
            (None, Some(address)) => self.connect(address).await,
            (None, None) => Ok(Store::memory()),
        }
    }

    async fn connect(&self, address: &str) -> Result<Store, Error> {
        use tombolo_store::etcd::{Options, Tls};
        let read = |option: &str, path: &PathBuf| {
            std::fs::read(path).map_err(|error| format!("{option} {}: {error}", path.display()))
        };
        let options: Result<Options, _> = address.parse();
        let mut options = options.map_err(|why| format!("--store: {why}"))?;
        if let Some(ca) = &self.etcd_ca {
            let identity = match (&self.etcd_cert, &self.etcd_key) {
                (Some(certificate), Some(key)) => {
                    Some((read("--etcd-cert", certificate)?, read("--etcd-key", key)?))
                }
                _ => None,
            };
            let ca = read("--etcd-ca", ca)?;
            options.tls = Some(Tls { ca, identity });
        }
        if let (Some(user), Some(file)) = (&self.etcd_user, &self.etcd_password_file) {
            let password = String::from_utf8(read("--etcd-password-file", file)?)
                .map_err(|_| format!("--etcd-password-file {}: not text", file.display()))?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            options.user = Some((user.clone(), password));
        }
        Store::connect(options)
            .await
            .map_err(|error| format!("--store: {error}").into())
    }
}
