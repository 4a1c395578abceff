//! Packets to the name server.
//!
//! The first byte chooses who asks; a packet follows. Whatever it is: no panic; an answer goes only to
//! what is no answer itself, has its id and its question, is no longer than the client takes, and
//! hickory can read it.

use crate::base::with_session;
use hickory_proto::op::{Message, MessageType, OpCode};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
};
use tombolo_dns::{
    Clusters, Registry, Server, Zone,
    cluster::{Addresses, Cluster, Endpoint, Port, Service},
    range::{IpNet, Views},
    registry::Config,
};
use tombolo_model::View;

/// The largest answer over UDP.
const MOST: usize = 1232;
/// The largest answer to a client that says nothing of what it takes.
const PLAIN: usize = 512;

/// The target.
pub fn run(data: &[u8]) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let Some((who, packet)) = data.split_first() else {
        return;
    };
    let server = SERVER.get_or_init(|| {
        let views = views();
        Server::with_views(zones(&views), None, views)
    });
    // In a VPC, in a cluster, in both or nowhere.
    let from = Ipv4Addr::new(10, who & 3, 0, 1);
    let mut answer = vec![0xaa; 3];
    if server.answer(packet, IpAddr::V4(from), &mut answer) {
        check(packet, &answer);
    } else {
        let is_question = packet.len() >= 12 && packet[2] & 0x80 == 0;
        assert!(!is_question, "no answer to {packet:02x?}");
    }
}

fn check(packet: &[u8], answer: &[u8]) {
    assert_eq!(packet[..2], answer[..2], "the id");
    assert!(packet[2] & 0x80 == 0, "an answer to an answer");
    let asked = Message::from_vec(packet).ok();
    let edns = asked.as_ref().and_then(|asked| asked.edns.as_ref());
    let most = edns.map_or(PLAIN, |edns| {
        usize::from(edns.max_payload()).clamp(PLAIN, MOST)
    });
    let is_read = asked.is_some();
    let limit = if is_read { most } else { MOST };
    assert!(answer.len() <= limit, "{} > {limit}", answer.len());
    let read = Message::from_vec(answer);
    let read = read.unwrap_or_else(|error| panic!("{error}: {answer:02x?}"));
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert_eq!(u8::from(read.metadata.op_code), packet[2] >> 3 & 15);
    let Some(asked) = asked else {
        return;
    };
    let is_plain = asked.metadata.op_code == OpCode::Query
        && asked.queries.len() == 1
        && !read.queries.is_empty();
    if is_plain {
        // Byte for byte: upper and lower case are the client's defence against forgers.
        let end = 12 + asked.queries[0].name().len() + 4;
        assert_eq!(packet[12..end], answer[12..end], "the question");
    }
}

/// The registry of the base, and two clusters.
pub(crate) fn zones(views: &Arc<Views>) -> Vec<Arc<dyn Zone>> {
    let mut view = Arc::new(View::default());
    with_session(|session| view = session.store.view());
    let config = Config {
        resolve_http_namespaces: true,
        addresses: vec![Ipv4Addr::new(10, 0, 0, 53).into()],
        views: views.clone(),
    };
    let clusters = Clusters::default();
    clusters.replace(&[cluster(1), cluster(3)]);
    let registry = Registry::from_source(move || view.clone(), config);
    vec![Arc::new(registry), Arc::new(clusters)]
}

pub(crate) fn views() -> Arc<Views> {
    let ranges = ["vpc-1=10.2.0.0/16", "vpc-1=10.3.0.0/16"];
    let ranges = ranges.map(|range| range.parse().expect("a range"));
    Arc::new(Views::new(ranges))
}

fn cluster(number: u8) -> Cluster {
    let service = |name: &str, addresses| Service {
        namespace: "default".into(),
        name: name.into(),
        addresses,
        ports: vec![Port {
            name: "http".into(),
            protocol: "TCP".into(),
            port: 80,
        }],
    };
    let pod = |last: u8, hostname: Option<&str>| Endpoint {
        address: Ipv4Addr::new(10, number, 1, last).into(),
        hostname: hostname.map(Into::into),
    };
    let pods = (0..100).map(|last| pod(last, None));
    let named = vec![pod(200, Some("web-0")), pod(201, Some("web-1"))];
    Cluster {
        sources: vec![IpNet::new_assert(
            Ipv4Addr::new(10, number, 0, 0).into(),
            16,
        )],
        domain: "cluster.local".into(),
        namespaces: vec!["default".into(), "empty".into()],
        services: vec![
            service(
                "ip",
                Addresses::ClusterIp(vec![Ipv4Addr::new(10, 96, 0, 1).into()]),
            ),
            service("web", Addresses::Headless(named)),
            service("many", Addresses::Headless(pods.collect())),
            service("far", Addresses::ExternalName("db.p.local".into())),
        ],
    }
}
