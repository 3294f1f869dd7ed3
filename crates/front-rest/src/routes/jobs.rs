//! Jobs: documents that devices work on.

mod cancel;
mod create;
mod delete;
mod document;
mod execution;
mod executions;
mod list;
mod on_behalf;
mod show;
mod update;

use fleetward_app::jobs::JobView as Found;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::JobProgressView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, update::handler, delete::handler))
        .routes(routes!(document::handler))
        .routes(routes!(cancel::handler))
        .routes(routes!(executions::of_job))
        .routes(routes!(executions::of_device))
        .routes(routes!(execution::show, execution::delete))
        .routes(routes!(execution::cancel))
        .routes(routes!(on_behalf::pending))
        .routes(routes!(on_behalf::start_next))
        .routes(routes!(on_behalf::report))
}

fn tagged(found: Found) -> Tagged<JobProgressView> {
    Tagged::ok(found.job.revision, found.into())
}
