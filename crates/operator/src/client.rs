//! A client of `/tombolo/v1`. Requests are signed with the caller's AWS credentials.

use crate::{EXPORT_PATH, IMPORT_PATH, ImportError, Imported, Refusal, STATUS_PATH, Status};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header, request::Builder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{error::Error as StdError, io, time::Duration};
use tokio::time::timeout;
use tombolo_api::client::{Endpoint, Keys};

/// Deadline of a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Deadline of a status: ten thousand proxies take about ten megabytes.
const STATUS: Duration = Duration::from_secs(5);
/// Maximum size of a buffered answer.
const MAX_ANSWER: usize = 256 << 20;

/// A client of one server. Each call is a connection of its own: calls are rare and come from people.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    keys: Keys,
    region: String,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or no answer in time.
    #[error("{endpoint}: no answer within {} s", CONNECT.as_secs())]
    Timeout {
        /// The server.
        endpoint: String,
    },
    /// The connection failed or broke.
    #[error("{endpoint}")]
    Connection {
        /// The server.
        endpoint: String,
        /// What the transport says.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The request cannot be signed.
    #[error("{0}")]
    Credentials(String),
    /// The server refused the caller.
    #[error(
        "{endpoint}: {code}: {message} (the credentials are those in AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, the region is that in AWS_REGION)"
    )]
    Denied {
        /// The server.
        endpoint: String,
        /// The AWS error code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server refused or could not serve the request.
    #[error("{endpoint}: {message}")]
    Refused {
        /// The server.
        endpoint: String,
        /// Status and the server's words.
        message: String,
    },
    /// The answer is not one of this API.
    #[error("{endpoint}: the answer cannot be read")]
    Protocol {
        /// The server.
        endpoint: String,
        /// What the decoder says.
        source: serde_json::Error,
    },
    /// The state was not imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The export cannot be written.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
}

impl Client {
    /// A client that signs with the keys of the environment, for the region in `AWS_REGION` or
    /// `AWS_DEFAULT_REGION`, else `default_region`.
    pub fn from_environment(endpoint: Endpoint, default_region: &str) -> Self {
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        Self {
            endpoint,
            keys: Keys::from_environment(),
            region: region.unwrap_or_else(|| default_region.to_owned()),
        }
    }

    /// The state of the server.
    ///
    /// # Errors
    /// No answer within 5 s, a refusal, or an answer that cannot be read.
    pub async fn status(&self) -> Result<Status, Error> {
        let call = async {
            let response = self.send(Request::get(STATUS_PATH), Bytes::new()).await?;
            let (status, body) = self.collect(response).await?;
            match status {
                StatusCode::OK => self.read(&body),
                status => Err(self.refused(status, &body)),
            }
        };
        match timeout(STATUS, call).await {
            Ok(answer) => answer,
            Err(_) => Err(self.timed_out()),
        }
    }

    /// Writes the whole state as YAML.
    ///
    /// # Errors
    /// As [`Client::status`], without a deadline once the answer has begun; or `out` cannot be written.
    pub async fn export(&self, out: &mut impl io::Write) -> Result<(), Error> {
        let mut response = self.send(Request::get(EXPORT_PATH), Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            let (status, body) = self.collect(response).await?;
            return Err(self.refused(status, &body));
        }
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| self.broken(error))?;
            if let Ok(data) = frame.into_data() {
                out.write_all(&data).map_err(Error::Write)?;
            }
        }
        Ok(())
    }

    /// Replaces the server's state by one that was exported; answers with its revision.
    ///
    /// # Errors
    /// As [`Client::export`]; [`Error::Import`] when the server does not take the text.
    pub async fn import(&self, text: Vec<u8>, overwrite: bool) -> Result<u64, Error> {
        let path = format!("{IMPORT_PATH}?overwrite={overwrite}");
        let response = self.send(Request::post(path), text.into()).await?;
        let (status, body) = self.collect(response).await?;
        let refusal = || serde_json::from_slice::<Refusal>(&body).unwrap_or_default();
        match status {
            StatusCode::OK => Ok(self.read::<Imported>(&body)?.revision),
            StatusCode::BAD_REQUEST if !refusal().problems.is_empty() => {
                Err(ImportError::Invalid(refusal().problems).into())
            }
            StatusCode::CONFLICT => Err(ImportError::NotEmpty(refusal().message).into()),
            status => Err(self.refused(status, &body)),
        }
    }

    /// Sends a signed request; answers once the head of the answer is there.
    async fn send(&self, request: Builder, body: Bytes) -> Result<Response<Incoming>, Error> {
        let mut request = request
            .header(header::HOST, self.endpoint.authority())
            .body(Full::new(body.clone()))
            .map_err(|error| self.broken(error))?;
        (self.keys)
            .sign_operator(&self.region, &mut request, &body)
            .map_err(Error::Credentials)?;
        let stream = timeout(CONNECT, self.endpoint.connect())
            .await
            .map_err(|_| self.timed_out())?
            .map_err(|error| self.broken(error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        // Ends with the response; what goes wrong in it, the response says.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        answer.map_err(|error| self.broken(error))
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<(StatusCode, Bytes), Error> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|source| Error::Connection {
            endpoint: self.endpoint.to_string(),
            source,
        })?;
        Ok((status, body.to_bytes()))
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|source| Error::Protocol {
            endpoint: self.endpoint.to_string(),
            source,
        })
    }

    fn broken(&self, error: impl StdError + Send + Sync + 'static) -> Error {
        Error::Connection {
            endpoint: self.endpoint.to_string(),
            source: error.into(),
        }
    }

    fn timed_out(&self) -> Error {
        Error::Timeout {
            endpoint: self.endpoint.to_string(),
        }
    }

    /// A refusal in the server's words; they may be those of the authorizer.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let endpoint = self.endpoint.to_string();
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = json["code"].as_str().unwrap_or_default();
        match (status.as_u16(), json["message"].as_str()) {
            (400 | 403, Some(message)) if code.ends_with("Exception") => Error::Denied {
                endpoint,
                code: code.to_owned(),
                message: message.to_owned(),
            },
            (_, Some(message)) => Error::Refused {
                endpoint,
                message: format!("{status}: {message}"),
            },
            (_, None) => Error::Refused {
                endpoint,
                message: status.to_string(),
            },
        }
    }
}
