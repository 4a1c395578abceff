use super::*;
use crate::{
    probe::{name, read, wire},
    question::Question,
    reply::{Reply, Transport},
};
use hickory_proto::{
    op::{MessageType, OpCode, Query},
    rr::{
        RData, RecordType as Type,
        rdata::{A, CNAME, TXT},
    },
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// A question of a client for `Www.Example.com` that waits for an upstream.
fn pending(flattened: bool, limit: u16) -> Pending {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name("Www.Example.com"), Type::A));
    message.set_edns(Edns::new());
    let bytes = wire(&message);
    let question = Question::read(&bytes).unwrap_or_else(|fault| panic!("{fault:?}"));
    let mut out = Vec::new();
    let mut reply = Reply::start(&mut out, &question, Transport::Udp);
    let (partial, question_end) = reply.take_partial();
    Pending {
        partial,
        question_end,
        limit,
        target: crate::name::Name::parse("Www.Example.com").expect("a name"),
        kind: RecordType::A,
        flattened,
        hops: vec![9; 8],
        dnssec_ok: true,
        checking_disabled: false,
        client: Ipv4Addr::LOCALHOST.into(),
        view: 0,
    }
}

fn address(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

#[test]
fn a_question_is_well_formed_and_different_each_time() {
    let pending = pending(false, 512);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut cases = std::collections::BTreeSet::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let asked = ForwardedQuery::new(&pending, &mut rng, true);
        let message = read(&asked.bytes);
        assert!(message.metadata.recursion_desired);
        assert_eq!(message.queries[0].name, name("www.example.com"));
        let edns = message.edns.expect("EDNS");
        assert!(edns.flags().dnssec_ok && edns.max_payload() == 1232);
        cases.insert(message.queries[0].name.to_string());
        ids.insert(message.metadata.id);
    }
    assert!(cases.len() > 40 && ids.len() > 45, "{cases:?}");
    let plain = ForwardedQuery::new(&pending, &mut rng, false);
    let plain = read(&plain.bytes);
    assert!(plain.edns.is_none());
}

