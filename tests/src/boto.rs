//! The real boto3: one Python process, many calls.

use crate::{aws::Aws, need};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const DRIVER: &str = include_str!("boto.py");

/// A Python process that makes calls.
pub struct Boto {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// An exception of boto3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The error's code, for example `NotFoundException`.
    pub code: String,
    /// The class of the exception: boto3 has the errors of each operation.
    pub class: String,
    /// The error's message.
    pub message: String,
    /// The HTTP status.
    pub status: u64,
    /// The error's other members.
    pub members: Value,
}

impl Boto {
    /// Starts one; `None`, after a message, when there is no Python with boto3.
    pub fn start(aws: &Aws) -> Option<Self> {
        let mut command = Command::new(need("TOMBOLO_PYTHON")?);
        aws.environment(&mut command);
        let mut child = command
            .args(["-u", "-c", DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("TOMBOLO_PYTHON can be run");
        let calls = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self {
            child,
            calls,
            answers,
        })
    }

    /// Makes a call that must succeed.
    #[track_caller]
    pub fn call(&mut self, service: &str, operation: &str, params: Value) -> Value {
        let shown = params.to_string();
        let result = self.attempt(service, operation, params);
        result.unwrap_or_else(|raised| panic!("{operation} {shown}: {raised:?}"))
    }

    /// Makes a call that must fail.
    #[track_caller]
    pub fn fail(&mut self, service: &str, operation: &str, params: Value) -> Raised {
        let shown = params.to_string();
        match self.attempt(service, operation, params) {
            Err(raised) => *raised,
            Ok(answer) => panic!("{operation} {shown} succeeded: {answer}"),
        }
    }

    /// Makes a call.
    pub fn attempt(
        &mut self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, Box<Raised>> {
        self.exchange(&json!({"service": service, "operation": operation, "params": params}))
    }

    /// Makes a call in another region.
    #[track_caller]
    pub fn call_in(
        &mut self,
        region: &str,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Value {
        let call = json!({
            "service": service, "operation": operation, "params": params, "region": region,
        });
        let result = self.exchange(&call);
        result.unwrap_or_else(|raised| panic!("{operation} in {region}: {raised:?}"))
    }

    /// All pages of a listing, by boto3's own paginator.
    #[track_caller]
    pub fn pages(
        &mut self,
        service: &str,
        operation: &str,
        params: Value,
        size: usize,
    ) -> Vec<Value> {
        let call = json!({
            "service": service, "operation": operation, "params": params, "paginate": size,
        });
        let answer = self.exchange(&call);
        let mut answer = answer.unwrap_or_else(|raised| panic!("{operation}: {raised:?}"));
        match answer["pages"].take() {
            Value::Array(pages) => pages,
            other => panic!("pages are a list, not {other}"),
        }
    }

    #[track_caller]
    fn exchange(&mut self, call: &Value) -> Result<Value, Box<Raised>> {
        writeln!(self.calls, "{call}").expect("Python is still there");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("Python writes text");
        // Python ends on any error other than the server's answers, and prints it.
        assert!(!line.is_empty(), "Python ended at {call}");
        let mut answer: Value = serde_json::from_str(&line).expect("Python writes JSON");
        if let Some(error) = answer.get("error") {
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            return Err(Box::new(Raised {
                code: text("code"),
                class: text("class"),
                message: text("message"),
                status: error["status"].as_u64().unwrap_or_default(),
                members: error["members"].clone(),
            }));
        }
        Ok(answer["ok"].take())
    }
}

impl Drop for Boto {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
