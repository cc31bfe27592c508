//! What runs for as long as the program does.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, timeout_at},
};
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

    /// Waits for the shutdown. One that ends before is one, whatever the reason; returns how.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let shutdown = self.shutdown.clone();
        let ended = shutdown.run_until_cancelled(self.next_end()).await;
        shutdown.cancel();
        ended.flatten().unwrap_or(Ok(()))
    }

    /// Waits until all have ended and returns the first failure. Those that go on beyond the deadline are broken off.
    pub(crate) async fn end(mut self, deadline: Instant) -> Result<()> {
        let mut result = Ok(());
        loop {
            match timeout_at(deadline, self.next_end()).await {
                Ok(Some(ended)) => result = result.and(ended),
                Ok(None) => return result,
                Err(_) => {
                    let names: Vec<&str> = self.names.values().map(String::as_str).collect();
                    tracing::warn!(unfinished = names.join(", "), "broken off at shutdown");
                    return result;
                }
            }
        }
    }

    /// How the next one ended; `None` when all have.
    async fn next_end(&mut self) -> Option<Result<()>> {
        let (id, ended) = match self.running.join_next_with_id().await? {
            Ok((id, ended)) => (id, ended),
            Err(error) => (error.id(), Err(anyhow!(error))),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        Some(ended.context(name))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn one_that_fails_ends_all() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let shutdown = tasks.shutdown.clone();
        tasks.spawn("waits", async move {
            shutdown.cancelled().await;
            Ok(())
        });
        tasks.spawn("fails", async { Err(anyhow!("no more")) });
        let failure = tasks.run().await.unwrap_err();
        assert_eq!(format!("{failure:#}"), "fails: no more");
        tasks.end(soon()).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_does_not_end_holds_nobody() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("stays", pending());
        shutdown.cancel();
        tasks.run().await.unwrap();
        tasks.end(soon()).await.unwrap();
    }
}
