use super::*;
use crate::{
    metrics::Shard,
    probe::{name, question, read, wire},
    record::Records,
    reply::Authority,
};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType as Type, rdata::A, rdata::opt::EdnsOption},
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Knows a few names under `test`, each of which says what it does.
struct Example;

fn own(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

impl Zone for Example {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let labels = crate::name::parents(query.key.as_bytes());
        let labels: Vec<_> = labels.filter_map(crate::name::first_label).collect();
        let &[label, b"test"] = &labels[..] else {
            return Verdict::NotInZone;
        };
        let authority = Authority::new(own("test"), "ns", 15);
        let alias = |reply: &mut Reply<'_>, to: &str| {
            reply.alias(5, &own(to));
            match query.wants(RecordType::CNAME) {
                true => Verdict::Found,
                false => Verdict::Alias(Target(own(to))),
            }
        };
        let addresses = |reply: &mut Reply<'_>, count: u8| {
            for last in 0..count {
                reply.answer_address(5, Ipv4Addr::new(10, 0, 0, last).into());
            }
            Verdict::Found
        };
        match label {
            b"one" if query.wants(RecordType::A) => addresses(reply, 1),
            b"many" => addresses(reply, 200),
            b"generous" => {
                addresses(reply, 1);
                for last in 0..200 {
                    let address = Ipv4Addr::new(10, 1, 0, last).into();
                    reply.additional_of(&own("extra.test"), 5, address);
                }
                Verdict::Found
            }
            b"fat" => {
                let mut records = Records::default();
                records.push(
                    RecordType::TXT,
                    5,
                    &[b"\xfa".as_slice(), &[b'x'; 250]].concat().repeat(8),
                );
                reply.answer(records.get(0));
                Verdict::Found
            }
            b"alias" => alias(reply, "One.test"),
            b"outward" => alias(reply, "example.com"),
            b"dangling" => alias(reply, "nobody.test"),
            b"circle" => alias(reply, "circle.test"),
            b"secretly" => alias(reply, "secret.test"),
            b"stand" => Verdict::Flatten(Target(own("one.test")), 60),
            b"one" => {
                reply.negative(&authority, 1);
                Verdict::NoData
            }
            b"secret" => Verdict::Refused,
            _ => {
                reply.negative(&authority, 1);
                Verdict::NxDomain
            }
        }
    }
}

fn responder(can_forward: bool) -> Responder {
    Responder::new(vec![Arc::new(Example)], can_forward, Arc::default(), 7)
}

fn respond(responder: &Responder, bytes: &[u8], transport: Transport, out: &mut Vec<u8>) -> Step {
    let client = Client {
        address: CLIENT,
        transport,
    };
    responder.respond(bytes, client, 1, &responder.metrics.shard(), out)
}

fn ask(responder: &Responder, message: &Message, transport: Transport) -> Message {
    let bytes = wire(message);
    let mut out = vec![1, 2, 3];
    let step = respond(responder, &bytes, transport, &mut out);
    assert!(matches!(step, Step::Reply));
    let answer = read(&out);
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    answer
}

