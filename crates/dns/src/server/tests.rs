use super::*;
use crate::{
    key::name_of,
    zone::{Answer, Query},
};
use hickory_proto::{
    op::{self, Message, MessageType, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
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
    fn answer(&self, query: &Query, _from: IpAddr) -> Answer {
        let name = query.name.to_string();
        let Some(label) = name.strip_suffix(&format!(".{}.", self.0)) else {
            return Answer::NotMine;
        };
        let Ok(count) = label.parse::<u16>() else {
            return Answer::Refused;
        };
        let address = |n: u16| RData::A(A(Ipv4Addr::from(0x0a00_0000 + u32::from(n))));
        Answer::Records {
            answers: (0..count).map(|n| query.record(5, address(n))).collect(),
            additionals: Vec::new(),
        }
    }
}

struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    _stop: oneshot::Sender<()>,
}

/// Sockets for UDP and TCP on the same free port.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = udp.local_addr().expect("an address");
        // Somebody else may have the same number for TCP.
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp);
        }
    }
}

async fn start(domain: &'static str, forward: Option<Forwarder>) -> Running {
    let (udp, tcp) = sockets().await;
    serve(udp, tcp, domain, forward)
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
    let mut message = Message::new(
        op::Message::query().metadata.id,
        MessageType::Query,
        OpCode::Query,
    );
    message.metadata.recursion_desired = true;
    message.add_query(op::Query::query(
        name_of(name).expect("a name"),
        RecordType::A,
    ));
    message
}

async fn over_udp(server: SocketAddr, question: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(server).await.expect("a route");
    let bytes = question.to_vec().expect("a message");
    let mut answer = vec![0; 4096];
    // A datagram may be lost even here when the machine is busy: ask again, as every client does.
    for _ in 0..10 {
        socket.send(&bytes).await.expect("room to send");
        if let Ok(length) = timeout(Duration::from_secs(3), socket.recv(&mut answer)).await {
            let answer =
                Message::from_vec(&answer[..length.expect("an answer")]).expect("a message");
            assert_eq!(answer.metadata.id, question.metadata.id);
            return answer;
        }
    }
    panic!("no answer");
}

async fn write(stream: &mut TcpStream, question: &Message) {
    let bytes = question.to_vec().expect("a message");
    stream
        .write_u16(bytes.len() as u16)
        .await
        .expect("an open connection");
    stream.write_all(&bytes).await.expect("an open connection");
}

async fn read(stream: &mut TcpStream) -> Message {
    let answer = async {
        let mut bytes = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
        stream.read_exact(&mut bytes).await.expect("a message");
        Message::from_vec(&bytes).expect("a message")
    };
    timeout(Duration::from_secs(30), answer)
        .await
        .expect("an answer in time")
}

async fn over_tcp(server: SocketAddr, question: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.expect("a listener");
    write(&mut stream, question).await;
    read(&mut stream).await
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
    assert!(server.metrics.udp_packets.get() >= 1);
    assert_eq!(server.metrics.tcp_messages.get(), 1);
}

#[tokio::test]
async fn one_connection_carries_many_questions() {
    let server = start("here", None).await;
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("a listener");
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
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("a listener");
    // Read as a length of 5 and an answer without a header.
    stream
        .write_all(b"\x00\x05hello")
        .await
        .expect("an open connection");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(30), stream.read_to_end(&mut rest))
        .await
        .expect("closed in time")
        .expect("closed in order");
    assert!(rest.is_empty());
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
    assert_eq!(server.metrics.forward_failures.get(), 0);
}

#[tokio::test]
async fn the_next_upstream_is_asked_when_one_is_silent_or_gone() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let gone = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.local_addr().expect("an address")
    };
    let upstream = start("there", None).await;
    let upstreams = vec![
        silent.local_addr().expect("an address"),
        gone,
        upstream.address,
    ];
    let forwarder = Forwarder::new(upstreams).timeout(Duration::from_millis(500));
    let server = start("here", Some(forwarder)).await;
    let answer = over_udp(server.address, &question("2.there")).await;
    assert_eq!(answer.answers.len(), 2);
}

