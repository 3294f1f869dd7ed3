//! The two engines and how each runs a unit of work.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::StoreError;
use crate::conn::{Conn, Effects, Link};

/// The kinds of transaction that a closure can be given.
pub(crate) trait Scoped: Send + Sized + 'static {
    type Key: Send + 'static;

    fn enclose(conn: Conn, key: Self::Key) -> Self;
    fn release(self) -> Conn;
}

/// Runs the closure of a unit on a connection. A panic of the closure becomes an error of that unit alone.
pub(crate) async fn run_unit<S, F, T, E>(
    link: Link,
    op: &'static str,
    key: S::Key,
    work: F,
) -> (Link, Effects, Result<T, E>)
where
    S: Scoped,
    F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>>,
    E: From<StoreError>,
{
    let mut tx = S::enclose(Conn::new(link, op), key);
    let caught = AssertUnwindSafe(async { work(&mut tx).await }).catch_unwind().await;
    let (link, mut effects) = tx.release().into_parts();
    let result = match caught {
        Err(_) => Err(StoreError::other("the unit panicked").during(op).into()),
        Ok(Ok(_)) if effects.failed => Err(StoreError::other("a failed statement was passed over").during(op).into()),
        Ok(result) => result,
    };
    effects.failed |= result.is_err();
    (link, effects, result)
}
