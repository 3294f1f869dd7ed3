//! Between campaigns and their rows.

use fleetward_core::rollout::Halt;
use fleetward_core::rotation::campaign::Campaign;
use fleetward_store::CampaignRow;

use crate::error::{Error, Result};

pub(crate) fn campaign_of(row: CampaignRow) -> Result<Campaign> {
    let halt = match &row.pause_reason {
        Some(text) => serde_json::from_str(text).map_err(Error::internal)?,
        None => Halt::default(),
    };
    Ok(Campaign {
        id: row.id,
        name: row.name,
        release: serde_json::from_str(&row.renewal).map_err(Error::internal)?,
        selector: serde_json::from_str(&row.selector).map_err(Error::internal)?,
        policy: serde_json::from_str(&row.policy).map_err(Error::internal)?,
        state: row.state.parse().map_err(Error::internal)?,
        phase: row.phase,
        phase_started_at: row.phase_started_at,
        gate_met_at: row.gate_met_at,
        halt,
        target_count: u32::try_from(row.target_count).unwrap_or(u32::MAX),
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: row.revision,
    })
}

pub(crate) fn row_of(campaign: &Campaign) -> Result<CampaignRow> {
    let halt = (campaign.halt != Halt::default()).then(|| serde_json::to_string(&campaign.halt)).transpose();
    Ok(CampaignRow {
        id: campaign.id,
        name: campaign.name.clone(),
        renewal: serde_json::to_string(&campaign.release).map_err(Error::internal)?,
        selector: serde_json::to_string(&campaign.selector).map_err(Error::internal)?,
        policy: serde_json::to_string(&campaign.policy).map_err(Error::internal)?,
        state: campaign.state.to_string(),
        phase: campaign.phase,
        phase_started_at: campaign.phase_started_at,
        gate_met_at: campaign.gate_met_at,
        pause_reason: halt.map_err(Error::internal)?,
        target_count: campaign.target_count.into(),
        created_by: campaign.created_by.clone(),
        created_at: campaign.created_at,
        updated_at: campaign.updated_at,
        revision: campaign.revision,
    })
}
