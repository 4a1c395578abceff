//! The configuration of every public walkthrough, for every virtual node and every virtual gateway, on a real Envoy
//! and on Tombolo's proxy: both must accept all of it.

mod fixture;
mod own_ports;
mod route_flapping;

use fixture::Fixture;
use tombolo_tests::corpus;

/// Dangling references of the published walkthroughs: this service refers to a node that no file defines, and nothing
/// calls it.
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
        let Some(mut fixture) = runtime.block_on(Fixture::new()) else {
            return;
        };
        for manifest in manifests {
            let place = format!("{}/{}", walkthrough.name, corpus::file_name(&manifest));
            runtime.block_on(async {
                let dangling = fixture.mesh.apply(&manifest).await;
                let unknown = dangling.iter().filter(|text| !text.starts_with(DANGLING));
                assert_eq!(unknown.count(), 0, "{place}: {dangling:#?}");
                fixture.start_missing_sidecars().await;
                rejections.extend(fixture.rejections(&place).await);
                accepted += fixture.sidecars();
            });
        }
        println!("{}: {} sidecars", walkthrough.name, fixture.sidecars());
    }
    assert!(rejections.is_empty(), "rejected: {rejections:#?}");
    assert!(accepted > 0, "the walkthroughs have virtual nodes");
    println!("{accepted} configurations accepted");
}
