//! Builds valid inputs from the model and a table of facts that the model lacks: texts with a meaning, and members
//! that belong together.

use crate::constraint::Step;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use tombolo_tests::model::{Operation, Shape};

/// Builds inputs. Texts that start with `$` are replaced by known values when the input is sent.
pub(crate) struct Builder<'a> {
    tables: &'a Value,
    /// The index of the current element; `#` in a table's text stands for it.
    variant: Cell<usize>,
}

/// The character of texts without a meaning.
const FILLER: char = 'a';

impl<'a> Builder<'a> {
    /// A builder with the tables of a service.
    pub(crate) fn new(tables: &'a Value) -> Self {
        let variant = Cell::new(0);
        Self { tables, variant }
    }

    /// The smallest valid input with a value at the path.
    pub(crate) fn input(&self, operation: Operation<'_>, path: &[Step]) -> Value {
        let Some(shape) = operation.input() else {
            return json!({});
        };
        let mut input = self.build(shape, shape.name, path);
        merge(
            &mut input,
            &self.tables["operations"][operation.name]["input"],
        );
        input
    }

    /// The smallest valid value with a value at the path.
    pub(crate) fn build(&self, shape: Shape<'_>, spot: &str, path: &[Step]) -> Value {
        if path.is_empty()
            && let Some(value) = self.entry("values", shape, spot)
        {
            return self.vary(value);
        }
        match shape.kind() {
            "structure" => self.structure(shape, path),
            "list" => {
                let rest = path.get(1..).unwrap_or_default();
                json!([self.build(shape.element(), &format!("{}[]", shape.name), rest)])
            }
            "map" => {
                let rest = match path.split_first() {
                    Some((Step::Value, rest)) => rest,
                    _ => &[],
                };
                let key = self.build(shape.key(), &format!("{}{{key}}", shape.name), &[]);
                let spot = format!("{}{{value}}", shape.name);
                let value = self.build(shape.value(), &spot, rest);
                let key = key.as_str().expect("keys are texts").to_owned();
                Value::Object(Map::from_iter([(key, value)]))
            }
            "string" => match *shape.words() {
                [] => {
                    let size = usize::try_from(shape.min().unwrap_or(1).max(1));
                    self.text(shape, spot, size.expect("not negative"))
                }
                ref words => json!(words[self.variant.get() % words.len()]),
            },
            "integer" | "long" => json!(shape.min().unwrap_or(1)),
            "boolean" => json!(true),
            other => panic!("{spot}: no value of type {other} is known"),
        }
    }

    fn structure(&self, shape: Shape<'_>, path: &[Step]) -> Value {
        let (wanted, rest) = match path.split_first() {
            Some((Step::Member(name), rest)) => (Some(name.as_str()), rest),
            _ => (None, path),
        };
        let choice = || {
            let chosen = self.tables["choices"][shape.name].as_str();
            chosen.or_else(|| shape.members().next().map(|member| member.name))
        };
        let only = shape.is_union().then(|| wanted.or_else(choice)).flatten();
        let mut value = json!({});
        for member in shape.members() {
            let is_wanted = wanted == Some(member.name);
            if is_wanted || only == Some(member.name) || shape.requires(member.name) {
                let spot = format!("{}.{}", shape.name, member.name);
                let path = if is_wanted { rest } else { &[] };
                value[member.name] = self.build(member.shape, &spot, path);
            }
        }
        self.complete(shape, &mut value);
        value
    }

    /// Adds the members that belong to the present ones.
    fn complete(&self, shape: Shape<'_>, value: &mut Value) {
        let Some(companions) = self.tables["companions"].as_array() else {
            return;
        };
        for companion in companions.iter().filter(|c| c["shape"] == shape.name) {
            let is_there = |pointer: &Value| {
                let pointer = pointer.as_str().expect("pointers are texts");
                value.pointer(pointer).is_some()
            };
            let all = |which: &str| companion[which].as_array().into_iter().flatten();
            if all("when").all(is_there) && !all("unless").any(is_there) {
                merge(value, &companion["set"]);
            }
        }
    }

