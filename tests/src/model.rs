//! AWS service models, as botocore ships them: the inputs, outputs and errors of every operation.
//!
//! The models are read from the client's own copy at test time, so that a test follows the API of its clients and
//! needs no copy of it.

use crate::need;
use serde_json::Value;
use std::process::Command;

/// Makes botocore find and unpack its data.
const LOAD: &str = "\
import botocore.loaders, json, sys
model = botocore.loaders.Loader().load_service_model(sys.argv[1], 'service-2', sys.argv[2])
json.dump(model, sys.stdout)";

/// The model of one version of a service.
pub struct Model {
    root: Value,
}

/// An operation of a model.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    model: &'a Model,
    /// The name.
    pub name: &'a str,
    value: &'a Value,
}

/// A shape of a model: the type of a value.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    model: &'a Model,
    /// The name.
    pub name: &'a str,
    value: &'a Value,
}

/// A member of a structure.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The name.
    pub name: &'a str,
    /// The shape.
    pub shape: Shape<'a>,
    reference: &'a Value,
}

impl Model {
    /// Reads a model; `None`, after a message, when there is no Python with botocore.
    pub fn load(service: &str, version: &str) -> Option<Self> {
        let output = Command::new(need("TOMBOLO_PYTHON")?)
            .args(["-c", LOAD, service, version])
            .output()
            .expect("TOMBOLO_PYTHON can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{service} {version}: {errors}");
        let root = serde_json::from_slice(&output.stdout).expect("models are JSON");
        Some(Self::new(root))
    }

    /// A model from its JSON document.
    pub fn new(root: Value) -> Self {
        Self { root }
    }

    /// The protocol: `rest-json`, `json` or `query`.
    pub fn protocol(&self) -> &str {
        let metadata = &self.root["metadata"];
        let offered = metadata["protocols"].as_array().into_iter().flatten();
        let mut offered = offered.chain([&metadata["protocol"]]).map(text);
        offered
            .find(|protocol| ["rest-json", "json", "query"].contains(protocol))
            .unwrap_or_else(|| panic!("no known protocol among {metadata}"))
    }

    /// All operations.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        members(&self.root["operations"]).map(|(name, value)| Operation {
            model: self,
            name,
            value,
        })
    }

    /// The operation of this name.
    #[track_caller]
    pub fn operation(&self, name: &str) -> Operation<'_> {
        let mut all = self.operations();
        all.find(|operation| operation.name == name)
            .unwrap_or_else(|| panic!("the model has no operation {name}"))
    }

    /// The shape of this name.
    #[track_caller]
    pub fn shape(&self, name: &str) -> Shape<'_> {
        let shapes = self.root["shapes"].as_object().expect("models have shapes");
        let (name, value) = shapes
            .get_key_value(name)
            .unwrap_or_else(|| panic!("the model has no shape {name}"));
        Shape {
            model: self,
            name,
            value,
        }
    }
}

impl<'a> Operation<'a> {
    /// The input.
    pub fn input(self) -> Option<Shape<'a>> {
        self.reference("input")
    }

    /// The output.
    pub fn output(self) -> Option<Shape<'a>> {
        self.reference("output")
    }

    /// The names of the errors.
    pub fn errors(self) -> impl Iterator<Item = &'a str> {
        let errors = self.value["errors"].as_array().into_iter().flatten();
        errors.map(|error| text(&error["shape"]))
    }

    /// The HTTP method.
    pub fn method(self) -> &'a str {
        text(&self.value["http"]["method"])
    }

    /// The template of the path.
    pub fn path(self) -> &'a str {
        text(&self.value["http"]["requestUri"])
    }

    /// The HTTP status of answers.
    pub fn status(self) -> u16 {
        let status = self.value["http"]["responseCode"].as_u64().unwrap_or(200);
        u16::try_from(status).expect("statuses are small")
    }

    fn reference(self, which: &str) -> Option<Shape<'a>> {
        let name = self.value.get(which)?["shape"].as_str()?;
        Some(self.model.shape(name))
    }
}

impl<'a> Shape<'a> {
    /// The type: `structure`, `list`, `map`, `string`, `integer`, `long`, `boolean`, `timestamp` …
    pub fn kind(self) -> &'a str {
        text(&self.value["type"])
    }

    /// Whether exactly one member of this structure must be given.
    pub fn is_union(self) -> bool {
        self.value["union"] == true
    }

    /// The members of a structure.
    pub fn members(self) -> impl Iterator<Item = Member<'a>> {
        let model = self.model;
        members(&self.value["members"]).map(move |(name, reference)| Member {
            name,
            shape: model.shape(text(&reference["shape"])),
            reference,
        })
    }

    /// The member of this name.
    pub fn member(self, name: &str) -> Option<Member<'a>> {
        self.members().find(|member| member.name == name)
    }

    /// Whether a structure requires this member.
    pub fn requires(self, member: &str) -> bool {
        let required = self.value["required"].as_array();
        required.is_some_and(|names| names.iter().any(|name| name == member))
    }

    /// The member that is the whole body.
    pub fn payload(self) -> Option<Member<'a>> {
        self.member(self.value["payload"].as_str()?)
    }

    /// The shape of the elements of a list.
    pub fn element(self) -> Shape<'a> {
        self.model.shape(text(&self.value["member"]["shape"]))
    }

    /// The shape of the keys of a map.
    pub fn key(self) -> Shape<'a> {
        self.model.shape(text(&self.value["key"]["shape"]))
    }

    /// The shape of the values of a map.
    pub fn value(self) -> Shape<'a> {
        self.model.shape(text(&self.value["value"]["shape"]))
    }

    /// The minimum length, size or number.
    pub fn min(self) -> Option<i64> {
        self.value["min"].as_i64()
    }

    /// The maximum length, size or number.
    pub fn max(self) -> Option<i64> {
        self.value["max"].as_i64()
    }

    /// The pattern that a string matches.
    pub fn pattern(self) -> Option<&'a str> {
        self.value["pattern"].as_str()
    }

    /// The values of an enumeration; empty for other strings.
    pub fn words(self) -> Vec<&'a str> {
        let words = self.value["enum"].as_array().into_iter().flatten();
        words.map(text).collect()
    }

    /// The HTTP status of an error.
    pub fn error_status(self) -> Option<u16> {
        let status = self.value["error"]["httpStatusCode"].as_u64()?;
        u16::try_from(status).ok()
    }
}

impl<'a> Member<'a> {
    /// The location in HTTP: `uri`, `querystring` …; `None` for the body.
    pub fn location(self) -> Option<&'a str> {
        self.reference["location"].as_str()
    }

    /// Whether this is an idempotency token.
    pub fn is_token(self) -> bool {
        self.reference["idempotencyToken"] == true
    }

    /// The name at that location.
    pub fn location_name(self) -> &'a str {
        self.reference["locationName"].as_str().unwrap_or(self.name)
    }
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("the model has {value} where a text must be"))
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let object = value.as_object().into_iter().flatten();
    object.map(|(name, value)| (name.as_str(), value))
}
