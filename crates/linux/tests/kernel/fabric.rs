use std::collections::BTreeSet;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use tombolo_linux::fabric::{
    Allowed, ClusterPolicy, ClusterRange, Fabric, FabricRules, GATEWAY, PodNet, PortRange,
    Protocol, ServiceRule,
};
use tombolo_linux::netns::Netns;

use crate::support::{ask, connect, endpoint, inside, ip, say, serve, until};

fn pod(fabric: &Fabric, address: &str) -> PodNet {
    fabric
        .add_pod(&format!("pod-{address}"), ip(address))
        .expect("adds a pod")
}

fn cluster(name: &str, range: &str) -> ClusterRange {
    ClusterRange {
        name: name.to_owned(),
        range: range.parse().expect("a range"),
    }
}

fn east_to_west(allowed: Allowed) -> ClusterPolicy {
    ClusterPolicy {
        from: cluster("east", "10.1.0.0/16"),
        to: cluster("west", "10.2.0.0/16"),
        allowed,
    }
}

fn ports(ports: &[u16]) -> Allowed {
    Allowed::Ports(
        ports
            .iter()
            .map(|port| PortRange {
                first: *port,
                last: *port,
            })
            .collect(),
    )
}

fn service(source: &str, vip: &str, protocol: Protocol, endpoints: &[&str]) -> ServiceRule {
    let vip = endpoint(vip);
    ServiceRule {
        sources: vec![source.parse().expect("a range")],
        vip: *vip.ip(),
        protocol,
        port: vip.port(),
        endpoints: endpoints.iter().map(|text| endpoint(text)).collect(),
    }
}

/// Answers each datagram with itself.
fn echo(netns: &Netns, address: &str) {
    let socket = netns
        .run(|| UdpSocket::bind(address))
        .expect("enters")
        .expect("binds");
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
            socket.send_to(&bytes[..length], peer).ok();
        }
    });
}

fn ask_udp(netns: &Netns, to: &str) -> io::Result<Vec<u8>> {
    let socket = netns
        .run(|| UdpSocket::bind("0.0.0.0:0"))
        .expect("enters")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect(to)?;
    socket.send(b"ping")?;
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes)?;
    Ok(bytes[..length].to_vec())
}

#[test]
fn pods_reach_each_other_and_the_fabric() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let (a, b) = (pod(&fabric, "10.1.0.2"), pod(&fabric, "10.2.0.2"));
        serve(&b.netns, endpoint("10.2.0.2:8080"), "b");
        assert_eq!(
            ask(&a.netns, endpoint("10.2.0.2:8080"), "hi").expect("answers"),
            "b hi"
        );
        echo(&b.netns, "0.0.0.0:53");
        assert_eq!(ask_udp(&a.netns, "10.2.0.2:53").expect("answers"), b"ping");
        // Loopback inside a pod, and an address of the fabric's own.
        serve(&b.netns, endpoint("127.0.0.1:9000"), "loopback");
        assert_eq!(
            ask(&b.netns, endpoint("127.0.0.1:9000"), "hi").expect("answers"),
            "loopback hi"
        );
        for _ in 0..2 {
            fabric.add_local_address(ip("10.96.0.10")).expect("adds");
        }
        let here = Netns::current().expect("opens");
        serve(&here, endpoint("10.96.0.10:53"), "dns");
        assert_eq!(
            ask(&a.netns, endpoint("10.96.0.10:53"), "hi").expect("answers"),
            "dns hi"
        );
        serve(&here, endpoint(&format!("{GATEWAY}:80")), "gateway");
        assert_eq!(
            ask(&a.netns, endpoint(&format!("{GATEWAY}:80")), "hi").expect("answers"),
            "gateway hi"
        );
        // The fabric reaches pods too: that is how probes and load balancers work.
        assert_eq!(
            ask(&here, endpoint("10.2.0.2:8080"), "hi").expect("answers"),
            "b hi"
        );
    });
}

#[test]
fn a_removed_pod_is_unreachable_and_its_address_free_again() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let a = pod(&fabric, "10.1.0.2");
        let b = pod(&fabric, "10.1.0.3");
        for _ in 0..2 {
            fabric.remove_pod(&b).expect("removes");
        }
        connect(&a.netns, endpoint("10.1.0.3:80")).expect_err("nobody is there");
        let again = pod(&fabric, "10.1.0.3");
        serve(&again.netns, endpoint("10.1.0.3:80"), "again");
        assert_eq!(
            ask(&a.netns, endpoint("10.1.0.3:80"), "hi").expect("answers"),
            "again hi"
        );
        let error = fabric
            .add_pod("twin", ip("10.1.0.3"))
            .expect_err("the address is taken")
            .to_string();
        assert!(
            error.contains("twin") && error.contains("10.1.0.3"),
            "{error}"
        );
    });
}

