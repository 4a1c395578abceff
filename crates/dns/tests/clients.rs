//! Real clients: dnspython, `dig` and `kdig` where they are installed, and glibc's resolver.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};
use tokio::net::{TcpListener, UdpSocket};
use tombolo_dns::{Registry, Server, registry};
use tombolo_model::{
    Command as Change, Reply, Scope,
    apply::cloudmap::{Command as Registering, CreateNamespace, CreateService, RegisterInstance},
    cloudmap::{DnsConfig, DnsRecord, NamespaceType, RecordType},
};
use tombolo_store::Store;

struct Filling {
    store: Store,
    scope: Scope,
    namespace: String,
}

impl Filling {
    async fn start() -> Self {
        let store = Store::memory();
        let scope = Scope::new("111122223333", "us-west-2");
        let mut filling = Self {
            store,
            scope,
            namespace: String::new(),
        };
        filling
            .commit(Registering::CreateNamespace(CreateNamespace {
                name: "n.test".into(),
                kind: NamespaceType::DNS_PUBLIC,
                vpc: None,
                description: None,
                soa_ttl: None,
                creator_request_id: None,
                tags: Vec::new(),
            }))
            .await;
        let view = filling.store.view();
        let state = view.scope(&filling.scope);
        let namespace = state.and_then(|state| state.namespace_by_name("n.test"));
        filling.namespace = namespace.expect("acknowledged").id.to_string();
        filling
    }

    async fn commit(&self, command: Registering) -> Reply {
        let command = Change::CloudMap(command);
        let committed = self.store.commit(self.scope.clone(), command).await;
        committed.unwrap_or_else(|_| panic!("rejected")).reply
    }

    async fn service(
        &self,
        name: &str,
        kinds: &[RecordType],
        instances: &[(&str, &[(&str, &str)])],
    ) {
        let records = kinds.iter().map(|kind| DnsRecord {
            kind: *kind,
            ttl: 30,
        });
        let made = self
            .commit(Registering::CreateService(CreateService {
                name: name.into(),
                namespace_id: self.namespace.clone(),
                description: None,
                dns_config: Some(DnsConfig {
                    routing_policy: None,
                    dns_records: records.collect(),
                }),
                health_check: None,
                custom_health_check: false,
                http_only: false,
                creator_request_id: None,
                tags: Vec::new(),
            }))
            .await;
        let Reply::Service(service) = made else {
            panic!("no service");
        };
        for (id, attributes) in instances {
            let attributes = attributes.iter().map(|(k, v)| ((*k).into(), (*v).into()));
            self.commit(Registering::RegisterInstance(RegisterInstance {
                service_id: service.id.to_string(),
                instance_id: (*id).into(),
                attributes: attributes.collect(),
                creator_request_id: None,
            }))
            .await;
        }
    }
}

/// A server at an address, with services of every kind.
async fn serve(at: &str) -> SocketAddr {
    let filling = Filling::start().await;
    let both: &[_] = &[
        ("AWS_INSTANCE_IPV4", "10.0.0.1"),
        ("AWS_INSTANCE_IPV6", "fd00::1"),
    ];
    let v4: &[_] = &[("AWS_INSTANCE_IPV4", "10.0.0.2")];
    let port: &[_] = &[
        ("AWS_INSTANCE_IPV4", "10.0.0.3"),
        ("AWS_INSTANCE_PORT", "8080"),
    ];
    filling
        .service("both", &[RecordType::A, RecordType::AAAA], &[("i", both)])
        .await;
    filling.service("v4", &[RecordType::A], &[("i", v4)]).await;
    let long: Vec<String> = (0..8).map(|i| format!("{}-{i}", "x".repeat(60))).collect();
    let long: Vec<_> = long.iter().map(|id| (id.as_str(), port)).collect();
    filling
        .service("_http._tcp.web", &[RecordType::SRV], &long)
        .await;
    let udp = UdpSocket::bind(at).await.expect("a port");
    let address = udp.local_addr().expect("an address");
    let tcp = TcpListener::bind(address).await.expect("the same port");
    let zone = Registry::new(filling.store, registry::Config::default());
    let server = Server::new(vec![Arc::new(zone)], None);
    tokio::spawn(server.serve(udp, tcp, std::future::pending()));
    address
}

