//! Compares an answer with the input of its call.

use serde_json::Value;
use tombolo_tests::model::{Operation, Shape};

/// The differences between input and answer, in members of the same name and shape.
pub(crate) fn differences(
    operation: Operation<'_>,
    sent: &Value,
    answer: &Value,
    may_have_more: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let (Some(input), Some(output)) = (operation.input(), operation.output()) else {
        return found;
    };
    let (shape, answer) = inside(output, answer);
    for member in input.members().filter(|member| !is_token(member.name)) {
        let twin = shape.member(member.name);
        let is_told = twin.is_some_and(|twin| twin.shape.name == member.shape.name);
        if let Some(sent) = sent.get(member.name).filter(|_| is_told) {
            let at = format!(".{}", member.name);
            compare(
                member.shape,
                sent,
                answer.get(member.name),
                &at,
                may_have_more,
                &mut found,
            );
        }
    }
    found
}

/// Whether a member is a page token.
fn is_token(name: &str) -> bool {
    name.eq_ignore_ascii_case("nextToken")
}

/// The resource in an answer: the payload, or the only member.
fn inside<'a, 'b>(output: Shape<'a>, answer: &'b Value) -> (Shape<'a>, &'b Value) {
    if let Some(payload) = output.payload() {
        return (payload.shape, answer);
    }
    let mut members = output.members();
    match (members.next(), members.next()) {
        (Some(only), None) if only.shape.kind() == "structure" => (only.shape, &answer[only.name]),
        _ => (output, answer),
    }
}

fn compare(
    shape: Shape<'_>,
    sent: &Value,
    answer: Option<&Value>,
    at: &str,
    may_have_more: bool,
    found: &mut Vec<String>,
) {
    let Some(answer) = answer else {
        found.push(format!("{at}: {sent} did not come back"));
        return;
    };
    match (sent, answer) {
        (Value::Object(sent), Value::Object(answer)) if shape.kind() == "structure" => {
            for member in shape.members() {
                let at = format!("{at}.{}", member.name);
                match (sent.get(member.name), answer.get(member.name)) {
                    (Some(sent), answer) => {
                        compare(member.shape, sent, answer, &at, may_have_more, found);
                    }
                    (None, Some(answer)) if !may_have_more => {
                        found.push(format!("{at}: {answer} was not sent"));
                    }
                    (None, _) => {}
                }
            }
        }
        (Value::Array(sent), Value::Array(answer)) if sent.len() == answer.len() => {
            for (i, (sent, answer)) in sent.iter().zip(answer).enumerate() {
                let at = format!("{at}[{i}]");
                compare(
                    shape.element(),
                    sent,
                    Some(answer),
                    &at,
                    may_have_more,
                    found,
                );
            }
        }
        (sent, answer) if sent == answer => {}
        (sent, answer) => found.push(format!("{at}: {sent} came back as {answer}")),
    }
}
