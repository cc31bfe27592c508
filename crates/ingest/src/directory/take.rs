//! From files to outcomes.

use std::{fs::File, io::BufReader, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use report::Body;
use store::Outcome;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::folder::{Folder, Listed};
use crate::{Delivery, Error, Intake, accept, files::check_size, mbox::Messages};

/// Messages of an mbox that are taken in at a time: each may be as large as a message may be.
const MESSAGES: usize = 8;

/// What taking in needs to know of the directory.
#[derive(Debug)]
pub(super) struct Taker<'a> {
    pub(super) intake: &'a Intake,
    pub(super) folder: &'a Folder,
    pub(super) received_at: OffsetDateTime,
}

impl Taker<'_> {
    /// Takes in files that hold one delivery each.
    pub(super) async fn take(
        &self,
        files: &[(&Listed, Arc<File>)],
    ) -> Result<Vec<Result<Outcome, Error>>, store::Error> {
        let deliveries = files
            .iter()
            .map(|(listed, file)| self.delivery(listed, None, Body::File(Arc::clone(file))));
        self.settle(deliveries.collect()).await
    }

    /// Takes in the messages of an mbox. It is rejected if one of them is.
    pub(super) async fn take_mbox(
        &self,
        listed: &Listed,
        file: &Arc<File>,
    ) -> Result<Outcome, Error> {
        check_size(file)?;
        let (sender, mut messages) = mpsc::channel(1);
        let reader = BufReader::with_capacity(256 * 1024, file.try_clone()?);
        let message_bytes_max = self.intake.limits.message_bytes;
        tokio::task::spawn_blocking(move || {
            for message in Messages::new(reader, message_bytes_max) {
                if sender.blocking_send(message).is_err() {
                    return;
                }
            }
        });
        let mut number = 0;
        let mut whole = Outcome::Stored;
        loop {
            let mut batch = Vec::new();
            while batch.len() < MESSAGES
                && let Some(message) = messages.recv().await
            {
                number += 1;
                let body = Body::Memory(Bytes::from(message?));
                batch.push(self.delivery(listed, Some(number), body));
            }
            if batch.is_empty() {
                return Ok(whole);
            }
            for outcome in self.settle(batch).await? {
                if outcome? == Outcome::Rejected {
                    whole = Outcome::Rejected;
                }
            }
        }
    }

    fn delivery(&self, listed: &Listed, message: Option<usize>, body: Body) -> Delivery {
        let name = listed.name.to_string_lossy();
        Delivery {
            delivery_id: self.folder.delivery_id(listed, message),
            origin: "file".into(),
            name: Some(match message {
                Some(number) => format!("{name}#{number}"),
                None => name.into_owned(),
            }),
            received_at: self.received_at,
            body,
            authenticity: None,
        }
    }

    /// Takes in what the ledger does not have yet: whoever was killed between the commit and the move finds the files again.
    async fn settle(
        &self,
        deliveries: Vec<Delivery>,
    ) -> Result<Vec<Result<Outcome, Error>>, store::Error> {
        let ids: Vec<_> = deliveries
            .iter()
            .map(|delivery| delivery.delivery_id)
            .collect();
        let settled = &self.intake.store.settled(&ids).await?;
        Ok(join_all(deliveries.into_iter().map(async |delivery| {
            if let Some(outcome) = settled.get(&delivery.delivery_id) {
                return Ok(*outcome);
            }
            if let Body::File(file) = &delivery.body {
                check_size(file)?;
            }
            let accepted = accept(self.intake, delivery).await?;
            Ok(accepted.outcome())
        }))
        .await)
    }
}