#[test]
fn only_the_answer_to_the_question_is_heard() {
    let pending = pending(false, 512);
    let asked = ForwardedQuery::new(&pending, &mut fastrand::Rng::with_seed(1), true);
    let answer = |change: &dyn Fn(&mut Message)| {
        let mut message = read(&asked.bytes).into_response();
        change(&mut message);
        wire(&message)
    };
    let heard = |bytes: &[u8], exact| match asked.parse_response(bytes, exact) {
        ParsedResponse::Ignored => "noise",
        ParsedResponse::CaseMismatch => "other case",
        ParsedResponse::Truncated => "cut",
        ParsedResponse::Answer(_) => "answer",
    };
    let right = answer(&|_| {});
    assert_eq!(heard(&right, true), "answer");
    let lower = answer(&|message| {
        message.queries[0].name = message.queries[0].name.to_lowercase();
    });
    assert_eq!(heard(&lower, true), "other case");
    assert_eq!(heard(&lower, false), "answer");
    let cut = answer(&|message| message.metadata.truncation = true);
    assert_eq!(heard(&cut, true), "cut");
    type Change<'a> = &'a dyn Fn(&mut Message);
    let changes: [(&str, Change<'_>); 7] = [
        ("id", &|m| m.metadata.id ^= 1),
        ("name", &|m| m.queries[0].name = name("www.example.org")),
        ("type", &|m| m.queries[0].query_type = Type::AAAA),
        ("two", &|m| m.queries.push(m.queries[0].clone())),
        ("none", &|m| m.queries.clear()),
        ("query", &|m| m.metadata.message_type = MessageType::Query),
        ("opcode", &|m| m.metadata.op_code = OpCode::Status),
    ];
    let mut ignored: Vec<_> = changes.map(|(what, change)| (what, answer(change))).into();
    ignored.push(("nothing", Vec::new()));
    ignored.push(("a header", right[..12].to_vec()));
    let mut huge_counts = right.clone();
    huge_counts[6..8].fill(0xff);
    ignored.push(("huge counts", huge_counts));
    for (what, bytes) in ignored {
        assert_eq!(heard(&bytes, false), "noise", "{what}");
    }
}

#[test]
fn what_the_upstream_said_is_passed_on() {
    let pending = pending(false, 1232);
    let asked = ForwardedQuery::new(&pending, &mut fastrand::Rng::with_seed(1), true);
    let mut response = read(&asked.bytes).into_response();
    let owner = response.queries[0].name.clone();
    response.metadata.authoritative = true;
    response.add_answer(Record::from_rdata(owner, 60, address(1)));
    let ParsedResponse::Answer(upstream) = asked.parse_response(&wire(&response), true) else {
        panic!("not heard");
    };
    let mut out = Vec::new();
    let (code, cut) = complete(&pending, Some(upstream), &mut out);
    assert_eq!((code, cut), (Code::NO_ERROR, false));
    let answer = read(&out);
    assert_eq!(answer.metadata.id, 4711);
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    assert!(answer.queries[0].name.eq_case(&name("Www.Example.com")));
    // The case in which the upstream was asked is gone.
    assert!(answer.answers[0].name.eq_case(&name("Www.Example.com")));
    assert_eq!(answer.edns.expect("EDNS").max_payload(), 1232);

    let (code, _) = complete(&pending, None, &mut out);
    assert_eq!(code, Code::SERV_FAIL);
    let failed = read(&out);
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(failed.queries.len(), 1);
}

#[test]
fn what_stands_for_an_alias_is_shown_under_its_name() {
    let pending = pending(true, 1232);
    let mut response = Message::new(1, MessageType::Response, OpCode::Query);
    let (lb, zone) = (name("lb.example.net"), name("zone.example.net"));
    let alias = RData::CNAME(CNAME(zone.clone()));
    response.add_answer(Record::from_rdata(lb, 60, alias));
    response.add_answer(Record::from_rdata(zone, 30, address(1)));
    let mut out = Vec::new();
    complete(&pending, Some(UpstreamResponse(response)), &mut out);
    let answer = read(&out);
    let expected = Record::from_rdata(name("www.example.com"), 30, address(1));
    assert_eq!(answer.answers, [expected]);

    let mut gone = Message::new(1, MessageType::Response, OpCode::Query);
    gone.metadata.response_code = ResponseCode::NXDomain;
    let (code, _) = complete(&pending, Some(UpstreamResponse(gone)), &mut out);
    assert_eq!(code, Code::NO_ERROR);
}

#[test]
fn long_answers_are_cut() {
    let response = |records: Vec<Record>, additionals: Vec<Record>| {
        let mut response = Message::new(1, MessageType::Response, OpCode::Query);
        response.answers = records;
        response.additionals = additionals;
        Some(UpstreamResponse(response))
    };
    let records = |count| -> Vec<Record> {
        let owner = name("www.example.com");
        (0..count)
            .map(|last| Record::from_rdata(owner.clone(), 5, address(last)))
            .collect()
    };
    let mut out = Vec::new();
    for limit in [512, 700, 1232] {
        let pending = pending(false, limit);
        let (_, cut) = complete(&pending, response(records(200), Vec::new()), &mut out);
        let answer = read(&out);
        assert!(cut && answer.metadata.truncation && answer.edns.is_some());
        let most = usize::from(limit);
        assert!(
            out.len() <= most && out.len() + 16 > most,
            "{} of {limit}",
            out.len()
        );
        // Additional records are left out without a word.
        let (_, cut) = complete(&pending, response(records(1), records(200)), &mut out);
        let answer = read(&out);
        assert!(!cut && !answer.metadata.truncation);
        assert_eq!((answer.answers.len(), answer.additionals.len()), (1, 0));
    }
    // What cannot be written at all fails, and the client is told.
    let impossible = RData::TXT(TXT::new(vec!["x".repeat(300)]));
    let impossible = Record::from_rdata(name("www.example.com"), 5, impossible);
    let (code, _) = complete(
        &pending(false, 1232),
        response(vec![impossible], Vec::new()),
        &mut out,
    );
    let answer = read(&out);
    assert_eq!(code, Code::SERV_FAIL);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

proptest! {
    /// An upstream may say anything.
    #[test]
    fn damaged_answers_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        limit in 512_u16..2000,
        flattened: bool,
    ) {
        let pending = pending(flattened, limit);
        let asked = ForwardedQuery::new(&pending, &mut fastrand::Rng::with_seed(1), true);
        let mut response = read(&asked.bytes).into_response();
        for last in 0..4 {
            response.add_answer(Record::from_rdata(response.queries[0].name.clone(), 60, address(last)));
        }
        let mut bytes = wire(&response);
        for (index, value) in damage {
            let index = 12 + index.index(bytes.len() - 12);
            bytes[index] = value;
        }
        if let ParsedResponse::Answer(upstream) = asked.parse_response(&bytes, false) {
            let mut out = Vec::new();
            complete(&pending, Some(upstream), &mut out);
            prop_assert!(out.len() <= usize::from(limit));
            prop_assert!(Message::from_vec(&out).is_ok());
        }
    }
}
