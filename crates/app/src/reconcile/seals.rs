//! The journal sealer: gives each committed row its number and its link of the hash chain.

use fleetward_base::{TenantId, limits};
use fleetward_core::journal::{GENESIS, Link, chain};
use fleetward_store::{Seal, TenantTx};

use crate::App;
use crate::error::{Error, Result};
use crate::journal::entry_of;

/// Pages of one tenant that are sealed in one turn; the rest waits for the next.
const PAGES: usize = 64;

/// Seals what waits, page by page; how many rows.
pub async fn seal(app: &App) -> Result<usize> {
    let owners = app
        .store()
        .system_read("unsealed tenants", |tx| Box::pin(async move { Ok::<_, Error>(tx.unsealed_tenants().await?) }))
        .await?;
    let mut sealed = 0;
    for owner in owners {
        for _ in 0..PAGES {
            let rows = seal_page(app, owner.clone()).await?;
            sealed += rows;
            if u32::try_from(rows).is_ok_and(|rows| rows < limits::PAGE_ROWS) {
                break;
            }
        }
    }
    Ok(sealed)
}

async fn seal_page(app: &App, owner: Option<TenantId>) -> Result<usize> {
    match owner {
        Some(tenant) => {
            let name = tenant.clone();
            app.write(&tenant, "seal journal", move |tx| Box::pin(async move { page(tx, &name).await })).await
        }
        None => {
            app.store()
                .system_write("seal journal", |tx| {
                    Box::pin(async move {
                        let name = installation()?;
                        page(tx.installation().await?, &name).await
                    })
                })
                .await
        }
    }
}

/// What the installation is called in its own chain.
fn installation() -> Result<TenantId> {
    "installation".parse().map_err(Error::internal)
}

async fn page(tx: &mut TenantTx, name: &TenantId) -> Result<usize> {
    let (mut seq, mut link): (u64, Link) = match tx.last_seal().await? {
        Some(seal) => (seal.seq, seal.chain.as_slice().try_into().map_err(Error::internal)?),
        None => (0, GENESIS),
    };
    let mut seals = Vec::new();
    for row in tx.unsealed(limits::PAGE_ROWS).await? {
        seq += 1;
        link = chain(&link, name, seq, &entry_of(row.entry)?);
        seals.push(Seal { id: row.id, seq, chain: link.to_vec() });
    }
    tx.seal(&seals).await?;
    Ok(seals.len())
}
