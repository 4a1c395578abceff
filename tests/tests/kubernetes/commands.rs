//! `cargo xtask kubernetes` while clusters are up.

use super::run;
use tombolo_tests::kubernetes::kubernetes;

#[test]
fn up_changes_nothing_when_clusters_are_up() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let output = run(&kubernetes, &["up"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("2 clusters are up already"), "{told}");
    let output = run(&kubernetes, &["up", "--clusters", "1"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("`cargo xtask kubernetes down` first"),
        "{told}"
    );
}

#[test]
fn words_that_nobody_knows_are_refused_and_change_nothing() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    for (words, named) in [
        (["up", "--nodes", "2"].as_slice(), "--nodes"),
        (&["down", "now"], "now"),
        (&["deny", "http"], "http"),
        (&["forward", "pvt.local"], "pvt.local"),
        (&["restart"], "restart"),
    ] {
        let output = run(&kubernetes, words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(named), "{words:?}: {told}");
    }
}

#[test]
fn env_is_what_a_shell_needs() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let output = run(&kubernetes, &["env"]);
    assert!(output.status.success());
    let script = String::from_utf8(output.stdout).expect("text");
    let mut shell = std::process::Command::new("sh");
    shell.args([
        "-c",
        "eval \"$0\" && kubectl config get-contexts -o name",
        &script,
    ]);
    let told = shell.output().expect("a shell").stdout;
    let contexts = String::from_utf8_lossy(&told).into_owned();
    for cluster in [&kubernetes.a, &kubernetes.b] {
        assert!(
            contexts.lines().any(|name| name == cluster.context()),
            "{contexts}"
        );
    }
}
