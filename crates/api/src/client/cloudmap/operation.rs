//! Calls about operations, the asynchronous requests of Cloud Map.

use super::super::{Client, Error, transport::Retries};
use crate::cloudmap::{GetOperation, OperationShape};
use std::collections::BTreeMap;

/// An asynchronous request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The id, for [`Client::wait`].
    pub id: String,
    /// The type: `CREATE_NAMESPACE`, `REGISTER_INSTANCE` and so on.
    pub kind: String,
    /// `SUBMITTED`, `PENDING`, `SUCCESS` or `FAIL`.
    pub status: String,
    /// The ids of the resources that it changes, by `NAMESPACE`, `SERVICE`, `INSTANCE`.
    pub targets: BTreeMap<String, String>,
    /// The reason of a failure.
    pub message: Option<String>,
}

impl Client {
    /// The current state of an operation.
    pub async fn get_operation(&self, id: &str) -> Result<Operation, Error> {
        Ok(self.operation(id).await?.into())
    }

    /// Waits until an operation has succeeded.
    ///
    /// # Errors
    /// [`Error::Service`] with the operation's error code and status 200 if it failed; [`Error::Transport`] if
    /// it did not end within the client's timeout.
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
