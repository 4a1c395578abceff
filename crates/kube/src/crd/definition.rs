//! The CustomResourceDefinitions of the seven kinds, from the types that read them.
//!
//! What clients of AWS's controller see is the same (facts/controller.md §1): names, columns, and which objects the API
//! server accepts. Descriptions are ours, a Mesh is in the category `all`, and the version before is served, to be refused
//! with advice.

mod bounds;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use tombolo_document::yaml;
use tombolo_model::schema::{Member, Schema};

use super::{API_VERSION, GROUP, Kind, VERSION};
use crate::v1beta1;

/// All definitions, as one file of YAML documents.
pub fn definitions_yaml() -> String {
    let definitions = Kind::ALL.map(|kind| yaml::write(&definition(kind)));
    format!(
        "# Written by `cargo xtask crds` from the types in crates/kube/src/crd.\n---\n{}",
        definitions.join("---\n")
    )
}

/// The definition of a kind.
pub fn definition(kind: Kind) -> Value {
    let (name, plural) = (kind.name(), kind.plural());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["all"],
                "kind": name,
                "listKind": format!("{name}List"),
                "plural": plural,
                "singular": name.to_lowercase(),
            },
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "versions": versions(kind),
        },
    })
}

fn versions(kind: Kind) -> Vec<Value> {
    let mut versions = vec![version(kind)];
    if matches!(kind, Kind::Mesh | Kind::VirtualNode | Kind::VirtualService) {
        versions.push(refused());
    }
    versions
}

/// The version before, of which no object is accepted: without it, the API server would say that the kind does not
/// exist, and not what to do.
fn refused() -> Value {
    json!({
        "name": "v1beta1",
        "served": true,
        "storage": false,
        "deprecated": true,
        "deprecationWarning": format!("{} is not accepted; rewrite it with `tombolo convert`", v1beta1::VERSION),
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-validations": [{
                "rule": "false",
                "message": format!(
                    "{} is not accepted; `tombolo convert` rewrites the manifest as {API_VERSION}",
                    v1beta1::VERSION
                ),
            }],
        }},
    })
}

fn version(kind: Kind) -> Value {
    let mut schema = write(&Schema::object([
        Member::new::<Option<String>>("apiVersion", "The version of the schema of this object."),
        Member::new::<Option<String>>("kind", "The kind of this object."),
        member("metadata", "", Schema::Object(Vec::new())),
        member("spec", "What is wanted.", spec(kind)),
        member("status", "What the controller found.", status(kind)),
    ]));
    schema["description"] = kind.description().trim().into();
    // As AWS's definitions have it. Below `spec` and `status`, what the schema does not name is pruned.
    schema["x-kubernetes-preserve-unknown-fields"] = true.into();
    let mut version = json!({
        "name": VERSION,
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    });
    if let Some(arn) = arn_field(kind) {
        // Scripts take the ARN as the second field of a line.
        version["additionalPrinterColumns"] = json!([
            {"name": "ARN", "type": "string", "jsonPath": format!(".status.{arn}"),
             "description": "The ARN in the App Mesh API"},
            {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ]);
    }
    version
}

/// The schema of a kind's spec.
fn spec(kind: Kind) -> Schema {
    let mut spec = kind.spec_schema();
    bounds::apply(kind, &mut spec);
    spec
}

/// The member of the status that has the ARN.
fn arn_field(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Mesh => "meshARN",
        Kind::VirtualNode => "virtualNodeARN",
        Kind::VirtualRouter => "virtualRouterARN",
        Kind::VirtualService => "virtualServiceARN",
        Kind::VirtualGateway => "virtualGatewayARN",
        Kind::GatewayRoute => "gatewayRouteARN",
        Kind::BackendGroup => return None,
    })
}

fn status(kind: Kind) -> Schema {
    let Some(arn) = arn_field(kind) else {
        return Schema::Object(Vec::new());
    };
    let time = Schema::Text {
        length: None,
        values: Vec::new(),
        format: Some("date-time"),
    };
    let condition = Schema::object([
        Member::new::<String>("type", "Its type."),
        Member::new::<String>("status", "True, False or Unknown."),
        member("lastTransitionTime", "When the status changed last.", time),
        Member::new::<Option<String>>("reason", "Why, in one word."),
        Member::new::<Option<String>>("message", "Why, and what to do."),
    ]);
    let conditions = Schema::List {
        items: Box::new(condition),
        count: None,
    };
    let mut members = vec![
        member("conditions", "The state of the object.", conditions),
        Member::new::<Option<i64>>("observedGeneration", "The generation that was reconciled."),
        Member::new::<Option<String>>(arn, "The ARN in the App Mesh API."),
    ];
    if kind == Kind::VirtualRouter {
        let arns = Schema::Map(Box::new(Schema::TEXT));
        members.push(member(
            "routeARNs",
            "The ARN of each route by its name.",
            arns,
        ));
    }
    Schema::object(members)
}

/// A member that may be absent.
fn member(key: &str, description: &str, schema: Schema) -> Member {
    Member {
        schema,
        ..Member::new::<Option<String>>(key, description)
    }
}

/// A schema in OpenAPI's words.
fn write(schema: &Schema) -> Value {
    match schema {
        Schema::Nothing | Schema::Object(_) => object(schema),
        Schema::Map(values) => json!({"type": "object", "additionalProperties": write(values)}),
        Schema::List { items, count } => {
            let mut list = json!({"type": "array", "items": write(items)});
            bound(&mut list, "minItems", "maxItems", count.clone(), 0);
            list
        }
        Schema::Text {
            length,
            values,
            format,
        } => {
            let mut text = json!({"type": "string"});
            bound(&mut text, "minLength", "maxLength", length.clone(), 0);
            if !values.is_empty() {
                text["enum"] = json!(values);
            }
            if let Some(format) = format {
                text["format"] = json!(format);
            }
            text
        }
        Schema::Integer(range) => {
            let mut number = json!({"type": "integer", "format": "int64"});
            bound(
                &mut number,
                "minimum",
                "maximum",
                Some(range.clone()),
                i64::MIN,
            );
            number
        }
        Schema::Boolean => json!({"type": "boolean"}),
    }
}

fn object(schema: &Schema) -> Value {
    let mut object = json!({"type": "object"});
    let Schema::Object(members) = schema else {
        return object;
    };
    let mut properties = Map::new();
    for member in members {
        let mut property = write(&member.schema);
        if !member.description.is_empty() {
            property["description"] = member.description.as_str().into();
        }
        properties.insert(member.key.clone(), property);
    }
    let required = members.iter().filter(|member| member.is_required);
    let required: Vec<&str> = required.map(|member| member.key.as_str()).collect();
    if !properties.is_empty() {
        object["properties"] = properties.into();
    }
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// Writes the two bounds, but for those that bound nothing.
fn bound(
    schema: &mut Value,
    min: &str,
    max: &str,
    range: Option<std::ops::RangeInclusive<i64>>,
    lowest: i64,
) {
    let Some(range) = range else { return };
    if *range.start() > lowest {
        schema[min] = (*range.start()).into();
    }
    if *range.end() < i64::MAX {
        schema[max] = (*range.end()).into();
    }
}
