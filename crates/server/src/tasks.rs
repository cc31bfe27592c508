//! What runs for as long as the program does.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// Everything that runs until the shutdown. When one of them ends, whatever the reason, all do.
pub(crate) struct Tasks {
    running: JoinSet<Result<()>>,
    names: HashMap<Id, String>,
    pub(crate) shutdown: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            names: HashMap::new(),
            shutdown,
        }
    }

    pub(crate) fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until all have ended and returns the first failure.
    pub(crate) async fn end(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next_with_id().await {
            self.shutdown.cancel();
            let (id, ended) = match ended {
                Ok((id, ended)) => (id, ended),
                Err(error) => (error.id(), Err(anyhow!(error))),
            };
            let name = self.names.remove(&id).unwrap_or_default();
            result = result.and(ended.context(name));
        }
        result
    }
}
