//! The API's description, OpenAPI 3.1, made from the handlers themselves.
//!
//! What every operation shares is added here and not repeated at each: the problem document, the bearer, the
//! `Idempotency-Key` of posts. The document is checked in as `openapi.json` (`cargo xtask openapi`); a test holds it there.

use http::StatusCode;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder,
    ServerBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::Document;

/// Posts that keep no answer: a shadow has its version, a decision is the same twice, a plan changes nothing, and the setup token is its own key.
const KEEP_NOTHING: [&str; 8] = [
    "update_shadow",
    "plan_rollout",
    "setup",
    "decide_enrollment_request",
    "import_inventory",
    "register_maker",
    "challenge_device_did",
    "add_device_did",
];
const BEARER: &str = "bearer";

/// The document.
pub fn document() -> OpenApi {
    let mut api = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Fleetward")
                .version("v1")
                .description(Some(
                    "The operators' API. Within /v1 fields and operations are added and never taken away.",
                ))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .build();
    api.merge(crate::routes::v1().into_openapi());
    let components = api.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of the API")).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    components.schemas.insert(Document::name().into_owned(), Document::schema());
    for item in api.paths.paths.values_mut() {
        finish(item);
    }
    api
}

/// The document as it is served and checked in.
pub fn text() -> String {
    let mut text = document().to_pretty_json().expect("the document is made of our own types");
    text.push('\n');
    text
}

/// Operations of one path, by method.
pub fn operations(item: &PathItem) -> Vec<(&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("HEAD", &item.head),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?))).collect()
}

/// What the operation declares as its permission.
pub fn permission(operation: &Operation) -> Option<&str> {
    let extensions: &Extensions = operation.extensions.as_ref()?;
    extensions.get("x-permission")?.as_str()
}

fn finish(item: &mut PathItem) {
    if let Some(post) = &mut item.post
        && !post.operation_id.as_deref().is_some_and(|id| KEEP_NOTHING.contains(&id))
    {
        post.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
    }
    if let Some(list) = &mut item.get
        && is_paged(list)
    {
        list.parameters.get_or_insert_default().extend(paging().map(RefOr::T));
    }
    let all = [&mut item.get, &mut item.head, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    for operation in all.into_iter().flatten() {
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
                let reason = status.and_then(|status| status.canonical_reason());
                response.description = reason.unwrap_or("Done").to_owned();
            }
        }
        operation.responses.responses.insert("default".to_owned(), RefOr::T(problem()));
        if operation.security.is_none() {
            operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, [])]);
        }
    }
}

/// Listings answer with a page, whose schema is called so, and take a cursor; certificates of a device are few.
fn is_paged(operation: &Operation) -> bool {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    (id.starts_with("list_") || id == "search_devices")
        && !["list_ca_requests", "list_device_certificates"].contains(&id)
}

fn paging() -> [Parameter; 2] {
    let query = |name: &str, description: &str, schema: RefOr<Schema>| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .build()
    };
    [
        query("limit", "Rows of a page, 1 to 1000; 100 where it is absent", u32::schema()),
        query("cursor", "`next` of the page before", String::schema()),
    ]
}

fn problem() -> utoipa::openapi::Response {
    let schema = Ref::from_schema_name(Document::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let request_id = HeaderBuilder::new().schema(Some(String::schema())).description(Some("The request's id")).build();
    ResponseBuilder::new()
        .description("What went wrong (RFC 9457)")
        .content("application/problem+json", content)
        .header("x-request-id", request_id)
        .build()
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Requests under one key are one request: sent again within a day, it is answered as before."))
        .schema(Some(String::schema()))
        .build()
}
