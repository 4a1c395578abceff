//! `delete`.

use crate::{
    fixture::Cli,
    kinds::{everything, text},
};
use serde_json::{Value, json};

fn position(lines: &[&str], start: &str) -> usize {
    let found = lines.iter().position(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {lines:?}"))
}

#[test]
fn documents_are_deleted_in_an_order_in_which_nothing_is_needed() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let documents = text(&everything());
    tool.apply(&documents);
    let revision = tool.server.revision();
    let dry = tool.succeeds_with(&["delete", "-f", "-", "--dry-run"], &documents);
    assert_eq!(tool.server.revision(), revision, "a dry run sends nothing");
    let out = tool.succeeds_with(&["delete", "-f", "-"], &documents);
    assert_eq!(dry.replace(" (dry run)", ""), out);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), everything().len());
    for (first, last) in [
        ("gatewayroute/", "virtualservice/"),
        ("virtualservice/", "virtualrouter/"),
        ("route/", "virtualrouter/"),
        ("route/", "virtualnode/"),
        ("virtualnode/", "mesh/"),
        ("instance/", "service/"),
        ("service/", "namespace/"),
    ] {
        assert!(
            position(&lines, first) < position(&lines, last),
            "{lines:?}"
        );
    }
    assert_eq!(tool.json(&["get", "all", "-o", "json"])["items"], json!([]));
    let errors = tool.fails_with(&["delete", "-f", "-"], &documents);
    assert!(errors.contains("mesh/shop not found"), "{errors}");
    let words = ["delete", "-f", "-", "--ignore-not-found"];
    assert_eq!(tool.succeeds_with(&words, &documents), "");
}

#[test]
fn a_resource_is_deleted_by_its_name_wherever_it_is() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let mesh = |name: &str| json!({"apiVersion": "appmesh/2019-01-25", "kind": "Mesh", "metadata": {"name": name}});
    let node = |mesh: &str| {
        json!({"apiVersion": "appmesh/2019-01-25", "kind": "VirtualNode",
            "metadata": {"name": "twin", "mesh": mesh}})
    };
    tool.apply(&text(&[mesh("other"), node("other"), node("shop")]));
    let errors = tool.fails_with(&["delete", "vn", "twin"], "");
    assert!(
        errors.contains("name one of other/twin, shop/twin"),
        "{errors}"
    );
    let out = tool.succeeds(&["delete", "vn", "other/twin"]);
    assert_eq!(out, "virtualnode/other/twin deleted\n");
    let out = tool.succeeds(&["delete", "vn", "twin", "--mesh", "shop", "-o", "json"]);
    let out: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(out["resources"][0]["resource"], "virtualnode/shop/twin");
    let arn = tool.json(&["get", "route", "all", "-o", "json"])["status"]["arn"].take();
    let arn = arn.as_str().expect("an ARN");
    assert_eq!(
        tool.succeeds(&["get", arn, "-o", "name"]),
        "route/shop/front/all\n"
    );
    assert_eq!(
        tool.succeeds(&["delete", arn]),
        "route/shop/front/all deleted\n"
    );
    // A missing resource prevents the deletion of the others.
    let errors = tool.fails_with(&["delete", "vn", "front-v1", "nobody"], "");
    assert!(
        errors.contains("\"nobody\" not found; nothing was deleted"),
        "{errors}"
    );
    let words = [
        "delete",
        "inst",
        "10.0.0.1/a:1",
        "nobody",
        "--ignore-not-found",
    ];
    assert_eq!(
        tool.succeeds(&words),
        "instance/shop.local/front/10.0.0.1/a:1 deleted\n"
    );
}

#[test]
fn a_refusal_says_what_is_gone_and_what_is_not() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let said = tool.run(&["delete", "vs/none.shop.local", "vr/front", "mesh/shop"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.out, "virtualservice/shop/none.shop.local deleted\n");
    for part in [
        "virtualrouter/shop/front: ResourceInUseException",
        "deleted before:\n  virtualservice/shop/none.shop.local\n",
        "not deleted:\n  virtualrouter/shop/front\n  mesh/shop\n",
    ] {
        assert!(said.errors.contains(part), "{part}: {}", said.errors);
    }
    let out = tool.succeeds(&["delete", "all", "--all", "--mesh", "shop"]);
    assert!(out.ends_with("mesh/shop deleted\n"), "{out}");
    let left = tool.succeeds(&["get", "all", "-o", "name"]);
    assert!(
        left.contains("namespace/") && !left.contains("mesh/"),
        "{left}"
    );
}
