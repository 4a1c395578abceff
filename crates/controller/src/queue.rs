//! A work queue of keys: each at most once, failed ones after a backoff, and one at a time during an outage of the
//! API.
//!
//! Sans-io: time is an argument. The size is bounded by the number of distinct keys, so by the number of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// Pauses before a key that failed is tried again: 100 ms, doubled up to 30 s.
pub(crate) const RETRY_PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(30))
    .without_max_times();

/// Pauses between attempts during an outage. The longest one bounds the delay until its end is noticed.
const OUTAGE_PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(MAX_OUTAGE_PAUSE)
    .without_max_times();

const MAX_OUTAGE_PAUSE: Duration = Duration::from_secs(2);

/// Consecutive attempts without an answer that count as an outage rather than as failures of single keys.
const OUTAGE_THRESHOLD: u32 = 3;

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key is reconciled.
    Done,
    /// It failed: the key is tried again after its own backoff.
    Failed,
    /// The API did not answer. One key at a time is tried, a different one each time, until one is answered.
    Unreachable,
}

#[derive(Debug)]
struct Entry {
    rank: u32,
    /// The remaining backoff; absent: the last attempt did not fail.
    pauses: Option<ExponentialBackoff>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Delayed(Instant),
    /// `again`: the key was added again meanwhile.
    Running {
        again: bool,
    },
}

/// Keys to reconcile. Keys of a lower rank come first, and while one of them is running, none of a higher rank
/// starts, so that references exist before the resources that refer to them. A key in backoff delays no other.
#[derive(Debug)]
pub struct WorkQueue<K> {
    entries: BTreeMap<K, Entry>,
    ready: BTreeSet<(u32, K)>,
    delayed: BTreeSet<(Instant, K)>,
    /// Running keys with their rank.
    running: BTreeMap<K, u32>,
    outage: Option<Outage>,
}

/// An outage of the API.
#[derive(Debug)]
struct Outage {
    /// Consecutive attempts without an answer.
    attempts: u32,
    pauses: ExponentialBackoff,
    /// Time at which the next attempt may start.
    until: Instant,
}

