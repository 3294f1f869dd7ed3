//! What an offline root is asked for, and what was taken in.

use fleetward_app::offline_root::{ImportView, Imported, RequestView};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// Something that the offline root is asked to sign.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CaRequest)]
pub struct CaRequestView {
    pub id: String,
    /// `servers`, `tenants` or `cross`.
    pub asks: String,
    /// Fingerprint of the root that is asked.
    pub root: String,
    /// A certificate request, or for `cross` the certificate of the other root.
    pub pem: String,
    pub made_at: Time,
}

impl From<RequestView> for CaRequestView {
    fn from(found: RequestView) -> Self {
        let RequestView { id, asks, root, pem, made_at } = found;
        Self { id, asks, root, pem, made_at: Time(made_at) }
    }
}

/// An authority that was taken in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportedAuthority)]
pub struct ImportedAuthorityView {
    /// Of the request that it answers.
    pub id: String,
    pub asks: String,
    pub fingerprint: String,
    pub not_after: Time,
}

impl From<Imported> for ImportedAuthorityView {
    fn from(found: Imported) -> Self {
        let Imported { id, asks, fingerprint, not_after } = found;
        Self { id, asks, fingerprint, not_after: Time(not_after) }
    }
}

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CaImport)]
pub struct CaImportView {
    pub imported: Vec<ImportedAuthorityView>,
    /// Tenants that waited for an authority and have one now.
    pub tenants: usize,
    /// Requests that are still open.
    pub waiting: Vec<CaRequestView>,
}

impl From<ImportView> for CaImportView {
    fn from(found: ImportView) -> Self {
        Self {
            imported: found.imported.into_iter().map(ImportedAuthorityView::from).collect(),
            tenants: found.tenants,
            waiting: found.waiting.into_iter().map(CaRequestView::from).collect(),
        }
    }
}
