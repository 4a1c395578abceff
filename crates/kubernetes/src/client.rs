//! Clients of API servers, from a kubeconfig or from the service account of the pod.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

/// How long an API server may take to answer a call that is not a watch.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long a watch may be silent before its connection counts as dead. API servers send a bookmark every minute.
const WATCH_SILENCE: Duration = Duration::from_secs(150);

/// Where a cluster's API server is, and who calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig file. Without one: the service account of the pod, else the file that kubectl would read.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; the current one if absent.
    pub context: Option<String>,
}

/// Why an API server cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is missing, or is not one.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// There is neither a kubeconfig nor a service account.
    #[error("there is no kubeconfig and no service account")]
    Infer(#[from] kube::config::InferConfigError),
    /// The client cannot be made, or the first call failed.
    #[error("the API server cannot be called")]
    Client(#[from] kube::Error),
    /// The first call was not answered.
    #[error("the API server did not answer within {} seconds", DEADLINE.as_secs())]
    NoAnswer,
}

/// A call of the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was refused, or there was no connection.
    #[error(transparent)]
    Client(#[from] kube::Error),
    /// It was not answered.
    #[error("the API server did not answer within {} seconds", DEADLINE.as_secs())]
    NoAnswer,
}

impl CallError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Client(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.is_not_found())
    }

    /// Whether the object has changed since it was read, or exists already.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.is_conflict())
    }
}

/// Waits for the answer of a call that is not a watch.
///
/// # Errors
/// The call's own, or [`CallError::NoAnswer`].
pub async fn call<T>(
    call: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, CallError> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::NoAnswer),
    }
}

/// As [`call`], where an object that does not exist is no error.
///
/// # Errors
/// As [`call`].
pub async fn call_existing<T: DeserializeOwned>(
    request: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<Option<T>, CallError> {
    match call(request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Access {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn client(&self) -> Result<Client, ConnectError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(file), _) => {
                let file = Kubeconfig::read_from(file)?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await?,
            (None, None) => Config::infer().await?,
        };
        config.read_timeout = Some(WATCH_SILENCE);
        Ok(Client::try_from(config)?)
    }
}

/// What tells a cluster from every other one: the uid of its namespace `kube-system`, which lives as long as the cluster.
///
/// # Errors
/// The API server does not answer, or does not let the caller read the namespace.
pub async fn uid(client: &Client) -> Result<String, ConnectError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = call(namespaces.get("kube-system")).await;
    match namespace {
        Ok(namespace) => Ok(namespace.metadata.uid.unwrap_or_default()),
        Err(CallError::Client(error)) => Err(error.into()),
        Err(CallError::NoAnswer) => Err(ConnectError::NoAnswer),
    }
}
