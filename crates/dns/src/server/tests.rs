use super::*;
use crate::{
    name::{first_label, parents},
    probe::{self, name, read as message, wire},
    reply::Reply,
    zone::{Query, Verdict},
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

/// Answers every name under one domain with as many addresses as its first label says.
struct Counting(&'static str);

impl Zone for Counting {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let labels = parents(query.key.as_bytes());
        let labels: Vec<_> = labels.filter_map(first_label).collect();
        let [count, domain] = &labels[..] else {
            return Verdict::NotInZone;
        };
        if *domain != self.0.as_bytes() {
            return Verdict::NotInZone;
        }
        let Some(count) = std::str::from_utf8(count).ok().and_then(|n| n.parse().ok()) else {
            return Verdict::Refused;
        };
        for n in 0..count {
            reply.answer_address(5, Ipv4Addr::from(0x0a00_0000_u32 + n).into());
        }
        Verdict::Found
    }
}

struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    _stop: oneshot::Sender<()>,
}

/// Waits for something that must happen soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let waited = timeout(Duration::from_secs(30), what).await;
    waited.expect("it happens in time")
}

/// A UDP socket on a free port, and its address.
async fn udp_socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// Sockets for UDP and TCP on the same free port, and their address.
async fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let (udp, address) = udp_socket().await;
        // Somebody else may have the same number for TCP.
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp, address);
        }
    }
}

async fn start(domain: &'static str, forward: Option<Forwarder>) -> Running {
    let (udp, tcp, _) = sockets().await;
    serve(udp, tcp, domain, forward)
}

/// A server that forwards to this upstream.
async fn start_before(upstream: SocketAddr, wait: Duration) -> Running {
    let forwarder = Forwarder::new(vec![upstream]).timeout(wait);
    start("here", Some(forwarder)).await
}

fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    domain: &'static str,
    forward: Option<Forwarder>,
) -> Running {
    let address = udp.local_addr().expect("an address");
    let server = Server::new(vec![Arc::new(Counting(domain))], forward);
    let metrics = server.metrics();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(server.serve(udp, tcp, async move {
        let _ = stopped.await;
    }));
    Running {
        address,
        metrics,
        _stop: stop,
    }
}

fn question(name: &str) -> Message {
    let mut message = probe::question(name, RecordType::A);
    message.metadata.id = fastrand::u16(..);
    message
}

async fn over_udp(server: SocketAddr, question: &Message) -> Message {
    let (socket, _) = udp_socket().await;
    socket.connect(server).await.expect("a route");
    let mut answer = vec![0; 4096];
    // A datagram may be lost even here when the machine is busy: ask again, as every client does.
    for _ in 0..10 {
        socket.send(&wire(question)).await.expect("room to send");
        if let Ok(length) = timeout(Duration::from_secs(3), socket.recv(&mut answer)).await {
            let answer = message(&answer[..length.expect("an answer")]);
            assert_eq!(answer.metadata.id, question.metadata.id);
            return answer;
        }
    }
    panic!("no answer");
}

async fn connect(server: SocketAddr) -> TcpStream {
    TcpStream::connect(server).await.expect("a listener")
}

async fn write(stream: &mut TcpStream, message: &Message) {
    let bytes = wire(message);
    let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    stream.write_all(&framed).await.expect("an open connection");
}

async fn read(stream: &mut TcpStream) -> Message {
    soon(async {
        let mut bytes = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
        stream.read_exact(&mut bytes).await.expect("a message");
        message(&bytes)
    })
    .await
}

async fn over_tcp(server: SocketAddr, question: &Message) -> Message {
    let mut stream = connect(server).await;
    write(&mut stream, question).await;
    read(&mut stream).await
}

/// A question that an upstream has received, and who asked it.
async fn received(upstream: &UdpSocket) -> (Message, SocketAddr) {
    let mut buffer = [0; 4096];
    let received = soon(upstream.recv_from(&mut buffer)).await;
    let (length, client) = received.expect("a question");
    (message(&buffer[..length]), client)
}

/// The bytes that a connection receives until the server closes it.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = soon(stream.read_to_end(&mut rest)).await;
    read.expect("closed in order");
    rest
}

