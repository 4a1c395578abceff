//! `/listeners`: names and addresses of the listeners, in Envoy's text form.

use crate::generation::Generation;

pub(super) fn text(generation: &Generation) -> String {
    let listeners = generation.listeners.iter();
    listeners
        .map(|bound| format!("{}::{}\n", bound.listener.name, bound.socket.address))
        .collect()
}