/// Runs a program while the server goes on.
async fn run(command: &mut Command) -> Output {
    let mut command = tokio::process::Command::from(std::mem::replace(command, Command::new("")));
    let output = command.output().await.expect("the program starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

const DNSPYTHON: &str = r#"
import sys, dns.flags, dns.message, dns.name, dns.query, dns.rcode, dns.resolver, dns.reversename
port = int(sys.argv[1])
def ask(name, kind, over=dns.query.udp, **options):
    question = dns.message.make_query(name, kind, **options)
    answer = over(question, "127.0.0.1", port=port, timeout=20)
    assert str(answer.question[0].name) == name + ".", answer
    return answer
def words(section):
    return sorted(f"{kind} {data}" for rrset in section for data in rrset
                  for kind in [dns.rdatatype.to_text(rrset.rdtype)])

answer = ask("Both.n.TEST", "A", use_edns=0, payload=4096, want_dnssec=True)
assert words(answer.answer) == ["A 10.0.0.1"] and answer.answer[0].ttl == 30, answer
assert answer.flags & dns.flags.AA and answer.edns == 0 and answer.payload == 1232, answer
assert answer.ednsflags & dns.flags.DO, answer
assert words(ask("both.n.test", "AAAA").answer) == ["AAAA fd00::1"]

for name, kind, code in [("v4.n.test", "AAAA", "NOERROR"), ("nobody.n.test", "A", "NXDOMAIN"),
                         ("_tcp.web.n.test", "SRV", "NOERROR")]:
    answer = ask(name, kind)
    assert dns.rcode.to_text(answer.rcode()) == code and not answer.answer, answer
    assert words(answer.authority)[0].startswith("SOA ns.n.test. hostmaster.n.test. "), answer

for kind, code in [("AXFR", "REFUSED"), ("MAILA", "NOTIMP")]:
    answer = ask("n.test", kind, over=dns.query.udp if kind != "AXFR" else
                 lambda q, where, **o: dns.query.tcp(q, where, **o))
    assert dns.rcode.to_text(answer.rcode()) == code, answer
assert dns.rcode.to_text(ask("example.com", "A").rcode()) == "REFUSED"
assert ask("v4.n.test", "A", use_edns=7).rcode() == dns.rcode.BADVERS
assert len(ask("both.n.test", "ANY").answer) == 1

# Too long for UDP without EDNS; whole over TCP, with the targets' addresses.
srv = "_http._tcp.web.n.test"
cut = ask(srv, "SRV")
assert cut.flags & dns.flags.TC and len(cut.to_wire()) <= 512, cut
whole, used_tcp = dns.query.udp_with_fallback(
    dns.message.make_query(srv, "SRV"), "127.0.0.1", port=port, timeout=20)
assert used_tcp and len(whole.answer[0]) == 8, whole
assert words(whole.additional) == ["A 10.0.0.3"] * 8, whole
target = str(whole.answer[0][0].target).rstrip(".")
assert words(ask(target, "A").answer) == ["A 10.0.0.3"]

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], port
assert [str(a) for a in resolver.resolve("v4.n.test", "A")] == ["10.0.0.2"]
for address in ["10.0.0.1", "fd00::1"]:
    assert [str(a) for a in resolver.resolve_address(address)] == ["both.n.test."]
try:
    resolver.resolve("v4.n.test", "AAAA")
    assert False
except dns.resolver.NoAnswer:
    pass

# Several questions on one connection.
import socket
connection = socket.create_connection(("127.0.0.1", port), timeout=20)
questions = [dns.message.make_query("v4.n.test", "A") for _ in range(20)]
for question in questions:
    dns.query.send_tcp(connection, question)
for question in questions:
    answer = dns.query.receive_tcp(connection)[0]
    assert question.is_response(answer) and words(answer.answer) == ["A 10.0.0.2"]
"#;

#[tokio::test]
async fn dnspython_understands_every_answer() {
    let Some(python) = std::env::var_os("TOMBOLO_PYTHON") else {
        return tombolo_need::skip("TOMBOLO_PYTHON is not set; `cargo xtask test` sets it");
    };
    let server = serve("127.0.0.1:0").await;
    let port = server.port().to_string();
    run(Command::new(python).args(["-c", DNSPYTHON, &port])).await;
}

#[tokio::test]
async fn dig_and_kdig_understand_every_answer() {
    let server = serve("127.0.0.1:0").await;
    for program in ["dig", "kdig"] {
        // These are no part of what the tests fetch, and dnspython asks the same: they may be missing in CI.
        if tombolo_need::on_path(program).is_none() {
            println!("not asked: {program} is not installed");
            continue;
        }
        for (words, expected) in [
            (&["both.n.test", "A"][..], "10.0.0.1\n"),
            (&["both.n.test", "AAAA"], "fd00::1\n"),
            (&["+tcp", "v4.n.test", "A"], "10.0.0.2\n"),
            (&["v4.n.test", "AAAA"], ""),
            (&["n.test", "NS"], "ns.n.test.\n"),
            (&["-x", "10.0.0.2"], "v4.n.test.\n"),
        ] {
            let mut command = Command::new(program);
            command
                .arg("@127.0.0.1")
                .args(["-p", &server.port().to_string()]);
            let output = run(command.arg("+short").args(words)).await;
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, expected, "{program} {words:?}");
        }
    }
}

