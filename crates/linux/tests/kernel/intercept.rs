use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tombolo_linux::fabric::{Fabric, PodNet};
use tombolo_linux::intercept::{self, InterceptConfig};
use tombolo_linux::sandbox::Mode;

use crate::support::{ask, block_on, connect, endpoint, inside, ip, serve};

const MARK: u32 = 0x7061;

fn config(extra: &[(&str, &str)]) -> InterceptConfig {
    let injected = [
        ("APPMESH_START_ENABLED", "1"),
        ("APPMESH_IGNORE_UID", "1337"),
        ("APPMESH_ENVOY_INGRESS_PORT", "15000"),
        ("APPMESH_ENVOY_EGRESS_PORT", "15001"),
        ("APPMESH_APP_PORTS", "8080"),
        ("APPMESH_EGRESS_IGNORED_IP", "10.3.0.0/16"),
        ("APPMESH_EGRESS_IGNORED_PORTS", "22"),
        ("APPMESH_ENABLE_IPV6", "1"),
        ("TOMBOLO_SOCKET_MARK", "0x7061"),
    ];
    let find = |list: &[(&str, &str)], name: &str| {
        list.iter()
            .find(|(listed, _)| *listed == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let get = |name: &str| find(extra, name).or_else(|| find(&injected, name));
    InterceptConfig::from_env(&get)
        .expect("is valid")
        .expect("is enabled")
}

/// A listener of the pod's sidecar; accepting returns the original destination of the connection.
struct Sidecar(TcpListener);

impl Sidecar {
    fn new(pod: &PodNet, port: u16) -> Self {
        let listener = pod
            .netns
            .run(|| TcpListener::bind(("0.0.0.0", port)))
            .expect("enters")
            .expect("listens");
        Self(listener)
    }

    fn accept(&self) -> SocketAddr {
        let (stream, _) = self.0.accept().expect("accepts");
        rustix::net::sockopt::ip_original_dst(&stream)
            .map(SocketAddr::V4)
            .expect("knows")
    }
}

/// Connects from the pod with a marked socket.
fn connect_marked(pod: &PodNet, to: SocketAddrV4) -> io::Result<TcpStream> {
    pod.netns
        .run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_mark(MARK)?;
            socket.connect_timeout(&SocketAddr::V4(to).into(), Duration::from_secs(10))?;
            Ok(socket.into())
        })
        .expect("enters")
}

