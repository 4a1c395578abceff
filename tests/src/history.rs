//! Linearizability of histories of concurrent calls: whether some order of them, each at one moment between its begin
//! and its end, explains every answer (the search of Wing and Gong, with Lowe's memoization).
//!
//! A call without an answer may have taken effect at any moment after its begin, or never.

use std::{collections::HashSet, fmt::Debug, hash::Hash};

/// The sequential specification of an object.
pub trait Model {
    /// The state between calls.
    type State: Clone + Eq + Hash + Debug;
    /// A call, with its answer if there was one.
    type Call: Debug;

    /// The state after a call; `None` when its answer is impossible in this state.
    fn step(state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// One call of a history. All callers share one clock.
#[derive(Clone, Debug)]
pub struct Event<C> {
    /// Time before it was sent.
    pub begin: u64,
    /// Time after the answer arrived; `None` without an answer.
    pub end: Option<u64>,
    /// The call and its answer.
    pub call: C,
}

/// Maximum states that are searched before a history counts as undecidable.
const TRIES: usize = 5_000_000;

/// Searches an order that explains a history. The error has the longest prefix found.
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
        // The next call in the order must have begun before the first pending answer.
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
        // Answered calls are tried first: they are pushed last.
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

/// The set of events that are placed.
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

/// An observation of a number that should only grow.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// Time before the request.
    pub begin: u64,
    /// Time after the answer.
    pub end: u64,
    /// The number.
    pub number: u64,
}

/// Checks that no observation is lower than one that ended before it began.
pub fn only_grows(observations: &[Observation]) -> Result<(), String> {
    let mut by_end: Vec<Observation> = observations.to_vec();
    by_end.sort_by_key(|sight| sight.end);
    let mut by_begin = by_end.clone();
    by_begin.sort_by_key(|sight| sight.begin);
    let mut earlier = by_end.into_iter().peekable();
    let mut most: Option<Observation> = None;
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
