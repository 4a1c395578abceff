//! Network rules between clusters.

use crate::sample::{IMAGES, Sample};
use std::time::{Duration, Instant};
use tombolo_tests::{Up, runs, until};

#[test]
fn a_closed_port_fails_quickly_and_is_explained() {
    for (proxy, user) in runs() {
        let sample = Sample {
            port: 8099,
            ..Sample::plain()
        };
        let Some(up) = Up::by(user, proxy) else {
            return;
        };
        let clusters = up
            .cluster("here", &sample.front())
            .cluster("there", &sample.colors())
            .images(IMAGES)
            .start();
        let rule = ["--from", "here", "--to", "there", "--port", "8099"];
        clusters.tombolo(&[&["network", "deny"], &rule[..]].concat());
        let start = Instant::now();
        let tally = clusters.tally("front-entrance", "/color", 3);
        // Far below the timeouts of dropped packets (15 s each).
        assert!(start.elapsed() < Duration::from_secs(10), "{tally:?}");
        assert!(tally.keys().all(|word| word.starts_with("50")), "{tally:?}");

        let told = clusters.tombolo(&["status"]);
        assert!(told.contains("there refuses port 8099 from here"), "{told}");
        assert!(
            told.contains("tombolo network allow --from here --to there --port 8099"),
            "{told}"
        );

        clusters.tombolo(&[&["network", "allow"], &rule[..]].concat());
        until("requests pass again", || {
            let tally = clusters.tally("front-entrance", "/color", 1);
            (tally.contains_key("red") || tally.contains_key("blue")).then_some(())
        });
    }
}
