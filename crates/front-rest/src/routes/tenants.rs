//! Customers.

mod amend;
mod create;
mod list;
mod show;

use fleetward_app::tenants::Tenant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::{TenantView, Time};

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(create::handler, list::handler)).routes(routes!(show::handler, amend::handler))
}

fn view(tenant: Tenant) -> TenantView {
    TenantView {
        name: tenant.id.to_string(),
        display_name: tenant.display_name,
        created_at: Time(tenant.created_at),
        revision: tenant.revision,
    }
}
