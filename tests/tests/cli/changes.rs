//! `apply`, `diff` and dry runs.

use crate::{
    fixture::Cli,
    kinds::{everything, text},
};
use serde_json::{Value, json};

/// Sets a member of a resource's document.
fn change(documents: &mut [Value], kind: &str, name: &str, pointer: &str, value: Value) {
    let of_name = |it: &&mut Value| it["kind"] == kind && it["metadata"]["name"] == name;
    let document = documents.iter_mut().find(of_name).expect("it is there");
    let (parent, member) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).expect("it is there");
    parent[member] = value;
}

fn not_unchanged(lines: &[String]) -> Vec<&str> {
    let lines = lines.iter().map(String::as_str);
    lines.filter(|line| !line.ends_with(" unchanged")).collect()
}

#[test]
fn one_field_of_each_kind_is_changed_and_nothing_else() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let mut documents = everything();
    tool.apply(&text(&documents));
    for (kind, name, path, pointer, value) in [
        (
            "Namespace",
            "shop.local",
            "shop.local",
            "/spec/Description",
            json!("new"),
        ),
        (
            "Namespace",
            "shop.local",
            "shop.local",
            "/spec/Properties/DnsProperties/SOA/TTL",
            json!(9),
        ),
        (
            "Namespace",
            "api.only",
            "api.only",
            "/spec/Description",
            json!("new"),
        ),
        (
            "Service",
            "front",
            "shop.local/front",
            "/spec/DnsConfig/DnsRecords/0/TTL",
            json!(99),
        ),
        (
            "Service",
            "front",
            "shop.local/front",
            "/spec/Attributes",
            json!({"team": "red"}),
        ),
        (
            "Service",
            "front",
            "shop.local/front",
            "/metadata/tags",
            json!({"only": "one"}),
        ),
        (
            "Service",
            "www",
            "example.org/www",
            "/spec/HealthCheckConfig/ResourcePath",
            json!("/"),
        ),
        (
            "Instance",
            "i",
            "api.only/back/i",
            "/spec/Attributes",
            json!({"y": "2"}),
        ),
        (
            "Mesh",
            "shop",
            "shop",
            "/spec/egressFilter/type",
            json!("DROP_ALL"),
        ),
        ("Mesh", "shop", "shop", "/metadata/tags", json!({})),
        (
            "VirtualNode",
            "front-v1",
            "shop/front-v1",
            "/spec/backends",
            json!(null),
        ),
        (
            "VirtualRouter",
            "front",
            "shop/front",
            "/metadata/tags",
            json!({"a": "b"}),
        ),
        ("Route", "all", "shop/front/all", "/spec/priority", json!(3)),
        (
            "VirtualService",
            "none.shop.local",
            "shop/none.shop.local",
            "/spec/provider",
            json!({"virtualNode": {"virtualNodeName": "front-v2"}}),
        ),
        (
            "VirtualGateway",
            "in",
            "shop/in",
            "/spec/listeners/0/portMapping/port",
            json!(9000),
        ),
        (
            "GatewayRoute",
            "in",
            "shop/in/in",
            "/spec/priority",
            json!(8),
        ),
    ] {
        change(&mut documents, kind, name, pointer, value);
        let id = format!("{}/{path}", kind.to_lowercase());
        let input = text(&documents);
        let revision = tool.server.revision();
        let dry = tool.run_with(&["apply", "-f", "-", "--dry-run"], &input);
        assert_eq!(dry.code, Some(0), "{id} {pointer}: {dry:?}");
        let diff = tool.run_with(&["diff", "-f", "-"], &input);
        assert_eq!((diff.code, &diff.out), (Some(1), &dry.out), "{id}");
        assert!(
            dry.out.contains(&format!("--- {id} (on the server)\n")),
            "{}",
            dry.out
        );
        assert_eq!(
            dry.out.matches("\n+++ ").count(),
            usize::from(!dry.out.starts_with("+++"))
        );
        assert_eq!(tool.server.revision(), revision, "a dry run sends nothing");
        let lines = tool.apply(&input);
        assert_eq!(
            not_unchanged(&lines),
            [format!("{id} configured")],
            "{pointer}"
        );
        let after = tool.run_with(&["diff", "-f", "-"], &input);
        assert_eq!(after.code, Some(0), "{id} {pointer}: {after:?}");
    }
}

