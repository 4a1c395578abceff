use super::*;
use crate::probe::Probe;
use hickory_proto::rr::RecordType;
use std::sync::Arc;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn service(name: &str, addresses: Addresses) -> Service {
    Service {
        namespace: "color".into(),
        name: name.into(),
        addresses,
        ports: vec![Port {
            name: "http".into(),
            protocol: "TCP".into(),
            port: 8080,
        }],
    }
}

fn cluster(sources: &[&str], services: Vec<Service>) -> Cluster {
    Cluster {
        sources: sources
            .iter()
            .map(|range| range.parse().expect("a range"))
            .collect(),
        domain: "cluster.local".into(),
        namespaces: vec!["empty".into()],
        services,
    }
}

fn ask(zone: &Arc<Clusters>, from: &str, name: &str, kind: RecordType) -> String {
    let response = Probe::new(zone.clone()).from(address(from)).ask(name, kind);
    // Nothing here may be remembered for longer.
    let is_record = |response: &&str| response.trim().contains(' ') && *response != "not mine";
    for record in response.split([',', '+']).filter(is_record) {
        assert!(record.trim().ends_with(" 5"), "{response}");
    }
    response
        .replace(" 5,", ",")
        .replace(" 5 +", " +")
        .trim_end_matches(" 5")
        .into()
}

fn two_clusters() -> Arc<Clusters> {
    let clusters = Arc::new(Clusters::default());
    let endpoint = |text, hostname: Option<&str>| Endpoint {
        address: address(text),
        hostname: hostname.map(Into::into),
    };
    let one = vec![
        service("front", Addresses::ClusterIp(vec![address("10.100.0.7")])),
        service(
            "db",
            Addresses::Headless(vec![
                endpoint("10.0.1.5", None),
                endpoint("fd00::1", Some("db-0")),
            ]),
        ),
        service("gone", Addresses::Headless(Vec::new())),
        service("far", Addresses::ExternalName("example.com".into())),
    ];
    let two = vec![service(
        "front",
        Addresses::ClusterIp(vec![address("10.101.0.9")]),
    )];
    clusters.replace(&[
        cluster(&["10.0.0.0/16"], one),
        cluster(&["10.0.2.0/24", "fd00:2::/64"], two),
    ]);
    clusters
}

#[test]
fn cluster_names_follow_the_kubernetes_specification() {
    use RecordType::{A, AAAA, NS, PTR, SRV, TXT};
    let clusters = two_clusters();
    let front_srv = "SRV 0 100 8080 front.color.svc.cluster.local. + A 10.100.0.7";
    let db_srv = "SRV 0 50 8080 10-0-1-5.db.color.svc.cluster.local., \
                  SRV 0 50 8080 db-0.db.color.svc.cluster.local. + A 10.0.1.5, AAAA fd00::1";
    let table = [
        ("front.color.svc.cluster.local", A, "A 10.100.0.7"),
        ("FRONT.Color.svc.cluster.local", A, "A 10.100.0.7"),
        ("front.color.svc.cluster.local", AAAA, "nodata"),
        ("front.color.svc.cluster.local", SRV, front_srv),
        ("_http._tcp.front.color.svc.cluster.local", SRV, front_srv),
        ("_http._tcp.front.color.svc.cluster.local", A, "nodata"),
        ("_tcp.front.color.svc.cluster.local", SRV, "nodata"),
        ("_other._tcp.front.color.svc.cluster.local", SRV, "nxdomain"),
        ("db.color.svc.cluster.local", A, "A 10.0.1.5"),
        ("db.color.svc.cluster.local", AAAA, "AAAA fd00::1"),
        ("10-0-1-5.db.color.svc.cluster.local", A, "A 10.0.1.5"),
        ("db-0.db.color.svc.cluster.local", AAAA, "AAAA fd00::1"),
        ("_http._tcp.db.color.svc.cluster.local", SRV, db_srv),
        ("gone.color.svc.cluster.local", A, "nodata"),
        ("far.color.svc.cluster.local", A, "CNAME example.com."),
        ("nobody.color.svc.cluster.local", A, "nxdomain"),
        ("front.empty.svc.cluster.local", A, "nxdomain"),
        ("empty.svc.cluster.local", A, "nodata"),
        ("svc.cluster.local", A, "nodata"),
        ("nowhere.svc.cluster.local", A, "nxdomain"),
        ("cluster.local", NS, "NS ns.dns.cluster.local."),
        ("dns-version.cluster.local", TXT, "TXT 1.1.0"),
        ("10-9-8-7.color.pod.cluster.local", A, "A 10.9.8.7"),
        ("10-9-8-7.color.pod.cluster.local", AAAA, "nodata"),
        ("fd00--9.color.pod.cluster.local", AAAA, "AAAA fd00::9"),
        ("word.color.pod.cluster.local", A, "nxdomain"),
        ("10-9-8-7.nowhere.pod.cluster.local", A, "nxdomain"),
        ("10-9-8-7.color.svc.cluster.local", A, "nxdomain"),
        (
            "7.0.100.10.in-addr.arpa",
            PTR,
            "PTR front.color.svc.cluster.local.",
        ),
        (
            "5.1.0.10.in-addr.arpa",
            PTR,
            "PTR 10-0-1-5.db.color.svc.cluster.local.",
        ),
        ("6.1.0.10.in-addr.arpa", PTR, "not mine"),
        ("local", A, "not mine"),
        ("example.com", A, "not mine"),
    ];
    for (name, kind, expected) in table {
        assert_eq!(
            ask(&clusters, "10.0.1.1", name, kind),
            expected,
            "{name} {kind}"
        );
    }
}

#[test]
fn the_client_decides_which_cluster_is_meant() {
    let clusters = two_clusters();
    let name = "front.color.svc.cluster.local";
    for (from, expected) in [
        ("10.0.1.1", "A 10.100.0.7"),
        ("10.0.2.1", "A 10.101.0.9"),
        ("::ffff:10.0.2.1", "A 10.101.0.9"),
        ("fd00:2::1", "A 10.101.0.9"),
        ("192.0.2.1", "refused"),
    ] {
        assert_eq!(
            ask(&clusters, from, name, RecordType::A),
            expected,
            "{from}"
        );
    }
    assert_eq!(
        ask(&clusters, "192.0.2.1", "example.com", RecordType::A),
        "not mine"
    );
    clusters.replace(&[]);
    assert_eq!(ask(&clusters, "10.0.1.1", name, RecordType::A), "not mine");
}

#[test]
fn what_is_no_name_is_left_out() {
    let clusters = Arc::new(Clusters::default());
    let long = "a".repeat(64);
    let mut nameless = cluster(&["10.0.0.0/8"], Vec::new());
    nameless.domain = "..".into();
    clusters.replace(&[nameless]);
    assert_eq!(
        ask(&clusters, "10.0.0.1", "x.local", RecordType::A),
        "not mine"
    );
    let services = vec![
        service(&long, Addresses::ClusterIp(vec![address("10.0.0.1")])),
        service("far", Addresses::ExternalName(long.clone())),
        service("front", Addresses::ClusterIp(vec![address("10.0.0.1")])),
    ];
    clusters.replace(&[cluster(&["10.0.0.0/8"], services)]);
    let front = ask(
        &clusters,
        "10.0.0.1",
        "front.color.svc.cluster.local",
        RecordType::A,
    );
    assert_eq!(front, "A 10.0.0.1");
}