impl<K> Default for WorkQueue<K> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            running: BTreeMap::new(),
            outage: None,
        }
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// Queues a key for an attempt as soon as possible, even during its backoff. A running key is tried again when it
    /// has ended.
    pub fn add(&mut self, key: K, rank: u32) {
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            rank,
            pauses: None,
            state: State::Running { again: false },
        });
        if self.running.contains_key(&key) {
            entry.rank = rank;
            entry.state = State::Running { again: true };
            return;
        }
        match entry.state {
            State::Ready => drop(self.ready.remove(&(entry.rank, key.clone()))),
            State::Delayed(at) => drop(self.delayed.remove(&(at, key.clone()))),
            State::Running { .. } => {}
        }
        entry.rank = rank;
        entry.state = State::Ready;
        self.ready.insert((rank, key));
    }

    /// Removes a key that is not running.
    pub fn remove(&mut self, key: &K) {
        if self.running.contains_key(key) {
            return;
        }
        if let Some(entry) = self.entries.remove(key) {
            match entry.state {
                State::Ready => drop(self.ready.remove(&(entry.rank, key.clone()))),
                State::Delayed(at) => drop(self.delayed.remove(&(at, key.clone()))),
                State::Running { .. } => {}
            }
        }
    }

    /// The next key to reconcile, if one may start now. It is running until [`finish`](Self::finish).
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        if let Some(outage) = &self.outage
            && (now < outage.until || !self.running.is_empty())
        {
            return None;
        }
        while let Some((at, _)) = self.delayed.first()
            && (*at <= now || (self.outage.is_some() && self.ready.is_empty()))
        {
            let (_, key) = self.delayed.pop_first()?;
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.state = State::Ready;
                self.ready.insert((entry.rank, key));
            }
        }
        let (rank, _) = self.ready.first()?;
        if self.running.values().any(|running| running < rank) {
            return None;
        }
        let (rank, key) = self.ready.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Running { again: false };
        }
        self.running.insert(key.clone(), rank);
        Some(key)
    }

    /// Ends the attempt of a running key.
    pub fn finish(&mut self, key: &K, outcome: Outcome, now: Instant) {
        if self.running.remove(key).is_none() {
            return;
        }
        if outcome == Outcome::Unreachable {
            let outage = self.outage.get_or_insert_with(|| Outage {
                attempts: 0,
                pauses: OUTAGE_PAUSES.build(),
                until: now,
            });
            outage.attempts += 1;
            outage.until = now + outage.pauses.next().unwrap_or(MAX_OUTAGE_PAUSE);
        } else if let Some(outage) = self.outage.take()
            && outage.attempts >= OUTAGE_THRESHOLD
        {
            self.reachable();
        }
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let again = entry.state == State::Running { again: true };
        if outcome == Outcome::Done && !again {
            self.entries.remove(key);
            return;
        }
        let pause = match outcome {
            Outcome::Done => {
                entry.pauses = None;
                Duration::ZERO
            }
            Outcome::Failed | Outcome::Unreachable => {
                let pauses = entry.pauses.get_or_insert_with(|| RETRY_PAUSES.build());
                pauses.next().unwrap_or_default()
            }
        };
        if again {
            entry.state = State::Ready;
            self.ready.insert((entry.rank, key.clone()));
        } else {
            let at = now + pause;
            entry.state = State::Delayed(at);
            self.delayed.insert((at, key.clone()));
        }
    }

    /// Time at which [`pop`](Self::pop) may have a key that it has not now; `None` when only an addition or the end
    /// of a running key can change that.
    pub fn next_due(&self) -> Option<Instant> {
        match &self.outage {
            Some(outage) if self.running.is_empty() && !self.entries.is_empty() => {
                Some(outage.until)
            }
            Some(_) => None,
            None => self.delayed.first().map(|(at, _)| *at),
        }
    }

    /// Whether the last attempt was not answered.
    pub fn is_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// Ends an outage, because the API is known to answer: waiting keys are tried at once.
    pub fn reachable(&mut self) {
        self.outage = None;
        while let Some((_, key)) = self.delayed.pop_first() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.state = State::Ready;
                entry.pauses = None;
                self.ready.insert((entry.rank, key));
            }
        }
    }

    /// The number of running keys.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> (WorkQueue<&'static str>, Instant) {
        (WorkQueue::default(), Instant::now())
    }

    #[test]
    fn a_key_that_fails_waits_longer_each_time_and_holds_nobody_up() {
        let (mut queue, mut now) = queue();
        queue.add("bad", 0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(queue.pop(now), Some("bad"));
            queue.finish(&"bad", Outcome::Failed, now);
            queue.add("good", 1);
            assert_eq!(
                queue.pop(now),
                Some("good"),
                "the failed key is not in the way"
            );
            queue.finish(&"good", Outcome::Done, now);
            let due = queue.next_due().unwrap();
            assert_eq!(queue.pop(due - Duration::from_millis(1)), None);
            pauses.push(due - now);
            now = due;
        }
        assert!(pauses.is_sorted() && pauses[0] == Duration::from_millis(100));
        assert_eq!(pauses[11], Duration::from_secs(30));
    }

    #[test]
    fn a_key_is_never_worked_on_twice_at_a_time_and_no_addition_is_lost() {
        let (mut queue, now) = queue();
        queue.add("a", 0);
        queue.add("a", 0);
        assert_eq!(queue.pop(now), Some("a"));
        queue.add("a", 0);
        assert_eq!(queue.pop(now), None);
        queue.finish(&"a", Outcome::Done, now);
        assert_eq!(queue.pop(now), Some("a"), "it was added while it ran");
        queue.finish(&"a", Outcome::Done, now);
        assert_eq!((queue.pop(now), queue.next_due()), (None, None));
    }

    #[test]
    fn what_changes_while_it_waits_is_tried_at_once() {
        let (mut queue, now) = queue();
        queue.add("a", 0);
        queue.pop(now);
        queue.finish(&"a", Outcome::Failed, now);
        assert_eq!(queue.pop(now), None);
        queue.add("a", 0);
        assert_eq!(queue.pop(now), Some("a"));
    }

    #[test]
    fn higher_ranks_wait_for_running_keys_of_lower_ones() {
        let (mut queue, now) = queue();
        for (key, rank) in [("route", 2), ("mesh", 0), ("red", 1), ("blue", 1)] {
            queue.add(key, rank);
        }
        assert_eq!(queue.pop(now), Some("mesh"));
        assert_eq!(queue.pop(now), None);
        queue.finish(&"mesh", Outcome::Done, now);
        assert_eq!(
            (queue.pop(now), queue.pop(now)),
            (Some("blue"), Some("red"))
        );
        queue.finish(&"blue", Outcome::Done, now);
        assert_eq!(queue.pop(now), None);
        queue.finish(&"red", Outcome::Done, now);
        assert_eq!(queue.pop(now), Some("route"));
    }

    #[test]
    fn while_nobody_answers_one_key_is_tried_at_a_time_and_none_is_blamed() {
        let (mut queue, mut now) = queue();
        for key in ["a", "b", "c"] {
            queue.add(key, 0);
        }
        assert!(queue.pop(now).is_some() && queue.pop(now).is_some());
        queue.finish(&"a", Outcome::Unreachable, now);
        queue.finish(&"b", Outcome::Unreachable, now);
        let mut longest = Duration::ZERO;
        let mut tried = BTreeSet::new();
        for _ in 0..20 {
            let due = queue.next_due().unwrap();
            longest = longest.max(due - now);
            now = due;
            let key = queue.pop(now).unwrap();
            tried.insert(key);
            assert_eq!(queue.pop(now), None, "only one at a time");
            queue.finish(&key, Outcome::Unreachable, now);
        }
        assert_eq!((longest, tried.len()), (MAX_OUTAGE_PAUSE, 3));
        now = queue.next_due().unwrap();
        let first = queue.pop(now).unwrap();
        queue.finish(&first, Outcome::Done, now);
        assert!(
            queue.pop(now).is_some() && queue.pop(now).is_some(),
            "all are tried at once"
        );
    }

    #[test]
    fn one_key_that_is_never_answered_does_not_stop_the_others() {
        let (mut queue, mut now) = queue();
        queue.add("stuck", 0);
        let mut good = 0;
        for _ in 0..50 {
            queue.add("good", 0);
            now = queue.next_due().map_or(now, |due| due.max(now)) + Duration::from_millis(1);
            while let Some(key) = queue.pop(now) {
                let stuck = key == "stuck";
                good += u32::from(!stuck);
                let outcome = if stuck {
                    Outcome::Unreachable
                } else {
                    Outcome::Done
                };
                queue.finish(&key, outcome, now);
            }
        }
        assert!(good >= 45, "{good}");
    }

    /// The queue against a model: each key that was added and has not succeeded since is returned again.
    #[test]
    fn no_key_is_lost() {
        for seed in 0..200_u64 {
            let mut generator = fastrand::Rng::with_seed(seed);
            let mut random = |bound: u64| generator.u64(..bound);
            let (mut queue, mut now) = (WorkQueue::default(), Instant::now());
            let (mut wanted, mut running) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..300 {
                match random(4) {
                    0 => {
                        let key = random(8);
                        queue.add(key, u32::try_from(random(3)).unwrap());
                        wanted.insert(key);
                    }
                    1 => now += Duration::from_millis(random(400)),
                    2 => {
                        if let Some(key) = queue.pop(now) {
                            assert!(running.insert(key), "seed {seed}: {key} runs twice");
                            wanted.remove(&key);
                        }
                    }
                    _ => {
                        if let Some(key) = running.pop_first() {
                            let outcome = [Outcome::Done, Outcome::Failed, Outcome::Unreachable]
                                [random(3) as usize];
                            queue.finish(&key, outcome, now);
                            if outcome != Outcome::Done {
                                wanted.insert(key);
                            }
                        }
                    }
                }
            }
            for _ in 0..200 {
                now += Duration::from_secs(60);
                if let Some(key) = running.pop_first() {
                    queue.finish(&key, Outcome::Done, now);
                }
                while let Some(key) = queue.pop(now) {
                    wanted.remove(&key);
                    queue.finish(&key, Outcome::Done, now);
                }
            }
            assert!(wanted.is_empty(), "seed {seed}: lost {wanted:?}");
        }
    }
}
