//! The ceremony: requests from the server, signing them where the root is, certificates back to the server.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use fleetward_base::{Clock, SystemClock, SystemRng};
use fleetward_pki::offline::{self, Asks, Request};
use fleetward_pki::{Certificate, Serial, Validity, ca::Vouches, certificate::fingerprint, pem};
use serde_json::{Value, json};

use super::root::{DAY, Opened, Opens, common_name, small_file, sync_folder};
use crate::commands::key::write_new;
use crate::failure::Failure;
use crate::output::{Column, note};
use crate::session::Session;

const REQUESTS: [Column; 5] =
    [("ID", "/id"), ("ASKS", "/asks"), ("ROOT", "/root"), ("MADE", "/made_at"), ("FILE", "/file")];

#[derive(Debug, Args)]
pub(crate) struct Csr {
    /// Write each request into a file of this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Csr {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let found = session.client.get("/v1/ca-requests").await?.value;
        let mut rows = found.as_array().cloned().unwrap_or_default();
        if let Some(folder) = &self.out {
            for row in &mut rows {
                let file = write_request(folder, row)?;
                crate::commands::put(row, "file", json!(file.display().to_string()));
            }
            sync_folder(folder)?;
        }
        session.out.rows(&rows, &REQUESTS)
    }
}

/// `tenants-1a2b3c4d.csr.pem`; the same again is left as it is.
fn write_request(folder: &Path, row: &Value) -> Result<PathBuf, Failure> {
    let field = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, text) = (field("id"), field("pem"));
    // It becomes the name of a file, whoever the server is.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Failure::other("the server's answer cannot be read"));
    }
    let kind = if field("asks") == "cross" { "root" } else { "csr" };
    let path = folder.join(format!("{id}.{kind}.pem"));
    match std::fs::read_to_string(&path) {
        Ok(before) if before == text => Ok(path),
        Ok(_) => Err(Failure::usage(format!("{} is there already, with another request", path.display()))),
        Err(_) => write_new(&path, text, 0o644).map(|()| path),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The folder of the root
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// What the server asks for: a certificate request, or the certificate of another root
    request: PathBuf,
    /// Where the certificate goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How long it is to hold; never longer than the root
    #[arg(long, default_value_t = 4380, value_parser = clap::value_parser!(u32).range(1..=18_250))]
    days: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    opens: Opens,
}

impl Sign {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        if self.out.exists() {
            return Err(Failure::usage(format!("{} is there already", self.out.display())));
        }
        let der = request_file(&self.request)?;
        let root = Opened::open(&self.root, &self.opens).await?;
        let wrong = |error: offline::RequestError| Failure::usage(format!("{}: {error}", self.request.display()));
        let request = offline::read(&der, &root.certificate).map_err(wrong)?;
        let now = SystemClock::new().now();
        let validity = Validity { not_before: now.minus(DAY), not_after: now.plus(DAY * self.days) };
        describe(&request, &root.certificate, validity);
        if !self.yes && !agreed()? {
            return Err(Failure::other("not signed"));
        }
        let signed = offline::sign(&root.issuer()?, &request, Serial::generate(&SystemRng), validity);
        let signed = signed.map_err(|error| Failure::other(error.to_string()))?;
        write_new(&self.out, &pem::write(pem::CERTIFICATE, &signed.der), 0o644)?;
        sync_folder(self.out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        session.out.one(&json!({
            "asks": request.asks.as_str(),
            "name": common_name(&request.subject),
            "fingerprint": signed.fingerprint,
            "not_after": signed.validity.not_after.to_string(),
            "certificate_file": self.out.display().to_string(),
        }))
    }
}

/// One request, or one certificate of a root.
fn request_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = small_file(path)?;
    let wrong = |why: &str| Failure::usage(format!("{}: {why}", path.display()));
    let mut found = Vec::new();
    for label in [pem::CERTIFICATE_REQUEST, pem::CERTIFICATE] {
        found.extend(pem::read(label, &text).map_err(|error| wrong(&error.to_string()))?);
    }
    match <[Vec<u8>; 1]>::try_from(found) {
        Ok([der]) => Ok(der),
        Err(_) => Err(wrong("one certificate request, or the certificate of one root, was expected")),
    }
}

/// What is about to be signed, for the person who answers for it.
fn describe(request: &Request, root: &Certificate, validity: Validity) {
    let what = match request.asks {
        Asks::Authority(Vouches::Servers) => {
            "an authority for servers: whoever has its key is the server to every device"
        }
        Asks::Authority(_) => "an authority for tenants' authorities: whoever has its key makes devices of any tenant",
        Asks::Cross => "another root: whoever has its key is all that this root is",
    };
    let until = std::cmp::min(validity.not_after, root.not_after);
    note(&format!("This root     {} ({})", common_name(&root.subject), root.fingerprint()));
    note(&format!("is to sign    {what}"));
    note(&format!("  name        {}", common_name(&request.subject)));
    note(&format!("  key         SHA-256 {}", fingerprint(&request.spki)));
    note(&format!("  below it    {} more", request.asks.path_length()));
    note(&format!("  until       {until}"));
}

fn agreed() -> Result<bool, Failure> {
    if std::io::stdin().is_terminal() {
        note("Type yes to sign:");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Certificates that the root signed, in PEM
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Import {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut certificates = String::new();
        for file in &self.files {
            certificates.push_str(&small_file(file)?);
            certificates.push('\n');
        }
        let done = session.client.post("/v1/ca-requests/import", &json!({ "certificates": certificates })).await?.value;
        let waiting = done.get("waiting").and_then(Value::as_array).map_or(0, Vec::len);
        if waiting > 0 {
            note(&format!("{waiting} more to sign: see wardctl ca csr"));
        }
        session.out.one(&done)
    }
}
