//! A client of `/tombolo/v1`. Requests are signed with the caller's AWS credentials.

use crate::{
    EXPORT_PATH, IMPORT_PATH, ImportError, Imported, STATUS_PATH, Status, XDS_ROOT_PATH,
    server::NOT_EMPTY,
};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::{io, time::Duration};
use tokio::time::timeout;
use tombolo_api::client::{self, Endpoint};
use tombolo_telemetry::ErrorChain;

/// Deadline of a status call, and maximum bytes of its answer: ten thousand proxies take about ten megabytes.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_STATUS: usize = 256 << 20;
/// Size of a root certificate, in bytes.
const MAX_ROOT: usize = 64 << 10;
/// Deadline of an import, which may send a gigabyte, and maximum bytes of its answer.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(600);
const MAX_IMPORTED: usize = 1 << 20;
/// Maximum pause within an export.
const EXPORT_STALL: Duration = Duration::from_secs(60);

/// A client of one server. Calls are not retried: they come from people, who see the error.
#[derive(Clone)]
pub struct Client(client::Client);

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There was no answer, or the server refused.
    #[error(transparent)]
    Api(#[from] client::Error),
    /// The state was not imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The export cannot be written.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
}

impl From<client::Client> for Client {
    fn from(client: client::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// A client that signs with the keys of the environment, for the region in `AWS_REGION` or `AWS_DEFAULT_REGION`,
    /// else `default_region`.
    ///
    /// # Errors
    /// The region is not valid.
    pub fn from_environment(endpoint: Endpoint, default_region: &str) -> Result<Self, Error> {
        let client = client::Client::from_environment(endpoint, default_region);
        Ok(Self(client?))
    }

    /// The state of the server.
    ///
    /// # Errors
    /// No answer within 5 s, a refusal, or an answer that cannot be read.
    pub async fn status(&self) -> Result<Status, Error> {
        let (path, timeout) = (STATUS_PATH.to_owned(), STATUS_TIMEOUT);
        let call = (self.0).fetch(Method::GET, path, Bytes::new(), MAX_STATUS, timeout);
        read(&call.await?)
    }

    /// The root of the certificates that the server makes for xDS, as PEM.
    ///
    /// # Errors
    /// No answer within 5 s, a refusal, or an answer that is not text.
    pub async fn xds_root(&self) -> Result<String, Error> {
        let (path, timeout) = (XDS_ROOT_PATH.to_owned(), STATUS_TIMEOUT);
        let call = (self.0).fetch(Method::GET, path, Bytes::new(), MAX_ROOT, timeout);
        let text = String::from_utf8(call.await?.into());
        text.map_err(|_| client::Error::Protocol("the root is not text".into()).into())
    }

    /// Writes the whole state as YAML.
    ///
    /// # Errors
    /// A refusal, or no data for a minute; or `out` cannot be written.
    pub async fn export(&self, out: &mut impl io::Write) -> Result<(), Error> {
        let stalled = |_| client::Error::Transport("the server stopped sending".into());
        let open = (self.0).open(Method::GET, EXPORT_PATH.to_owned(), Bytes::new());
        let mut body = timeout(EXPORT_STALL, open).await.map_err(stalled)??;
        while let Some(frame) = timeout(EXPORT_STALL, body.frame()).await.map_err(stalled)? {
            let frame = frame.map_err(|error| {
                client::Error::Transport(format!("the export broke off: {}", ErrorChain(&error)))
            })?;
            if let Ok(data) = frame.into_data() {
                out.write_all(&data).map_err(Error::Write)?;
            }
        }
        Ok(())
    }

    /// Replaces the server's state by an exported one; its revision.
    ///
    /// # Errors
    /// No answer within 10 minutes, or a refusal; [`Error::Import`] when the server does not accept the text.
    pub async fn import(&self, text: Vec<u8>, overwrite: bool) -> Result<u64, Error> {
        let target = format!("{IMPORT_PATH}?overwrite={overwrite}");
        let call = (self.0).fetch(
            Method::POST,
            target,
            text.into(),
            MAX_IMPORTED,
            IMPORT_TIMEOUT,
        );
        match call.await {
            Ok(body) => Ok(read::<Imported>(&body)?.revision),
            Err(client::Error::Service { problems, .. }) if !problems.is_empty() => {
                Err(ImportError::Invalid(problems).into())
            }
            Err(client::Error::Service { code, message, .. }) if code == NOT_EMPTY => {
                Err(ImportError::NotEmpty(message).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(body).map_err(client::Error::from)?)
}
