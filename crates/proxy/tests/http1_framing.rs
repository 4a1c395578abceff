//! HTTP/1 framing: ends of messages, treatment of excess bytes, and effects of early or slow peers on each other.

mod rig;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use envoy_types::pb::envoy::config::core::v3 as core;

use rig::client::{self, Connection};
use rig::pair::Pair;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::wire::{connect, read_all, read_head, scripted, send};
use rig::{Running, forwarding};

fn proxy_to(address: SocketAddr) -> Running {
    rig::proxy_to(static_cluster("up", &[address]))
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let address = scripted(|mut stream| {
        let head = read_head(&mut stream);
        let body = read_head(&mut stream);
        let saw = format!("{head}{body}").replace("\r\n", "|");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntrailer: x-late\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{saw}\r\n0\r\nx-late: yes\r\n\r\n",
            saw.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    });
    let proxy = proxy_to(address);
    let mut stream = connect(proxy.address, "");
    let request = "POST /t HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n";
    for byte in request.as_bytes() {
        send(&mut stream, [*byte]);
    }
    let answer = read_all(stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("transfer-encoding: chunked|"), "{answer}");
    assert!(answer.contains("|3|abc|0|x-sum: 6||"), "{answer}");
    assert!(answer.ends_with("\r\n0\r\nx-late: yes\r\n\r\n"), "{answer}");
}

#[test]
fn a_request_that_was_answered_early_does_not_become_the_next() {
    let up = Upstream::start("up");
    let proxy = forwarding(
        routes(vec![forward(path("/known"), to_cluster("up"))]),
        &[up.cluster()],
    );
    // The proxy answers 404 without having read the body, which contains a request.
    let hidden = "GET /known HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut stream = connect(proxy.address, client::raw_post("/unknown", hidden));
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 404"));
    send(&mut stream, hidden);
    assert!(
        read_head(&mut stream).starts_with("HTTP/1.1 200"),
        "the body was passed over, the connection goes on"
    );
    assert_eq!(up.requests(), 1);
    // If the body is incomplete, the connection ends with the answer.
    let cut = "POST /unknown HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nfirst";
    let stream = connect(proxy.address, cut);
    assert!(read_all(stream).starts_with("HTTP/1.1 404"));
}

#[test]
fn smuggled_requests_stay_bodies() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.address);
    let chunked = "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for (fields, status) in [
        ("content-length: 5\r\ntransfer-encoding: chunked", "400"),
        ("transfer-encoding: chunked\r\ncontent-length: 5", "400"),
        ("transfer-encoding: chunked, identity", "501"),
        ("content-length: 5\r\ncontent-length: 6", "400"),
        ("transfer-encoding : chunked", "400"),
    ] {
        let request = format!("POST /x HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{chunked}");
        let answers = read_all(connect(proxy.address, request));
        let got = answers
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|answer| &answer[..3]);
        assert_eq!(got.collect::<Vec<_>>(), [status], "{fields}: {answers}");
        assert_eq!(up.requests(), 0, "{fields}");
    }
}

#[test]
fn a_malformed_body_is_refused_and_its_upstream_connection_closed() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.address);
    let stream = connect(
        proxy.address,
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nno size\r\n",
    );
    assert!(read_all(stream).starts_with("HTTP/1.1 400"));
    proxy.wait_for_stat("cluster.up.upstream_cx_active", 0);
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}

#[test]
fn both_bodies_flow_at_once() {
    const SIZE: usize = 32 * 1024 * 1024;
    // Echoes while it reads, so neither direction may wait for the other to end.
    let address = scripted(|mut stream| {
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let (mut buffer, mut left) = (vec![0; 64 * 1024], SIZE);
        while left > 0 {
            let Ok(read @ 1..) = stream.read(&mut buffer) else {
                return;
            };
            if stream.write_all(&buffer[..read]).is_err() {
                return;
            }
            left -= read;
        }
    });
    let proxy = proxy_to(address);
    let head = format!("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n");
    let mut stream = connect(proxy.address, head);
    let mut writer = stream.try_clone().expect("clones");
    let sender = std::thread::spawn(move || {
        let block: Vec<u8> = (0..64 * 1024).map(|at| (at % 251) as u8).collect();
        for _ in 0..SIZE / block.len() {
            send(&mut writer, &block);
        }
    });
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    let mut body = vec![0; SIZE];
    stream.read_exact(&mut body).expect("reads");
    sender.join().expect("sent");
    let expected = (0..SIZE).map(|at| ((at % (64 * 1024)) % 251) as u8);
    assert!(body.iter().copied().eq(expected));
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_the_request() {
    // Answers after the head, and closes; most of the body is never read.
    let address = scripted(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nmuch",
        );
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream.take(1 << 20), &mut std::io::sink());
    });
    let proxy = proxy_to(address);
    let cut = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nfirst";
    let answer = read_all(connect(proxy.address, cut));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nmuch"), "{answer}");
}

