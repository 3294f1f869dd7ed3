//! Which devices a rollout is for, as far as the database can tell.

use fleetward_base::DeviceId;

/// The pieces of a selector. A device must meet each piece that is not empty.
#[derive(Clone, Debug, Default)]
pub struct DeviceSelector {
    /// One of these names.
    pub devices: Vec<DeviceId>,
    /// One of these revisions.
    pub hardware: Vec<String>,
    /// One of these states of its life.
    pub statuses: Vec<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    pub class: Option<String>,
    pub environment: Option<String>,
    pub site: Option<String>,
    /// Not those that run this version already.
    pub not_firmware: Option<String>,
}

/// The selector as parameters: JSON arrays, null where a piece says nothing.
pub(super) struct SelectorParams {
    pub(super) devices: Option<String>,
    pub(super) hardware: Option<String>,
    pub(super) statuses: Option<String>,
    pub(super) tags: Option<String>,
}

impl DeviceSelector {
    pub(super) fn arrays(&self) -> SelectorParams {
        let some = |texts: &[String]| (!texts.is_empty()).then(|| json_array(texts));
        let devices: Vec<String> = self.devices.iter().map(|id| id.as_str().to_owned()).collect();
        SelectorParams {
            devices: some(&devices),
            hardware: some(&self.hardware),
            statuses: some(&self.statuses),
            tags: some(&self.tags),
        }
    }
}

pub(super) fn json_array(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}

/// The condition over `device AS d`, with `$2` to `$9` for the pieces in the order of the struct.
macro_rules! selected {
    (sqlite) => {
        "(CAST($2 AS TEXT) IS NULL OR d.id IN (SELECT value FROM json_each($2))) \
         AND (CAST($3 AS TEXT) IS NULL OR d.hardware IN (SELECT value FROM json_each($3))) \
         AND (CAST($4 AS TEXT) IS NULL OR d.status IN (SELECT value FROM json_each($4))) \
         AND (CAST($5 AS TEXT) IS NULL OR NOT EXISTS (SELECT 1 FROM json_each($5) AS w WHERE NOT EXISTS \
              (SELECT 1 FROM json_each(d.tags) AS t WHERE t.value = w.value))) \
         AND (CAST($6 AS TEXT) IS NULL OR d.class = $6) \
         AND (CAST($7 AS TEXT) IS NULL OR d.environment = $7) \
         AND (CAST($8 AS TEXT) IS NULL OR d.site = $8) \
         AND (CAST($9 AS TEXT) IS NULL OR coalesce(d.firmware, '') <> $9)"
    };
    (postgres) => {
        "(CAST($2 AS TEXT) IS NULL OR d.id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST($2 AS jsonb))))) \
         AND (CAST($3 AS TEXT) IS NULL OR d.hardware = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST($3 AS jsonb))))) \
         AND (CAST($4 AS TEXT) IS NULL OR d.status = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST($4 AS jsonb))))) \
         AND (CAST($5 AS TEXT) IS NULL OR CAST(d.tags AS jsonb) @> CAST($5 AS jsonb)) \
         AND (CAST($6 AS TEXT) IS NULL OR d.class = $6) \
         AND (CAST($7 AS TEXT) IS NULL OR d.environment = $7) \
         AND (CAST($8 AS TEXT) IS NULL OR d.site = $8) \
         AND (CAST($9 AS TEXT) IS NULL OR coalesce(d.firmware, '') <> $9)"
    };
}
pub(super) use selected;
