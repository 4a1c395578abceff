//! Judging histories of concurrent calls: whether some order of them, each at one moment between its begin
//! and its end, explains every answer (linearizability, searched for as Wing and Gong describe, with memory
//! of what was tried as Lowe adds).
//!
//! A call without an answer may have taken effect at any moment after its begin, or never.

use std::{collections::HashSet, fmt::Debug, hash::Hash};

/// Something that calls change and look at.
pub trait Model {
    /// What it is between calls.
    type State: Clone + Eq + Hash + Debug;
    /// A call with its answer, if it got one.
    type Call: Debug;

    /// The state after a call; `None` when the answer is impossible in this state.
    fn step(state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// One call of a history. Moments are of any clock that all callers share.
#[derive(Clone, Debug)]
pub struct Event<C> {
    /// Before it was sent.
    pub begin: u64,
    /// After the answer came; `None`: none came.
    pub end: Option<u64>,
    /// What was called and answered.
    pub call: C,
}

/// Combinations that are tried before a history counts as too hard to judge.
const TRIES: usize = 5_000_000;

/// Looks for an order that explains a history. The error says how far any order got.
pub fn linearizable<M: Model>(initial: M::State, events: &[Event<M::Call>]) -> Result<(), String> {
    let mut order: Vec<&Event<M::Call>> = events.iter().collect();
    order.sort_by_key(|event| event.begin);
    let answered = order.iter().filter(|event| event.end.is_some()).count();
    let mut seen = HashSet::new();
    let mut best = (0, initial.clone(), Done::new(order.len()));
    let mut open = vec![(initial, Done::new(order.len()), 0)];
    while let Some((state, done, explained)) = open.pop() {
        if explained == answered {
            return Ok(());
        }
        if explained > best.0 {
            best = (explained, state.clone(), done.clone());
        }
        // Whatever comes next began before the first open answer came.
        let rest = || order.iter().enumerate().filter(|(nth, _)| !done.has(*nth));
        let limit = rest().filter_map(|(_, event)| event.end).min();
        let limit = limit.unwrap_or(u64::MAX);
        let mut next = Vec::new();
        for (nth, event) in rest() {
            if event.begin > limit {
                break;
            }
            if let Some(after) = M::step(&state, &event.call) {
                let mut more = done.clone();
                more.add(nth);
                let is_answered = event.end.is_some();
                next.push((
                    is_answered,
                    (after, more, explained + usize::from(is_answered)),
                ));
            }
        }
        // What was answered is tried first: it is what the last pushed are.
        next.sort_by_key(|(is_answered, _)| *is_answered);
        for (_, (state, done, explained)) in next {
            if seen.insert((done.clone(), state.clone())) {
                open.push((state, done, explained));
            }
        }
        if seen.len() > TRIES {
            return Err(format!(
                "too many calls without an answer: {TRIES} orders tried"
            ));
        }
    }
    let (explained, state, done) = best;
    let missing: Vec<_> = order
        .iter()
        .enumerate()
        .filter(|(nth, _)| !done.has(*nth))
        .map(|(_, event)| event)
        .take(6)
        .collect();
    Err(format!(
        "no order explains this: after {explained} of {answered} answers the state would be {state:?}, \
         and the next calls are {missing:#?}"
    ))
}

/// Which events are placed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

impl Done {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, nth: usize) -> bool {
        self.0[nth / 64] >> (nth % 64) & 1 == 1
    }

    fn add(&mut self, nth: usize) {
        self.0[nth / 64] |= 1 << (nth % 64);
    }
}

/// Something seen in one place: a number that only grows there.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Before it was asked for.
    pub begin: u64,
    /// After the answer came.
    pub end: u64,
    /// The number.
    pub number: u64,
}

/// Whether nobody saw less after anybody had seen more.
pub fn only_grows(sights: &[Sight]) -> Result<(), String> {
    let mut by_end: Vec<Sight> = sights.to_vec();
    by_end.sort_by_key(|sight| sight.end);
    let mut by_begin = by_end.clone();
    by_begin.sort_by_key(|sight| sight.begin);
    let mut earlier = by_end.into_iter().peekable();
    let mut most: Option<Sight> = None;
    for sight in by_begin {
        while let Some(before) = earlier.next_if(|before| before.end < sight.begin) {
            if most.is_none_or(|most| before.number > most.number) {
                most = Some(before);
            }
        }
        if let Some(most) = most
            && sight.number < most.number
        {
            return Err(format!("{sight:?} after {most:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
