//! Who signs the certificates of a tenant's devices: our own key, or somebody else's authority over its API.
//!
//! Values that are stored and shown; the credential is none of them. An address is HTTPS, or plain HTTP on this machine.

use serde::{Deserialize, Serialize};

use crate::text::text_enum;

const URL_BYTES: usize = 512;
const NAME_BYTES: usize = 128;
const PEM_BYTES: usize = 64 * 1024;

text_enum! {
    /// Whose API it is.
    pub enum IssuerKind("kind of issuer") {
        BuiltIn => "built-in",
        StepCa => "step-ca",
        /// HashiCorp Vault or OpenBao.
        Vault => "vault",
        Cfssl => "cfssl",
    }
}

text_enum! {
    /// What certificates are made for a tenant, by whom they are for.
    pub enum Purpose("purpose of a certificate") {
        Device => "device",
        /// Good for asking for an identity and for nothing else.
        Claim => "claim",
        /// Given to a claim, to become a device's.
        Waiting => "waiting",
        /// SCEP's registration authority.
        Registration => "registration-authority",
        /// The attestation key of a TPM.
        AttestationKey => "attestation-key",
    }
}

/// Who signs. Everything but the credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Issuer {
    /// The key of the tenant's own issuing authority.
    #[default]
    BuiltIn,
    StepCa(StepCa),
    Vault(Vault),
    Cfssl(Cfssl),
}

/// step-ca with a JWK provisioner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCa {
    pub url: String,
    /// Whom its TLS certificate is trusted by (PEM).
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// The authorities that sign (PEM): certificates of devices are known by them.
    pub authorities: String,
    pub provisioner: String,
    /// SHA-256 of its root, hexadecimal, for the `sha` of the token.
    #[serde(default)]
    pub root_sha256: Option<String>,
}

/// The PKI engine of Vault or OpenBao.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    pub url: String,
    #[serde(default)]
    pub tls_ca: Option<String>,
    pub authorities: String,
    /// Where the engine is mounted.
    #[serde(default = "pki")]
    pub mount: String,
    pub role: String,
    /// `sign-verbatim`: the request as it is, so the device must ask for its own URI.
    #[serde(default)]
    pub verbatim: bool,
    #[serde(default)]
    pub namespace: Option<String>,
    /// Where AppRole is mounted, for a role id with a secret id.
    #[serde(default = "approle")]
    pub login: String,
}

/// cfssl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cfssl {
    pub url: String,
    #[serde(default)]
    pub tls_ca: Option<String>,
    pub authorities: String,
    #[serde(default)]
    pub profile: String,
    #[serde(default)]
    pub label: String,
}

fn pki() -> String {
    "pki".to_owned()
}

fn approle() -> String {
    "approle".to_owned()
}

/// A field that cannot be, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadIssuer {
    pub field: &'static str,
    pub reason: &'static str,
}

impl Issuer {
    pub const fn kind(&self) -> IssuerKind {
        match self {
            Self::BuiltIn => IssuerKind::BuiltIn,
            Self::StepCa(_) => IssuerKind::StepCa,
            Self::Vault(_) => IssuerKind::Vault,
            Self::Cfssl(_) => IssuerKind::Cfssl,
        }
    }

    /// Whether it can make a certificate of this purpose; why not, where our own authority has to.
    ///
    /// # Errors
    /// The reason, for people.
    pub const fn makes(&self, purpose: Purpose) -> Result<(), &'static str> {
        match (self, purpose) {
            (Self::BuiltIn, _) | (_, Purpose::Device) => Ok(()),
            (Self::Vault(Vault { verbatim: true, .. }), Purpose::Claim | Purpose::Waiting) => {
                Err("sign-verbatim takes names from the request, and a request for it has none")
            }
            (_, Purpose::Claim | Purpose::Waiting) => Ok(()),
            (_, Purpose::Registration) => Err("it decrypts, and such an issuer makes certificates of TLS clients"),
            (_, Purpose::AttestationKey) => Err("an attestation key signs no request, and such an issuer wants one"),
        }
    }

    /// What our own authority signs all the same, and why.
    pub fn signed_here(&self) -> Vec<(Purpose, &'static str)> {
        Purpose::ALL.iter().filter_map(|&purpose| Some((purpose, self.makes(purpose).err()?))).collect()
    }

    /// Where it is.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::BuiltIn => None,
            Self::StepCa(StepCa { url, .. }) | Self::Vault(Vault { url, .. }) | Self::Cfssl(Cfssl { url, .. }) => {
                Some(url)
            }
        }
    }

    /// Whom its TLS certificate is trusted by.
    pub fn tls_ca(&self) -> Option<&str> {
        match self {
            Self::BuiltIn => None,
            Self::StepCa(StepCa { tls_ca, .. })
            | Self::Vault(Vault { tls_ca, .. })
            | Self::Cfssl(Cfssl { tls_ca, .. }) => tls_ca.as_deref(),
        }
    }

    /// The authorities that it signs with, as PEM.
    pub fn authorities(&self) -> &str {
        match self {
            Self::BuiltIn => "",
            Self::StepCa(StepCa { authorities, .. })
            | Self::Vault(Vault { authorities, .. })
            | Self::Cfssl(Cfssl { authorities, .. }) => authorities,
        }
    }

    /// Holds the values to their rules.
    ///
    /// # Errors
    /// [`BadIssuer`] names the field.
    pub fn check(&self) -> Result<(), BadIssuer> {
        let Some(url) = self.url() else { return Ok(()) };
        check_url(url)?;
        let bad = |field, reason| Err(BadIssuer { field, reason });
        if self.authorities().len() > PEM_BYTES || self.tls_ca().is_some_and(|pem| pem.len() > PEM_BYTES) {
            return bad("authorities", "at most 64 KiB of PEM");
        }
        match self {
            Self::BuiltIn => Ok(()),
            Self::StepCa(step) => {
                if step.provisioner.is_empty() || step.provisioner.len() > NAME_BYTES {
                    return bad("provisioner", "1 to 128 bytes");
                }
                let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
                if step.root_sha256.as_ref().is_some_and(|text| !is_hash(text)) {
                    return bad("root_sha256", "64 hexadecimal digits");
                }
                Ok(())
            }
            Self::Vault(vault) => {
                check_path("mount", &vault.mount)?;
                check_path("role", &vault.role)?;
                check_path("login", &vault.login)?;
                match &vault.namespace {
                    Some(namespace) => check_path("namespace", namespace),
                    None => Ok(()),
                }
            }
            Self::Cfssl(cfssl) if cfssl.profile.len() > NAME_BYTES => bad("profile", "at most 128 bytes"),
            Self::Cfssl(cfssl) if cfssl.label.len() > NAME_BYTES => bad("label", "at most 128 bytes"),
            Self::Cfssl(_) => Ok(()),
        }
    }
}

