//! Between the shadow and its row.

use fleetward_core::shadow::{Document, Sections, Watch};
use fleetward_store::ShadowRow;

use super::ShadowKey;
use crate::error::{Error, Result};

pub(super) fn document_of(row: ShadowRow) -> Result<Document> {
    let sections = |text: &str| serde_json::from_str::<Sections>(text).map_err(Error::internal);
    Ok(Document {
        state: sections(&row.document)?,
        metadata: sections(&row.metadata)?,
        version: row.version,
        updated_at: row.updated_at,
        deleted_at: row.deleted_at,
        changes: row.changes,
        watch: match row.watch.as_deref() {
            Some(watch) => serde_json::from_str(watch).map_err(Error::internal)?,
            None => Watch::default(),
        },
    })
}

pub(super) fn row_of(key: &ShadowKey, document: &Document) -> Result<ShadowRow> {
    let text = |sections: &Sections| serde_json::to_string(sections).map_err(Error::internal);
    Ok(ShadowRow {
        device: key.device.clone(),
        name: key.name.clone(),
        version: document.version,
        document: text(&document.state)?,
        metadata: text(&document.metadata)?,
        deleted_at: document.deleted_at,
        updated_at: document.updated_at,
        changes: document.changes,
        watch: match document.watch.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&document.watch).map_err(Error::internal)?),
        },
    })
}
