//! Work that goes on when whoever asked for it has gone.
//!
//! A caller that hangs up is a future that is dropped: an HTTP client that disconnects, a connection that ends. What is
//! committed has to be told all the same, so a commit and what follows from it run in a task of their own, and the caller
//! waits for that.

use std::future::Future;

use tokio_util::task::TaskTracker;

use crate::App;
use crate::error::Error;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    tasks: TaskTracker,
}

impl App {
    /// Runs `work` to its end, whether or not anybody waits for its answer.
    pub(crate) async fn see_through<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match self.under_way().tasks.spawn(work).await {
            Ok(outcome) => outcome,
            Err(broken) => Err(Error::internal(broken).into()),
        }
    }

    /// As [`Self::see_through`], and nobody waits.
    pub(crate) fn set_off(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.under_way().tasks.spawn(work);
    }

    /// Waits for all that is under way: when the doors are closed, nothing begins any more.
    pub async fn settled(&self) {
        self.under_way().tasks.close();
        self.under_way().tasks.wait().await;
    }
}
