//! `color`: answers with its color.

use crate::listen::{Body, text};
use bytes::Bytes;
use hyper::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use std::time::Duration;

/// The longest delay that a client can ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Answers every path with its color.
pub(crate) struct Color {
    color: Bytes,
    pod: Option<HeaderValue>,
}

impl Color {
    pub(crate) fn new(color: String, pod: Option<HeaderValue>) -> Self {
        Self {
            color: color.into(),
            pod,
        }
    }

    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if let Some(delay) = delay(request) {
            tokio::time::sleep(delay).await;
        }
        let mut response = text(StatusCode::OK, self.color.clone());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some(pod) = &self.pod {
            headers.insert("x-pod", pod.clone());
        }
        response
    }
}

/// The delay in the header `Latency`: seconds, with a fraction. What is no number is no delay.
fn delay<B>(request: &Request<B>) -> Option<Duration> {
    let seconds: f64 = request
        .headers()
        .get("latency")?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let delay = Duration::try_from_secs_f64(seconds).ok()?;
    Some(delay.min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_a_number_of_seconds() {
        for (value, expected) in [
            ("1.5", Some(Duration::from_millis(1500))),
            (" 0 ", Some(Duration::ZERO)),
            ("1e9", Some(LONGEST_DELAY)),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("soon", None),
        ] {
            let request = Request::builder()
                .header("Latency", value)
                .body(())
                .expect("a request");
            assert_eq!(delay(&request), expected, "{value:?}");
        }
        assert_eq!(delay(&Request::new(())), None);
    }
}
