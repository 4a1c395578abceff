//! A second run with the state of the first.

use crate::sample::{IMAGES, Sample};
use serde_json::json;
use tombolo_tests::{Clusters, ProxyKind, Up, http, until};

fn nodes(clusters: &Clusters) -> Vec<String> {
    let path = "/v20190125/meshes/shop/virtualNodes";
    let answer = http::get(clusters.api(), path)
        .expect("the API answers")
        .json();
    let nodes = answer["virtualNodes"].as_array().expect("a list");
    let name = |node: &serde_json::Value| node["virtualNodeName"].as_str().map(str::to_owned);
    nodes.iter().filter_map(name).collect()
}

fn services(clusters: &Clusters) -> Vec<String> {
    let request = http::Request::cloud_map("ListServices", &json!({}));
    let mut connection = http::Connection::open(clusters.api()).expect("the API listens");
    let answer = connection.send(&request).expect("the API answers").json();
    let services = answer["Services"].as_array().expect("a list");
    let name = |service: &serde_json::Value| service["Name"].as_str().map(str::to_owned);
    services.iter().filter_map(name).collect()
}

#[test]
fn what_the_manifests_no_longer_name_leaves_the_mesh_and_what_others_made_stays() {
    let state = tempfile::tempdir().expect("a directory");
    let start = |manifest: &str| {
        let data = state.path().display().to_string();
        let up = Up::new(ProxyKind::Tombolo)?
            .cluster("c", manifest)
            .images(IMAGES);
        Some(up.option(&["--data-dir", &data]).start())
    };
    let sample = Sample::plain();
    let Some(mut first) = start(&sample.front()) else {
        return;
    };
    assert_eq!(nodes(&first), ["front_shop"]);
    assert_eq!(services(&first), ["front"]);
    let spec = json!({"virtualNodeName": "by-hand", "spec": {}});
    let path = "/v20190125/meshes/shop/virtualNodes";
    let request = http::Request::app_mesh("PUT", path, &spec);
    let mut connection = http::Connection::open(first.api()).expect("the API listens");
    assert_eq!(
        connection.send(&request).expect("the API answers").status,
        200
    );
    first.program().interrupt();
    drop(first);

    let Some(second) = start(&sample.colors()) else {
        return;
    };
    until("the front is gone", || {
        (nodes(&second) == ["by-hand", "paint-blue_shop", "paint-red_shop"]).then_some(())
    });
    until("its service is gone", || {
        (services(&second) == ["paint"]).then_some(())
    });
}
