//! Release manifests, artifacts and their verification.
