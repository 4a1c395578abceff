//! Untrusted text: texts from proxies, manifests and servers reach no terminal as control characters, break no table
//! and are bounded.

use crate::fixture::Cli;
use serde_json::Map;
use tombolo_tests::until;
use tombolo_xds::{Client, ClientOptions, Node};

/// Control sequences for xterm and the clipboard, bidirectional overrides, and more text than a table shows.
fn hostile() -> String {
    format!(
        "\u{1b}]52;c;Zm9v\u{7}\u{1b}[2J\u{9b}31m{}\nforged",
        "x".repeat(70_000)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_says_of_itself_is_printed_as_text() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(
        "{apiVersion: appmesh/2019-01-25, kind: Mesh, metadata: {name: shop}}\n---\n\
         {apiVersion: appmesh/2019-01-25, kind: VirtualNode, metadata: {name: front, mesh: shop}}",
    );
    let mut metadata = Map::new();
    metadata.insert("tombolo.io/pod".into(), hostile().into());
    metadata.insert("tombolo.io/cluster".into(), hostile().into());
    let node = Node {
        id: "mesh/shop/virtualNode/front".into(),
        user_agent: hostile(),
        metadata,
        ..Node::default()
    };
    let options = ClientOptions::new(format!("http://{}", tool.server.xds()), node);
    let _proxy = Client::start(options).expect("the endpoint is valid");
    let url = format!("http://{}", tool.server.api());
    let url = url.as_str();
    until("the proxy was seen", || {
        let status = tool.server.status()?;
        let proxies = status["proxies"].as_array()?;
        (!proxies.is_empty()).then_some(())
    });
    for words in [&["status", "--api", url][..], &["doctor", "--api", url]] {
        let said = tool.run(words);
        assert!(matches!(said.code, Some(0 | 1)), "{words:?}: {said:.500?}");
        for text in [&said.out, &said.errors] {
            let is_command = |letter: char| letter.is_control() && letter != '\n';
            assert!(
                !text.contains(is_command),
                "{words:?} prints control characters"
            );
            assert!(!text.contains("\nforged"), "{words:?} prints a forged line");
            assert!(text.len() < 50_000, "{words:?} prints {} bytes", text.len());
        }
    }
}

#[test]
fn names_and_tags_of_strangers_are_printed_as_text() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let documents = r#"{"apiVersion": "appmesh/2019-01-25", "kind": "Mesh",
        "metadata": {"name": "shop", "tags": {"note": "a\u001b[2Jb"}}, "spec": {}}"#;
    let dry_run = tool.succeeds_with(&["apply", "--dry-run", "-f", "-"], documents);
    assert!(!dry_run.contains('\u{1b}'), "{dry_run:?}");
    let said = tool.run_with(&["apply", "-f", "-"], documents);
    assert!(!(said.out + &said.errors).contains('\u{1b}'));
    if said.code == Some(0) {
        for words in [
            &["get", "mesh", "--show-labels"][..],
            &["describe", "mesh", "shop"],
            &["get", "mesh", "-o", "yaml"],
            &["get", "mesh", "-o", "json"],
        ] {
            let text = tool.succeeds(words);
            assert!(!text.contains('\u{1b}'), "{words:?}: {text:?}");
        }
    }
    // The user's own arguments are repeated in messages.
    let said = tool.run(&["get", "mesh", "a\u{1b}[2Jb"]);
    assert!(!said.errors.contains('\u{1b}'), "{said:?}");
}