#[tokio::test]
async fn own_names_are_answered_while_upstreams_are_silent() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let upstream = silent.local_addr().expect("an address");
    let forwarder = Forwarder::new(vec![upstream]).timeout(Duration::from_secs(2));
    let server = start("here", Some(forwarder)).await;
    let waiting = tokio::spawn({
        let address = server.address;
        async move { over_tcp(address, &question("1.there")).await }
    });
    // The upstream has the question, so it is being waited for.
    let mut buffer = [0; 512];
    let received = timeout(Duration::from_secs(30), silent.recv(&mut buffer)).await;
    received.expect("forwarded in time").expect("a question");
    assert_eq!(
        over_udp(server.address, &question("1.here"))
            .await
            .answers
            .len(),
        1
    );
    assert!(!waiting.is_finished());
    let failed = waiting.await.expect("no panic");
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(server.metrics.forward_failures.get(), 1);
}

#[tokio::test]
async fn two_servers_that_forward_to_each_other_do_not_circle() {
    let (udp_a, tcp_a) = sockets().await;
    let (udp_b, tcp_b) = sockets().await;
    let address_a = udp_a.local_addr().expect("an address");
    let address_b = udp_b.local_addr().expect("an address");
    let a = serve(udp_a, tcp_a, "a", Some(Forwarder::new(vec![address_b])));
    let b = serve(udp_b, tcp_b, "b", Some(Forwarder::new(vec![address_a])));
    let answer = over_udp(a.address, &question("nobody.knows")).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(a.metrics.forward_loops.get() >= 1);
    assert!(b.metrics.forwarded.get() >= 1);
    assert_eq!(over_udp(a.address, &question("1.b")).await.answers.len(), 1);
}

#[tokio::test]
async fn a_forged_answer_is_not_taken() {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let forwarder = Forwarder::new(vec![upstream.local_addr().expect("an address")]);
    let server = start("here", Some(forwarder.timeout(Duration::from_secs(20)))).await;
    let asked = tokio::spawn({
        let address = server.address;
        async move { over_tcp(address, &question("1.there")).await }
    });
    let mut buffer = [0; 4096];
    let (length, client) = timeout(Duration::from_secs(30), upstream.recv_from(&mut buffer))
        .await
        .expect("forwarded in time")
        .expect("a question");
    let mut answer = Message::from_vec(&buffer[..length])
        .expect("a message")
        .into_response();
    let name = answer.queries[0].name.clone();
    let record =
        |last| Record::from_rdata(name.clone(), 5, RData::A(A(Ipv4Addr::new(10, 0, 0, last))));
    let mut forged = answer.clone();
    forged.metadata.id ^= 1;
    forged.add_answer(record(66));
    let mut other = answer.clone();
    other.queries[0].name = name_of("2.there").expect("a name");
    other.add_answer(record(67));
    answer.add_answer(record(1));
    for message in [forged, other, answer] {
        let bytes = message.to_vec().expect("a message");
        upstream
            .send_to(&bytes, client)
            .await
            .expect("room to send");
    }
    let taken = asked.await.expect("no panic");
    assert_eq!(taken.answers, [record(1)]);
}

#[tokio::test]
async fn serving_ends_when_told() {
    let (udp, tcp) = sockets().await;
    let address = udp.local_addr().expect("an address");
    let server = Server::new(vec![Arc::new(Counting("here"))], None);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(udp, tcp, async move {
        let _ = stopped.await;
    }));
    assert_eq!(
        over_udp(address, &question("1.here")).await.answers.len(),
        1
    );
    drop(stop);
    let ended = timeout(Duration::from_secs(30), serving)
        .await
        .expect("ends in time");
    ended.expect("no panic").expect("no error");
    // The port is free again.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while UdpSocket::bind(address).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the socket is still open"
        );
        tokio::task::yield_now().await;
    }
}
