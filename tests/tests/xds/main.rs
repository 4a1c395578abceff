//! Every public walkthrough's configuration, for every virtual node and every virtual gateway, at a real
//! Envoy and at our own proxy: both must accept all of it.

mod fixture;
mod own_ports;
mod route_flapping;

use fixture::Fixture;
use tombolo_tests::corpus;

/// References that lead nowhere in the walkthroughs as published: this service names a node that no file
/// defines, and nothing calls it.
const DANGLING: &str = "VirtualService yelb-ui";

#[test]
fn both_proxies_accept_every_state_of_every_walkthrough() {
    let Some(walkthroughs) = corpus::walkthroughs() else {
        return;
    };
    let Some(runtime) = fixture::runtime() else {
        return;
    };
    let (mut accepted, mut rejections) = (0, Vec::new());
    for walkthrough in walkthroughs {
        let manifests = walkthrough.manifests();
        if manifests.is_empty() {
            continue;
        }
        let Some(mut stage) = runtime.block_on(Fixture::new()) else {
            return;
        };
        for manifest in manifests {
            let place = format!("{}/{}", walkthrough.name, corpus::file_name(&manifest));
            runtime.block_on(async {
                let dangling = stage.mesh.apply(&manifest).await;
                let unknown = dangling.iter().filter(|text| !text.starts_with(DANGLING));
                assert_eq!(unknown.count(), 0, "{place}: {dangling:#?}");
                stage.start_missing_sidecars().await;
                rejections.extend(stage.rejections(&place).await);
                accepted += stage.sidecars();
            });
        }
        println!("{}: {} sidecars", walkthrough.name, stage.sidecars());
    }
    assert!(rejections.is_empty(), "rejected: {rejections:#?}");
    assert!(accepted > 0, "the walkthroughs have virtual nodes");
    println!("{accepted} configurations accepted");
}
