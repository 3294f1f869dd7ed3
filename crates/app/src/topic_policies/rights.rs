//! What all policies that hold for a device come to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use fleetward_base::{DeviceId, TenantId};
use fleetward_core::selector::Selector;
use fleetward_core::topic_policy::{Attached, CertificateFacts, Compiled, Document, Facts, TargetKind};
use fleetward_pki::{Certificate, name};
use fleetward_store::{CertificateRow, TenantTx, TopicPolicyOfRow};
use parking_lot::RwLock;

use crate::App;
use crate::error::{Error, Result};
use crate::registry::device_of;

/// Most devices have none.
static NONE: LazyLock<Arc<Compiled>> = LazyLock::new(Arc::default);

/// Which tenants have attached a policy to anybody, as far as it is in memory: those that have not cost a connection nothing.
#[derive(Debug, Default)]
pub(crate) struct Known {
    any: RwLock<HashMap<TenantId, bool>>,
    /// How often something was forgotten: what was read before is not remembered after.
    forgotten: AtomicU64,
}

impl Known {
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let mut any = self.any.write();
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        any.remove(tenant);
    }

    /// Whether it is known that nothing is attached to anybody.
    pub(crate) fn has_none(&self, tenant: &TenantId) -> bool {
        self.any.read().get(tenant) == Some(&false)
    }

    fn learn(&self, tenant: &TenantId, found: bool, forgotten: u64) {
        let mut any = self.any.write();
        if self.forgotten.load(Ordering::SeqCst) == forgotten {
            any.insert(tenant.clone(), found);
        }
    }
}

/// Forgets what is remembered of a tenant that another server has changed.
pub fn forget_topic_rights(app: &App, tenant: &TenantId) {
    app.topic_rights().forget(tenant);
}

/// What statements allow and deny a device whose connection showed the certificate of this serial number, or what stands
/// for one.
///
/// # Errors
/// `NotFound` where there is no such device; where the store does not answer.
pub async fn rights_of(app: &App, tenant: &TenantId, device: &DeviceId, serial: &str) -> Result<Arc<Compiled>> {
    if app.topic_rights().has_none(tenant) {
        return Ok(Arc::clone(&NONE));
    }
    let forgotten = app.topic_rights().forgotten.load(Ordering::SeqCst);
    let (tenant_in, device_in, serial_in) = (tenant.clone(), device.clone(), serial.to_owned());
    let (any, compiled) = app
        .read(tenant, "topic rights", move |tx| {
            Box::pin(async move {
                let any = tx.topic_policies_any().await?;
                let compiled = if any { compile(tx, &tenant_in, &device_in, &serial_in).await? } else { None };
                Ok((any, compiled))
            })
        })
        .await?;
    app.topic_rights().learn(tenant, any, forgotten);
    Ok(compiled.map_or_else(|| Arc::clone(&NONE), Arc::new))
}

/// None where nothing holds for it.
pub(super) async fn compile(
    tx: &mut TenantTx,
    tenant: &TenantId,
    id: &DeviceId,
    serial: &str,
) -> Result<Option<Compiled>> {
    let rows = tx.topic_policies_of(id, serial).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let device = device_of(tx.device(id).await?.ok_or(Error::NotFound { what: "device" })?)?;
    let mut attached: Vec<Attached> = Vec::new();
    for row in rows {
        let TopicPolicyOfRow { policy, version, document, kind, target } = row;
        if kind == TargetKind::Selector.as_str() {
            let selector: Selector = serde_json::from_str(&target).map_err(Error::internal)?;
            if !selector.matches(&device) {
                continue;
            }
        }
        // Attached twice it is there once; they come in the order of their names.
        if attached.last().is_some_and(|last| last.policy == policy) {
            continue;
        }
        let document: Document = serde_json::from_str(&document).map_err(Error::internal)?;
        attached.push(Attached { policy, version, document });
    }
    if attached.is_empty() {
        return Ok(None);
    }
    let certificate = match attached.iter().any(|it| it.document.asks_for_certificate()) {
        true => tx.certificate(serial).await?.map(|row| facts_of(&row)).transpose()?,
        false => None,
    };
    let facts = Facts { tenant, device: &device, certificate: certificate.as_ref() };
    Ok(Some(Compiled::new(&attached, &facts)))
}

fn facts_of(row: &CertificateRow) -> Result<CertificateFacts> {
    let certificate = Certificate::parse(&row.der).map_err(Error::internal)?;
    // A name that cannot be read, or is there twice, is none.
    let one = |names: Vec<String>| if let [one] = names.as_slice() { Some(one.clone()) } else { None };
    let names = |der: &[u8]| name::read(der).map(|names| (one(names.common_names), one(names.organizations)));
    let (subject_cn, subject_o) = names(&certificate.subject).unwrap_or_default();
    let (issuer_cn, issuer_o) = names(&certificate.issuer).unwrap_or_default();
    Ok(CertificateFacts {
        serial: row.serial.clone(),
        fingerprint: row.fingerprint.clone(),
        subject_cn,
        subject_o,
        issuer_cn,
        issuer_o,
    })
}