#[test]
fn answers_carry_code_records_and_authority() {
    use ResponseCode::{FormErr, NXDomain, NoError, NotImp, Refused, ServFail};
    use Type::{A, AAAA, ANY, AXFR, CNAME, IXFR};
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
        ("secretly.test", A, NoError, 1, 0, true),
        ("stand.test", A, NoError, 1, 0, true),
        ("stand.test", AAAA, NoError, 0, 1, true),
        ("stand.test", ANY, NoError, 1, 0, true),
        ("one.test", IXFR, Refused, 0, 0, false),
        ("one.test", Type::from(0), FormErr, 0, 0, false),
        ("one.test", Type::OPT, FormErr, 0, 0, false),
        ("one.test", Type::TSIG, FormErr, 0, 0, false),
        ("one.test", Type::from(249), NotImp, 0, 0, false),
        ("one.test", Type::from(254), NotImp, 0, 0, false),
        ("one.test", Type::from(4242), NoError, 0, 1, true),
        ("example.com", A, Refused, 0, 0, false),
    ];
    for (name, kind, code, answers, authorities, authoritative) in table {
        let message = question(name, kind);
        let answer = ask(&responder(false), &message, Transport::Udp);
        let found = (
            answer.metadata.response_code,
            answer.answers.len(),
            answer.authorities.len(),
            answer.metadata.authoritative,
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
    let with_opcode = |opcode| move |message: &mut Message| message.metadata.op_code = opcode;
    type Change<'a> = &'a dyn Fn(&mut Message);
    let table: [(Change<'_>, ResponseCode); 6] = [
        (&with_opcode(OpCode::Status), ResponseCode::NotImp),
        (&with_opcode(OpCode::Notify), ResponseCode::NotImp),
        (&with_opcode(OpCode::Update), ResponseCode::NotImp),
        (
            &|message| message.queries.push(message.queries[0].clone()),
            ResponseCode::FormErr,
        ),
        (&|message| message.queries.clear(), ResponseCode::FormErr),
        (
            &|message| message.queries[0].query_class = DNSClass::CH,
            ResponseCode::Refused,
        ),
    ];
    for (change, code) in table {
        let mut message = question("one.test", Type::A);
        change(&mut message);
        for can_forward in [false, true] {
            let answer = ask(&responder(can_forward), &message, Transport::Udp);
            assert_eq!(answer.metadata.response_code, code, "{message}");
            assert_eq!(answer.metadata.op_code, message.metadata.op_code);
        }
    }

    let mut late = question("one.test", Type::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    late.set_edns(edns);
    // 16 has two names, of which the library reads the other.
    let answer = ask(&responder(false), &late, Transport::Udp);
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.expect("EDNS").version(), 0);

    let cut = &wire(&question("one.test", Type::A))[..20];
    let mut out = Vec::new();
    let responder = responder(false);
    let step = respond(&responder, cut, Transport::Udp, &mut out);
    assert!(matches!(step, Step::Reply));
    let found = read(&out).metadata;
    let expected = (4711, ResponseCode::FormErr);
    assert_eq!((found.id, found.response_code), expected);

    let answer = question("one.test", Type::A).into_response();
    for bytes in [&wire(&answer)[..], b"", b"short"] {
        let step = respond(&responder, bytes, Transport::Udp, &mut out);
        assert!(matches!(step, Step::Ignore));
    }
}

#[test]
fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let responder = responder(false);
    let mut plain = question("many.test", Type::A);
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
    assert!(wire(&cut).len() <= 512);

    for (offered, most) in [(0, 512), (700, 700), (65_535, 1232)] {
        let mut edns = Edns::new();
        edns.set_max_payload(offered);
        plain.set_edns(edns);
        let answer = ask(&responder, &plain, Transport::Udp);
        let length = wire(&answer).len();
        assert!(length <= most && length + 16 > most, "{length} of {most}");
        assert!(answer.edns.is_some() && answer.metadata.truncation);
    }

    // Additional records that do not fit are left out without a word.
    let generous = ask(
        &responder,
        &question("generous.test", Type::A),
        Transport::Udp,
    );
    assert_eq!(
        (generous.answers.len(), generous.additionals.len()),
        (1, 21)
    );
    assert!(!generous.metadata.truncation);

    // One record that does not fit leaves an empty answer.
    let fat = ask(&responder, &question("fat.test", Type::TXT), Transport::Udp);
    assert!(fat.metadata.truncation && fat.answers.is_empty());
    assert_eq!(responder.metrics.count(&["truncated_total"]), 5);
}

#[test]
fn unknown_names_are_forwarded_when_asked_for() {
    let responder = responder(true);
    let forward = |message: &Message| {
        let mut out = Vec::new();
        match respond(&responder, &wire(message), Transport::Udp, &mut out) {
            Step::Forward(pending) => Ok(*pending),
            _ => Err(read(&out).metadata.response_code),
        }
    };
    let mut message = question("Example.com", Type::A);
    let pending = forward(&message).unwrap_or_else(|code| panic!("{code}"));
    assert_eq!(pending.target.to_string(), "Example.com.");
    assert_eq!(pending.hops, 7u64.to_be_bytes());
    let mut out = Vec::new();
    responder.finish(&pending, None, &responder.metrics.shard(), &mut out);
    let failed = read(&out);
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert!(failed.metadata.recursion_available);
    let counted = ["type=\"A\"", "code=\"SERVFAIL\"", "view=\"\""];
    assert_eq!(responder.metrics.count(&counted), 1);

    // Somebody who does not want recursion gets none.
    message.metadata.recursion_desired = false;
    assert_eq!(forward(&message).err(), Some(ResponseCode::Refused));
    assert!(forward(&question("one.test", Type::A)).is_err());

    // An alias that leads outward is forwarded by its target, and the alias comes first.
    let pending =
        forward(&question("outward.test", Type::A)).unwrap_or_else(|code| panic!("{code}"));
    assert_eq!(pending.target.to_string(), "example.com.");
    let partial = read(&pending.partial);
    assert_eq!(partial.answers[0].record_type(), Type::CNAME);
    assert_eq!(partial.queries[0].name, name("outward.test"));
}

#[test]
fn a_resolver_says_that_a_name_which_nobody_knows_does_not_exist() {
    let resolver = |can_forward| {
        let mut responder = responder(can_forward);
        responder.is_resolver = true;
        responder
    };
    let forwarding = resolver(true);
    for (responder, text, recursive, expected) in [
        (&resolver(false), "colorap", true, ResponseCode::NXDomain),
        (&resolver(false), "colorap", false, ResponseCode::Refused),
        (
            &resolver(false),
            "colorap.example",
            true,
            ResponseCode::NXDomain,
        ),
        (
            &resolver(false),
            "colorap.example",
            false,
            ResponseCode::Refused,
        ),
        // Names of one label are not forwarded.
        (&forwarding, "colorap", true, ResponseCode::NXDomain),
    ] {
        let mut message = question(text, Type::A);
        message.metadata.recursion_desired = recursive;
        let answer = ask(responder, &message, Transport::Udp);
        assert_eq!(
            answer.metadata.response_code, expected,
            "{text} {recursive}"
        );
    }
    let message = question("colorap.example", Type::A);
    let mut out = Vec::new();
    let Step::Forward(pending) = respond(&forwarding, &wire(&message), Transport::Udp, &mut out)
    else {
        panic!("it is forwarded");
    };
    for (response, expected) in [
        (Some(ResponseCode::Refused), ResponseCode::NXDomain),
        (Some(ResponseCode::ServFail), ResponseCode::ServFail),
        (None, ResponseCode::ServFail),
    ] {
        let response = response.map(|code| {
            let mut response = message.clone();
            response.metadata.response_code = code;
            UpstreamResponse(response)
        });
        forwarding.finish(&pending, response, &forwarding.metrics.shard(), &mut out);
        let answer = read(&out);
        assert_eq!(answer.metadata.response_code, expected);
    }
}

#[test]
fn a_question_that_comes_back_is_not_forwarded_again() {
    let responder = responder(true);
    let came_through = |hops: Vec<u8>| {
        let mut message = question("example.com", Type::A);
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Unknown(65_360, hops));
        message.set_edns(edns);
        let mut out = Vec::new();
        let step = respond(&responder, &wire(&message), Transport::Udp, &mut out);
        matches!(step, Step::Forward(_))
    };
    assert!(came_through(8u64.to_be_bytes().to_vec()));
    assert!(!came_through(7u64.to_be_bytes().to_vec()));
    assert!(!came_through(
        [8u64.to_be_bytes(), 7u64.to_be_bytes()].concat()
    ));
    assert!(!came_through(vec![9; 64]), "too many servers");
    assert_eq!(responder.metrics.count(&["reason=\"loop\""]), 3);
}

