//! Applications that their sidecar cannot reach: they listen on the pod's address only, while a sidecar connects to
//! loopback.

use super::problem::Problem;
use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};
use tombolo_local::control_socket::PodView;

/// Name of the sidecar's container.
const SIDECAR: &str = "envoy";
/// State of a listening socket in `/proc/PID/net/tcp`.
const LISTEN: &str = "0A";

/// One problem for each such port of each pod with a sidecar. Pods whose sockets cannot be read are left out.
pub(super) fn problems(pods: &[PodView]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods {
        let Some(address) = pod.address else {
            continue;
        };
        let mut processes = pod.processes.iter();
        let Some(sidecar) = processes.find(|process| process.container == SIDECAR) else {
            continue;
        };
        let sockets = sockets(&Path::new("/proc").join(sidecar.pid.to_string()));
        for port in unreachable_ports(address, &sockets) {
            let message = format!(
                "an application in pod {} in namespace {} of {} listens on {address}:{port} alone, but its \
                 sidecar calls it at 127.0.0.1:{port}: calls to it get 503; let it listen on 0.0.0.0 or on 127.0.0.1",
                pod.name, pod.namespace, pod.cluster
            );
            problems.push(Problem::new(message, ""));
        }
    }
    problems
}

fn unreachable_ports(address: Ipv4Addr, sockets: &BTreeSet<SocketAddr>) -> Vec<u16> {
    let of_pod = sockets.iter().filter(|it| it.ip() == IpAddr::from(address));
    let is_reachable = |port: u16| {
        let mut others = sockets.iter().filter(|it| it.port() == port);
        others.any(|it| it.ip().is_unspecified() || it.ip().is_loopback())
    };
    let ports = of_pod.map(SocketAddr::port);
    ports.filter(|port| !is_reachable(*port)).collect()
}

/// The listening sockets of a process's network namespace.
fn sockets(process: &Path) -> BTreeSet<SocketAddr> {
    let tables = ["net/tcp", "net/tcp6"].map(|table| process.join(table));
    let texts = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    texts.flat_map(|text| listening(&text)).collect()
}

/// The listening sockets in `/proc/PID/net/tcp` or `tcp6` (proc_pid_net(5)): the second word of a line is the local
/// address, the fourth the state.
fn listening(text: &str) -> Vec<SocketAddr> {
    let sockets = text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next()?;
        (words.nth(1)? == LISTEN).then(|| socket(local))?
    });
    sockets.collect()
}

/// `0100007F:1F90`, or 32 digits before the colon: groups of four bytes in the machine's byte order.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let group = |start: usize| {
        let digits = address.get(start..start + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::from(group(0)?),
        32 => {
            let mut octets = [0; 16];
            for (index, octets) in octets.chunks_mut(4).enumerate() {
                octets.copy_from_slice(&group(index * 8)?);
            }
            let ip = Ipv6Addr::from(octets);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_on_the_pod_address_alone_is_unreachable_for_the_sidecar() {
        let pod = Ipv4Addr::new(10, 0, 1, 5);
        let sockets = |all: &[&str]| all.iter().map(|it| it.parse().expect("a socket")).collect();
        let ports = |all: &[&str]| unreachable_ports(pod, &sockets(all));
        assert_eq!(ports(&["10.0.1.5:8080", "0.0.0.0:15000"]), [8080]);
        assert_eq!(ports(&["10.0.1.5:8080", "127.0.0.1:8080"]), [0_u16; 0]);
        assert_eq!(ports(&["0.0.0.0:8080", "[::]:9090"]), [0_u16; 0]);
    }

    #[test]
    fn listening_sockets_are_read_from_proc() {
        let v4 = TcpListener::bind("127.0.0.1:0").expect("a port");
        let v4 = v4.local_addr().map(|address| (address, v4)).expect("bound");
        let sockets = sockets(Path::new("/proc/self"));
        assert!(sockets.contains(&v4.0), "{} is not in {sockets:?}", v4.0);
        assert_eq!(listening("  sl  local_address\n"), []);
        assert_eq!(
            listening("header\n 0: nonsense\n 1: 0100007F:ZZZZ x 0A\n"),
            []
        );
    }
}
