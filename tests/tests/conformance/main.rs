//! Every operation of the AWS service models against a real server: what they take, what they refuse
//! and what they answer. The cases follow from the models, which botocore ships; the tables beside this
//! file only say what the models do not: which names mean something, which members go together, and
//! where AWS does something else.
//!
//! | in a table | what |
//! | --- | --- |
//! | `limits` | limits of the server, so that they can be reached |
//! | `stage` | calls that make what all others find there, and what they are remembered as: `$name` |
//! | `values`, `texts` | legal values, and how to stretch a text, by `Structure.member`, `*.member` or shape |
//! | `fits`, `misfits` | texts that a shape's pattern matches, and texts that it does not |
//! | `companions`, `choices` | members that go together in a structure; the usual member of a union |
//! | `operations` | calls `before` and `after` an operation, its `input`, and who says `again` what it says |
//! | `refusals`, `elsewhere` | the errors of broken rules; those that only say that a made-up name is nobody's |
//! | `exceptions`, `answers` | what AWS does otherwise than its model says, each with a reason |
//! | `rules` | what goes beyond single members: calls that are answered, or refused with words that tell why |
//! | `scenarios` | a call for every other error of every operation |
//! | `unprovoked` | errors that a lone server never gives, each with a reason |

mod build;
mod change;
mod constraint;
mod echo;
mod errors;
mod exceptions;
mod fixture;
mod known_deviations;
mod report;
mod self_check;
mod shape_check;
mod sts;
mod suite;
mod wire;

use fixture::Fixture;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use suite::Suite;
use tombolo_tests::{Server, model::Model};

/// Runs everything that follows from a model.
fn conform(service: &str, version: &str, tables: &str) {
    let Some(model) = Model::load(service, version) else {
        return;
    };
    let tables: Value = serde_json::from_str(tables).expect("the tables are JSON");
    let limits = tables["limits"].as_object().into_iter().flatten();
    let limits = limits.flat_map(|(name, most)| ["--limit".into(), format!("{name}={most}")]);
    let Some(server) = Server::start_with(&limits.collect::<Vec<_>>()) else {
        return;
    };
    let mut suite = Suite::new(Fixture::new(server.api(), &model, &tables));
    known_deviations::run(&mut suite);
    suite.run();
    errors::run(&mut suite);
    suite.finish(service);
}

#[test]
fn app_mesh_conforms_to_its_model() {
    conform("appmesh", "2019-01-25", include_str!("app_mesh.json"));
}

#[test]
fn cloud_map_conforms_to_its_model() {
    conform(
        "servicediscovery",
        "2017-03-14",
        include_str!("cloud_map.json"),
    );
}

/// The table of operations for routes, policies and the client has every operation of the models, and no others.
#[test]
fn the_operations_are_those_of_the_models() {
    for (service, names) in tombolo_api::operations() {
        let (model, version, is_whole) = match service {
            "appmesh" => ("appmesh", "2019-01-25", true),
            "servicediscovery" => ("servicediscovery", "2017-03-14", true),
            "eks" => ("eks", "2017-11-01", false),
            "sts" => ("sts", "2011-06-15", false),
            "tagging" => ("resourcegroupstaggingapi", "2017-01-26", false),
            other => panic!("{other} has no model"),
        };
        let Some(model) = Model::load(model, version) else {
            return;
        };
        let ours: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let theirs: BTreeSet<&str> = model.operations().map(|operation| operation.name).collect();
        assert!(ours.is_subset(&theirs), "{service}: {ours:?}");
        assert!(!is_whole || ours == theirs, "{service}: {theirs:?}");
        assert!(!ours.is_empty() && ours.len() == names.len(), "{service}");
    }
}

#[test]
fn the_older_app_mesh_api_is_not_there() {
    let Some(model) = Model::load("appmesh", "2018-10-01") else {
        return;
    };
    let Some(server) = Server::start() else {
        return;
    };
    let tables = json!({});
    let mut fixture = Fixture::new(server.api(), &model, &tables);
    for operation in model.operations() {
        let input = fixture.builder.input(operation, &[]);
        let reply = fixture.send(operation, &input).reply;
        let seen = (reply.status, reply.code());
        assert_eq!(
            seen,
            (404, "UnknownOperationException"),
            "{}",
            operation.name
        );
    }
}
