//! The real `aws` CLI, many commands in one process: the same code as a process for each, in a fraction of the time.

use crate::call::Call;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use tombolo_tests::{aws::Aws, need};

const DRIVER: &str = include_str!("cli.py");

/// A Python process with the CLI in it.
pub(crate) struct Cli {
    child: Child,
    commands: ChildStdin,
    outcomes: BufReader<ChildStdout>,
    /// The number of calls.
    pub(crate) calls: usize,
}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The CLI's request, in the shape of the recordings.
    pub(crate) sent: Value,
    /// The CLI's output, or the error.
    pub(crate) answer: Result<Value, Box<Refusal>>,
}

/// An error of the server.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u64,
    /// The error code, such as `NotFoundException`.
    pub(crate) code: String,
    /// The error message.
    pub(crate) message: String,
    /// The error's other members.
    pub(crate) members: Value,
}

impl Cli {
    /// Starts it; `None`, after a message, when there is no Python with the CLI.
    pub(crate) fn start(aws: &Aws) -> Option<Self> {
        let mut command = Command::new(need("TOMBOLO_PYTHON")?);
        aws.environment(&mut command);
        let mut child = command
            // The test must see the server's first answer.
            .env("AWS_MAX_ATTEMPTS", "1")
            .args(["-u", "-c", DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("TOMBOLO_PYTHON can be run");
        let commands = child.stdin.take().expect("piped");
        let outcomes = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self {
            child,
            commands,
            outcomes,
            calls: 0,
        })
    }

    /// Makes a call, and checks that its request equals the recording and that the CLI prints the server's answer.
    #[track_caller]
    pub(crate) fn run(&mut self, call: &Call) -> Outcome {
        self.calls += 1;
        let mut words = vec!["--output".to_owned(), "json".to_owned()];
        words.extend_from_slice(&call.words);
        writeln!(self.commands, "{}", json!(words)).expect("Python is still there");
        let mut line = String::new();
        let read = self.outcomes.read_line(&mut line);
        read.expect("Python writes text");
        // Python ends on an error of the driver, and prints it.
        assert!(!line.is_empty(), "Python ended at {call}");
        let mut outcome: Value = serde_json::from_str(&line).expect("Python writes JSON");
        let exchanges = (outcome["sent"].take(), outcome["received"].take());
        let (Value::Array(sent), Value::Array(received)) = exchanges else {
            panic!("{call}: not an outcome: {line}");
        };
        let ([sent], [received]) = (sent.as_slice(), received.as_slice()) else {
            panic!("{call}: not one exchange: {line}");
        };
        call.check_sent(sent);
        Outcome {
            sent: sent.clone(),
            answer: answer(call, &outcome, received),
        }
    }

    /// Makes a call that must succeed.
    #[track_caller]
    pub(crate) fn call(&mut self, call: &Call) -> Value {
        let answer = self.run(call).answer;
        answer.unwrap_or_else(|refusal| panic!("{call}: {refusal:?}"))
    }

    /// Makes a call that must be refused with this status and code.
    #[track_caller]
    pub(crate) fn refused(&mut self, call: &Call, status: u64, code: &str) -> Refusal {
        match self.run(call).answer {
            Ok(answer) => panic!("{call} succeeded, not {code}: {answer}"),
            Err(refusal) => {
                let got = (refusal.status, refusal.code.as_str());
                assert_eq!(got, (status, code), "{call}: {refusal:?}");
                *refusal
            }
        }
    }
}

impl Drop for Cli {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CLI's output, which must equal the received answer.
fn answer(call: &Call, outcome: &Value, received: &Value) -> Result<Value, Box<Refusal>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = received["status"].as_u64().unwrap_or_default();
    assert!(received["request"].is_string(), "{call}: {received}");
    if outcome["status"] == 0 {
        assert_eq!(status, 200, "{call}: {received}");
        let printed = text(&outcome["printed"]);
        if printed.is_empty() {
            // The CLI prints nothing for an answer without members.
            return Ok(json!({}));
        }
        let printed = serde_json::from_str(&printed);
        return Ok(printed.unwrap_or_else(|error| panic!("{call}: {error}: {outcome}")));
    }
    let refusal = Refusal {
        status,
        code: text(&received["code"]),
        message: text(&received["message"]),
        members: received["members"].clone(),
    };
    // Some clients read the code from the body, some from the header.
    assert_eq!(received["type"], received["code"], "{call}");
    let Call { operation, .. } = call;
    let told = format!(
        "An error occurred ({}) when calling the {operation} operation: {}",
        refusal.code, refusal.message
    );
    let complaint = text(&outcome["complaint"]);
    assert!(complaint.starts_with(&told), "{call}: {complaint}");
    Err(Box::new(refusal))
}
