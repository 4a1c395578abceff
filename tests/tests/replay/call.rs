//! One recorded call: the arguments of an `aws` command, and the expected request.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tombolo_tests::corpus::{self, Step, Walkthrough};

/// A call of an AWS API by the CLI.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `appmesh` or `servicediscovery`.
    pub(crate) service: String,
    /// The operation, such as `CreateMesh`.
    pub(crate) operation: String,
    /// The parameters.
    pub(crate) params: Value,
    /// The words after `aws`.
    pub(crate) words: Vec<String>,
    /// The expected HTTP request, if it is recorded.
    pub(crate) http: Option<Value>,
}

impl Call {
    /// A call that no walkthrough makes.
    pub(crate) fn new(service: &str, operation: &str, params: Value) -> Self {
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            words: words(service, operation, &params),
            params,
            http: None,
        }
    }

    /// The calls of a walkthrough: the commands of its script, split into words.
    pub(crate) fn recorded(walkthrough: &Walkthrough) -> Vec<Self> {
        let (steps, commands) = (walkthrough.steps(), walkthrough.commands());
        let name = &walkthrough.name;
        assert_eq!(steps.len(), commands.len(), "{name}: steps and commands");
        let mut files: Vec<_> = steps.iter().map(|step| step.file.clone()).collect();
        files.sort();
        assert_eq!(
            files,
            walkthrough.call_files(),
            "{name}: a step for each file"
        );
        let both = steps.into_iter().zip(commands);
        both.map(|(step, words)| Self::of_step(step, words))
            .collect()
    }

    fn of_step(step: Step, words: Vec<String>) -> Self {
        let file = format!("file://{}", step.file.display());
        let operation = kebab(&step.operation);
        assert_eq!(
            words,
            [&step.service, &operation, "--cli-input-json", &file],
            "a step and its command are the same call"
        );
        let given = serde_json::from_str(&corpus::read(&step.file));
        let given: Value = given.expect("parameters are JSON");
        assert_eq!(given, step.params, "{}", step.file.display());
        Self {
            service: step.service,
            operation: step.operation,
            params: step.params,
            words,
            http: Some(step.http),
        }
    }

    /// The same call with one parameter replaced.
    pub(crate) fn with(&self, param: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.params[param] = value.into();
        if let Some(http) = &mut other.http {
            http["body"][param] = value.into();
        }
        other.words = words(&other.service, &other.operation, &other.params);
        other
    }

    /// The same call with all names replaced as in `names`.
    pub(crate) fn renamed(&self, names: &BTreeMap<String, String>) -> Self {
        let params = rename(&self.params, names);
        Self {
            words: words(&self.service, &self.operation, &params),
            params,
            http: self.http.as_ref().map(|http| rename(http, names)),
            ..self.clone()
        }
    }

    /// The parameters that name resources.
    pub(crate) fn names(&self) -> Map<String, Value> {
        let params = self.params.as_object().expect("parameters are an object");
        let names = params.iter().filter(|(name, _)| name.ends_with("Name"));
        names
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// A text parameter; empty when absent.
    pub(crate) fn text(&self, param: &str) -> &str {
        self.params[param].as_str().unwrap_or_default()
    }

    /// Compares the HTTP request of the call with the recording. Headers that the client adds are not recorded.
    pub(crate) fn check_sent(&self, sent: &Value) {
        let Some(http) = &self.http else {
            return;
        };
        let mut sent = sent.clone();
        for token in ["clientToken", "CreatorRequestId"] {
            let Some(body) = sent["body"].as_object_mut() else {
                break;
            };
            if http["body"].get(token).is_none() {
                body.remove(token);
            }
        }
        let mut expected = http.clone();
        if expected["query"] == "" {
            expected["query"] = json!({});
        }
        assert_eq!(sent, expected, "{self}");
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.operation, self.params)
    }
}

fn words(service: &str, operation: &str, params: &Value) -> Vec<String> {
    let params = params.to_string();
    let words = [service, &kebab(operation), "--cli-input-json", &params];
    words.map(str::to_owned).to_vec()
}

/// The CLI's spelling of an operation: `create-mesh`.
fn kebab(operation: &str) -> String {
    let mut word = String::new();
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// Replaces names, as a whole value or as a segment of a path.
fn rename(value: &Value, names: &BTreeMap<String, String>) -> Value {
    let new = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_owned());
    match value {
        Value::String(text) => {
            let segments: Vec<String> = text.split('/').map(new).collect();
            segments.join("/").into()
        }
        Value::Array(items) => items.iter().map(|item| rename(item, names)).collect(),
        Value::Object(members) => {
            let members = members.iter();
            let renamed = members.map(|(name, value)| (name.clone(), rename(value, names)));
            Value::Object(renamed.collect())
        }
        other => other.clone(),
    }
}
