//! Topic policies: documents in versions, and whom they are attached to.
//!
//! Whoever changes one of them calls [`TenantTx::touch_topic_policies`] in the same unit; other servers look at
//! [`SystemTx::topic_policy_generations`].

use fleetward_base::{DeviceId, Timestamp};

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicyRow {
    pub name: String,
    pub description: Option<String>,
    /// The version that counts.
    pub default_version: u64,
    /// The greatest number that was given, also to one that was removed.
    pub latest_version: u64,
    /// What the version that counts comes to at most; 0 where nobody has counted yet.
    pub rules: u64,
    pub pattern_bytes: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(TopicPolicyRow {
    name: text,
    description: opt_text,
    default_version: count,
    latest_version: count,
    rules: count,
    pattern_bytes: count,
    created_by: text,
    created_at: time,
    updated_at: time,
});

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicyVersionRow {
    pub policy: String,
    pub version: u64,
    /// JSON, as the core writes it.
    pub document: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

from_row!(TopicPolicyVersionRow { policy: text, version: count, document: text, created_by: text, created_at: time });

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicyAttachmentRow {
    pub policy: String,
    /// One of `core::topic_policy::TargetKind`.
    pub kind: String,
    /// As `core::topic_policy::Target::key` writes it.
    pub target: String,
    pub attached_by: String,
    pub attached_at: Timestamp,
}

from_row!(TopicPolicyAttachmentRow { policy: text, kind: text, target: text, attached_by: text, attached_at: time });

/// A policy that may hold for a device: the version that counts, and by which attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicyOfRow {
    pub policy: String,
    pub version: u64,
    pub document: String,
    pub kind: String,
    pub target: String,
}

from_row!(TopicPolicyOfRow { policy: text, version: count, document: text, kind: text, target: text });

/// What policies come to together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicPolicyWeight {
    pub rules: u64,
    pub pattern_bytes: u64,
}

from_row!(TopicPolicyWeight { rules: count, pattern_bytes: count });

/// How often the policies of a tenant were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicPolicyGeneration(pub u64);

impl crate::sql::FromRow for TopicPolicyGeneration {
    fn from_row(cells: &mut crate::sql::Cells) -> Result<Self, StoreError> {
        cells.count().map(Self)
    }
}

struct Overweight {
    target: String,
    rules: u64,
    pattern_bytes: u64,
}

from_row!(Overweight { target: text, rules: count, pattern_bytes: count });

struct Counted(u64);

impl crate::sql::FromRow for Counted {
    fn from_row(cells: &mut crate::sql::Cells) -> Result<Self, StoreError> {
        cells.count().map(Self)
    }
}

macro_rules! policy_columns {
    () => {
        "name, description, default_version, latest_version, rules, pattern_bytes, created_by, created_at, updated_at"
    };
}

