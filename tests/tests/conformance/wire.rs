//! Encodes operations as HTTP requests in the protocol of the model, and decodes the replies.

use serde_json::{Map, Value};
use tombolo_tests::{
    http::{Answer, Connection, Request},
    model::{Model, Operation},
};

/// A server's reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Value,
    /// The error's code in the header.
    pub(crate) header_code: Option<String>,
    /// The error's code in the body.
    pub(crate) body_code: Option<String>,
    /// The deviations of the envelope, whatever its content.
    pub(crate) flaws: Vec<String>,
}

impl Reply {
    /// Whether it is a success.
    pub(crate) fn is_ok(&self) -> bool {
        self.status < 300
    }

    /// The error's code.
    pub(crate) fn code(&self) -> &str {
        let code = self.header_code.as_deref().or(self.body_code.as_deref());
        code.unwrap_or_default()
    }

    /// The error's message.
    pub(crate) fn message(&self) -> &str {
        let message = self.body.get("message").or(self.body.get("Message"));
        message.and_then(Value::as_str).unwrap_or_default()
    }
}

/// Sends an operation with this input, valid or not. A raw body replaces the encoded one.
pub(crate) fn send(
    connection: &mut Connection,
    model: &Model,
    operation: Operation<'_>,
    input: &Value,
    raw: Option<&str>,
) -> Reply {
    let (path, body) = match model.protocol() {
        "rest-json" => locate(operation, input),
        _ => (String::new(), Value::Null),
    };
    let mut request = match model.protocol() {
        "json" => Request::cloud_map(operation.name, input),
        "rest-json" => Request::app_mesh(operation.method(), &path, &body),
        other => panic!("{}: no request by protocol {other}", operation.name),
    };
    if let Some(raw) = raw {
        request = request.body(raw.as_bytes().to_vec());
    }
    let answer = connection.send(&request);
    let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", operation.name));
    read(&answer)
}

/// Whether an operation has a body.
pub(crate) fn has_body(operation: Operation<'_>) -> bool {
    let members = operation
        .input()
        .into_iter()
        .flat_map(|input| input.members());
    operation.path() == "/"
        || members
            .into_iter()
            .any(|member| member.location().is_none())
}

/// Path and query, and the body: null when no member belongs there.
fn locate(operation: Operation<'_>, input: &Value) -> (String, Value) {
    let mut path = operation.path().to_owned();
    let mut query = String::new();
    let mut body = Map::new();
    let mut has_body = false;
    let shape = operation.input().expect("operations of REST have an input");
    for member in shape.members() {
        let value = input.get(member.name);
        match member.location() {
            Some("uri") => {
                let value = value.map(plain).unwrap_or_default();
                let place = format!("{{{}}}", member.location_name());
                path = path.replace(&place, &encode(&value));
            }
            Some("querystring") => {
                if let Some(value) = value {
                    let mark = if query.is_empty() { '?' } else { '&' };
                    query += &format!("{mark}{}={}", member.location_name(), encode(&plain(value)));
                }
            }
            Some(other) => panic!("{}: members at {other} are unknown", operation.name),
            None => {
                has_body = true;
                if let Some(value) = value {
                    body.insert(member.name.to_owned(), value.clone());
                }
            }
        }
    }
    let body = if has_body {
        Value::Object(body)
    } else {
        Value::Null
    };
    (path + &query, body)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

fn read(answer: &Answer) -> Reply {
    let mut flaws = Vec::new();
    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
        flaws.push(format!("the body is not JSON: {}", answer.text()));
        Value::Null
    });
    if answer.header("x-amzn-requestid").is_none() {
        flaws.push("there is no x-amzn-RequestId".into());
    }
    let is_json = |kind: &str| kind.starts_with("application/") && kind.contains("json");
    if !answer.header("content-type").is_some_and(is_json) {
        flaws.push("the content type is not JSON".into());
    }
    let body_code = body.get("__type").and_then(Value::as_str);
    Reply {
        status: answer.status,
        header_code: answer.header("x-amzn-errortype").map(str::to_owned),
        body_code: body_code.map(str::to_owned),
        body,
        flaws,
    }
}
