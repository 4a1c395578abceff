//! The zone of all servers, in the format of each of them, and the queries.

use std::fmt::Write;

pub(super) const NAME: &str = "bench.local";
/// Services with addresses; each tenth also has ports, under a name of its own.
pub(super) const SERVICES: usize = 1000;
/// Instances of each service.
pub(super) const INSTANCES: usize = 4;
pub(super) const TTL: u32 = 60;
pub(super) const PORT: u16 = 8080;

pub(super) fn service(service: usize) -> String {
    format!("service-{service}")
}

pub(super) fn has_ports(service: usize) -> bool {
    service.is_multiple_of(10)
}

pub(super) fn port_service(service: usize) -> String {
    format!("_http._tcp.service-{service}")
}

pub(super) fn instance(instance: usize) -> String {
    format!("i-{instance}")
}

pub(super) fn address(service: usize, instance: usize) -> String {
    format!("10.{}.{}.{}", service / 256, service % 256, instance + 1)
}

/// Of ten queries, six have addresses, one has ports, two ask for addresses of the other family, and one asks for a
/// missing name.
pub(super) fn questions() -> String {
    let mut text = String::new();
    for turn in 0..10 * SERVICES {
        // Every service in turn, in an irregular order: 7919 is prime.
        let service = turn * 7919 % SERVICES;
        let name = self::service(service);
        // Writing to a string cannot fail.
        let _ = match turn % 10 {
            0..6 => writeln!(text, "{name}.{NAME} A"),
            6 => writeln!(text, "{}.{NAME} SRV", port_service(service / 10 * 10)),
            7 | 8 => writeln!(text, "{name}.{NAME} AAAA"),
            _ => writeln!(text, "nobody-{service}.{NAME} A"),
        };
    }
    text
}

/// A query for each kind of answer.
pub(super) fn samples() -> [(String, u16); 4] {
    let name = |service: &str| format!("{service}.{NAME}");
    [
        (name(&service(7)), 1),
        (name(&service(7)), 28),
        (name(&port_service(10)), 33),
        (name("nobody"), 1),
    ]
}

pub(super) fn unbound(port: u16, threads: usize) -> String {
    let mut text = format!(
        "server:
  interface: 127.0.0.1@{port}
  num-threads: {threads}
  so-reuseport: yes
  do-daemonize: no
  chroot: \"\"
  username: \"\"
  directory: \"\"
  pidfile: \"\"
  use-syslog: no
  logfile: \"\"
  verbosity: 0
  minimal-responses: yes
  module-config: \"iterator\"
  access-control: 127.0.0.0/8 allow
  local-zone: \"{NAME}.\" static
  local-data: \"{NAME}. {TTL} IN SOA ns.{NAME}. hostmaster.{NAME}. 1 7200 900 1209600 15\"
"
    );
    let mut data = |name: &str, record: &str| {
        let _ = writeln!(text, "  local-data: \"{name}.{NAME}. {TTL} IN {record}\"");
    };
    for service in 0..SERVICES {
        for instance in 0..INSTANCES {
            let address = address(service, instance);
            data(&self::service(service), &format!("A {address}"));
            if has_ports(service) {
                let owner = port_service(service);
                let target = format!("{}.{owner}", self::instance(instance));
                data(&owner, &format!("SRV 1 1 {PORT} {target}.{NAME}."));
                data(&target, &format!("A {address}"));
            }
        }
    }
    text.push_str("remote-control:\n  control-enable: no\n");
    text
}

/// The configuration of dnsmasq, and its file of hosts.
pub(super) fn dnsmasq(port: u16, hosts_file: &str) -> (String, String) {
    let mut hosts = String::new();
    let mut text = format!(
        "port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
no-daemon
user=
local=/{NAME}/
local-ttl={TTL}
addn-hosts={hosts_file}
"
    );
    for service in 0..SERVICES {
        for instance in 0..INSTANCES {
            let address = address(service, instance);
            let _ = writeln!(hosts, "{address} {}.{NAME}", self::service(service));
            if has_ports(service) {
                let owner = format!("{}.{NAME}", port_service(service));
                let target = format!("{}.{owner}", self::instance(instance));
                let _ = writeln!(text, "srv-host={owner},{target},{PORT},1,1");
                let _ = writeln!(hosts, "{address} {target}");
            }
        }
    }
    (text, hosts)
}
