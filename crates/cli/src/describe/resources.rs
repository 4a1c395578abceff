//! `tombolo describe`: a resource with everything around it.

mod around;
mod text;

use super::{
    api::told,
    found::Found,
    id::Id,
    look::{Look, Within},
    progress::during,
    select::{self, Hit, Target},
};
use crate::command::output::{Report, put, put_data};
use around::Table;
use serde_json::{Map, Value, json};

/// A reference, and what is at its other end.
struct Link {
    role: &'static str,
    other: Id,
    /// Of a route's calls, this many of so many.
    weight: Option<(u32, u32)>,
    /// In how far the other end is there; empty where that goes without saying.
    state: String,
}

/// All that is told about a resource.
struct Description {
    found: Found,
    refers_to: Vec<Link>,
    /// Absent where nothing can refer to a resource of the kind.
    referred_to_by: Option<Vec<Link>>,
    /// What is in it or behind it.
    tables: Vec<Table>,
}

/// Prints what is meant, one after the other.
pub(crate) async fn describe(
    look: &Look,
    within: &Within,
    targets: &[Target],
    report: Report,
) -> Result<i32, String> {
    let mut descriptions = Vec::new();
    let mut missing = Vec::new();
    for target in targets {
        let found = match during("reading", select::find(look, within, target)).await? {
            Hit::Found(found) => found,
            Hit::Nothing(what) => {
                missing.push(what);
                continue;
            }
        };
        for found in found {
            let description = during("reading what is around it", around::of(look, found)).await;
            descriptions.push(description.map_err(|error| told(&error))?);
        }
    }
    match report.data() {
        Some(form) => {
            let all: Vec<Value> = descriptions.iter().map(to_json).collect();
            match <[Value; 1]>::try_from(all) {
                Ok([one]) => put_data(form, &one)?,
                Err(all) => put_data(form, &json!(all))?,
            }
        }
        None if descriptions.is_empty() && missing.is_empty() => eprintln!("No resources found"),
        None => {
            let texts: Vec<String> = descriptions.iter().map(text::of).collect();
            put(texts.join("\n"))?;
        }
    }
    for what in &missing {
        eprintln!("error: {what}");
    }
    Ok(i32::from(!missing.is_empty()))
}

fn to_json(description: &Description) -> Value {
    let mut json = description.found.document();
    json["refersTo"] = description.refers_to.iter().map(link).collect();
    let referred_to_by = description.referred_to_by.iter().flatten();
    json["referredToBy"] = referred_to_by.map(link).collect();
    for table in &description.tables {
        let row = |row: &Vec<String>| -> Value {
            let pairs = table.header.iter().zip(row);
            let pairs = pairs.map(|(name, cell)| (member(name), json!(cell)));
            Value::Object(pairs.collect::<Map<String, Value>>())
        };
        json[table.member] = table.rows.iter().map(row).collect();
    }
    json
}

/// `HEALTH-CHECK` as `healthCheck`.
fn member(column: &str) -> String {
    let mut words = column.split('-');
    let first = words.next().unwrap_or_default().to_lowercase();
    let rest = words.map(|word| {
        let (head, tail) = word.split_at(word.len().min(1));
        head.to_owned() + &tail.to_lowercase()
    });
    first + &rest.collect::<String>()
}

fn link(link: &Link) -> Value {
    let mut json = json!({ "role": link.role, "resource": link.other.to_string() });
    if let Some((weight, sum)) = link.weight {
        json["weight"] = weight.into();
        json["weights"] = sum.into();
    }
    if !link.state.is_empty() {
        json["state"] = link.state.as_str().into();
    }
    json
}
