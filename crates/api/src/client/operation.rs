//! Calls about operations.

use super::{Client, Error, transport::Backoff};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// A long-running request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    operation: Shape,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shape {
    id: String,
    #[serde(rename = "Type")]
    kind: String,
    status: String,
    error_code: Option<String>,
    error_message: Option<String>,
    #[serde(default)]
    targets: BTreeMap<String, String>,
}

impl Client {
    /// An operation as it stands.
    pub async fn get_operation(&self, id: &str) -> Result<Operation, Error> {
        Ok(self.operation(id).await?.into())
    }

    /// Waits until an operation has succeeded. [`Error::Service`] with the operation's own code, and
    /// status 200, when it failed; [`Error::Transport`] when the client's patience ended before it did.
    pub async fn wait(&self, operation_id: &str) -> Result<Operation, Error> {
        let mut backoff = Backoff::new(self.transport.patience());
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
                    });
                }
                status => {
                    if !backoff.pause().await {
                        let message = format!("operation {operation_id} is still {status}");
                        return Err(Error::Transport(message));
                    }
                }
            }
        }
    }

    async fn operation(&self, id: &str) -> Result<Shape, Error> {
        let input = json!({ "OperationId": id });
        let answer: Output = self.registry_call("GetOperation", input).await?;
        Ok(answer.operation)
    }
}

impl From<Shape> for Operation {
    fn from(shape: Shape) -> Self {
        Self {
            id: shape.id,
            kind: shape.kind,
            status: shape.status,
            targets: shape.targets,
            message: shape.error_message,
        }
    }
}