#[test]
fn one_service_address_means_something_else_in_each_cluster() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let (east, west) = (pod(&fabric, "10.1.0.2"), pod(&fabric, "10.2.0.2"));
        let (in_east, in_west) = (pod(&fabric, "10.1.0.3"), pod(&fabric, "10.2.0.3"));
        let also_in_west = pod(&fabric, "10.2.0.4");
        serve(&in_east.netns, endpoint("10.1.0.3:8080"), "east");
        serve(&in_west.netns, endpoint("10.2.0.3:9090"), "west1");
        serve(&also_in_west.netns, endpoint("10.2.0.4:9090"), "west2");
        echo(&in_west.netns, "0.0.0.0:5353");
        let rules = FabricRules {
            services: vec![
                service(
                    "10.1.0.0/16",
                    "10.96.0.1:80",
                    Protocol::Tcp,
                    &["10.1.0.3:8080"],
                ),
                service(
                    "10.2.0.0/16",
                    "10.96.0.1:80",
                    Protocol::Tcp,
                    &["10.2.0.3:9090", "10.2.0.4:9090"],
                ),
                service(
                    "10.2.0.0/16",
                    "10.96.0.1:53",
                    Protocol::Udp,
                    &["10.2.0.3:5353"],
                ),
            ],
            policies: Vec::new(),
        };
        fabric.apply(&rules).expect("applies");
        let vip = endpoint("10.96.0.1:80");
        assert_eq!(ask(&east.netns, vip, "hi").expect("answers"), "east hi");
        let answers: BTreeSet<String> = (0..64)
            .map(|_| ask(&west.netns, vip, "hi").expect("answers"))
            .collect();
        assert_eq!(
            answers,
            BTreeSet::from(["west1 hi".to_owned(), "west2 hi".to_owned()])
        );
        assert_eq!(
            ask_udp(&west.netns, "10.96.0.1:53").expect("answers"),
            b"ping"
        );
        // A pod that is its own service's only endpoint reaches itself.
        assert_eq!(ask(&in_east.netns, vip, "hi").expect("answers"), "east hi");
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let a = pod(&fabric, "10.1.0.2");
        let rules = FabricRules {
            services: vec![
                service("10.1.0.0/16", "10.96.0.1:80", Protocol::Tcp, &[]),
                service("10.1.0.0/16", "10.96.0.1:53", Protocol::Udp, &[]),
            ],
            policies: Vec::new(),
        };
        fabric.apply(&rules).expect("applies");
        // Many, because the kernel limits the rate of some refusals.
        for _ in 0..50 {
            let error = connect(&a.netns, endpoint("10.96.0.1:80")).expect_err("nobody serves");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let error = ask_udp(&a.netns, "10.96.0.1:53").expect_err("nobody serves");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn between_clusters_only_allowed_ports_pass_and_refusals_name_the_others() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let (east, west) = (pod(&fabric, "10.1.0.2"), pod(&fabric, "10.2.0.2"));
        serve(&west.netns, endpoint("10.2.0.2:8080"), "open");
        serve(&west.netns, endpoint("10.2.0.2:8081"), "closed");
        serve(&east.netns, endpoint("10.1.0.2:8080"), "east");
        echo(&west.netns, "0.0.0.0:8080");
        echo(&west.netns, "0.0.0.0:9999");
        let mut rules = FabricRules {
            services: Vec::new(),
            policies: vec![east_to_west(ports(&[8080]))],
        };
        fabric.apply(&rules).expect("applies");
        assert_eq!(
            ask(&east.netns, endpoint("10.2.0.2:8080"), "hi").expect("answers"),
            "open hi"
        );
        assert_eq!(
            ask_udp(&east.netns, "10.2.0.2:8080").expect("answers"),
            b"ping"
        );
        let error = connect(&east.netns, endpoint("10.2.0.2:8081")).expect_err("is refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = ask_udp(&east.netns, "10.2.0.2:9999").expect_err("is refused");
        assert_ne!(
            error.kind(),
            io::ErrorKind::WouldBlock,
            "is refused in silence"
        );
        // The other direction has no policy.
        assert_eq!(
            ask(&west.netns, endpoint("10.1.0.2:8080"), "hi").expect("answers"),
            "east hi"
        );
        // The error about an allowed port that nobody serves arrives too.
        let error = connect(&east.netns, endpoint("10.2.0.2:8080")).and_then(|_| {
            rules.policies[0].allowed = ports(&[8080, 7777]);
            fabric.apply(&rules).expect("applies");
            ask_udp(&east.netns, "10.2.0.2:7777")
        });
        assert_eq!(
            error.expect_err("nobody serves").kind(),
            io::ErrorKind::ConnectionRefused
        );
        let refusals = fabric.refusals().expect("reads");
        let seen: Vec<_> = refusals
            .iter()
            .map(|refusal| (refusal.protocol, refusal.port))
            .collect();
        assert_eq!(
            seen,
            [(Protocol::Tcp, 8081), (Protocol::Udp, 9999)],
            "{refusals:?}"
        );
        assert!(
            refusals
                .iter()
                .all(|refusal| (&*refusal.from, &*refusal.to) == ("east", "west"))
        );
        assert!(
            refusals.iter().all(|refusal| refusal.packets >= 1),
            "{refusals:?}"
        );
        // Counts survive the replacement of the rules that counted.
        rules.policies[0].allowed = Allowed::All;
        fabric.apply(&rules).expect("applies");
        assert_eq!(
            ask(&east.netns, endpoint("10.2.0.2:8081"), "hi").expect("answers"),
            "closed hi"
        );
        assert_eq!(fabric.refusals().expect("reads"), refusals);
    });
}

