//! Which proxy calls, and what it may have: for the xDS server, which knows neither tokens nor signatures.
//!
//! A proxy proves who it is in one of two ways (docs/decisions/0037):
//!
//! - a bearer token of its pod's service account, whose audience is `tombolo/` and the resource that the injector
//!   chose, `tombolo/mesh/color/virtualNode/red_color`: the API server has signed both, and that the pod exists;
//! - a signature (SigV4) for `appmesh`, as AWS's Envoy image makes: call credentials without a body.
//!
//! Either way a policy must allow `appmesh:StreamAggregatedResources` on the ARN of the resource.

use crate::{
    access::{Credentials, SessionKeys, TrustMatch, User, provider},
    oidc::{Pod, Token, VerifyError},
    server::now,
    service::Service,
    sigv4::{AuthError, Claim},
};
use http::{HeaderValue, header, request::Parts};
use std::{fmt, sync::Arc};
use tombolo_model::Scope;

/// What the audience of a proxy's token begins with; the resource follows after a slash. In the credentials file
/// it stands for all of them.
pub const AUDIENCE: &str = "tombolo";
const ACTION: &str = "appmesh:StreamAggregatedResources";

/// Says which proxy calls.
#[derive(Clone)]
pub struct ProxyAccess {
    credentials: Credentials,
    sessions: SessionKeys,
}

/// A proxy that has proved who it is.
#[derive(Debug)]
pub struct ProxyCaller {
    /// The resource that its token is for; none where a policy alone decides.
    resource: Option<String>,
    pod: Option<Pod>,
    /// Any of them must be allowed.
    users: Vec<Arc<User>>,
}

/// Why a proxy is turned away. The message is for its log.
#[derive(Debug, thiserror::Error)]
pub enum ProxyRefusal {
    /// It is not known who it is.
    #[error("{0}")]
    Unauthenticated(String),
    /// It may not have what it asks for.
    #[error("{0}")]
    Denied(String),
    /// It cannot be told now; the proxy should come again.
    #[error("{0}")]
    Unavailable(String),
}

impl ProxyAccess {
    /// Access by the keys, roles and policies of a credentials file; `secret` is that of the store.
    pub fn new(credentials: Credentials, secret: &[u8; 32]) -> Self {
        Self {
            credentials,
            sessions: SessionKeys::new(secret),
        }
    }

