use std::time::Duration;

use super::*;
use crate::crd::{Resource, VirtualService};

#[test]
fn ages_read_as_kubectl_writes_them() {
    for (seconds, text) in [
        (0, "0s"),
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (20_820, "5h47m"),
        (28_799, "7h59m"),
        (28_800, "8h"),
        (46_800, "13h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ] {
        assert_eq!(age(Duration::from_secs(seconds)), text, "{seconds} s");
    }
}

#[test]
fn the_arn_is_the_second_word_of_the_second_line() {
    let service: VirtualService = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "color"},
        "status": {"virtualServiceARN": "arn:aws:appmesh:us-west-2:1:mesh/m/virtualService/color"},
    }))
    .expect("service");
    let mut table = Table::new(Listing::Mesh(Kind::VirtualService), Layout::default());
    table.push("shop", mesh_object(&Resource::from(service), "5s"));
    let text = table.to_string();
    let word = text
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(1));
    assert_eq!(
        word,
        Some("arn:aws:appmesh:us-west-2:1:mesh/m/virtualService/color")
    );
}

#[test]
fn columns_line_up_and_the_layout_hides_what_is_not_asked_for() {
    let cells = [
        "front-7d4b9c-x2x",
        "3/3",
        "Running",
        "0",
        "3m10s",
        "10.1.0.4",
        "",
        "",
        "1/1",
    ];
    let mut narrow = Table::new(Listing::Pods, Layout::default());
    narrow.push("shop", cells);
    narrow.push("shop", ["b", "0/3", "Pending", "0", "2s"]);
    assert_eq!(
        narrow.to_string(),
        "NAME               READY   STATUS    RESTARTS   AGE\n\
         front-7d4b9c-x2x   3/3     Running   0          3m10s\n\
         b                  0/3     Pending   0          2s\n"
    );
    let mut wide = Table::new(
        Listing::Pods,
        Layout {
            wide: true,
            all_namespaces: true,
            no_headers: true,
        },
    );
    wide.push("shop", cells);
    assert_eq!(
        wide.to_string(),
        "shop   front-7d4b9c-x2x   3/3   Running   0     3m10s   10.1.0.4   <none>   <none>   1/1\n"
    );
}

#[test]
fn a_mesh_has_no_namespace_column() {
    let layout = Layout {
        all_namespaces: true,
        ..Layout::default()
    };
    let table = Table::new(Listing::Mesh(Kind::Mesh), layout);
    assert_eq!(table.to_string(), "NAME   ARN   AGE\n");
}

#[test]
fn ports_of_a_service_show_their_node_ports() {
    let service = serde_json::from_value(serde_json::json!({
        "spec": {"ports": [{"port": 80, "nodePort": 31080}, {"port": 53, "protocol": "UDP"}]},
    }))
    .expect("service");
    assert_eq!(service_ports(&service), "80:31080/TCP,53/UDP");
}

#[test]
fn a_further_column_is_the_last_whatever_is_hidden() {
    let mut table = Table::new(Listing::ConfigMaps, Layout::default()).with_column("CLUSTER");
    table.push("shop", ["settings", "2", "5s", "west"]);
    assert_eq!(
        table.to_string(),
        "NAME       DATA   AGE   CLUSTER\nsettings   2      5s    west\n"
    );
}
