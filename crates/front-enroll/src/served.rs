//! What a router is made of, as a list that can be read: the probes of the tests walk it, so that no route is without one.

use axum::Router;
use axum::routing::MethodRouter;
use fleetward_app::App;

/// A path, the methods that are worked on there, and who does.
pub(crate) struct Served {
    pub(crate) methods: &'static [&'static str],
    pub(crate) path: &'static str,
    pub(crate) by: MethodRouter<App>,
}

impl Served {
    pub(crate) fn new(methods: &'static [&'static str], path: &'static str, by: MethodRouter<App>) -> Self {
        Self { methods, path, by }
    }
}

pub(crate) fn router(served: impl IntoIterator<Item = Served>) -> Router<App> {
    served.into_iter().fold(Router::new(), |router, served| router.route(served.path, served.by))
}

/// An operation: its method and its path.
pub(crate) fn titles(served: impl IntoIterator<Item = Served>) -> Vec<(&'static str, String)> {
    let title = |served: Served| served.methods.iter().map(move |method| (*method, served.path.to_owned()));
    served.into_iter().flat_map(title).collect()
}
