use super::*;
use crate::probe::wire;
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType as Type, rdata::opt::EdnsOption},
};
use proptest::prelude::*;

/// A header with these counts, and what follows.
fn message(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x67];
    for word in [flags].iter().chain(&counts) {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(rest);
    bytes
}

const ASKED: &[u8] = b"\x01a\x00\x00\x01\x00\x01";
const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

#[test]
fn what_is_said_is_read_and_what_lies_is_refused() {
    let name = |last: u8, bytes: usize| {
        let labels = [[63; 64], [63; 64], [63; 64]].concat();
        [&labels[..], &[last; 64][..bytes], b"\0\0\x01\0\x01"].concat()
    };
    let (longest, too_long) = (name(61, 62), name(62, 63));
    let two = [ASKED, ASKED].concat();
    let with = |parts: &[&[u8]]| [&[ASKED], parts].concat().concat();
    let record: &[u8] = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x02ab";
    let named_opt: &[u8] = b"\x01a\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    let cut_opt: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x05\x00\x0a\x00\x02x";
    let odd_opt: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x03\x00\x0a\x00";
    let options: &[u8] =
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0a\x00\x0a\x00\x02xy\xff\xff\x00\x00";
    for (what, counts, rest) in [
        ("a question", [1, 0, 0, 0], ASKED.to_vec()),
        ("the longest name", [1, 0, 0, 0], longest),
        ("the root", [1, 0, 0, 0], b"\0\0\x01\0\x01".into()),
        ("an SOA, as with IXFR", [1, 0, 1, 0], with(&[record])),
        ("another record", [1, 0, 0, 1], with(&[record])),
        ("EDNS", [1, 0, 0, 1], with(&[OPT])),
        ("EDNS with options", [1, 0, 0, 1], with(&[options])),
        ("EDNS and more", [1, 0, 0, 2], with(&[OPT, record])),
    ] {
        let bytes = message(0, counts, &rest);
        let question = Question::read(&bytes).unwrap_or_else(|fault| panic!("{what}: {fault:?}"));
        assert_eq!(question.header.id, 0x1267, "{what}");
    }
    for (what, counts, rest) in [
        ("a name too long", [1, 0, 0, 0], too_long),
        ("none", [0, 0, 0, 0], ASKED.into()),
        ("no question", [0, 0, 0, 0], Vec::new()),
        ("two", [2, 0, 0, 0], two.clone()),
        ("two, one counted", [1, 0, 0, 0], two),
        ("huge counts", [1, 0, 65_535, 65_535], ASKED.into()),
        ("65,535 questions", [65_535, 0, 0, 0], ASKED.into()),
        ("an answer in it", [1, 1, 0, 0], with(&[record])),
        ("an uncounted record", [1, 0, 0, 0], with(&[record])),
        ("a cut record", [1, 0, 0, 1], with(&[&record[..13]])),
        ("EDNS twice", [1, 0, 0, 2], with(&[OPT, OPT])),
        ("EDNS of a name", [1, 0, 0, 1], with(&[named_opt])),
        ("EDNS as authority", [1, 0, 1, 0], with(&[OPT])),
        ("a cut option", [1, 0, 0, 1], with(&[cut_opt])),
        ("half an option", [1, 0, 0, 1], with(&[odd_opt])),
        ("bytes after the end", [1, 0, 0, 0], with(&[b"x"])),
        ("a loop", [1, 0, 0, 0], b"\xc0\x0c\0\x01\0\x01".into()),
        ("a pointer", [1, 0, 0, 0], b"\x01a\xc0\0\0\x01\0\x01".into()),
        ("a label type", [1, 0, 0, 0], b"\x41a\0\0\x01\0\x01".into()),
        ("no end of the name", [1, 0, 0, 0], b"\x05ab".into()),
        ("no class", [1, 0, 0, 0], ASKED[..5].into()),
    ] {
        let (id, flags) = (0x1267, 0);
        let fault = Question::read(&message(0, counts, &rest)).err();
        let malformed = QuestionError::Malformed(Header { id, flags });
        assert_eq!(fault, Some(malformed), "{what}");
    }
}

