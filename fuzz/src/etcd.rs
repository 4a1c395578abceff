//! What etcd says: messages as they stand on the wire, each behind its length in two bytes.
//!
//! Whatever they are: no panic; a replica follows, or says why it cannot.

use tombolo_store::{
    FullState,
    etcd::fuzzing::{Follower, answer},
};

/// The target.
pub fn run(data: &[u8]) {
    let mut follower = Follower::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        answer(message);
        if let Err(why) = follower.take(message) {
            assert!(!why.to_string().is_empty());
            return;
        }
        let _ = FullState::of(&follower.view());
    }
}