#[tokio::test]
async fn a_cut_answer_is_whole_over_tcp() {
    let server = start("here", None).await;
    let question = question("500.here");
    let cut = over_udp(server.address, &question).await;
    assert!(cut.metadata.truncation && cut.answers.len() < 500);
    let whole = over_tcp(server.address, &question).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 500);
    assert!(server.metrics.count(&["messages", "udp"]) >= 1);
    assert_eq!(server.metrics.count(&["messages", "tcp"]), 1);
}

#[tokio::test]
async fn one_connection_carries_many_questions() {
    let server = start("here", None).await;
    let mut stream = connect(server.address).await;
    let questions: Vec<Message> = (1..=20).map(|n| question(&format!("{n}.here"))).collect();
    for question in &questions {
        write(&mut stream, question).await;
    }
    for (index, question) in questions.iter().enumerate() {
        let answer = read(&mut stream).await;
        assert_eq!(answer.metadata.id, question.metadata.id);
        assert_eq!(answer.answers.len(), index + 1);
    }
}

#[tokio::test]
async fn a_connection_of_another_protocol_is_closed() {
    let server = start("here", None).await;
    let mut stream = connect(server.address).await;
    // Read as a length of 5 and an answer without a header.
    stream
        .write_all(b"\x00\x05hello")
        .await
        .expect("an open connection");
    assert!(rest(stream).await.is_empty());
}

#[tokio::test]
async fn other_names_come_from_upstream() {
    let upstream = start("there", None).await;
    let server = start("here", Some(Forwarder::new(vec![upstream.address]))).await;
    let answer = over_udp(server.address, &question("3.there")).await;
    assert_eq!(answer.answers.len(), 3);
    assert!(!answer.metadata.authoritative && answer.metadata.recursion_available);
    // Longer than UDP carries: the forwarder asks again over TCP, and so does its client.
    let long = question("300.there");
    assert!(over_udp(server.address, &long).await.metadata.truncation);
    assert_eq!(over_tcp(server.address, &long).await.answers.len(), 300);
    // The upstream's refusal is passed on.
    let refused = over_udp(server.address, &question("nowhere.else")).await;
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    assert_eq!(server.metrics.count(&["forward_failures"]), 0);
}

#[tokio::test]
async fn the_next_upstream_is_asked_when_one_is_silent_or_gone() {
    let (_silent, silent) = udp_socket().await;
    let (_, gone) = udp_socket().await;
    let upstream = start("there", None).await;
    let forwarder = Forwarder::new(vec![silent, gone, upstream.address]);
    let forwarder = forwarder.timeout(Duration::from_millis(500));
    let server = start("here", Some(forwarder)).await;
    let answer = over_udp(server.address, &question("2.there")).await;
    assert_eq!(answer.answers.len(), 2);
}

#[tokio::test]
async fn own_names_are_answered_while_upstreams_are_silent() {
    let (silent, upstream) = udp_socket().await;
    let server = start_before(upstream, Duration::from_secs(2)).await;
    let waiting = tokio::spawn({
        let address = server.address;
        async move { over_tcp(address, &question("1.there")).await }
    });
    // The upstream has the question, so it is being waited for.
    received(&silent).await;
    let own = over_udp(server.address, &question("1.here")).await;
    assert_eq!(own.answers.len(), 1);
    assert!(!waiting.is_finished());
    let failed = waiting.await.expect("no panic");
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(server.metrics.count(&["forward_failures"]), 1);
}

#[tokio::test]
async fn two_servers_that_forward_to_each_other_do_not_circle() {
    let (udp_a, tcp_a, address_a) = sockets().await;
    let (udp_b, tcp_b, address_b) = sockets().await;
    let a = serve(udp_a, tcp_a, "a", Some(Forwarder::new(vec![address_b])));
    let b = serve(udp_b, tcp_b, "b", Some(Forwarder::new(vec![address_a])));
    let answer = over_udp(a.address, &question("nobody.knows")).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(a.metrics.count(&["reason=\"loop\""]) >= 1);
    assert!(b.metrics.count(&["forwarded_total"]) >= 1);
    assert_eq!(over_udp(a.address, &question("1.b")).await.answers.len(), 1);
}

