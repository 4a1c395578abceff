//! What all AWS protocols share: which door a request is for, how bodies are read, how lists are paged, how a refusal looks.

pub(crate) mod call;
pub(crate) mod door;
pub(crate) mod failure;
pub(crate) mod json;
mod objects;
pub(crate) mod paging;
pub(crate) mod percent;

pub(crate) use call::Call;
pub(crate) use door::Door;
pub(crate) use failure::Failure;
pub(crate) use paging::Paging;
