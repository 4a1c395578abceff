use super::*;

/// A register that is written, read, and compared and set.
struct Register;

#[derive(Clone, Debug)]
enum Call {
    Write(u32),
    Read(u32),
    /// Expected value, new value, and whether the swap succeeded.
    Swap(u32, u32, Option<bool>),
}

impl Model for Register {
    type State = u32;
    type Call = Call;

    fn step(state: &u32, call: &Call) -> Option<u32> {
        match call {
            Call::Write(value) => Some(*value),
            Call::Read(value) => (value == state).then_some(*state),
            Call::Swap(from, to, answer) => {
                let is_so = from == state;
                let fits = answer.is_none_or(|answer| answer == is_so);
                fits.then_some(if is_so { *to } else { *state })
            }
        }
    }
}

fn at(begin: u64, end: impl Into<Option<u64>>, call: Call) -> Event<Call> {
    Event {
        begin,
        end: end.into(),
        call,
    }
}

use Call::{Read, Swap, Write};

#[test]
fn good_histories_are_explained() {
    let histories: [(&str, Vec<Event<Call>>); 7] = [
        ("nothing", vec![]),
        (
            "one after the other",
            vec![at(0, 1, Write(1)), at(2, 3, Read(1))],
        ),
        (
            "a read during a write sees either",
            vec![at(0, 9, Write(1)), at(1, 2, Read(0)), at(3, 4, Read(1))],
        ),
        (
            "two writes at once, in the order that the reads tell",
            vec![
                at(0, 9, Write(1)),
                at(0, 9, Write(2)),
                at(10, 11, Read(1)),
                at(12, 13, Read(1)),
            ],
        ),
        (
            "a write without an answer takes effect much later",
            vec![at(0, None, Write(1)), at(5, 6, Read(0)), at(7, 8, Read(1))],
        ),
        (
            "a write without an answer never takes effect",
            vec![at(0, None, Write(1)), at(5, 6, Read(0)), at(7, 8, Read(0))],
        ),
        (
            "one of two swaps wins",
            vec![
                at(0, 5, Swap(0, 1, Some(false))),
                at(0, 5, Swap(0, 2, Some(true))),
                at(6, 7, Read(2)),
            ],
        ),
    ];
    for (what, history) in histories {
        if let Err(why) = linearizable::<Register>(0, &history) {
            panic!("{what}: {why}");
        }
    }
}

#[test]
fn bad_histories_are_not() {
    let histories: [(&str, Vec<Event<Call>>); 7] = [
        ("a lost write", vec![at(0, 1, Write(1)), at(2, 3, Read(0))]),
        (
            "a value from nowhere",
            vec![at(0, 1, Write(1)), at(2, 3, Read(7))],
        ),
        (
            "newer, then older",
            vec![at(0, 9, Write(1)), at(1, 2, Read(1)), at(3, 4, Read(0))],
        ),
        (
            "readers do not agree on the order of two writes",
            vec![
                at(0, 1, Write(1)),
                at(0, 1, Write(2)),
                at(2, 3, Read(1)),
                at(4, 5, Read(2)),
            ],
        ),
        (
            "two swaps from one value",
            vec![
                at(0, 5, Swap(0, 1, Some(true))),
                at(0, 5, Swap(0, 2, Some(true))),
            ],
        ),
        (
            "a write without an answer is taken back",
            vec![
                at(0, None, Write(1)),
                at(1, 2, Write(2)),
                at(3, 4, Read(1)),
                at(5, 6, Read(2)),
            ],
        ),
        (
            "seen before it began",
            vec![at(0, 1, Read(1)), at(2, 3, Write(1))],
        ),
    ];
    for (what, history) in histories {
        assert!(linearizable::<Register>(0, &history).is_err(), "{what}");
    }
}

/// Histories of a real register, with answers lost at random, are linearizable; with one answer changed they are not.
#[test]
fn random_histories_are_judged_rightly() {
    for seed in 0..200_u64 {
        let mut random = tombolo_model::entropy::Entropy::new(seed);
        let mut below = |bound: u64| random.next_u64() % bound;
        let mut state = 0;
        let mut history = Vec::new();
        for nth in 0..60_u64 {
            // Effects are in the order of their numbers; the intervals around them overlap.
            let moment = 10 * nth + 100;
            let (begin, end) = (moment - below(40), moment + below(40));
            let value = u32::try_from(nth + 1).expect("small");
            let (call, is_write) = match below(3) {
                0 => (Read(state), false),
                1 => {
                    state = value;
                    (Write(value), true)
                }
                _ => {
                    let from = if below(2) == 0 { state } else { value };
                    let is_so = from == state;
                    if is_so {
                        state = value;
                    }
                    (Swap(from, value, Some(is_so)), true)
                }
            };
            let is_lost = is_write && below(10) == 0;
            history.push(match call {
                Swap(from, to, _) if is_lost => at(begin, None, Swap(from, to, None)),
                call if is_lost => at(begin, None, call),
                call => at(begin, end, call),
            });
        }
        if let Err(why) = linearizable::<Register>(0, &history) {
            panic!("seed {seed}: {why}");
        }
        let mut broken = history.clone();
        broken.push(at(10_000, 10_001, Read(9_999)));
        assert!(linearizable::<Register>(0, &broken).is_err(), "seed {seed}");
    }
}

#[test]
fn numbers_that_grow_and_numbers_that_do_not() {
    let sight = |(begin, end, number)| Observation { begin, end, number };
    let judge =
        |all: &[(u64, u64, u64)]| only_grows(&all.iter().copied().map(sight).collect::<Vec<_>>());
    assert_eq!(judge(&[]), Ok(()));
    assert_eq!(judge(&[(0, 1, 1), (2, 3, 1), (4, 5, 2)]), Ok(()));
    assert_eq!(judge(&[(0, 5, 2), (1, 6, 1)]), Ok(()), "at the same time");
    assert!(judge(&[(0, 1, 2), (2, 3, 1)]).is_err());
    assert!(judge(&[(0, 9, 1), (1, 2, 5), (3, 4, 4)]).is_err());
}
