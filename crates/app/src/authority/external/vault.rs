//! Vault and OpenBao: a token that was given, or one that AppRole gives, kept for as long as it counts.

use std::time::Duration;

use fleetward_base::Secret;
use fleetward_core::issuer::Vault as Config;
use fleetward_pki::{Serial, pem};
use fleetward_wire::issuer::vault;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value;

use super::super::leaf::Wish;
use super::http::{Call, Failure, Http};
use super::{Credential, all_certificates, first_certificate};
use crate::App;
use crate::error::{Error, Result};

pub(super) struct Vault {
    config: Config,
    login: Login,
}

enum Login {
    Token(Secret<String>),
    AppRole { role_id: Secret<String>, secret_id: Secret<String>, held: Mutex<Option<Held>> },
}

/// A token that a login gave, and until when it is used.
struct Held {
    token: Secret<String>,
    until: Option<Duration>,
}

impl Vault {
    pub(super) fn new(config: Config, credential: &Credential) -> Result<Self> {
        let login = match (&credential.token, &credential.role_id, &credential.secret_id) {
            (Some(token), None, None) => Login::Token(token.clone()),
            (None, Some(role_id), Some(secret_id)) => {
                Login::AppRole { role_id: role_id.clone(), secret_id: secret_id.clone(), held: Mutex::default() }
            }
            _ => return Err(Error::invalid("credential", "either a token, or a role_id with its secret_id")),
        };
        Ok(Self { config, login })
    }

    pub(super) async fn sign(&self, app: &App, http: &Http, wish: &Wish<'_>) -> Result<Vec<u8>, Failure> {
        let csr = pem::write(pem::CERTIFICATE_REQUEST, wish.csr.der());
        // Counted from now, and a little less, so that it never says more than was allowed.
        let seconds = wish.validity.not_after.since(app.now()).as_secs().saturating_sub(1);
        let Config { mount, role, .. } = &self.config;
        let (operation, body) = if self.config.verbatim {
            ("sign-verbatim", vault::verbatim_body(&csr, seconds))
        } else {
            ("sign", vault::sign_body(&csr, wish.common_name(), &wish.uri(), seconds))
        };
        let answer = self.authorised(app, http, &format!("/v1/{mount}/{operation}/{role}"), body).await?;
        first_certificate(&vault::certificate(&answer).map_err(Failure::answer)?)
    }

    pub(super) async fn revoke(&self, app: &App, http: &Http, serial: &Serial) -> Result<(), Failure> {
        let path = format!("/v1/{}/revoke", self.config.mount);
        self.authorised(app, http, &path, vault::revoke_body(&serial.to_string())).await.map(drop)
    }

    /// What it signs with now. The token is used too, so that one that ended is found out.
    pub(super) async fn authorities(&self, app: &App, http: &Http) -> Result<Vec<Vec<u8>>, Failure> {
        let token = self.token(app, http).await?;
        let looked_up = self.call(Method::GET, "/v1/auth/token/lookup-self", Some(&token), None);
        http.send(&looked_up).await?;
        let path = format!("/v1/{}/ca/pem", self.config.mount);
        let answer = http.send(&self.call(Method::GET, &path, None, None)).await?;
        all_certificates(&String::from_utf8_lossy(&answer))
    }

    /// Asks with a token; with a new one where the one in hand no longer counts.
    async fn authorised(&self, app: &App, http: &Http, path: &str, body: Value) -> Result<Vec<u8>, Failure> {
        let token = self.token(app, http).await?;
        let first = http.send(&self.call(Method::POST, path, Some(&token), Some(body.clone()))).await;
        match (&first, &self.login) {
            (Err(Failure::Refused { status: 403, .. }), Login::AppRole { held, .. }) => {
                let fresh = held.lock().take().is_some();
                if !fresh {
                    return first;
                }
                let token = self.token(app, http).await?;
                http.send(&self.call(Method::POST, path, Some(&token), Some(body))).await
            }
            _ => first,
        }
    }

    async fn token(&self, app: &App, http: &Http) -> Result<Secret<String>, Failure> {
        let (role_id, secret_id, held) = match &self.login {
            Login::Token(token) => return Ok(token.clone()),
            Login::AppRole { role_id, secret_id, held } => (role_id, secret_id, held),
        };
        let now = app.clock().monotonic();
        if let Some(held) = held.lock().as_ref().filter(|held| held.until.is_none_or(|until| now < until)) {
            return Ok(held.token.clone());
        }
        let path = format!("/v1/auth/{}/login", self.config.login);
        let body = vault::login_body(role_id.expose(), secret_id);
        let answer = http.send(&self.call(Method::POST, &path, None, Some(body))).await?;
        let login = vault::login(&answer).map_err(Failure::answer)?;
        // Another is fetched before the end of this one.
        let until = login.seconds.map(|seconds| now.saturating_add(Duration::from_secs(seconds - seconds / 5)));
        *held.lock() = Some(Held { token: login.token.clone(), until });
        Ok(login.token)
    }

    fn call<'a>(&self, method: Method, path: &'a str, token: Option<&Secret<String>>, body: Option<Value>) -> Call<'a> {
        // Without it a listener may be set to refuse, against requests that somebody else's browser was made to send.
        let mut headers = vec![("x-vault-request", Secret::new("true".to_owned()))];
        if let Some(token) = token {
            headers.push(("x-vault-token", token.clone()));
        }
        if let Some(namespace) = &self.config.namespace {
            headers.push(("x-vault-namespace", Secret::new(namespace.clone())));
        }
        Call { method, path, headers, body, refusal: vault::refusal }
    }
}