/// `https://host[:port][/path]`, or `http://` on a loopback address: a credential goes over it.
fn check_url(url: &str) -> Result<(), BadIssuer> {
    let bad = |reason| Err(BadIssuer { field: "url", reason });
    if url.len() > URL_BYTES || !url.bytes().all(|b| b.is_ascii_graphic()) || url.contains(['?', '#', '@', '\\']) {
        return bad("at most 512 visible characters without query, fragment or user");
    }
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) => {
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            if !(matches!(host, "localhost" | "127.0.0.1") || rest.starts_with("[::1]")) {
                return bad("plain http is for issuers on this machine; use https");
            }
            rest
        }
        _ => return bad("must begin with https://"),
    };
    if rest.is_empty() || rest.starts_with(['/', ':']) { bad("has no host") } else { Ok(()) }
}

fn check_path(field: &'static str, text: &str) -> Result<(), BadIssuer> {
    let segment = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if text.len() <= NAME_BYTES && text.split('/').all(segment) {
        return Ok(());
    }
    Err(BadIssuer { field, reason: "1 to 128 of letters, digits, - _ . and / between them" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cfssl(url: &str) -> Issuer {
        let (url, authorities) = (url.to_owned(), "PEM".to_owned());
        Issuer::Cfssl(Cfssl { url, tls_ca: None, authorities, profile: String::new(), label: String::new() })
    }

    #[test]
    fn credentials_go_over_tls() {
        for good in [
            "https://ca.example.com",
            "https://ca:9000/base",
            "http://127.0.0.1:8888",
            "http://localhost/",
            "http://[::1]:1",
        ] {
            assert_eq!(cfssl(good).check(), Ok(()), "{good}");
        }
        for bad in [
            "",
            "https://",
            "https:///x",
            "http://ca.example.com",
            "http://127.0.0.1.example.com",
            "ftp://ca",
            "https://a@b",
            "https://a?b",
            "https://a b",
            "http://localhost.example.com",
        ] {
            assert_eq!(cfssl(bad).check().map_err(|error| error.field), Err("url"), "{bad}");
        }
    }

    #[test]
    fn a_path_stays_within_its_place() {
        let vault = |mount: &str| {
            let text =
                format!(r#"{{"kind":"vault","url":"https://v","authorities":"PEM","role":"r","mount":"{mount}"}}"#);
            serde_json::from_str::<Issuer>(&text).expect("it reads").check()
        };
        assert_eq!(vault("pki/acme_1"), Ok(()));
        for bad in ["", "a//b", "../x", "a/..", "a?b", "a%2fb"] {
            assert_eq!(vault(bad).map_err(|error| error.field), Err("mount"), "{bad}");
        }
    }

    #[test]
    fn what_is_stored_reads_back_and_nothing_else_does() {
        let text = r#"{"kind":"vault","url":"https://v","authorities":"PEM","role":"r"}"#;
        let issuer: Issuer = serde_json::from_str(text).expect("it reads");
        assert!(matches!(&issuer, Issuer::Vault(vault) if vault.mount == "pki" && vault.login == "approle"));
        let again: Issuer = serde_json::from_str(&serde_json::to_string(&issuer).expect("JSON")).expect("it reads");
        assert_eq!(again, issuer);
        assert_eq!(serde_json::from_str::<Issuer>(r#"{"kind":"built-in"}"#).expect("it reads"), Issuer::BuiltIn);
        assert!(
            serde_json::from_str::<Issuer>(r#"{"kind":"cfssl","url":"https://v","authorities":"","token":"t"}"#)
                .is_err()
        );
        assert!(serde_json::from_str::<Issuer>(r#"{"kind":"ejbca"}"#).is_err());
    }

    #[test]
    fn what_it_makes_and_what_not() {
        let purposes = |issuer: &Issuer| {
            issuer.signed_here().iter().map(|(purpose, _)| purpose.as_str()).collect::<Vec<_>>().join(" ")
        };
        let read = |text: &str| serde_json::from_str::<Issuer>(text).expect("an issuer");
        assert_eq!(purposes(&Issuer::BuiltIn), "");
        let ours = "registration-authority attestation-key";
        assert_eq!(purposes(&read(r#"{"kind": "cfssl", "url": "https://a", "authorities": ""}"#)), ours);
        let vault = r#"{"kind": "vault", "url": "https://a", "authorities": "", "role": "r", "verbatim": false}"#;
        assert_eq!(purposes(&read(vault)), ours);
        assert_eq!(purposes(&read(&vault.replace("false", "true"))), format!("claim waiting {ours}"));
    }
}
