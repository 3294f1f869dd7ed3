//! Commands that are written down once and sent often.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTemplateRow {
    /// The operation of what is sent by it.
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub content_type: String,
    pub payload: Vec<u8>,
    /// Nothing is sent by it any more.
    pub deprecated: bool,
    pub created_by: String,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(CommandTemplateRow {
    name: text,
    title: opt_text,
    description: opt_text,
    content_type: text,
    payload: bytes,
    deprecated: bool,
    created_by: text,
    revision: count,
    created_at: time,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "name, title, description, content_type, payload, deprecated, created_by, revision, created_at, updated_at"
    };
}

impl TenantTx {
    /// `false` where the name is taken.
    pub async fn insert_command_template(&mut self, row: &CommandTemplateRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO command_template (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant_id, name) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.title,
            &row.description,
            &row.content_type,
            row.payload.as_slice(),
            row.deprecated,
            &row.created_by,
            row.revision,
            row.created_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn command_template(&mut self, name: &str) -> Result<Option<CommandTemplateRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM command_template WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    /// In the order of their names.
    pub async fn command_templates(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<CommandTemplateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM command_template WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    pub async fn count_command_templates(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM command_template WHERE tenant_id = $1";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    /// Writes what can be said anew: title, description, and whether it is still sent. `false` where it is not at `expected`
    /// any more.
    pub async fn update_command_template(
        &mut self,
        row: &CommandTemplateRow,
        expected: u64,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE command_template SET title = $3, description = $4, deprecated = $5, revision = $6, \
             updated_at = $7 WHERE tenant_id = $1 AND name = $2 AND revision = $8";
        let params = params![
            self.scope.key(),
            &row.name,
            &row.title,
            &row.description,
            row.deprecated,
            row.revision,
            row.updated_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn remove_command_template(&mut self, name: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM command_template WHERE tenant_id = $1 AND name = $2";
        self.conn.execute(SQL, params![self.scope.key(), name]).await.map(hit)
    }
}
