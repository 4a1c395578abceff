//! `tombolo demo color`, run as in the README.

use std::process::Output;
use tombolo_tests::{Home, need, proxy_arguments, run_name, runs};

/// The tally that the demo printed: colors with their number of answers.
pub(crate) fn tally(output: &Output) -> Vec<(String, usize)> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{told}");
    let tally = printed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let color = words.next().filter(|word| ["red", "blue"].contains(word))?;
        Some((color.to_owned(), words.next()?.parse().ok()?))
    });
    tally.collect()
}

#[test]
fn demo_runs_by_itself_and_answers_every_request() {
    let Some(binary) = need("TOMBOLO_BIN") else {
        return;
    };
    for (proxy, user) in runs() {
        let home = Home::of(user);
        let Some(options) = proxy_arguments(proxy, &home) else {
            return;
        };
        let output = home
            .command(&home.reachable(&binary))
            .args(["demo", "color", "--once", "--name", &run_name()])
            .args(options)
            .output()
            .expect("TOMBOLO_BIN can be run");
        let tally = tally(&output);
        let sum: usize = tally.iter().map(|(_, count)| count).sum();
        assert_eq!((tally.len(), sum), (2, 200), "{tally:?}");
    }
}