#[tokio::test]
async fn a_forged_answer_is_not_taken() {
    let (upstream, address) = udp_socket().await;
    let server = start_before(address, Duration::from_secs(20)).await;
    let asked = tokio::spawn({
        let address = server.address;
        async move { over_tcp(address, &question("1.there")).await }
    });
    let (forwarded, client) = received(&upstream).await;
    let mut answer = forwarded.into_response();
    let name = answer.queries[0].name.clone();
    let record =
        |last| Record::from_rdata(name.clone(), 5, RData::A(A(Ipv4Addr::new(10, 0, 0, last))));
    let mut forged = answer.clone();
    forged.metadata.id ^= 1;
    forged.add_answer(record(66));
    let mut other = answer.clone();
    other.queries[0].name = self::name("2.there");
    other.add_answer(record(67));
    answer.add_answer(record(1));
    for message in [forged, other, answer] {
        let sent = upstream.send_to(&wire(&message), client).await;
        sent.expect("room to send");
    }
    let taken = asked.await.expect("no panic");
    assert_eq!(taken.answers, [record(1)]);
}

#[tokio::test]
async fn serving_ends_when_told() {
    let (udp, tcp, address) = sockets().await;
    let server = Server::new(vec![Arc::new(Counting("here"))], None);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(udp, tcp, async move {
        let _ = stopped.await;
    }));
    let answer = over_udp(address, &question("1.here")).await;
    assert_eq!(answer.answers.len(), 1);
    drop(stop);
    let ended = soon(serving).await;
    ended.expect("no panic").expect("no error");
    // The port is free again.
    soon(async {
        while UdpSocket::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_question_that_waits_holds_up_no_other() {
    let (silent, upstream) = udp_socket().await;
    let server = start_before(upstream, Duration::from_secs(20)).await;
    let mut stream = connect(server.address).await;
    let (waiting, quick) = (question("1.there"), question("2.here"));
    write(&mut stream, &waiting).await;
    write(&mut stream, &quick).await;
    assert_eq!(read(&mut stream).await.metadata.id, quick.metadata.id);
    // The other one is answered when its upstream has.
    let (forwarded, client) = received(&silent).await;
    let bytes = wire(&forwarded.into_response());
    silent.send_to(&bytes, client).await.expect("room to send");
    assert_eq!(read(&mut stream).await.metadata.id, waiting.metadata.id);
}

#[tokio::test]
async fn more_questions_than_may_wait_are_answered_in_the_end() {
    let upstream = start("there", None).await;
    let server = start("here", Some(Forwarder::new(vec![upstream.address]))).await;
    let mut stream = connect(server.address).await;
    let questions: Vec<Message> = (0..100).map(|n| question(&format!("{n}.there"))).collect();
    for question in &questions {
        write(&mut stream, question).await;
    }
    let mut counts: Vec<usize> = Vec::new();
    for _ in &questions {
        counts.push(read(&mut stream).await.answers.len());
    }
    counts.sort_unstable();
    assert_eq!(counts, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_is_announced_too_long_is_not_waited_for() {
    let server = start("here", None).await;
    let mut stream = connect(server.address).await;
    stream
        .write_all(b"\xff\xff")
        .await
        .expect("an open connection");
    // Before the idle timeout of ten seconds.
    let closed = timeout(Duration::from_secs(5), rest(stream)).await;
    closed.expect("closed at once");
}

#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let server = start("here", None).await;
    let mut open = Vec::new();
    let mut answered = 0;
    for _ in 0..80 {
        let mut stream = connect(server.address).await;
        let asked = wire(&question("1.here"));
        let framed = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
        // Connections beyond the limit are closed, sooner or later.
        if stream.write_all(&framed).await.is_ok() && stream.read_u16().await.is_ok() {
            answered += 1;
        }
        open.push(stream);
    }
    assert_eq!(answered, 64);
    assert_eq!(server.metrics.count(&["tcp_overflows"]), 16);
    let other = tokio::net::TcpSocket::new_v4().expect("a socket");
    let from: SocketAddr = "127.0.0.2:0".parse().expect("an address");
    other.bind(from).expect("loopback is whole");
    let mut stream = other.connect(server.address).await.expect("a listener");
    write(&mut stream, &question("1.here")).await;
    assert_eq!(read(&mut stream).await.answers.len(), 1);
}

#[tokio::test]
async fn an_upstream_that_loses_the_case_is_asked_over_tcp() {
    let (udp, tcp, upstream) = sockets().await;
    let server = start_before(upstream, Duration::from_secs(20)).await;
    let lower = |asked: Message| {
        let mut answer = asked.into_response();
        let name = answer.queries[0].name.to_lowercase();
        answer.queries[0].name = name.clone();
        let address = RData::A(A(Ipv4Addr::LOCALHOST));
        answer.add_answer(Record::from_rdata(name, 5, address));
        answer
    };
    tokio::spawn(async move {
        let (forwarded, client) = received(&udp).await;
        let answer = wire(&lower(forwarded));
        udp.send_to(&answer, client).await.expect("room to send");
        let (mut stream, _) = tcp.accept().await.expect("a connection");
        let forwarded = read(&mut stream).await;
        write(&mut stream, &lower(forwarded)).await;
    });
    // Letters enough that random case is hardly ever all lower.
    let asked = question("A-Name-With-Many-Letters-In-It.There");
    let answer = over_tcp(server.address, &asked).await;
    assert_eq!(answer.answers.len(), 1);
    assert!(answer.answers[0].name.eq_case(&asked.queries[0].name));
    assert!(answer.queries[0].name.eq_case(&asked.queries[0].name));
}

#[tokio::test]
async fn whoever_asks_too_often_is_sent_to_tcp() {
    let (udp, tcp, address) = sockets().await;
    let server = Server::new(vec![Arc::new(Counting("here"))], None).rate_limit(Some(1));
    let metrics = server.metrics();
    let serving = tokio::spawn(server.serve(udp, tcp, std::future::pending()));
    let asked = question("9.here");
    let limited = soon(async {
        loop {
            let answer = over_udp(address, &asked).await;
            if answer.metadata.truncation {
                return answer;
            }
        }
    });
    assert!(limited.await.answers.is_empty());
    assert!(metrics.count(&["rate_limited"]) >= 1);
    assert_eq!(over_tcp(address, &asked).await.answers.len(), 9);
    serving.abort();
}

#[tokio::test]
async fn both_families_are_served() {
    let udp = UdpSocket::bind("[::1]:0").await.expect("a port");
    let address = udp.local_addr().expect("an address");
    let tcp = TcpListener::bind(address).await.expect("the same port");
    let server = serve(udp, tcp, "here", None);
    let client = UdpSocket::bind("[::1]:0").await.expect("a port");
    client.connect(server.address).await.expect("a route");
    let bytes = wire(&question("3.here"));
    client.send(&bytes).await.expect("room to send");
    let (answer, _) = received(&client).await;
    assert_eq!(answer.answers.len(), 3);
}

#[test]
fn what_is_answered_needs_no_socket() {
    let server = Server::new(vec![Arc::new(Counting("here"))], None);
    let mut out = Vec::new();
    let from = Ipv4Addr::LOCALHOST.into();
    assert!(server.answer(&wire(&question("3.here")), from, &mut out));
    assert_eq!(message(&out).answers.len(), 3);
    assert!(!server.answer(b"nothing", from, &mut out));
}

#[tokio::test]
async fn a_burst_is_answered_whole() {
    let upstream = start("there", None).await;
    let server = start("here", Some(Forwarder::new(vec![upstream.address]))).await;
    let (client, _) = udp_socket().await;
    client.connect(server.address).await.expect("a route");
    // More than are taken at once; some wait for the upstream, some get no answer at all.
    let domains = ["here", "there"];
    let mut missing: std::collections::BTreeMap<u16, Vec<u8>> = (0..90)
        .map(|id| {
            let mut question = question(&format!("{id}.{}", domains[usize::from(id) % 2]));
            question.metadata.id = id;
            (id, wire(&question))
        })
        .collect();
    let mut answer = vec![0; 4096];
    for _ in 0..10 {
        for question in missing.values() {
            client.send(question).await.expect("room to send");
            client.send(b"noise").await.expect("room to send");
        }
        while !missing.is_empty()
            && let Ok(length) = timeout(Duration::from_secs(3), client.recv(&mut answer)).await
        {
            let answer = message(&answer[..length.expect("an answer")]);
            let expected = usize::from(answer.metadata.id);
            let cut = answer.metadata.truncation;
            assert!(cut || answer.answers.len() == expected, "{expected}");
            missing.remove(&answer.metadata.id);
        }
    }
    assert!(missing.is_empty(), "{:?}", missing.keys());
    assert!(server.metrics.count(&["ignored_total"]) >= 90);
}
