use super::*;
use crate::key::name_of;
use hickory_proto::{
    op::{Edns, Message, OpCode},
    rr::{
        rdata::opt::EdnsOption,
        rdata::{A, CNAME, SOA, TXT},
    },
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Knows a few names under `test`, each of which says what it does.
struct Example;

impl Zone for Example {
    fn answer(&self, query: &Query, _from: IpAddr) -> Answer {
        let name = query.name.to_lowercase().to_string();
        let soa = || {
            let apex = name_of("test").expect("a name");
            let soa = SOA::new(apex.clone(), apex.clone(), 1, 1, 1, 1, 15);
            Record::from_rdata(apex, 15, RData::SOA(soa))
        };
        let alias =
            |to: &str| vec![query.record(5, RData::CNAME(CNAME(name_of(to).expect("a name"))))];
        let addresses = |count: u8| -> Vec<Record> {
            (0..count)
                .map(|last| query.record(5, RData::A(A(Ipv4Addr::new(10, 0, 0, last)))))
                .collect()
        };
        let additionals = |count: u8| -> Vec<Record> {
            let owner = name_of("extra.test").expect("a name");
            (0..count)
                .map(|last| {
                    Record::from_rdata(owner.clone(), 5, RData::A(A(Ipv4Addr::new(10, 1, 0, last))))
                })
                .collect()
        };
        let (answers, additionals) = match name.strip_suffix(".test.") {
            Some("one") if query.wants(RecordType::A) => (addresses(1), Vec::new()),
            Some("many") => (addresses(200), Vec::new()),
            Some("generous") => (addresses(1), additionals(200)),
            Some("fat") => (
                vec![query.record(5, RData::TXT(TXT::new(vec!["x".repeat(250); 8])))],
                Vec::new(),
            ),
            Some("impossible") => (
                vec![query.record(5, RData::TXT(TXT::new(vec!["x".repeat(300)])))],
                Vec::new(),
            ),
            Some("alias") => (alias("one.test"), Vec::new()),
            Some("outward") => (alias("example.com"), Vec::new()),
            Some("dangling") => (alias("nobody.test"), Vec::new()),
            Some("circle") => (alias("circle.test"), Vec::new()),
            Some("one") => return Answer::NoData(soa()),
            Some("secret") => return Answer::Refused,
            Some(_) => return Answer::NxDomain(soa()),
            None => return Answer::NotMine,
        };
        Answer::Records {
            answers,
            additionals,
        }
    }
}

fn responder(can_forward: bool) -> Responder {
    Responder::new(vec![Arc::new(Example)], can_forward, 7)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(op::Query::query(name_of(name).expect("a name"), kind));
    message
}

fn ask(responder: &Responder, message: &Message, transport: Transport) -> Message {
    let bytes = message.to_vec().expect("a message");
    let mut out = vec![1, 2, 3];
    let step = responder.respond(&bytes, CLIENT, transport, 1, &mut out);
    assert!(matches!(step, Step::Reply));
    let answer = Message::from_vec(&out).expect("a well-formed answer");
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    answer
}

#[test]
fn answers_carry_code_records_and_authority() {
    use RecordType::{A, AAAA, AXFR, CNAME};
    use ResponseCode::{NXDomain, NoError, Refused, ServFail};
    let table = [
        // name, type, code, answers, authorities, authoritative
        ("one.test", A, NoError, 1, 0, true),
        ("One.TEST", A, NoError, 1, 0, true),
        ("one.test", AAAA, NoError, 0, 1, true),
        ("nobody.test", A, NXDomain, 0, 1, true),
        ("secret.test", A, Refused, 0, 0, false),
        ("one.test", AXFR, Refused, 0, 0, false),
        ("alias.test", A, NoError, 2, 0, true),
        ("alias.test", CNAME, NoError, 1, 0, true),
        ("alias.test", AAAA, NoError, 1, 1, true),
        ("dangling.test", A, NXDomain, 1, 1, true),
        ("outward.test", A, NoError, 1, 0, true),
        ("circle.test", A, ServFail, 0, 0, false),
        ("impossible.test", A, ServFail, 0, 0, false),
        ("example.com", A, Refused, 0, 0, false),
    ];
    for (name, kind, code, answers, authorities, authoritative) in table {
        let message = question(name, kind);
        let answer = ask(&responder(false), &message, Transport::Udp);
        let found = (
            answer.metadata.response_code,
            answer.answers.len(),
            answer.authorities.len(),
            answer.metadata.authoritative && code != ServFail,
        );
        assert_eq!(
            found,
            (code, answers, authorities, authoritative),
            "{name} {kind}"
        );
        assert!(answer.metadata.recursion_desired && !answer.metadata.recursion_available);
        // Resolvers compare the case of the name with what they sent.
        assert!(answer.queries[0].name.eq_case(&message.queries[0].name));
    }
}

#[test]
fn what_is_no_question_is_told_so_or_ignored() {
    let mut status = question("one.test", RecordType::A);
    status.metadata.op_code = OpCode::Status;
    assert_eq!(
        ask(&responder(false), &status, Transport::Udp)
            .metadata
            .response_code,
        ResponseCode::NotImp
    );

    let mut two = question("one.test", RecordType::A);
    two.add_query(two.queries[0].clone());
    assert_eq!(
        ask(&responder(false), &two, Transport::Udp)
            .metadata
            .response_code,
        ResponseCode::FormErr
    );

    let mut none = question("one.test", RecordType::A);
    none.queries.clear();
    assert_eq!(
        ask(&responder(false), &none, Transport::Udp)
            .metadata
            .response_code,
        ResponseCode::FormErr
    );

    let mut chaos = question("version.bind", RecordType::TXT);
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(
        ask(&responder(true), &chaos, Transport::Udp)
            .metadata
            .response_code,
        ResponseCode::Refused
    );

    let mut late = question("one.test", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    late.set_edns(edns);
    // 16 has two names, of which the library reads the other.
    let answer = ask(&responder(false), &late, Transport::Udp);
    assert_eq!(u16::from(answer.metadata.response_code), 16);

    let mut cut = question("one.test", RecordType::A)
        .to_vec()
        .expect("a message");
    cut.truncate(20);
    let mut out = Vec::new();
    let responder = responder(false);
    assert!(matches!(
        responder.respond(&cut, CLIENT, Transport::Udp, 1, &mut out),
        Step::Reply
    ));
    let answer = Message::from_vec(&out).expect("an answer");
    assert_eq!(
        (answer.metadata.id, answer.metadata.response_code),
        (4711, ResponseCode::FormErr)
    );

    let answer = question("one.test", RecordType::A).into_response();
    for bytes in [&answer.to_vec().expect("a message")[..], b"", b"short"] {
        let step = responder.respond(bytes, CLIENT, Transport::Udp, 1, &mut out);
        assert!(matches!(step, Step::Ignore));
    }
}

#[test]
fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let responder = responder(false);
    let mut plain = question("many.test", RecordType::A);
    let whole = ask(&responder, &plain, Transport::Tcp);
    assert_eq!(
        (whole.answers.len(), whole.metadata.truncation),
        (200, false)
    );

    let cut = ask(&responder, &plain, Transport::Udp);
    assert!(cut.metadata.truncation);
    assert!(
        (20..200).contains(&cut.answers.len()),
        "{}",
        cut.answers.len()
    );
    assert!(cut.to_vec().expect("a message").len() <= 512);

    for (offered, most) in [(0, 512), (700, 700), (65_535, 1232)] {
        let mut edns = Edns::new();
        edns.set_max_payload(offered);
        plain.set_edns(edns);
        let answer = ask(&responder, &plain, Transport::Udp);
        let length = answer.to_vec().expect("a message").len();
        assert!(length <= most && length + 16 > most, "{length} of {most}");
        assert!(answer.edns.is_some() && answer.metadata.truncation);
    }

    // Additional records are left out without a word.
    let generous = ask(
        &responder,
        &question("generous.test", RecordType::A),
        Transport::Udp,
    );
    assert_eq!((generous.answers.len(), generous.additionals.len()), (1, 0));
    assert!(!generous.metadata.truncation);

    // One record that does not fit leaves an empty answer.
    let fat = ask(
        &responder,
        &question("fat.test", RecordType::TXT),
        Transport::Udp,
    );
    assert!(fat.metadata.truncation && fat.answers.is_empty());
    assert_eq!(responder.metrics.truncated.get(), 5);
}

#[test]
fn unknown_names_are_forwarded_when_asked_for() {
    let responder = responder(true);
    let forward = |message: &Message| {
        let mut out = Vec::new();
        let bytes = message.to_vec().expect("a message");
        match responder.respond(&bytes, CLIENT, Transport::Udp, 1, &mut out) {
            Step::Forward(pending) => Ok(*pending),
            _ => Err(Message::from_vec(&out)
                .expect("an answer")
                .metadata
                .response_code),
        }
    };
    let mut message = question("example.com", RecordType::A);
    let pending = forward(&message).unwrap_or_else(|code| panic!("{code}"));
    assert_eq!(pending.question.name.to_string(), "example.com.");
    assert_eq!(pending.trail, 7u64.to_be_bytes());
    let mut out = Vec::new();
    responder.finish(pending, None, &mut out);
    let failed = Message::from_vec(&out).expect("an answer");
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert!(failed.metadata.recursion_available);

    // Somebody who does not want recursion gets none.
    message.metadata.recursion_desired = false;
    assert_eq!(forward(&message).err(), Some(ResponseCode::Refused));
    assert!(forward(&question("one.test", RecordType::A)).is_err());

    // An alias that leads outward is forwarded by its target, and the alias comes first.
    let pending =
        forward(&question("outward.test", RecordType::A)).unwrap_or_else(|code| panic!("{code}"));
    assert_eq!(pending.question.name.to_string(), "example.com.");
    let mut said = question("example.com", RecordType::A).into_response();
    let address = RData::A(A(Ipv4Addr::new(192, 0, 2, 9)));
    said.add_answer(Record::from_rdata(
        pending.question.name.clone(),
        60,
        address,
    ));
    let said = Packet::read(&said.to_vec().expect("a message"), MessageType::Response);
    responder.finish(pending, said.ok(), &mut out);
    let answer = Message::from_vec(&out).expect("an answer");
    let types: Vec<RecordType> = answer.answers.iter().map(Record::record_type).collect();
    assert_eq!(types, [RecordType::CNAME, RecordType::A]);
    assert_eq!(answer.queries[0].name.to_string(), "outward.test.");
    assert!(!answer.metadata.authoritative);
}

#[test]
fn a_question_that_comes_back_is_not_forwarded_again() {
    let responder = responder(true);
    let came_through = |trail: Vec<u8>| {
        let mut message = question("example.com", RecordType::A);
        let mut edns = Edns::new();
        edns.options_mut()
            .insert(EdnsOption::Unknown(65_360, trail));
        message.set_edns(edns);
        let bytes = message.to_vec().expect("a message");
        let mut out = Vec::new();
        let step = responder.respond(&bytes, CLIENT, Transport::Udp, 1, &mut out);
        matches!(step, Step::Forward(_))
    };
    assert!(came_through(8u64.to_be_bytes().to_vec()));
    assert!(!came_through(7u64.to_be_bytes().to_vec()));
    assert!(!came_through(
        [8u64.to_be_bytes(), 7u64.to_be_bytes()].concat()
    ));
    assert!(!came_through(vec![9; 64]), "too many servers");
    assert_eq!(responder.metrics.forward_loops.get(), 3);
}

/// Whatever comes in, what goes out is an answer that its reader can rely on.
fn check(bytes: &[u8], transport: Transport, can_forward: bool) {
    let responder = responder(can_forward);
    let mut out = Vec::new();
    match responder.respond(bytes, CLIENT, transport, 1, &mut out) {
        Step::Ignore => return,
        Step::Reply => {}
        Step::Forward(pending) => responder.finish(*pending, None, &mut out),
    }
    let answer = Message::from_vec(&out).expect("a well-formed answer");
    assert_eq!(answer.metadata.id.to_be_bytes(), bytes[..2]);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert!(transport == Transport::Tcp || out.len() <= 1232);
    if let Ok(asked) = Packet::read(bytes, MessageType::Query) {
        assert_eq!(answer.queries, [asked.question]);
        assert_eq!(answer.edns.is_some(), asked.edns.is_some());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), tcp: bool, forward: bool) {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        check(&bytes, transport, forward);
    }

    #[test]
    fn damaged_questions_never_panic(
        name in prop::sample::select(vec!["one", "many", "generous", "fat", "alias", "outward", "circle", "x"]),
        kind in prop::sample::select(vec![1u16, 2, 5, 6, 12, 16, 28, 33, 41, 251, 252, 255, 4242]),
        payload in prop::option::of(any::<u16>()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tcp: bool,
        forward: bool,
    ) {
        let mut message = question(&format!("{name}.test"), RecordType::from(kind));
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        let mut bytes = message.to_vec().expect("a message");
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        check(&bytes, transport, forward);
    }
}
