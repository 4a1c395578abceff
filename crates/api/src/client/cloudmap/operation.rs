//! Calls about operations of the service.

use super::super::{Client, Error, transport::Retries};
use crate::cloudmap::{GetOperation, OperationShape};
use std::collections::BTreeMap;

/// A long-running request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// See [`Client::wait`].
    pub id: String,
    /// What it does: `CREATE_NAMESPACE`, `REGISTER_INSTANCE` and so on.
    pub kind: String,
    /// `SUBMITTED`, `PENDING`, `SUCCESS` or `FAIL`.
    pub status: String,
    /// What it does it to, by `NAMESPACE`, `SERVICE`, `INSTANCE`.
    pub targets: BTreeMap<String, String>,
    /// Why it failed.
    pub message: Option<String>,
}

impl Client {
    /// An operation as it stands.
    pub async fn get_operation(&self, id: &str) -> Result<Operation, Error> {
        Ok(self.operation(id).await?.into())
    }

    /// Waits until an operation has succeeded. [`Error::Service`] with the operation's own code, and
    /// status 200, when it failed; [`Error::Transport`] when the client's timeout ended before it did.
    pub async fn wait(&self, operation_id: &str) -> Result<Operation, Error> {
        let mut retries = Retries::new(self.transport.timeout);
        loop {
            let shape = self.operation(operation_id).await?;
            match shape.status.as_str() {
                "SUCCESS" => return Ok(shape.into()),
                "FAIL" => {
                    return Err(Error::Service {
                        status: 200,
                        code: shape.error_code.unwrap_or_default(),
                        message: shape.error_message.unwrap_or_default(),
                        request_id: None,
                        problems: Vec::new(),
                    });
                }
                status => {
                    if !retries.pause().await {
                        let message = format!("operation {operation_id} is still {status}");
                        return Err(Error::Transport(message));
                    }
                }
            }
        }
    }

    async fn operation(&self, id: &str) -> Result<OperationShape, Error> {
        let get = GetOperation {
            operation_id: id.to_owned(),
            owner_account: None,
        };
        Ok(self.cloud_map(&get).await?.operation)
    }
}

impl From<OperationShape> for Operation {
    fn from(shape: OperationShape) -> Self {
        Self {
            id: shape.id,
            kind: shape.kind,
            status: shape.status,
            targets: shape.targets,
            message: shape.error_message,
        }
    }
}