/// Set where a test runs again, in namespaces of its own.
const INSIDE: &str = "TOMBOLO_DNS_INSIDE";

const LOOPBACK_UP: &str = r#"
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))
"#;

const GETADDRINFO: &str = r#"
import socket
def resolve(name, family=0):
    return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80, family)})
assert resolve("v4.n.test") == ["10.0.0.2"], resolve("v4.n.test")
assert resolve("both.n.test") == ["10.0.0.1", "fd00::1"]
assert resolve("BOTH.n.test", socket.AF_INET6) == ["fd00::1"]
assert resolve("v4") == ["10.0.0.2"]
assert socket.gethostbyaddr("10.0.0.2")[0] == "v4.n.test"
for name, family in [("nobody.n.test", 0), ("v4.n.test", socket.AF_INET6)]:
    try:
        resolve(name, family)
        assert False, name
    except socket.gaierror as error:
        assert error.errno in (socket.EAI_NONAME, socket.EAI_NODATA), error
"#;

/// glibc asks port 53 of the servers in /etc/resolv.conf, so it needs a network and a file system of its
/// own.
#[tokio::test]
async fn glibc_resolves_names() {
    let Some(python) = std::env::var_os("TOMBOLO_PYTHON") else {
        return tombolo_need::skip("TOMBOLO_PYTHON is not set; `cargo xtask test` sets it");
    };
    if let Some(directory) = std::env::var_os(INSIDE) {
        run(Command::new(&python).args(["-c", LOOPBACK_UP])).await;
        for name in ["resolv.conf", "nsswitch.conf"] {
            let file = Path::new(&directory).join(name);
            let target = Path::new("/etc").join(name);
            run(Command::new("mount").arg("--bind").arg(file).arg(target)).await;
        }
        serve("127.0.0.53:53").await;
        run(Command::new(&python).args(["-c", GETADDRINFO])).await;
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net", "--mount"]);
    let probe = Command::new("unshare")
        .args(unshare.get_args())
        .arg("true")
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return tombolo_need::skip("this system allows no namespaces");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("a file");
    };
    write("resolv.conf", "nameserver 127.0.0.53\nsearch n.test\n");
    write("nsswitch.conf", "hosts: files dns\n");
    let program = std::env::current_exe().expect("this program");
    unshare
        .arg(program)
        .args(["--exact", "glibc_resolves_names", "--nocapture"])
        .env(INSIDE, directory.path());
    let output = run(&mut unshare).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}