#[test]
fn what_nobody_waits_for_is_ignored() {
    let whole = message(0, [1, 0, 0, 0], ASKED);
    for length in 0..HEADER {
        let fault = Question::read(&whole[..length]).err();
        assert_eq!(fault, Some(QuestionError::NoQuery));
    }
    for length in HEADER..whole.len() {
        let fault = Question::read(&whole[..length]).err();
        assert!(matches!(fault, Some(QuestionError::Malformed(_))));
    }
    let answer = message(0x8000, [1, 0, 0, 0], ASKED);
    assert_eq!(Question::read(&answer).err(), Some(QuestionError::NoQuery));
    for opcode in 1..16 {
        let other = message(opcode << 11, [1, 0, 0, 0], ASKED);
        let fault = Question::read(&other).err();
        assert!(
            matches!(fault, Some(QuestionError::Unsupported(_))),
            "{opcode}"
        );
    }
}

#[test]
fn edns_is_read_whole() {
    let opt = b"\x00\x00\x29\x02\x00\x00\x01\x80\x00\x00\x0e\x00\x0a\x00\x02xy\xff\x50\x00\x04trai";
    let bytes = message(0x0110, [1, 0, 0, 1], &[ASKED, opt].concat());
    let question = Question::read(&bytes).expect("a question");
    assert!(question.header.recursion_desired() && question.header.checking_disabled());
    let edns = question.edns.expect("EDNS");
    assert_eq!((edns.payload, edns.version, edns.dnssec_ok), (512, 1, true));
    assert_eq!(edns.hops(), b"trai");
}

fn arbitrary_message() -> impl Strategy<Value = Message> {
    let label = prop::collection::vec(any::<u8>(), 1..20);
    let labels = prop::collection::vec(label, 0..8);
    let edns = prop::option::of((any::<u16>(), any::<bool>(), prop::option::of(0..40_usize)));
    (labels, any::<[u16; 3]>(), any::<[bool; 3]>(), edns).prop_map(
        |(labels, [id, kind, class], [rd, cd, ad], edns)| {
            let mut message = Message::new(id, MessageType::Query, OpCode::Query);
            message.metadata.recursion_desired = rd;
            message.metadata.checking_disabled = cd;
            message.metadata.authentic_data = ad;
            let name = Name::from_labels(labels.iter().map(Vec::as_slice)).expect("a name");
            let mut query = Query::query(name, Type::from(kind));
            query.query_class = class.into();
            message.add_query(query);
            if let Some((payload, dnssec_ok, option)) = edns {
                let mut edns = Edns::new();
                edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
                if let Some(length) = option {
                    let option = EdnsOption::Unknown(HOPS_OPTION, vec![7; length]);
                    edns.options_mut().insert(option);
                }
                message.set_edns(edns);
            }
            message
        },
    )
}

proptest! {
    /// Whatever another implementation writes is read as what it meant.
    #[test]
    fn questions_of_another_implementation_are_understood(message in arbitrary_message()) {
        let bytes = wire(&message);
        let question = Question::read(&bytes).expect("a question");
        let (asked, header) = (&message.queries[0], question.header);
        prop_assert_eq!(header.id, message.metadata.id);
        prop_assert_eq!(header.recursion_desired(), message.metadata.recursion_desired);
        prop_assert_eq!(header.checking_disabled(), message.metadata.checking_disabled);
        let labels = crate::name::parents(question.name).filter_map(crate::name::first_label);
        let name = Name::from_labels(labels).expect("a name");
        prop_assert!(name.eq_case(&asked.name));
        prop_assert_eq!(question.kind, asked.query_type);
        prop_assert_eq!(question.class, u16::from(asked.query_class));
        prop_assert_eq!(question.edns.is_some(), message.edns.is_some());
        if let (Some(found), Some(meant)) = (question.edns, &message.edns) {
            prop_assert_eq!(found.payload, meant.max_payload());
            prop_assert_eq!(found.dnssec_ok, meant.flags().dnssec_ok);
            prop_assert_eq!(found.version, meant.version());
        }
    }

    /// Any message that is accepted is parsed by another implementation to the same question; nothing panics.
    #[test]
    fn damaged_questions_are_read_alike(
        message in arbitrary_message(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let mut bytes = wire(&message);
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(question) = Question::read(&bytes) {
            let read = Message::from_vec(&bytes);
            // Names of other records are skipped here, wherever their pointers lead; options that are
            // framed well may still say nonsense.
            if let Ok(read) = read {
                prop_assert_eq!(read.queries.len(), 1);
                prop_assert_eq!(read.queries[0].query_type, question.kind);
                let labels = read.queries[0].name.iter().map(<[u8]>::len).sum::<usize>();
                let own = crate::name::parents(question.name).count();
                prop_assert_eq!(labels + own, question.name.len());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(question) = Question::read(&bytes) {
            let hops = question.edns.map_or(0, |edns| edns.hops().len());
            prop_assert!(hops <= bytes.len());
        }
    }
}
