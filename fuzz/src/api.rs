//! Requests to App Mesh, Cloud Map and STS, one after the other, as their callers send them.
//!
//! Whatever comes: no panic, no failure of the server, an answer in the envelope that SDKs read. What is
//! accepted can be read back as it was answered, and the state that results survives an export.

mod readback;

use crate::{
    base::{Answer, Session, with_session},
    message,
};
use http::request::Parts;
use tombolo_store::{FullState, export};

/// Requests of one input.
const MOST: usize = 8;

/// The target.
pub fn run(data: &[u8]) {
    with_session(|session| {
        for text in message::split(data, MOST) {
            let Some((request, body)) = session.read(text) else {
                continue;
            };
            let answer = session.send(&request, &body);
            check_envelope(&request, &answer);
            if answer.status == 200 {
                readback::check(session, &request, &body, &answer);
            }
        }
        if session.is_changed() {
            check_export(session);
        }
    });
}

fn check_envelope(request: &Parts, answer: &Answer) {
    assert!(answer.status < 500, "{request:?}: {answer:?}");
    let is_call = !answer.header("x-amzn-requestid").is_empty();
    if !is_call {
        let path = request.uri.path();
        assert_eq!(answer.status, 404, "{request:?}: {answer:?}");
        assert!(!request.headers.contains_key("x-amz-target") && path != "/v20190125");
        return;
    }
    let text = std::str::from_utf8(&answer.body).expect("answers are text");
    let code = answer.header("x-amzn-errortype");
    assert_eq!(answer.status == 200, code.is_empty(), "{answer:?}");
    let member = match answer.header("content-type") {
        "application/x-amz-json-1.1" => "Message",
        "application/json" => "message",
        "text/xml" => {
            let is_written = |c: char| c == '\n' || c == '\t' || !c.is_control();
            assert!(text.chars().all(is_written), "{text}");
            let shown = format!("<Code>{code}</Code>");
            assert!(answer.status == 200 || text.contains(&shown), "{text}");
            return;
        }
        other => panic!("{other}: {answer:?}"),
    };
    let body = answer.json().unwrap_or_else(|| panic!("no JSON: {text}"));
    assert!(body.is_object(), "{text}");
    if answer.status != 200 {
        // The operator API, and whatever is no path of an AWS API, answers with a body of its own.
        let rest = request.uri.path().strip_prefix("/v20190125");
        let is_app_mesh = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_operator = !request.headers.contains_key("x-amz-target") && !is_app_mesh;
        let kind = if is_operator { "code" } else { "__type" };
        assert_eq!(body[kind], code, "{request:?}: {text}");
        let message = body[member].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{text}");
    }
}

/// What was accepted must be legal in an export, too, and come back from it.
fn check_export(session: &Session) {
    let state = FullState::of(&session.store.view());
    let mut text = Vec::new();
    export::write(&state, &mut text).expect("memory takes everything");
    let text = String::from_utf8(text).expect("exports are text");
    let read = export::read(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    assert_eq!(read, state, "{text}");
}

#[cfg(test)]
mod tests;
