//! A running server and the known values of its resources.

use crate::{
    build::{Builder, merge},
    wire::{self, Reply},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, net::SocketAddr};
use tombolo_tests::{
    ACCOUNT,
    http::Connection,
    model::{Model, Operation},
};

/// A server, the model of one of its services and the tables of that service.
pub(crate) struct Fixture<'a> {
    /// The model.
    pub(crate) model: &'a Model,
    /// The tables.
    pub(crate) tables: &'a Value,
    /// Builds inputs from both.
    pub(crate) builder: Builder<'a>,
    connection: Connection,
    /// Values of `$name`.
    known: BTreeMap<String, Value>,
    /// The number of generated names.
    made: usize,
}

/// Maximum repetitions of a step that ends with a refusal: more than any limit in the tables.
const MOST_REPETITIONS: usize = 100;

/// A call and its reply.
pub(crate) struct Exchange {
    /// The input.
    pub(crate) sent: Value,
    /// The reply.
    pub(crate) reply: Reply,
}

impl<'a> Fixture<'a> {
    /// A fixture that has made the calls of the table `stage`.
    pub(crate) fn new(server: SocketAddr, model: &'a Model, tables: &'a Value) -> Self {
        let mut fixture = Self {
            model,
            tables,
            builder: Builder::new(tables),
            connection: Connection::open(server).expect("the server listens"),
            known: BTreeMap::from([("account".into(), json!(ACCOUNT))]),
            made: 0,
        };
        fixture
            .steps(&tables["stage"])
            .expect("the calls of the table succeed");
        fixture
    }

    /// Makes the calls of a table, one after another; the error is the refused one.
    pub(crate) fn steps(&mut self, steps: &Value) -> Result<(), String> {
        for step in steps.as_array().into_iter().flatten() {
            let name = step["operation"].as_str().expect("steps name an operation");
            let operation = self.model.operation(name);
            let mut input = self.builder.input(operation, &[]);
            merge(&mut input, &step["input"]);
            let exchange = self.send_until(operation, &input, &step["until"]);
            if let Some(code) = step["until"].as_str()
                && exchange.reply.code() == code
            {
                continue;
            }
            if !exchange.reply.is_ok() {
                let Exchange { sent, reply } = exchange;
                return Err(format!("{name} {sent}: {} {}", reply.status, reply.body));
            }
            self.keep(&exchange, &step["keep"]);
        }
        Ok(())
    }

    /// Makes a call together with the calls before and after it, which create and remove its resources. The error is
    /// a failure of those.
    pub(crate) fn call(
        &mut self,
        operation: Operation<'_>,
        input: &Value,
    ) -> Result<Exchange, String> {
        let tables = &self.tables["operations"][operation.name];
        self.steps(&tables["before"])?;
        let exchange = self.send(operation, input);
        if exchange.reply.is_ok() {
            self.leave(operation, &exchange)?;
        }
        Ok(exchange)
    }

    /// Checks the effect of a call, and removes what it created.
    pub(crate) fn leave(
        &mut self,
        operation: Operation<'_>,
        exchange: &Exchange,
    ) -> Result<(), String> {
        let tables = &self.tables["operations"][operation.name];
        self.keep(exchange, &json!({"in": "/in", "out": "/out"}));
        self.look_again(exchange, &tables["again"])?;
        self.steps(&tables["after"])
    }

    /// Reads what a call has created or changed, and expects the same values; or, after a deletion, an error.
    fn look_again(&mut self, exchange: &Exchange, look: &Value) -> Result<(), String> {
        let Some(name) = look["operation"].as_str() else {
            return Ok(());
        };
        let operation = self.model.operation(name);
        let mut input = self.builder.input(operation, &[]);
        merge(&mut input, &look["input"]);
        let reply = self.send(operation, &input).reply;
        let is_right = match look["error"].as_str() {
            Some(code) => reply.code() == code,
            None => reply.is_ok() && reply.body == exchange.reply.body,
        };
        if is_right {
            return Ok(());
        }
        let (status, seen, made) = (reply.status, reply.body, &exchange.reply.body);
        Err(format!(
            "afterwards {name} says {status} {seen}, after {made}"
        ))
    }