#[test]
fn a_dry_run_shows_what_comes_and_what_goes() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let document = |port: u32, tags: &str| {
        format!(
            "apiVersion: appmesh/2019-01-25\nkind: VirtualRouter\nmetadata: {{name: r, mesh: m{tags}}}\n\
             spec: {{listeners: [{{portMapping: {{port: {port}, protocol: http}}}}]}}\n"
        )
    };
    tool.apply("{apiVersion: appmesh/2019-01-25, kind: Mesh, metadata: {name: m}}");
    let new = tool.run_with(&["diff", "-f", "-"], &document(80, ""));
    assert_eq!(new.code, Some(1));
    assert!(
        new.out
            .starts_with("--- /dev/null\n+++ virtualrouter/m/r (standard input:3)\n"),
        "{}",
        new.out
    );
    assert!(new.out.contains("\n+      port: 80\n"), "{}", new.out);
    assert!(
        new.out
            .ends_with("# 1 to create, 0 to change, 0 unchanged; nothing was sent (dry run)\n")
    );
    tool.apply(&document(80, ", tags: {a: b}"));
    let changed = tool.run_with(&["diff", "-f", "-"], &document(81, ", tags: {a: c}"));
    for line in [
        "\n-    a: b\n",
        "\n+    a: c\n",
        "\n-      port: 80\n",
        "\n+      port: 81\n",
    ] {
        assert!(changed.out.contains(line), "{line}: {}", changed.out);
    }
    assert!(
        !changed.out.contains('\u{1b}'),
        "only terminals see colours"
    );
    let words = ["apply", "-f", "-", "--dry-run", "-o", "json"];
    let told = tool.run_with(&words, &document(81, ""));
    assert_eq!(told.code, Some(0));
    let told: Value = serde_json::from_str(&told.out).expect("JSON");
    let step = &told["resources"][0];
    assert_eq!(step["resource"], "virtualrouter/m/r");
    assert_eq!(step["outcome"], "configured");
    let port = "/spec/listeners/0/portMapping/port";
    assert_eq!(step["before"].pointer(port), Some(&json!(80)));
    assert_eq!(step["after"].pointer(port), Some(&json!(81)));
    // Tags that a document does not mention stay.
    assert_eq!(step["after"]["metadata"]["tags"], json!({"a": "b"}));
}

#[test]
fn what_a_spec_leaves_out_goes_but_tags_and_attributes_that_are_not_named_stay() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let service = "apiVersion: servicediscovery/2017-03-14\nkind: Service\n\
                   metadata: {name: front, namespace: shop.local}\n\
                   spec: {DnsConfig: {RoutingPolicy: WEIGHTED, DnsRecords: [{Type: A, TTL: 5}]},\n  \
                   HealthCheckCustomConfig: {}}\n";
    let before = tool.json(&["get", "service", "front", "-o", "json"]);
    assert_eq!(tool.apply(service), ["service/shop.local/front configured"]);
    let after = tool.json(&["get", "service", "front", "-o", "json"]);
    assert_eq!(after["spec"].get("Description"), None);
    assert_eq!(
        after["spec"]["DnsConfig"]["DnsRecords"],
        json!([{"Type": "A", "TTL": 5}])
    );
    assert_eq!(after["spec"]["Attributes"], before["spec"]["Attributes"]);
    assert_eq!(after["metadata"], before["metadata"]);
    assert_eq!(
        after["status"]["Id"], before["status"]["Id"],
        "it is the same service"
    );
}

#[test]
fn scripts_learn_of_every_resource() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let input = text(&everything());
    let told = tool.succeeds_with(&["apply", "-f", "-", "-o", "json"], &input);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let steps = told["resources"].as_array().expect("a list");
    assert_eq!(steps.len(), everything().len());
    assert!(
        steps.iter().all(|step| step["outcome"] == "created"),
        "{told}"
    );
}
