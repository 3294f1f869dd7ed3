//! `POST /v1/tenants/{tenant}/provisioning-templates/{name}/provisioning-claim`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::claims::create_user_claim;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::{KeyPairView, ProvisioningClaimView};

/// Make a claim of five minutes for a trusted user
///
/// The answer is that of AWS. It is good for one device; the key in it is not kept.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/provisioning-templates/{name}/provisioning-claim",
    operation_id = "create_provisioning_claim",
    tag = "provisioning",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ProvisioningClaimView)),
    extensions(("x-permission" = json!("provisioning:claim"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<Answer<ProvisioningClaimView>, Problem> {
    let made = create_user_claim(door.app(), &caller.ctx, &caller.tenant, &name).await?;
    Ok(Answer(ProvisioningClaimView {
        certificate_id: made.claim.certificate_id,
        certificate_pem: made.claim.certificate_pem,
        expiration: made.claim.expires_at.secs(),
        key_pair: KeyPairView { public_key: made.public_key, private_key: made.private_key.expose().clone() },
    }))
}