    /// Makes a call.
    pub(crate) fn send(&mut self, operation: Operation<'_>, input: &Value) -> Exchange {
        self.send_raw(operation, input, None)
    }

    /// Makes a call with any body.
    pub(crate) fn send_raw(
        &mut self,
        operation: Operation<'_>,
        input: &Value,
        raw: Option<&str>,
    ) -> Exchange {
        let sent = self.resolve(input);
        let reply = wire::send(&mut self.connection, self.model, operation, &sent, raw);
        Exchange { sent, reply }
    }

    /// Repeats a call until it is refused with this code; makes it once without a code.
    fn send_until(&mut self, operation: Operation<'_>, input: &Value, code: &Value) -> Exchange {
        let most = if code.is_null() { 1 } else { MOST_REPETITIONS };
        let mut exchange = self.send(operation, input);
        for _ in 1..most {
            if !exchange.reply.is_ok() {
                break;
            }
            exchange = self.send(operation, input);
        }
        exchange
    }

    fn keep(&mut self, exchange: &Exchange, wanted: &Value) {
        let all = json!({"in": exchange.sent, "out": exchange.reply.body});
        for (name, pointer) in wanted.as_object().into_iter().flatten() {
            let pointer = pointer.as_str().expect("pointers are texts");
            let value = all.pointer(pointer).cloned().unwrap_or_default();
            self.known.insert(name.clone(), value);
        }
    }

    /// Replaces placeholders: `$name`, or `$name/pointer/into/it`; `$a*300` is a text of 300 characters. `{"$repeat":
    /// 3, "of": …}` is a list of three, with `#` for the index, and with `"as": "key-#"` a map.
    pub(crate) fn resolve(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => match text.strip_prefix('$') {
                Some(long) if long.starts_with("a*") => {
                    json!("a".repeat(long[2..].parse().expect("a number")))
                }
                Some("unique") => {
                    self.made += 1;
                    json!(format!("made-{}", self.made))
                }
                Some("unique-domain") => {
                    self.made += 1;
                    json!(format!("made-{}.example", self.made))
                }
                Some(name) => {
                    let (name, pointer) = name.split_at(name.find('/').unwrap_or(name.len()));
                    let found = self
                        .known
                        .get(name)
                        .and_then(|value| value.pointer(pointer));
                    found
                        .cloned()
                        .unwrap_or_else(|| panic!("{text} is not known"))
                }
                None => value.clone(),
            },
            Value::Array(elements) => elements.iter().map(|e| self.resolve(e)).collect(),
            Value::Object(members) if members.contains_key("$repeat") => {
                let repeated = repeat(members);
                self.resolve(&repeated)
            }
            Value::Object(members) => {
                let mut resolved = Map::new();
                for (name, value) in members {
                    resolved.insert(name.clone(), self.resolve(value));
                }
                Value::Object(resolved)
            }
            other => other.clone(),
        }
    }
}

fn repeat(members: &Map<String, Value>) -> Value {
    let count = members["$repeat"].as_u64().expect("a number");
    let numbered = |value: &Value, i: u64| -> Value {
        let text = value.to_string().replace('#', &i.to_string());
        serde_json::from_str(&text).expect("still JSON")
    };
    let element = |i: u64| numbered(&members["of"], i);
    match members.get("as") {
        None => (0..count).map(element).collect(),
        Some(key) => {
            let key = |i: u64| {
                numbered(key, i)
                    .as_str()
                    .expect("keys are texts")
                    .to_owned()
            };
            Value::Object((0..count).map(|i| (key(i), element(i))).collect())
        }
    }
}