    /// A valid text of this length, as far as the tables have a rule for it.
    pub(crate) fn text(&self, shape: Shape<'_>, spot: &str, size: usize) -> Value {
        let plan = self.entry("texts", shape, spot).unwrap_or(&Value::Null);
        let part = |which: &str| plan[which].as_str().unwrap_or_default();
        let (start, end) = (part("start"), part("end"));
        let fill = Some(part("fill")).filter(|fill| !fill.is_empty());
        let mut text: String = start.chars().take(size).collect();
        let middle = size.saturating_sub(text.chars().count() + end.chars().count());
        match fill {
            Some(fill) => text.extend(fill.chars().cycle().take(middle)),
            None => text.extend(std::iter::repeat_n(FILLER, middle)),
        }
        let missing = size - text.chars().count();
        text.extend(end.chars().take(missing));
        json!(text)
    }

    /// Whether any text of the right length is valid, as far as the model and the tables say.
    pub(crate) fn is_free(&self, shape: Shape<'_>, spot: &str) -> bool {
        shape.pattern().is_none() && self.entry("texts", shape, spot).is_none()
    }

    /// Texts that do not match the shape's pattern.
    pub(crate) fn misfits(&self, shape: Shape<'_>) -> Vec<Value> {
        // No pattern of any service matches control characters.
        let mut misfits = vec![json!("a\u{1}b")];
        misfits.extend(self.texts("misfits", shape));
        misfits
    }

    /// Unusual texts that match the shape's pattern.
    pub(crate) fn fits(&self, shape: Shape<'_>) -> Vec<Value> {
        self.texts("fits", shape)
    }

    fn texts(&self, table: &str, shape: Shape<'_>) -> Vec<Value> {
        let texts = self.tables[table][shape.name].as_array();
        texts.cloned().unwrap_or_default()
    }

    /// A list of this many different elements.
    pub(crate) fn list(&self, shape: Shape<'_>, size: usize) -> Value {
        let spot = format!("{}[]", shape.name);
        let element = |i| {
            self.variant.set(i);
            self.build(shape.element(), &spot, &[])
        };
        let list = (0..size).map(element).collect();
        self.variant.set(0);
        Value::Array(list)
    }

    /// A map of this many entries.
    pub(crate) fn map(&self, shape: Shape<'_>, size: usize) -> Value {
        let spot = format!("{}{{value}}", shape.name);
        let entry = |i| {
            let value = self.build(shape.value(), &spot, &[]);
            (format!("key-{i}"), value)
        };
        Value::Object((0..size).map(entry).collect())
    }

    /// A table's entry for a member of a structure, otherwise for the member in any structure, otherwise for the
    /// shape.
    fn entry(&self, table: &str, shape: Shape<'_>, spot: &str) -> Option<&'a Value> {
        let table = &self.tables[table];
        let anywhere = || Some(format!("*.{}", spot.split_once('.')?.1));
        (table.get(spot))
            .or_else(|| table.get(anywhere()?))
            .or_else(|| table.get(shape.name))
    }

    fn vary(&self, value: &Value) -> Value {
        match value.as_str() {
            Some(text) => json!(text.replace('#', &self.variant.get().to_string())),
            None => value.clone(),
        }
    }
}

/// Merges one value into another; null removes a member.
pub(crate) fn merge(value: &mut Value, over: &Value) {
    let Some(members) = over.as_object() else {
        return;
    };
    for (name, over) in members {
        if over.is_null() {
            if let Some(value) = value.as_object_mut() {
                value.shift_remove(name);
            }
            continue;
        }
        if over.is_object() && value.get(name).is_some_and(Value::is_object) {
            merge(&mut value[name], over);
        } else {
            value[name] = over.clone();
        }
    }
}
