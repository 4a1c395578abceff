//! Every recorded `aws` call of the public walkthroughs, replayed by the real `aws` CLI against an initially empty
//! control plane, with every answer checked.
//!
//! A call is repeated until all its preconditions exist, and must be refused with AWS's error for that; preconditions
//! that no earlier call of the walkthrough has created are created by the test. Then the call must succeed, return
//! the requested values, and be visible in describe and list calls.

mod call;
mod cli;
mod mesh;
mod preconditions;
mod registry;

use call::Call;
use cli::Cli;
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};
use tombolo_tests::{
    Server,
    corpus::{self, Walkthrough},
};

/// Walkthroughs whose calls create everything that they use, and delete it again.
const SELF_CONTAINED: [&str; 3] = [
    "howto-ingress-gateway",
    "howto-match-and-rewrite-at-ingress",
    "howto-mutual-tls-file-provided",
];

/// The results of a walkthrough.
struct Tally {
    /// The name.
    name: String,
    /// Whether the calls create everything that they use.
    is_whole: bool,
    /// The number of recorded calls.
    recorded: usize,
    /// The number of calls that were replayed.
    replayed: usize,
    /// The number of calls that an empty control plane refused.
    refused: usize,
    /// The number of preconditions that the test created.
    made: usize,
    /// The number of all calls, checks included.
    calls: usize,
    /// The meshes that exist afterwards.
    left: Vec<String>,
}

#[test]
fn every_recorded_call_replays() {
    replay_all(Call::recorded);
}

/// The same with all user-chosen names and ids replaced.
#[test]
fn every_recorded_call_replays_under_other_names() {
    replay_all(|walkthrough| {
        let calls = Call::recorded(walkthrough);
        let chosen = calls.iter().flat_map(|call| {
            let ids = ["Name", "Vpc"].map(|param| call.params[param].clone());
            call.names().into_iter().map(|(_, name)| name).chain(ids)
        });
        let names: BTreeMap<String, String> = chosen
            .filter_map(|name| name.as_str().map(str::to_owned))
            .map(|name| {
                let other = format!("{}-{name}", some_name());
                (name, other)
            })
            .collect();
        calls.iter().map(|call| call.renamed(&names)).collect()
    });
}

fn replay_all(calls: impl Fn(&Walkthrough) -> Vec<Call>) {
    let Some(walkthroughs) = corpus::walkthroughs() else {
        return;
    };
    let mut tallies = Vec::new();
    for walkthrough in &walkthroughs {
        let calls = calls(walkthrough);
        if calls.is_empty() {
            continue;
        }
        let Some(tally) = replay(walkthrough, &calls) else {
            return;
        };
        tallies.push(tally);
    }
    show(&tallies);
    for tally in &tallies {
        assert_eq!(tally.replayed, tally.recorded, "{}", tally.name);
    }
    let whole: Vec<&Tally> = tallies.iter().filter(|tally| tally.is_whole).collect();
    for tally in &whole {
        let Tally {
            name, made, left, ..
        } = tally;
        assert_eq!(*made, 0, "{name} makes everything that it uses");
        assert!(left.is_empty(), "{name} leaves {left:?}");
    }
    for name in SELF_CONTAINED {
        let found = whole.iter().any(|tally| tally.name == name);
        assert!(found, "{name} has no recorded calls that make a mesh");
    }
}

/// Replays a walkthrough; `None`, after a message, when something is missing.
fn replay(walkthrough: &Walkthrough, calls: &[Call]) -> Option<Tally> {
    let name = &walkthrough.name;
    let server = Server::start()?;
    let mut cli = Cli::start(&server.aws())?;
    let (mut mesh, mut registry) = (mesh::Ledger::default(), registry::Ledger::default());

    println!("{name}: nothing is there");
    let revision = server.revision();
    let mut refused = 0;
    for call in calls {
        refused += usize::from(match call.service.as_str() {
            "appmesh" => mesh.check_refused(&mut cli, call),
            _ => registry.check_refused(&mut cli, call),
        });
    }
    mesh.check_meshes(&mut cli);
    assert_eq!(server.revision(), revision, "refused calls change nothing");

    let (mut replayed, mut made) = (0, 0);
    for call in calls {
        println!("{name}: {call}");
        made += match call.service.as_str() {
            "appmesh" => mesh.replay(&mut cli, call),
            _ => registry.replay(&mut cli, call),
        };
        replayed += 1;
    }
    mesh.check_meshes(&mut cli);
    Some(Tally {
        name: name.clone(),
        is_whole: walkthrough.is_self_contained(),
        recorded: calls.len(),
        replayed,
        refused,
        made,
        calls: cli.calls,
        left: mesh.meshes().into_iter().map(str::to_owned).collect(),
    })
}

fn show(tallies: &[Tally]) {
    let row = |cells: [&str; 6]| {
        let [name, numbers @ ..] = cells;
        let numbers: String = numbers.map(|cell| format!("{cell:>10}")).concat();
        println!("{name:<40}{numbers}");
    };
    row([
        "walkthrough",
        "recorded",
        "replayed",
        "refused",
        "made",
        "calls",
    ]);
    let mut sums = [0; 5];
    for tally in tallies {
        let numbers = [
            tally.recorded,
            tally.replayed,
            tally.refused,
            tally.made,
            tally.calls,
        ];
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += number;
        }
        let [a, b, c, d, e] = numbers.map(|number| number.to_string());
        row([&tally.name, &a, &b, &c, &d, &e]);
    }
    let [a, b, c, d, e] = sums.map(|sum| sum.to_string());
    row(["all", &a, &b, &c, &d, &e]);
}

/// A random name.
pub(crate) fn some_name() -> String {
    format!("n{:016x}", RandomState::new().hash_one(0))
}