#[test]
fn interim_answers_and_leave_to_continue() {
    let address = scripted(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
        let mut body = [0; 2];
        let _ = stream.read_exact(&mut body);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let proxy = proxy_to(address);
    let mut stream = connect(
        proxy.address,
        "POST /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
    );
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut stream, "hi");
    let answer = read_all(stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_truncated_response_ends_the_connection_of_the_client_too() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nrubbish\r\n",
    ] {
        let address = scripted(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        });
        let proxy = proxy_to(address);
        let stream = connect(proxy.address, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n");
        let got = rig::wire::read_to_close(stream);
        let got = String::from_utf8_lossy(&got);
        assert!(got.starts_with("HTTP/1.1 200") || got.is_empty(), "{got}");
        assert!(
            !got.ends_with("0\r\n\r\n"),
            "not as if it were whole: {got}"
        );
    }
}

#[test]
fn upstream_connections_with_excess_bytes_are_not_reused() {
    let address = scripted(|mut stream| {
        while !read_head(&mut stream).is_empty() {
            // The second response belongs to no request.
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
            );
        }
    });
    let proxy = proxy_to(address);
    let mut connection = Connection::open(proxy.address);
    for _ in 0..20 {
        let response = connection.get("/x");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
}

#[test]
fn pipelined_requests_of_a_client_that_stops_sending_are_answered() {
    let up = Upstream::start("up");
    let proxy = forwarding(
        routes(vec![forward(path("/known"), to_cluster("up"))]),
        &[up.cluster()],
    );
    let request = "GET /none HTTP/1.1\r\nhost: a\r\n\r\n";
    let stream = connect(proxy.address, request.repeat(300));
    stream.shutdown(Shutdown::Write).expect("half-closes");
    let answers = read_all(stream);
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 300);
}

#[test]
fn http_10_clients_keep_their_connection_if_they_ask() {
    let up = Upstream::start("up");
    let mut config = manager(everything_to("up"));
    config.http_protocol_options = Some(core::Http1ProtocolOptions {
        accept_http_10: true,
        ..Default::default()
    });
    let proxy = Running::start(&http_ingress(&config), &[up.cluster()]);
    let mut connection = Connection::open(proxy.address);
    for _ in 0..2 {
        let response =
            connection.request("GET /x HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!(response.header("connection"), Some("keep-alive"));
    }
    let response = connection.request("GET /chunked HTTP/1.0\r\nhost: a\r\n\r\n");
    assert_eq!(
        response.text(),
        "hello world",
        "ended by the connection's end"
    );
    assert_eq!(response.header("transfer-encoding"), None);
}

#[test]
fn bytes_right_behind_an_upgrade_are_not_lost() {
    let address = scripted(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst",
        );
        let mut early = [0; 5];
        let _ = stream.read_exact(&mut early);
        let _ = stream.write_all(&early);
    });
    let config = with_websocket(manager(everything_to("up")));
    let clusters = [static_cluster("up", &[address])];
    let proxy = Running::start(&http_ingress(&config), &clusters);
    let mut stream = connect(
        proxy.address,
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly",
    );
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101"));
    assert_eq!(read_all(stream), "firstearly");
}

#[test]
fn refusals_agree_with_envoys() {
    let up = Upstream::start("up");
    let listener = http_ingress(&manager(everything_to("up")));
    let Some(pair) = Pair::start(&listener, &[up.cluster()]) else {
        return;
    };
    let get = "GET / HTTP/1.1\r\nhost: a\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a\r\n";
    for raw in [
        "\0\x01\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("{get}no colon\r\n\r\n"),
        format!("{get}x: {}\r\n\r\n", "y".repeat(70_000)),
        format!("{get}{}\r\n", "x: y\r\n".repeat(150)),
        format!("{post}content-length: 5\r\ncontent-length: 6\r\n\r\nhello"),
        format!("{post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: gzip\r\n\r\n"),
        format!("{post}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\nno size\r\n"),
        "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n".to_owned(),
    ] {
        pair.compare(&raw);
    }
    pair.agree();
}

#[test]
fn many_connections_at_once_are_all_answered() {
    let up = Upstream::start("up");
    let listener = http_ingress(&manager(everything_to("up")));
    let proxy = Running::with_one_worker(&listener, &[up.cluster()]);
    let mut connections: Vec<_> = (0..150).map(|_| Connection::open(proxy.address)).collect();
    for round in 0..5 {
        for (at, connection) in connections.iter_mut().enumerate() {
            let request = format!("GET /{round}/{at} HTTP/1.1\r\nhost: a\r\n\r\n");
            connection.write(request.as_bytes());
        }
        for (at, connection) in connections.iter_mut().enumerate() {
            let text = connection.read(false).text();
            assert!(text.contains(&format!("GET /{round}/{at} ")), "{text}");
        }
    }
}
