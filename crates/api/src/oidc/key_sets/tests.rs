use super::*;
use crate::oidc::sample::{self, NOW, Signer, claims, key_set};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn code(result: Result<(), VerifyError>) -> &'static str {
    match result {
        Ok(()) => "good",
        Err(VerifyError::NoKeys) => "no keys",
        Err(VerifyError::Token(TokenError::UnknownKey)) => "unknown key",
        Err(VerifyError::Token(_)) => "bad token",
    }
}

/// Paused time: files are read at once, and pauses pass when nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn a_key_that_appears_is_found_and_a_withdrawn_one_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keys.json");
    let (old, new) = (Signer::p256(), Signer::p256());
    let write = |keys: &[serde_json::Value]| std::fs::write(&file, key_set(keys)).expect("written");
    let (sets, provider) = (KeySets::default(), sample::provider(&file));
    let verify = async |signer: &Signer, id: &str| {
        let text = signer.token(id, &claims());
        let token = Token::read(&text).expect("readable");
        token.check_time(NOW).expect("valid");
        code(sets.verify(&provider, &token).await)
    };
    assert_eq!(verify(&old, "old").await, "no keys");
    write(&[old.jwk("old")]);
    assert_eq!(verify(&old, "old").await, "no keys", "attempts have pauses");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(verify(&old, "old").await, "good");

    write(&[old.jwk("old"), new.jwk("new")]);
    tokio::time::advance(MIN_PAUSE).await;
    assert_eq!(
        verify(&new, "new").await,
        "good",
        "rotation is noticed by the token"
    );
    write(&[new.jwk("new")]);
    assert_eq!(
        verify(&old, "old").await,
        "good",
        "until the keys are got again"
    );
    tokio::time::advance(MAX_AGE).await;
    assert_eq!(verify(&old, "old").await, "unknown key");

    std::fs::remove_file(&file).expect("removed");
    tokio::time::advance(MAX_AGE).await;
    assert_eq!(
        verify(&new, "new").await,
        "good",
        "the last keys stay in force"
    );
    tokio::time::advance(MAX_STALE).await;
    assert_eq!(verify(&new, "new").await, "no keys", "for a day");
}

/// A server that answers each request with the next of these, and tells what it was asked.
async fn server(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        asked
    });
    (url, served)
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

async fn ask(
    source: impl FnOnce(&str) -> (String, KeySource),
    answers: Vec<String>,
) -> &'static str {
    let signer = Signer::p256();
    let keys = key_set(&[signer.jwk("a")]);
    let (url, _served) = server(
        answers
            .into_iter()
            .map(|answer| answer.replace("KEYS", &ok(&keys)))
            .collect(),
    )
    .await;
    let (issuer, keys) = source(&url);
    let provider = Provider {
        issuer,
        keys,
        authorities: None,
        token: None,
    };
    let text = signer.token("a", &claims());
    let token = Token::read(&text).expect("readable");
    code(KeySets::default().verify(&provider, &token).await)
}

#[tokio::test]
async fn keys_come_from_a_url_that_may_lie() {
    let direct = |url: &str| ("i".to_owned(), KeySource::Url(format!("{url}/keys")));
    assert_eq!(ask(direct, vec!["KEYS".into()]).await, "good");
    for answer in [
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "nonsense".to_owned(),
        String::new(),
        ok("{}"),
        ok(&format!("{{\"keys\": \"{}\"}}", "x".repeat(300 << 10))),
    ] {
        assert_eq!(
            ask(direct, vec![answer.clone()]).await,
            "no keys",
            "{answer:.60}"
        );
    }
}

#[tokio::test]
async fn the_configuration_names_the_keys_and_the_issuer() {
    let discovery = |url: &str| (url.to_owned(), KeySource::Discovery);
    // The server's address is only known here, so that it cannot name itself: it names another issuer.
    let other = ok(r#"{"issuer": "https://other.example", "jwks_uri": "https://other.example/k"}"#);
    assert_eq!(ask(discovery, vec![other]).await, "no keys");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let signer = Signer::p256();
    let configuration = format!(r#"{{"issuer": "{url}", "jwks_uri": "{url}/k"}}"#);
    let answers = [ok(&configuration), ok(&key_set(&[signer.jwk("a")]))];
    let token_file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token_file.path(), "bearer\n").expect("written");
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
            stream.write_all(answer.as_bytes()).await.expect("answered");
        }
        asked
    });
    let provider = Provider {
        issuer: url,
        keys: KeySource::Discovery,
        authorities: None,
        token: Some(token_file.path().to_owned()),
    };
    let text = signer.token("a", &claims());
    let token = Token::read(&text).expect("readable");
    let sets = KeySets::default();
    sets.verify(&provider, &token).await.expect("good");
    let asked = served.await.expect("served");
    assert!(asked[0].starts_with("GET /.well-known/openid-configuration "));
    assert!(asked[1].starts_with("GET /k "));
    assert!(
        asked
            .iter()
            .all(|request| request.contains("authorization: Bearer bearer\r\n"))
    );
}

/// A server that never answers is given up, and is not asked for each token.
#[tokio::test(start_paused = true)]
async fn a_silent_server_has_a_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let provider = Provider {
        issuer: "i".into(),
        keys: KeySource::Url(url),
        authorities: None,
        token: None,
    };
    let text = Signer::p256().token("a", &claims());
    let token = Token::read(&text).expect("readable");
    let sets = KeySets::default();
    assert_eq!(code(sets.verify(&provider, &token).await), "no keys");
    assert_eq!(code(sets.verify(&provider, &token).await), "no keys");
    let asked = async {
        let mut asked = Vec::new();
        while let Ok(Ok(connection)) =
            tokio::time::timeout(Duration::from_secs(1), listener.accept()).await
        {
            asked.push(connection);
        }
        asked.len()
    };
    assert_eq!(asked.await, 1);
}

#[test]
fn only_what_cannot_be_changed_on_its_way_is_believed() {
    for (url, expected) in [
        ("https://oidc.example/id/1", true),
        ("http://oidc.example/id/1", false),
        ("http://127.0.0.1:1/x", true),
        ("http://[::1]:1/x", true),
        ("http://localhost/x", true),
        ("http://127.0.0.1.example/", false),
        ("ftp://oidc.example", false),
        ("/etc/keys", false),
        ("", false),
    ] {
        assert_eq!(is_safe_url(url), expected, "{url}");
    }
}
