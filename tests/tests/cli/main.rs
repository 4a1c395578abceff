//! The commands against the APIs of a server: apply, diff, get, describe, delete.

mod changes;
mod clusters;
mod fixture;
mod foreign_text;
mod kinds;
mod logging;
mod manifests;
mod reading;
mod refusals;
mod registry;
mod removal;
mod walkthroughs;
