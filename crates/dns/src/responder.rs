//! Turns each packet into a response, or into a query for an upstream, without I/O.

use crate::{
    message::{self, UpstreamResponse},
    metrics::{Event, Metrics, Shard},
    name::Name,
    question::{Question, QuestionError},
    range::Views,
    record::{CLASS_IN, RecordType},
    reply::{self, Code, Reply, Transport},
    zone::{Query, Target, Verdict, Zone},
};
use std::{net::IpAddr, sync::Arc};

/// The greatest number of aliases that are followed for a query; a longer chain is considered a loop.
const MAX_ALIASES: usize = 8;

/// The greatest number of servers that forward a query, including this one.
const MAX_HOPS: usize = 8;

/// The zones, and the policy of forwarding.
pub(crate) struct Responder {
    zones: Vec<Arc<dyn Zone>>,
    can_forward: bool,
    /// Whether this is the only resolver of its clients: a name that neither a zone nor an upstream has does not exist.
    pub(crate) is_resolver: bool,
    /// A random id of this server: a query whose hops contain it is in a forwarding loop.
    id: [u8; 8],
    views: Arc<Views>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The sender of a packet, and its transport.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) transport: Transport,
}

/// The result of a packet.
pub(crate) enum Step {
    /// Send nothing: the packet is not a query.
    Ignore,
    /// Send the response in `out`.
    Reply,
    /// Query an upstream, then call [`Responder::finish`].
    Forward(Box<Pending>),
}

/// A query that waits for an upstream.
pub(crate) struct Pending {
    /// The response so far: the question, and the aliases from its name to `target`.
    pub(crate) partial: Vec<u8>,
    /// The end offset of the question in it.
    pub(crate) question_end: usize,
    /// The maximum length of the response, in bytes.
    pub(crate) limit: u16,
    /// The name to query.
    pub(crate) target: Name,
    /// The type to query.
    pub(crate) kind: RecordType,
    /// Whether the target's records are answered under the question's name (CNAME flattening).
    pub(crate) flattened: bool,
    /// The ids of the servers that forwarded the query, this one last, eight bytes each.
    pub(crate) hops: Vec<u8>,
    pub(crate) dnssec_ok: bool,
    pub(crate) checking_disabled: bool,
    pub(crate) client: IpAddr,
    pub(crate) view: usize,
}

impl Responder {
    pub(crate) fn new(
        zones: Vec<Arc<dyn Zone>>,
        can_forward: bool,
        views: Arc<Views>,
        id: u64,
    ) -> Self {
        Self {
            zones,
            can_forward,
            is_resolver: false,
            id: id.to_be_bytes(),
            metrics: Arc::new(Metrics::new(views.vpcs())),
            views,
        }
    }

    /// Responds to a packet of a client. With [`Step::Reply`], the response is in `out`.
    pub(crate) fn respond(
        &self,
        bytes: &[u8],
        client: Client,
        seed: u64,
        shard: &Shard,
        out: &mut Vec<u8>,
    ) -> Step {
        shard.received(client.transport);
        let view = self.views.of(client.address);
        let malformed = |header, code, out| {
            reply::header_only(header, code, out);
            shard.answered(view, None, code);
            Step::Reply
        };
        let question = match Question::read(bytes) {
            Ok(question) => question,
            Err(QuestionError::NoQuery) => {
                shard.count(Event::Ignored);
                return Step::Ignore;
            }
            Err(QuestionError::Malformed(header)) => return malformed(header, Code::FORM_ERR, out),
            Err(QuestionError::Unsupported(header)) => {
                return malformed(header, Code::NOT_IMP, out);
            }
        };
        let mut reply = Reply::start(out, &question, client.transport);
        let query = Query {
            kind: question.kind,
            from: client.address,
            view,
            seed,
            key: question.key,
        };
        let outcome = match precheck(&question) {
            Some(code) => Outcome::Known(code, false),
            None => self.look_up(query, &mut reply),
        };
        let (code, authoritative) = match outcome {
            Outcome::Known(code, authoritative) => (code, authoritative),
            Outcome::External(alias) => {
                match self.forward_or_refuse(&question, client, view, alias, &mut reply) {
                    Ok(pending) => return Step::Forward(Box::new(pending)),
                    Err(answer) => answer,
                }
            }
        };
        let truncated = reply.finish(code, authoritative, self.can_forward);
        shard.answered(view, Some(question.kind), code);
        if truncated {
            shard.count(Event::Truncated);
        }
        Step::Reply
    }

    /// Answers a rate-limited query over UDP with a truncated response, so that the client repeats it over TCP.
    pub(crate) fn truncate(&self, bytes: &[u8], shard: &Shard, out: &mut Vec<u8>) -> Step {
        shard.received(Transport::Udp);
        shard.count(Event::Limited);
        let Ok(question) = Question::read(bytes) else {
            return Step::Ignore;
        };
        let mut reply = Reply::start(out, &question, Transport::Udp);
        reply.set_truncated();
        reply.finish(Code::NO_ERROR, false, self.can_forward);
        Step::Reply
    }