#[test]
fn a_pods_traffic_goes_to_its_sidecar_and_tells_where_it_was_going() {
    inside(|inside| {
        let fabric = Fabric::new().expect("makes a fabric");
        let pod = fabric.add_pod("app", ip("10.1.0.2")).expect("adds a pod");
        let peer = fabric.add_pod("peer", ip("10.1.0.3")).expect("adds a pod");
        let ignored = fabric
            .add_pod("ignored", ip("10.3.0.2"))
            .expect("adds a pod");
        for port in [22, 80] {
            serve(&peer.netns, SocketAddrV4::new(ip("10.1.0.3"), port), "peer");
        }
        serve(&ignored.netns, endpoint("10.3.0.2:80"), "ignored");
        serve(&pod.netns, endpoint("0.0.0.0:8080"), "app");
        serve(&pod.netns, endpoint("0.0.0.0:8081"), "other");
        let (ingress, egress) = (Sidecar::new(&pod, 15000), Sidecar::new(&pod, 15001));
        for _ in 0..2 {
            pod.netns
                .run(|| intercept::apply(&config(&[])))
                .expect("enters")
                .expect("applies");
        }
        // Outbound: to the sidecar, even where nobody listens.
        for to in ["10.1.0.3:80", "203.0.113.9:4321"] {
            let _stream = connect(&pod.netns, endpoint(to)).expect("connects");
            assert_eq!(egress.accept(), to.parse().expect("an address"));
        }
        // Not redirected: ignored ports, ignored addresses, the pod itself.
        assert_eq!(
            ask(&pod.netns, endpoint("10.1.0.3:22"), "hi").expect("answers"),
            "peer hi"
        );
        assert_eq!(
            ask(&pod.netns, endpoint("10.3.0.2:80"), "hi").expect("answers"),
            "ignored hi"
        );
        assert_eq!(
            ask(&pod.netns, endpoint("127.0.0.1:8080"), "hi").expect("answers"),
            "app hi"
        );
        assert_eq!(
            ask(&pod.netns, endpoint("10.1.0.2:8080"), "hi").expect("answers"),
            "app hi"
        );
        // Inbound: application ports to the sidecar, others directly.
        let _stream = connect(&peer.netns, endpoint("10.1.0.2:8080")).expect("connects");
        assert_eq!(
            ingress.accept(),
            "10.1.0.2:8080".parse().expect("an address")
        );
        assert_eq!(
            ask(&peer.netns, endpoint("10.1.0.2:8081"), "hi").expect("answers"),
            "other hi"
        );
        // The sidecar's own connections are exempt: by mark, and by user where there are several.
        let mut marked = connect_marked(&pod, endpoint("10.1.0.3:80")).expect("connects");
        assert_eq!(
            crate::support::say(&mut marked, "hi").expect("answers"),
            "peer hi"
        );
        if inside.mode == Mode::Root {
            let to = SocketAddr::V4(endpoint("10.1.0.3:80"));
            let as_sidecar = || {
                let user = rustix::process::Uid::from_raw(1337);
                rustix::thread::set_thread_res_uid(user, user, user)
                    .expect("becomes the sidecar's user");
                TcpStream::connect_timeout(&to, Duration::from_secs(10))
            };
            let mut stream = pod
                .netns
                .run(as_sidecar)
                .expect("enters")
                .expect("connects");
            assert_eq!(
                crate::support::say(&mut stream, "hi").expect("answers"),
                "peer hi"
            );
        }
        for _ in 0..2 {
            pod.netns
                .run(intercept::clear)
                .expect("enters")
                .expect("clears");
        }
        assert_eq!(
            ask(&peer.netns, endpoint("10.1.0.2:8080"), "hi").expect("answers"),
            "app hi"
        );
        assert_eq!(
            ask(&pod.netns, endpoint("10.1.0.3:80"), "hi").expect("answers"),
            "peer hi"
        );
    });
}

#[test]
fn ipv6_is_redirected_when_asked_for() {
    inside(|_| {
        if std::fs::metadata("/proc/sys/net/ipv6").is_err() {
            return tombolo_need::skip("this kernel has no IPv6");
        }
        let fabric = Fabric::new().expect("makes a fabric");
        let pod = fabric.add_pod("app", ip("10.1.0.2")).expect("adds a pod");
        pod.netns.run(add_ipv6_address).expect("enters");
        let egress = pod
            .netns
            .run(|| TcpListener::bind("[::]:15001"))
            .expect("enters")
            .expect("listens");
        // A redirected connection is established at once; the others get no answer.
        let connect = |to: &str| {
            let to: SocketAddr = to.parse().expect("an address");
            pod.netns
                .run(|| TcpStream::connect_timeout(&to, Duration::from_millis(500)))
                .expect("enters")
        };
        let switched_off = config(&[("APPMESH_ENABLE_IPV6", "0")]);
        pod.netns
            .run(|| intercept::apply(&switched_off))
            .expect("enters")
            .expect("applies");
        connect("[fd00::99]:80").expect_err("nobody is there");
        let ignored = config(&[("APPMESH_EGRESS_IGNORED_IP", "10.0.0.0/8,fd00::88/125")]);
        pod.netns
            .run(|| intercept::apply(&ignored))
            .expect("enters")
            .expect("applies");
        connect("[fd00::8f]:80").expect_err("nobody is there");
        let _stream = connect("[fd00::99]:80").expect("connects");
        egress.accept().expect("accepts");
    });
}

fn add_ipv6_address() {
    use rtnetlink::packet_route::address::AddressHeaderFlags;
    block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().expect("connects");
        tokio::spawn(connection);
        let mut request = handle
            .address()
            .add(2, "fd00::2".parse().expect("an address"), 64);
        // Without duplicate detection the address is usable at once.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        request.execute().await.expect("adds");
    });
}
