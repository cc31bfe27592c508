//! From files to outcomes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    iter::Peekable,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future::join_all;
use report::Body;
use store::Outcome;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use super::folder::{Folder, Listed};
use crate::{
    Delivery, Error, Intake, accept,
    files::FILE_BYTES_MAX,
    mbox::Messages,
    refuse::{Refusal, refuse},
};

/// Messages of an mbox that are taken in at a time, so that they share a commit.
const BATCH_MESSAGES_MAX: usize = 64;

/// Their bytes, all of which are in memory. A message that is larger is taken in alone.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

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
        if is_too_large(file)? {
            let delivery = self.delivery(listed, None, Body::File(Arc::clone(file)));
            return self.settle(vec![delivery]).await?.remove(0);
        }
        let reader = BufReader::with_capacity(256 * 1024, file.try_clone()?);
        let mut messages = Messages::new(reader, self.intake.limits.message_bytes).peekable();
        let mut number = 0;
        let mut whole = Outcome::Stored;
        loop {
            let read = move || (next_batch(&mut messages), messages);
            let (batch, rest) = spawn_blocking(read).await.map_err(io::Error::other)?;
            messages = rest;
            let mut deliveries = Vec::new();
            for message in batch? {
                number += 1;
                let body = Body::Memory(Bytes::from(message));
                deliveries.push(self.delivery(listed, Some(number), body));
            }
            if deliveries.is_empty() {
                return Ok(whole);
            }
            for outcome in self.settle(deliveries).await? {
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
            match settled.get(&delivery.delivery_id) {
                Some(outcome) => Ok(*outcome),
                None => self.accept(delivery).await,
            }
        }))
        .await)
    }

    async fn accept(&self, delivery: Delivery) -> Result<Outcome, Error> {
        let accepted = match &delivery.body {
            Body::File(file) if is_too_large(file)? => {
                let size_bytes = file.metadata()?.len();
                let delivery = Delivery {
                    body: Body::Memory(Bytes::new()),
                    ..delivery
                };
                refuse(self.intake, delivery, Refusal::FileTooLarge { size_bytes }).await?
            }
            Body::File(_) | Body::Memory(_) => accept(self.intake, delivery).await?,
        };
        Ok(accepted.outcome())
    }
}

fn is_too_large(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.len() > FILE_BYTES_MAX)
}

/// The next messages of an mbox; none at its end.
fn next_batch(messages: &mut Peekable<Messages<impl BufRead>>) -> io::Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    let mut size_bytes = 0;
    while let Some(message) = messages.next_if(|next| match next {
        Ok(message) => {
            batch.is_empty()
                || (batch.len() < BATCH_MESSAGES_MAX
                    && size_bytes + message.len() <= BATCH_BYTES_MAX)
        }
        Err(_) => true,
    }) {
        let message = message?;
        size_bytes += message.len();
        batch.push(message);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes() {
        let megabytes = |count: usize| "x".repeat(count * 1024 * 1024);
        let mut mbox = String::new();
        let large = [megabytes(3), megabytes(5), megabytes(20), megabytes(1)];
        for body in large.iter().chain(&vec![String::new(); 70]) {
            mbox.push_str("From a@example.com Tue Jun 30 00:00:00 2026\n\n");
            mbox.push_str(body);
            mbox.push_str("\n\n");
        }
        let messages_bytes_max = 25 * 1024 * 1024;
        let mut messages = Messages::new(mbox.as_bytes(), messages_bytes_max).peekable();
        let mut counts = Vec::new();
        loop {
            match next_batch(&mut messages).unwrap().len() {
                0 => break,
                count => counts.push(count),
            }
        }
        assert_eq!(counts, [1, 1, 1, 64, 7]);
    }
}