impl TenantTx {
    /// One of this name there already is `Conflict`.
    pub async fn insert_topic_policy(&mut self, row: &TopicPolicyRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO topic_policy (tenant_id, ",
            policy_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.description,
            row.default_version,
            row.latest_version,
            row.rules,
            row.pattern_bytes,
            &row.created_by,
            row.created_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn topic_policy(&mut self, name: &str) -> Result<Option<TopicPolicyRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", policy_columns!(), " FROM topic_policy WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    /// By name, after `after`.
    pub async fn topic_policies(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<TopicPolicyRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            policy_columns!(),
            " FROM topic_policy WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// Its description, the numbers of its versions and what it comes to; `false` where `latest` is not its latest version any more.
    pub async fn update_topic_policy(&mut self, row: &TopicPolicyRow, latest: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE topic_policy SET description = $4, default_version = $5, latest_version = $6, \
             updated_at = $7, rules = $8, pattern_bytes = $9 \
             WHERE tenant_id = $1 AND name = $2 AND latest_version = $3";
        let params = params![
            self.scope.key(),
            &row.name,
            latest,
            &row.description,
            row.default_version,
            row.latest_version,
            row.updated_at,
            row.rules,
            row.pattern_bytes
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// With its versions. Attachments are in the way of nobody: who removes it has looked for them.
    pub async fn remove_topic_policy(&mut self, name: &str) -> Result<bool, StoreError> {
        const VERSIONS: &str = "DELETE FROM topic_policy_version WHERE tenant_id = $1 AND policy = $2";
        const ATTACHMENTS: &str = "DELETE FROM topic_policy_attachment WHERE tenant_id = $1 AND policy = $2";
        const POLICY: &str = "DELETE FROM topic_policy WHERE tenant_id = $1 AND name = $2";
        self.conn.execute(VERSIONS, params![self.scope.key(), name]).await?;
        self.conn.execute(ATTACHMENTS, params![self.scope.key(), name]).await?;
        self.conn.execute(POLICY, params![self.scope.key(), name]).await.map(hit)
    }

    /// One of this number there already is `Conflict`.
    pub async fn insert_topic_policy_version(&mut self, row: &TopicPolicyVersionRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO topic_policy_version (tenant_id, policy, version, document, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)";
        let params =
            params![self.scope.key(), &row.policy, row.version, &row.document, &row.created_by, row.created_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// The newest first.
    pub async fn topic_policy_versions(&mut self, policy: &str) -> Result<Vec<TopicPolicyVersionRow>, StoreError> {
        const SQL: &str = "SELECT policy, version, document, created_by, created_at FROM topic_policy_version \
             WHERE tenant_id = $1 AND policy = $2 ORDER BY version DESC";
        self.conn.query(SQL, params![self.scope.key(), policy]).await
    }

    pub async fn remove_topic_policy_version(&mut self, policy: &str, version: u64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM topic_policy_version WHERE tenant_id = $1 AND policy = $2 AND version = $3";
        self.conn.execute(SQL, params![self.scope.key(), policy, version]).await.map(hit)
    }

    /// `false` where it was attached before.
    pub async fn attach_topic_policy(&mut self, row: &TopicPolicyAttachmentRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO topic_policy_attachment (tenant_id, policy, kind, target, attached_by, attached_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, policy, kind, target) DO NOTHING";
        let params = params![self.scope.key(), &row.policy, &row.kind, &row.target, &row.attached_by, row.attached_at];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// `false` where it was not attached.
    pub async fn detach_topic_policy(&mut self, policy: &str, kind: &str, target: &str) -> Result<bool, StoreError> {
        const SQL: &str =
            "DELETE FROM topic_policy_attachment WHERE tenant_id = $1 AND policy = $2 AND kind = $3 AND target = $4";
        self.conn.execute(SQL, params![self.scope.key(), policy, kind, target]).await.map(hit)
    }

    /// Whatever is attached to this device by its name: the next one of the name starts without.
    pub async fn detach_topic_policies_of(&mut self, device: &DeviceId) -> Result<u64, StoreError> {
        const SQL: &str =
            "DELETE FROM topic_policy_attachment WHERE tenant_id = $1 AND kind = 'device' AND target = $2";
        self.conn.execute(SQL, params![self.scope.key(), device]).await
    }

    /// Whom a policy is attached to, in the order of kind and target, after `after`.
    pub async fn topic_policy_attachments(
        &mut self,
        policy: &str,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<TopicPolicyAttachmentRow>, StoreError> {
        const SQL: &str = "SELECT policy, kind, target, attached_by, attached_at FROM topic_policy_attachment \
             WHERE tenant_id = $1 AND policy = $2 AND (kind > $3 OR (kind = $3 AND target > $4)) \
             ORDER BY kind, target LIMIT $5";
        let (kind, target) = after.unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), policy, kind, target, limit]).await
    }

    /// What is attached to a target of its own, by the name of the policy.
    pub async fn topic_policies_at(
        &mut self,
        kind: &str,
        target: &str,
    ) -> Result<Vec<TopicPolicyAttachmentRow>, StoreError> {
        const SQL: &str = "SELECT policy, kind, target, attached_by, attached_at FROM topic_policy_attachment \
             WHERE tenant_id = $1 AND kind = $2 AND target = $3 ORDER BY policy";
        self.conn.query(SQL, params![self.scope.key(), kind, target]).await
    }

    /// Whether anything is attached to anybody.
    pub async fn topic_policies_any(&mut self) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT CAST(1 AS BIGINT) FROM topic_policy_attachment WHERE tenant_id = $1 LIMIT 1";
        let found: Option<Counted> = self.conn.query_opt(SQL, params![self.scope.key()]).await?;
        Ok(found.is_some())
    }

    /// How many are attached to the tenant and to selectors.
    pub async fn topic_policies_for_many(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM topic_policy_attachment \
             WHERE tenant_id = $1 AND kind IN ('tenant', 'selector')";
        let counted: Option<Counted> = self.conn.query_opt(SQL, params![self.scope.key()]).await?;
        Ok(counted.map_or(0, |counted| counted.0))
    }

    /// What is attached to this target of its own comes to.
    pub async fn topic_policy_weight_at(&mut self, kind: &str, target: &str) -> Result<TopicPolicyWeight, StoreError> {
        const SQL: &str = "SELECT CAST(COALESCE(sum(p.rules), 0) AS BIGINT), \
             CAST(COALESCE(sum(p.pattern_bytes), 0) AS BIGINT) FROM topic_policy_attachment AS a \
             JOIN topic_policy AS p ON p.tenant_id = a.tenant_id AND p.name = a.policy \
             WHERE a.tenant_id = $1 AND a.kind = $2 AND a.target = $3";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), kind, target]).await?.unwrap_or_default())
    }

    /// What is attached to the tenant and to selectors comes to, each policy once.
    pub async fn topic_policy_weight_for_many(&mut self) -> Result<TopicPolicyWeight, StoreError> {
        const SQL: &str = "SELECT CAST(COALESCE(sum(p.rules), 0) AS BIGINT), \
             CAST(COALESCE(sum(p.pattern_bytes), 0) AS BIGINT) FROM topic_policy AS p \
             WHERE p.tenant_id = $1 AND EXISTS (SELECT 1 FROM topic_policy_attachment AS a \
                  WHERE a.tenant_id = p.tenant_id AND a.policy = p.name AND a.kind IN ('tenant', 'selector'))";
        Ok(self.conn.query_opt(SQL, params![self.scope.key()]).await?.unwrap_or_default())
    }

    /// One of the devices and certificates that this policy is attached to whose policies come to more than `most`, with what
    /// that is.
    pub async fn topic_policy_overweight(
        &mut self,
        policy: &str,
        most: TopicPolicyWeight,
    ) -> Result<Option<(String, TopicPolicyWeight)>, StoreError> {
        const SQL: &str = "SELECT o.target, CAST(sum(p.rules) AS BIGINT), CAST(sum(p.pattern_bytes) AS BIGINT) \
             FROM topic_policy_attachment AS a \
             JOIN topic_policy_attachment AS o ON o.tenant_id = a.tenant_id AND o.kind = a.kind AND o.target = a.target \
             JOIN topic_policy AS p ON p.tenant_id = o.tenant_id AND p.name = o.policy \
             WHERE a.tenant_id = $1 AND a.policy = $2 AND a.kind IN ('device', 'certificate') \
             GROUP BY o.kind, o.target HAVING CAST(sum(p.rules) AS BIGINT) > $3 OR CAST(sum(p.pattern_bytes) AS BIGINT) > $4 \
             ORDER BY o.kind, o.target LIMIT 1";
        let found: Option<Overweight> =
            self.conn.query_opt(SQL, params![self.scope.key(), policy, most.rules, most.pattern_bytes]).await?;
        Ok(found
            .map(|Overweight { target, rules, pattern_bytes }| (target, TopicPolicyWeight { rules, pattern_bytes })))
    }

    /// Whatever may hold for a device that shows this certificate, by the name of the policy: those of selectors too,
    /// whichever devices they select.
    pub async fn topic_policies_of(
        &mut self,
        device: &DeviceId,
        serial: &str,
    ) -> Result<Vec<TopicPolicyOfRow>, StoreError> {
        const SQL: &str = "SELECT a.policy, v.version, v.document, a.kind, a.target FROM topic_policy_attachment AS a \
             JOIN topic_policy AS p ON p.tenant_id = a.tenant_id AND p.name = a.policy \
             JOIN topic_policy_version AS v ON v.tenant_id = p.tenant_id AND v.policy = p.name \
                  AND v.version = p.default_version \
             WHERE a.tenant_id = $1 AND (a.kind IN ('tenant', 'selector') OR (a.kind = 'device' AND a.target = $2) \
                  OR (a.kind = 'certificate' AND a.target = $3)) ORDER BY a.policy, a.kind, a.target";
        self.conn.query(SQL, params![self.scope.key(), device, serial]).await
    }

    /// Notes that something of the policies changed; how often that was.
    pub async fn touch_topic_policies(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "INSERT INTO topic_policy_change (tenant_id, generation) VALUES ($1, 1) \
             ON CONFLICT (tenant_id) DO UPDATE SET generation = topic_policy_change.generation + 1 RETURNING generation";
        let counted: Option<Counted> = self.conn.query_opt(SQL, params![self.scope.key()]).await?;
        Ok(counted.map_or(0, |counted| counted.0))
    }
}

impl SystemTx {
    /// Of every tenant that has had a topic policy.
    pub async fn topic_policy_generations(&mut self) -> Result<Vec<Of<TopicPolicyGeneration>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, generation FROM topic_policy_change ORDER BY tenant_id";
        self.across().await?.query(SQL, params![]).await
    }
}