    /// Forwards a query for a name in no zone: the question's, or the target of its alias. `Err` has the code to answer
    /// with instead, and whether that is authoritative.
    fn forward_or_refuse(
        &self,
        question: &Question<'_>,
        client: Client,
        view: usize,
        alias: Option<Alias>,
        reply: &mut Reply<'_>,
    ) -> Result<Pending, (Code, bool)> {
        let hops = question.edns.map_or(&[][..], |edns| edns.hops());
        // Names of one label are in no public zone, and an unreachable upstream must not delay or hide the answer to a
        // misspelt service name.
        let is_recursive = question.header.recursion_desired();
        let is_resolving = self.is_resolver && is_recursive;
        let is_local = is_resolving && alias.is_none() && is_single_label(question.name);
        let flatten_ttl = alias.as_ref().and_then(|alias| alias.flatten_ttl);
        if !self.can_forward || is_local || !is_recursive {
            if let (Some(alias), Some(ttl)) = (&alias, flatten_ttl) {
                reply.alias(ttl, &alias.target);
            }
            // An alias without its target is an answer; the client can query the target elsewhere.
            let code = match reply.is_empty() {
                true if is_resolving => Code::NX_DOMAIN,
                true => Code::REFUSED,
                false => Code::NO_ERROR,
            };
            return Err((code, !reply.is_empty()));
        }
        if hops.len() >= 8 * MAX_HOPS || hops.chunks(8).any(|id| id == self.id) {
            self.metrics.forward_loops.inc();
            reply.clear();
            return Err((Code::SERV_FAIL, false));
        }
        // Invariant: the question's name is well-formed.
        let asked = || Name::from_wire(question.name);
        let (partial, question_end) = reply.take_partial();
        Ok(Pending {
            partial,
            question_end,
            limit: reply::limit(question, client.transport),
            target: alias.map_or_else(asked, |alias| alias.target),
            kind: question.kind,
            flattened: flatten_ttl.is_some(),
            hops: [hops, &self.id].concat(),
            dnssec_ok: question.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: question.header.checking_disabled(),
            client: client.address,
            view,
        })
    }

    /// Writes the response to a forwarded query; `response` is `None` if no upstream answered.
    pub(crate) fn finish(
        &self,
        pending: &Pending,
        response: Option<UpstreamResponse>,
        shard: &Shard,
        out: &mut Vec<u8>,
    ) {
        let (mut code, truncated) = message::complete(pending, response, out);
        if self.is_resolver && code == Code::REFUSED {
            // No upstream serves the name. Clients would treat REFUSED as a temporary failure and retry.
            code = Code::NX_DOMAIN;
            out[3] = out[3] & 0xf0 | code.0 as u8;
        }
        shard.answered(pending.view, Some(pending.kind), code);
        if truncated {
            shard.count(Event::Truncated);
        }
    }

    /// Queries the zones, and follows aliases from zone to zone.
    fn look_up(&self, mut query: Query, reply: &mut Reply<'_>) -> Outcome {
        let mut alias = None;
        for _ in 0..MAX_ALIASES {
            let verdict = self
                .zones
                .iter()
                .map(|zone| zone.answer(&query, reply))
                .find(|verdict| *verdict != Verdict::NotInZone);
            let next = match verdict {
                None | Some(Verdict::NotInZone) => return Outcome::External(alias),
                Some(Verdict::Found | Verdict::NoData) => {
                    return Outcome::Known(Code::NO_ERROR, true);
                }
                Some(Verdict::NxDomain) => {
                    // The question's name exists; its alias target does not.
                    let flattened = alias.is_some_and(|alias: Alias| alias.flatten_ttl.is_some());
                    let code = if flattened {
                        Code::NO_ERROR
                    } else {
                        Code::NX_DOMAIN
                    };
                    return Outcome::Known(code, true);
                }
                // An alias before this is an answer.
                Some(Verdict::Refused) if !reply.is_empty() => {
                    return Outcome::Known(Code::NO_ERROR, true);
                }
                Some(Verdict::Refused) => return Outcome::Known(Code::REFUSED, false),
                Some(Verdict::Alias(Target(target))) => Alias {
                    target,
                    flatten_ttl: None,
                },
                Some(Verdict::Flatten(Target(target), ttl)) if query.kind == RecordType::ANY => {
                    reply.alias(ttl, &target);
                    return Outcome::Known(Code::NO_ERROR, true);
                }
                Some(Verdict::Flatten(Target(target), ttl)) => Alias {
                    target,
                    flatten_ttl: Some(ttl),
                },
            };
            query.key = next.target.key();
            alias = Some(next);
        }
        reply.clear();
        Outcome::Known(Code::SERV_FAIL, false)
    }
}

/// The last alias that was followed.
struct Alias {
    target: Name,
    /// For CNAME flattening: the TTL of the alias that is answered if the target's records are not available.
    flatten_ttl: Option<u32>,
}

/// The outcome of a look-up in the zones.
enum Outcome {
    /// The response is complete: its code, and whether it is authoritative.
    Known(Code, bool),
    /// The question's name, or the target of its alias, is in no zone.
    External(Option<Alias>),
}

/// Whether a name, without the root's zero byte, is one label.
fn is_single_label(name: &[u8]) -> bool {
    name.first()
        .is_some_and(|length| usize::from(*length) + 1 == name.len())
}

/// The error code of a well-formed question that is not looked up.
fn precheck(question: &Question<'_>) -> Option<Code> {
    if question.edns.is_some_and(|edns| edns.version > 0) {
        return Some(Code::BAD_VERS);
    }
    match question.kind {
        // These are no types of records.
        RecordType::ZERO | RecordType::OPT | RecordType::TSIG => Some(Code::FORM_ERR),
        // TKEY, MAILB, MAILA.
        RecordType::Unknown(249 | 253 | 254) => Some(Code::NOT_IMP),
        RecordType::AXFR | RecordType::IXFR => Some(Code::REFUSED),
        _ if question.class != CLASS_IN => Some(Code::REFUSED),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
