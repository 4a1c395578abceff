//! The public walkthroughs' manifests, applied to a control plane without clusters.

use crate::fixture::Cli;
use std::path::Path;
use tombolo_tests::corpus::walkthroughs;

/// Applies files together; whether it succeeded. If not, nothing has changed.
fn apply(tool: &Cli, files: &[&Path]) -> bool {
    let mut words = vec!["apply"];
    for file in files {
        words.extend(["-f", file.to_str().expect("a path of text")]);
    }
    let before = tool.server.revision();
    let said = tool.run(&words);
    if said.code != Some(0) {
        assert_eq!(tool.server.revision(), before, "{files:?}: {said:?}");
        assert!(said.errors.contains("error: "), "{files:?}: {said:?}");
        return false;
    }
    words[0] = "diff";
    let same = tool.run(&words);
    assert_eq!(same.code, Some(0), "{files:?}: {same:?}");
    true
}

#[test]
fn what_walkthroughs_ask_for_is_printed_and_applied_without_a_difference() {
    let Some(walkthroughs) = walkthroughs() else {
        return;
    };
    let mut resources = 0;
    for walkthrough in walkthroughs {
        let manifests = walkthrough.manifests();
        if manifests.is_empty() {
            continue;
        }
        let Some(tool) = Cli::start() else {
            return;
        };
        // Files of several clusters do not belong together.
        let files: Vec<&Path> = manifests.iter().map(AsRef::as_ref).collect();
        if !apply(&tool, &files) {
            for file in files {
                apply(&tool, &[file]);
            }
        }
        let names = tool.succeeds(&["get", "all", "-o", "name"]);
        if names.is_empty() {
            continue;
        }
        let printed = tool.succeeds(&["get", "all", "-o", "yaml"]);
        for line in tool.apply(&printed) {
            assert!(line.ends_with(" unchanged"), "{}: {line}", walkthrough.name);
        }
        let words: Vec<&str> = ["describe"].into_iter().chain(names.lines()).collect();
        let text = tool.succeeds(&words);
        let described = text.lines().filter(|line| line.starts_with("Name: "));
        assert_eq!(described.count(), names.lines().count(), "{text}");
        resources += names.lines().count();
        tool.succeeds(&["delete", "all", "--all"]);
    }
    println!("{resources} resources");
    assert!(resources > 0, "some walkthrough has manifests of the mesh");
}