#[test]
fn a_withdrawn_permission_breaks_open_connections_on_both_sides() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let (east, west) = (pod(&fabric, "10.1.0.2"), pod(&fabric, "10.2.0.2"));
        serve(&west.netns, endpoint("10.2.0.2:8080"), "west");
        let listener = west
            .netns
            .run(|| std::net::TcpListener::bind("10.2.0.2:8090"))
            .expect("enters")
            .expect("listens");
        let allowed = FabricRules {
            services: vec![service(
                "10.1.0.0/16",
                "10.96.0.1:80",
                Protocol::Tcp,
                &["10.2.0.2:8080"],
            )],
            policies: vec![east_to_west(ports(&[8080, 8090]))],
        };
        fabric.apply(&allowed).expect("applies");
        let mut direct = connect(&east.netns, endpoint("10.2.0.2:8080")).expect("connects");
        let mut through_service = connect(&east.netns, endpoint("10.96.0.1:80")).expect("connects");
        let mut idle = connect(&east.netns, endpoint("10.2.0.2:8090")).expect("connects");
        let (mut accepted, _) = listener.accept().expect("accepts");
        assert_eq!(say(&mut direct, "1").expect("answers"), "west 1");
        assert_eq!(say(&mut through_service, "1").expect("answers"), "west 1");
        let mut withdrawn = allowed.clone();
        withdrawn.policies[0].allowed = ports(&[]);
        fabric.apply(&withdrawn).expect("applies");
        for stream in [&mut direct, &mut through_service] {
            let error = say(stream, "2").expect_err("is broken");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        // The side that accepted learns it by sending, without the other's help.
        until("the answering side is reset", || {
            let error = std::io::Write::write_all(&mut accepted, b"x").err()?;
            let broken = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            broken.contains(&error.kind()).then_some(())
        });
        say(&mut idle, "2").expect_err("is broken");
        let refused: BTreeSet<u16> = fabric
            .refusals()
            .expect("reads")
            .iter()
            .map(|refusal| refusal.port)
            .collect();
        assert!(refused.contains(&8080), "{refused:?}");
        fabric.apply(&allowed).expect("applies");
        assert_eq!(
            ask(&east.netns, endpoint("10.96.0.1:80"), "3").expect("answers"),
            "west 3"
        );
    });
}

#[test]
fn a_rule_that_the_kernel_refuses_is_named() {
    inside(|_| {
        use tombolo_linux::nft::{Batch, Expression, Family, Verdict};
        let mut batch = Batch::replacing(Family::Ipv4, "test");
        batch.chain("one");
        batch.rule("one", "a fine rule", [Expression::counter()]);
        batch.rule(
            "one",
            "a jump to nowhere",
            [Expression::verdict(Verdict::Jump("no-such-chain"))],
        );
        let error = batch.commit().expect_err("is refused").to_string();
        assert!(error.contains("a jump to nowhere"), "{error}");
    });
}

#[test]
fn thousands_of_rules_fit_one_transaction() {
    inside(|_| {
        let fabric = Fabric::new().expect("makes a fabric");
        let services = (0..2000_u32)
            .map(|number| {
                let vip = format!("10.96.{}.{}:80", number / 250, number % 250 + 1);
                service(
                    "10.1.0.0/16",
                    &vip,
                    Protocol::Tcp,
                    &["10.1.0.2:80", "10.1.0.3:80", "10.1.0.4:80"],
                )
            })
            .collect();
        fabric
            .apply(&FabricRules {
                services,
                policies: vec![east_to_west(ports(&[80]))],
            })
            .expect("applies");
        fabric.apply(&FabricRules::default()).expect("applies");
    });
}
