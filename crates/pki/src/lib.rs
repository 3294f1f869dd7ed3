//! Certificates, requests and CMS as bytes and values.
