//! One packet in, one answer out, without I/O.

use crate::{
    message::{Envelope, Fault, Packet, Response, Transport},
    metrics::Metrics,
    zone::{Answer, Query, Zone},
};
use hickory_proto::{
    op::{self, MessageType, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};
use std::{net::IpAddr, sync::Arc};

/// How many aliases are followed for one question; a longer chain is a mistake or a circle.
const LONGEST_CHAIN: usize = 8;

/// How many servers a question may come through, ours included.
const LONGEST_TRAIL: usize = 8;

/// Decides what each packet gets.
pub(crate) struct Responder {
    zones: Vec<Arc<dyn Zone>>,
    can_forward: bool,
    /// A random name for this server, by which it knows questions that it forwarded itself.
    id: [u8; 8],
    pub(crate) metrics: Arc<Metrics>,
}

/// What is to be done with a packet.
pub(crate) enum Step {
    /// Nothing: whatever sent this does not wait for an answer.
    Ignore,
    /// Send what was written.
    Reply,
    /// Ask an upstream, then [`Responder::finish`].
    Forward(Box<Pending>),
}

/// A question that waits for an upstream.
pub(crate) struct Pending {
    envelope: Envelope,
    /// Aliases that already lead from the name asked for to the name to ask for.
    aliases: Vec<Record>,
    /// What to ask for.
    pub(crate) question: op::Query,
    /// The servers it came through, with this one.
    pub(crate) trail: Vec<u8>,
}

/// What the zones know.
enum Outcome {
    Known(Response),
    /// These aliases lead to a name that no zone knows.
    Elsewhere(Vec<Record>, Name),
}

impl Responder {
    pub(crate) fn new(zones: Vec<Arc<dyn Zone>>, can_forward: bool, id: u64) -> Self {
        Self {
            zones,
            can_forward,
            id: id.to_be_bytes(),
            metrics: Arc::default(),
        }
    }

    /// Takes a packet from a client. With [`Step::Reply`], `out` holds the answer.
    pub(crate) fn respond(
        &self,
        bytes: &[u8],
        from: IpAddr,
        transport: Transport,
        seed: u64,
        out: &mut Vec<u8>,
    ) -> Step {
        let packet = match Packet::read(bytes, MessageType::Query) {
            Ok(packet) => packet,
            Err(Fault::Headless) => {
                self.metrics.ignored.add();
                return Step::Ignore;
            }
            Err(Fault::Malformed(metadata)) => {
                let envelope = Envelope::of_fault(&metadata);
                return self.reply_code(ResponseCode::FormErr, &envelope, out);
            }
            Err(Fault::Unsupported(metadata)) => {
                let envelope = Envelope::of_fault(&metadata);
                return self.reply_code(ResponseCode::NotImp, &envelope, out);
            }
        };
        let envelope = Envelope::of(&packet, transport, self.can_forward);
        if packet.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return self.reply_code(ResponseCode::BADVERS, &envelope, out);
        }
        let question = &packet.question;
        let is_transfer = matches!(question.query_type, RecordType::AXFR | RecordType::IXFR);
        if question.query_class != DNSClass::IN || is_transfer {
            return self.reply_code(ResponseCode::Refused, &envelope, out);
        }
        let Some(query) = Query::new(question.name.clone(), question.query_type, seed) else {
            return self.reply_code(ResponseCode::FormErr, &envelope, out);
        };
        let (aliases, target) = match self.look_up(query, from) {
            Outcome::Known(response) => return self.reply(&response, &envelope, out),
            Outcome::Elsewhere(aliases, target) => (aliases, target),
        };
        if !self.can_forward || !packet.metadata.recursion_desired {
            // An alias is an answer of its own; the client can ask for its target elsewhere.
            let response = Response {
                code: match aliases.is_empty() {
                    true => ResponseCode::Refused,
                    false => ResponseCode::NoError,
                },
                authoritative: !aliases.is_empty(),
                answers: aliases,
                ..Response::default()
            };
            return self.reply(&response, &envelope, out);
        }
        let trail = packet.trail();
        if trail.len() >= 8 * LONGEST_TRAIL || trail.chunks(8).any(|id| id == self.id) {
            self.metrics.forward_loops.add();
            return self.reply_code(ResponseCode::ServFail, &envelope, out);
        }
        Step::Forward(Box::new(Pending {
            aliases,
            question: op::Query::query(target, question.query_type),
            trail: [trail, &self.id].concat(),
            envelope,
        }))
    }

    /// Ends a forwarded question: with what the upstream said, or without (`None`).
    pub(crate) fn finish(&self, pending: Pending, said: Option<Packet>, out: &mut Vec<u8>) {
        let response = match said {
            Some(said) => Response {
                code: said.metadata.response_code,
                authoritative: false,
                answers: pending.aliases.into_iter().chain(said.answers).collect(),
                authorities: said.authorities,
                additionals: said.additionals,
            },
            None => Response::of_code(ResponseCode::ServFail),
        };
        self.reply(&response, &pending.envelope, out);
    }

    fn reply_code(&self, code: ResponseCode, envelope: &Envelope, out: &mut Vec<u8>) -> Step {
        self.reply(&Response::of_code(code), envelope, out)
    }

    fn reply(&self, response: &Response, envelope: &Envelope, out: &mut Vec<u8>) -> Step {
        self.metrics.answers.of(response.code).add();
        if response.write(envelope, out) {
            self.metrics.truncated.add();
        }
        Step::Reply
    }

    /// Asks the zones, and follows aliases from zone to zone.
    fn look_up(&self, mut query: Query, from: IpAddr) -> Outcome {
        let mut response = Response {
            authoritative: true,
            ..Response::default()
        };
        for _ in 0..LONGEST_CHAIN {
            let answer = self
                .zones
                .iter()
                .map(|zone| zone.answer(&query, from))
                .find(|answer| !matches!(answer, Answer::NotMine));
            match answer {
                None | Some(Answer::NotMine) => {
                    return Outcome::Elsewhere(response.answers, query.name);
                }
                Some(Answer::Refused) => {
                    // After an alias, what was found stands.
                    if response.answers.is_empty() {
                        return Outcome::Known(Response::of_code(ResponseCode::Refused));
                    }
                    return Outcome::Known(response);
                }
                Some(Answer::NoData(soa)) => {
                    response.authorities.push(soa);
                    return Outcome::Known(response);
                }
                Some(Answer::NxDomain(soa)) => {
                    response.code = ResponseCode::NXDomain;
                    response.authorities.push(soa);
                    return Outcome::Known(response);
                }
                Some(Answer::Records {
                    answers,
                    additionals,
                }) => {
                    let alias = match answers.last().map(|record| &record.data) {
                        Some(RData::CNAME(target)) if !query.wants(RecordType::CNAME) => {
                            Some(target.0.clone())
                        }
                        _ => None,
                    };
                    response.answers.extend(answers);
                    response.additionals.extend(additionals);
                    match alias.and_then(|target| Query::new(target, query.kind, query.seed)) {
                        Some(next) => query = next,
                        None => return Outcome::Known(response),
                    }
                }
            }
        }
        Outcome::Known(Response::of_code(ResponseCode::ServFail))
    }
}

#[cfg(test)]
mod tests;
