//! What lets one device in, once: enrolment tokens and SCEP challenges, which differ in where they are and what they show.

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("DEVICE", "/device"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("EXPIRES", "/expires_at"),
    ("BY", "/created_by"),
];

/// For which device, and for how long.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The device's name; it is registered if it is not known yet
    device: String,
    /// How long it holds: seconds, or with s, m, h or d
    #[arg(long, value_parser = super::seconds)]
    ttl: Option<u64>,
    /// sensor, gateway or endpoint, for a device that is not known yet
    #[arg(long)]
    class: Option<String>,
    /// Hardware revision, for a device that is not known yet
    #[arg(long)]
    hardware: Option<String>,
}

/// One kind of it.
pub(super) struct Once {
    /// In the path.
    pub(super) noun: &'static str,
    /// The field of an answer that is shown once.
    pub(super) secret: &'static str,
}

impl Once {
    pub(super) async fn create(&self, session: &Session, create: Create) -> Result<(), Failure> {
        let Create { device, ttl, class, hardware } = create;
        let body = super::object([
            ("device", Some(json!(device))),
            ("ttl_s", ttl.map(|ttl| json!(ttl))),
            ("class", class.map(|class| json!(class))),
            ("hardware", hardware.map(|hardware| json!(hardware))),
        ]);
        let answer = session.client.post(&session.path(&[self.noun]).await?, &body).await?.value;
        if session.out == Format::Json {
            return output::json(&answer);
        }
        let text = |key: &str| output::cell(answer.get(key));
        output::note(&format!("For device {device}, once, until {}. Shown only now:", text("expires_at")));
        output::line(&text(self.secret))
    }

    pub(super) async fn list(&self, session: &Session, device: Option<&str>, limit: usize) -> Result<(), Failure> {
        let path = session.path(&[self.noun]).await? + &query(&[("device", device)]);
        session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
    }

    pub(super) async fn revoke(&self, session: &Session, id: &str) -> Result<(), Failure> {
        session.client.delete(&session.path(&[self.noun, id]).await?, Some("*")).await?;
        session.out.done(&format!("{id} revoked"))
    }
}