    /// Who makes a call.
    ///
    /// # Errors
    /// [`ProxyRefusal`]: all of them.
    pub async fn identify(&self, call: &Parts) -> Result<ProxyCaller, ProxyRefusal> {
        let authorization = call.headers.get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let scheme = authorization.and_then(|text| text.split_once(' '));
        match scheme {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.identify_token(token.trim(), now()).await
            }
            Some(_) => self.identify_signature(call, now()),
            None => Err(ProxyRefusal::Unauthenticated(
                AuthError::Missing.to_string(),
            )),
        }
    }

    async fn identify_token(&self, token: &str, now: u64) -> Result<ProxyCaller, ProxyRefusal> {
        let unauthenticated =
            |why: &dyn fmt::Display| ProxyRefusal::Unauthenticated(why.to_string());
        let token = Token::read(token).map_err(|error| unauthenticated(&error))?;
        let claims = token.claims();
        let known = self.credentials.key_store();
        let Some(provider) = provider(known.providers(), &claims.issuer) else {
            let issuer = claims.issuer.chars().take(200).collect::<String>();
            let why = format!("tokens of the issuer {issuer:?} are not trusted here");
            return Err(ProxyRefusal::Unauthenticated(why));
        };
        match self.credentials.issuers().verify(provider, &token).await {
            Ok(()) => {}
            Err(error @ VerifyError::NoKeys) => {
                return Err(ProxyRefusal::Unavailable(error.to_string()));
            }
            Err(error) => return Err(unauthenticated(&error)),
        }
        token
            .check_time(now)
            .map_err(|error| unauthenticated(&error))?;
        let mut resources = claims.audiences.iter().filter_map(resource_of);
        let (Some(resource), None) = (resources.next(), resources.next()) else {
            let why = "the token is for no proxy: its audience must be tombolo/ and the resource, as \
                       tombolo/mesh/MESH/virtualNode/NODE";
            return Err(ProxyRefusal::Unauthenticated(why.into()));
        };
        let Some(pod) = claims.pod() else {
            let why = "the token is not bound to a pod: it must come from a projected volume";
            return Err(ProxyRefusal::Unauthenticated(why.into()));
        };
        let trusts = |trusted: &str, given: &str| {
            trusted == AUDIENCE && resource_of(given).is_some() || trusted == given
        };
        let roles = known.roles();
        let trusting = roles.filter(|role| role.matches(claims, trusts) == TrustMatch::Full);
        let users: Vec<_> = trusting.map(|role| Arc::new(role.user(&pod.uid))).collect();
        if users.is_empty() {
            return Err(ProxyRefusal::Denied(format!(
                "no role trusts {:?} of {:?} for the audience {AUDIENCE}",
                claims.subject, claims.issuer
            )));
        }
        Ok(ProxyCaller {
            resource: Some(resource.to_owned()),
            pod: Some(pod),
            users,
        })
    }

    fn identify_signature(&self, call: &Parts, now: u64) -> Result<ProxyCaller, ProxyRefusal> {
        let unauthenticated = |error: AuthError| {
            // Further lines show what was signed.
            let text = error.to_string();
            ProxyRefusal::Unauthenticated(text.lines().next().unwrap_or_default().to_owned())
        };
        let mut refused = AuthError::Missing;
        for host in hosts(call) {
            let mut call = Parts::clone(call);
            call.headers.insert(header::HOST, host);
            match self.verify(&call, now) {
                Ok(user) => {
                    return Ok(ProxyCaller {
                        resource: None,
                        pod: None,
                        users: vec![user],
                    });
                }
                Err(error) => refused = error,
            }
        }
        Err(unauthenticated(refused))
    }

    fn verify(&self, call: &Parts, now: u64) -> Result<Arc<User>, AuthError> {
        let service = Service::AppMesh.signing_name();
        let claim = Claim::read(call)?.ok_or(AuthError::Missing)?;
        let token = claim.token(call)?;
        let known = self.credentials.key_store();
        let found = known.find(&self.sessions, &claim.access_key, token.as_deref(), now);
        let (user, secret) = found?;
        known.check_region(service, &claim.region)?;
        // A stream has no body when it is opened: call credentials sign the empty one.
        claim
            .check(call, service, now)?
            .verify_head(call, &secret)?;
        Ok(user)
    }
}

impl ProxyCaller {
    /// The resource that the caller's token is for: a path (`mesh/color/virtualNode/red`) or an ARN. A signature is
    /// for none: its policies decide.
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Refuses the configuration of a resource that no policy allows.
    ///
    /// # Errors
    /// [`ProxyRefusal::Denied`].
    pub fn check(&self, scope: &Scope, arn: &str) -> Result<(), ProxyRefusal> {
        let mut refused = format!("this caller has no policies, and may not have {arn}");
        for user in &self.users {
            if user.account != *scope.account {
                refused = format!("{} is not of the account of {arn}", user.arn);
                continue;
            }
            match user.check(ACTION, || arn.to_owned()) {
                Ok(()) => return Ok(()),
                Err(error) => refused = error.to_string(),
            }
        }
        Err(ProxyRefusal::Denied(refused))
    }
}

/// Who it is, for the log.
impl fmt::Display for ProxyCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pod {
            Some(pod) => write!(f, "pod {}/{} ({})", pod.namespace, pod.name, pod.uid),
            None => f.write_str(self.users.first().map_or("nobody", |user| &user.arn)),
        }
    }
}

/// The resource in an audience.
fn resource_of(audience: &str) -> Option<&str> {
    audience.strip_prefix(AUDIENCE)?.strip_prefix('/')
}

/// What the caller may have signed as host: HTTP/2's authority as it is; gRPC's C core signs it without the port of
/// HTTPS.
fn hosts(call: &Parts) -> Vec<HeaderValue> {
    let authority = call.uri.authority().map(|authority| authority.as_str());
    let host = call.headers.get(header::HOST);
    let sent = authority.or_else(|| host.and_then(|host| host.to_str().ok()));
    let Some(sent) = sent else {
        return Vec::new();
    };
    let short = sent.strip_suffix(":443");
    let long = (!sent.contains(':')).then(|| format!("{sent}:443"));
    let spellings = [Some(sent.to_owned()), short.map(str::to_owned), long];
    let spellings = spellings.into_iter().flatten();
    spellings
        .filter_map(|host| HeaderValue::from_str(&host).ok())
        .collect()
}

#[cfg(test)]
mod tests;
