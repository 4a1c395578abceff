use super::*;
use crate::{
    probe::{read, wire},
    record::{Records, srv_data},
};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{self, RData, RecordType as Type, rdata},
};
use proptest::prelude::*;

/// A record to add to a reply.
#[derive(Clone, Debug)]
enum Part {
    Alias(Name),
    Address([u8; 4]),
    Server(Name),
    Srv(Name, u16),
}

/// Few different labels, so that names end alike.
fn a_name() -> impl Strategy<Value = Name> {
    let label = prop::sample::select(vec!["a", "B", "local", "LOCAL", "service", "\x01a"]);
    prop::collection::vec(label, 1..7)
        .prop_map(|labels| Name::from_labels(labels.iter().map(|l| l.as_bytes())).expect("a name"))
}

fn a_part() -> impl Strategy<Value = Part> {
    prop_oneof![
        a_name().prop_map(Part::Alias),
        any::<[u8; 4]>().prop_map(Part::Address),
        a_name().prop_map(Part::Server),
        (a_name(), any::<u16>()).prop_map(|(name, port)| Part::Srv(name, port)),
    ]
}

fn theirs(name: &Name) -> rr::Name {
    rr::Name::from_labels(name.labels()).expect("a name")
}

proptest! {
    /// Another implementation parses every reply to the records that were added, up to the limit of its length.
    #[test]
    fn replies_are_read_by_another_implementation(
        asked in a_name(),
        parts in prop::collection::vec(a_part(), 0..30),
        zone in a_name(),
        additionals in prop::collection::vec((a_name(), any::<[u8; 16]>()), 0..4),
        edns in prop::option::of((any::<u16>(), any::<bool>())),
        is_negative: bool,
        tcp: bool,
    ) {
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(theirs(&asked), Type::A));
        if let Some((payload, dnssec_ok)) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
            question.set_edns(edns);
        }
        let bytes = wire(&question);
        let question = Question::read(&bytes).expect("a question");
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = vec![9; 9];
        let mut reply = Reply::start(&mut out, &question, transport);

        let mut expected = Vec::new();
        let mut owner = theirs(&asked);
        for part in &parts {
            let data = match part {
                Part::Alias(target) => {
                    reply.alias(5, target);
                    RData::CNAME(rdata::CNAME(theirs(target)))
                }
                Part::Address(octets) => {
                    reply.answer_address(5, IpAddr::from(*octets));
                    RData::A(rdata::A((*octets).into()))
                }
                Part::Server(name) => {
                    reply.answer_name(RecordType::NS, 5, name);
                    RData::NS(rdata::NS(theirs(name)))
                }
                Part::Srv(target, port) => {
                    let mut records = Records::default();
                    records.push(RecordType::SRV, 5, &srv_data(1, 2, *port, target));
                    reply.answer_srv(records.get(0));
                    RData::SRV(rdata::SRV::new(1, 2, *port, theirs(target)))
                }
            };
            expected.push(rr::Record::from_rdata(owner.clone(), 5, data));
            if let Part::Alias(target) = part {
                owner = theirs(target);
            }
        }
        if is_negative {
            let authority = Authority {
                zone: zone.clone(),
                name_server: asked.clone(),
                contact: zone.clone(),
                ttl: 15,
            };
            reply.negative(&authority, 42);
        }
        for (name, octets) in &additionals {
            reply.additional_of(name, 5, IpAddr::from(*octets));
        }
        let most = usize::from(limit(&question, transport));
        let cut = reply.finish(Code::NX_DOMAIN, true, false);

        prop_assert!(out.len() <= most);
        let read = read(&out);
        prop_assert_eq!(read.metadata.truncation, cut);
        prop_assert_eq!(read.metadata.response_code, hickory_proto::op::ResponseCode::NXDomain);
        prop_assert!(read.queries[0].name.eq_case(&theirs(&asked)));
        prop_assert_eq!(read.edns.is_some(), edns.is_some());
        if !tcp || cut {
            prop_assert!(expected.starts_with(&read.answers));
        }
        if !cut {
            prop_assert_eq!(&read.answers, &expected);
            prop_assert_eq!(read.authorities.len(), usize::from(is_negative));
            for soa in &read.authorities {
                prop_assert_eq!(&soa.name, &theirs(&zone));
                let RData::SOA(soa) = &soa.data else { panic!("{soa}") };
                prop_assert_eq!((&soa.mname, &soa.rname), (&theirs(&asked), &theirs(&zone)));
                prop_assert_eq!((soa.serial, soa.minimum), (42, 15));
            }
        }
        prop_assert!(read.additionals.len() <= additionals.len());
        for record in &read.additionals {
            let RData::AAAA(address) = &record.data else { panic!("{record}") };
            let is_known = additionals.iter().any(|(name, octets)| {
                theirs(name) == record.name && address.octets() == *octets
            });
            prop_assert!(is_known);
        }
    }
}

#[test]
fn names_that_end_alike_are_pointers() {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    let asked = Name::parse("Web.Color.Local").expect("a name");
    question.add_query(Query::query(theirs(&asked), Type::A));
    let bytes = wire(&question);
    let question = Question::read(&bytes).unwrap_or_else(|fault| panic!("{fault:?}"));
    for (name, expected) in [
        ("web.color.local", b"\xc0\x0c".as_slice()),
        ("ns.color.LOCAL", b"\x02ns\xc0\x10"),
        ("color.local", b"\xc0\x10"),
        ("other.local", b"\x05other\xc0\x16"),
        ("locale", b"\x06locale\0"),
        ("a.web.color.local", b"\x01a\xc0\x0c"),
    ] {
        let mut out = Vec::new();
        let mut reply = Reply::start(&mut out, &question, Transport::Udp);
        let start = reply.out.len();
        reply.name(&Name::parse(name).expect("a name"));
        assert_eq!(out[start..], *expected, "{name}");
    }
}