#[test]
fn what_a_client_offers_comes_back_as_it_should() {
    let responder = responder(false);
    let mut message = question("one.test", Type::A);
    message.metadata.checking_disabled = true;
    message.metadata.authentic_data = true;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(4096);
    edns.options_mut()
        .insert(EdnsOption::Unknown(10, b"a cookie".to_vec()));
    message.set_edns(edns);
    let answer = ask(&responder, &message, Transport::Udp);
    assert!(answer.metadata.checking_disabled && !answer.metadata.authentic_data);
    let edns = answer.edns.expect("EDNS");
    assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn names_after_an_alias_belong_to_its_target() {
    let ask = |text, kind| ask(&responder(false), &question(text, kind), Transport::Udp);
    let answer = ask("Alias.Test", Type::A);
    let owners = answer.answers.iter().map(|record| record.name.to_string());
    assert_eq!(owners.collect::<Vec<_>>(), ["Alias.Test.", "One.Test."]);
    assert_eq!(answer.answers[0].data.to_string(), "One.Test.");
    let negative = ask("alias.test", Type::AAAA);
    assert_eq!(negative.authorities[0].name, name("test"));
    let address = RData::A(A(Ipv4Addr::new(10, 0, 0, 0)));
    assert_eq!(
        ask("stand.test", Type::A).answers,
        [Record::from_rdata(name("stand.test"), 5, address)]
    );
}

/// Whatever comes in, what goes out is an answer that its reader can rely on.
fn check(bytes: &[u8], transport: Transport, can_forward: bool) {
    let responder = responder(can_forward);
    let mut out = Vec::new();
    match respond(&responder, bytes, transport, &mut out) {
        Step::Ignore => return,
        Step::Reply => {}
        Step::Forward(pending) => responder.finish(&pending, None, &Shard::unshared(), &mut out),
    }
    let answer = read(&out);
    assert_eq!(answer.metadata.id.to_be_bytes(), bytes[..2]);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert!(transport == Transport::Tcp || out.len() <= 1232);
    if let Ok(asked) = Question::read(bytes) {
        // The question comes back byte for byte.
        let end = 12 + asked.name.len() + 5;
        assert_eq!(out[12..end], bytes[12..end]);
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
        let mut message = question(&format!("{name}.test"), Type::from(kind));
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        let mut bytes = wire(&message);
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        check(&bytes, transport, forward);
    }
}
