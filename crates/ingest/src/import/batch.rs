//! Small things found one after the other, handed on together: waking a thread for each would cost more than reading it.

use report::Body;
use tokio::sync::mpsc::Sender;

use crate::{Found, files::SMALL_FILE_BYTES};

/// So many at a time at most.
const BATCH_FOUND_MAX: usize = 16;

/// Bytes of a batch, after which it is handed on.
const BATCH_BYTES: usize = 2 * SMALL_FILE_BYTES;

/// Some small things, or one that may be large.
#[derive(Debug, Default)]
pub(super) struct Batch {
    found: Vec<Found>,
    size_bytes: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn into_found(self) -> Vec<Found> {
        self.found
    }

    fn is_full(&self) -> bool {
        self.found.len() >= BATCH_FOUND_MAX || self.size_bytes >= BATCH_BYTES
    }
}

/// Puts what is found into batches, in its order.
pub(super) struct Batches {
    sender: Sender<Batch>,
    batch: Batch,
}

impl Batches {
    pub(super) fn new(sender: Sender<Batch>) -> Self {
        Self {
            sender,
            batch: Batch::default(),
        }
    }

    /// Takes in what was found. `false` when nobody wants more.
    pub(super) fn add(&mut self, found: Found) -> bool {
        match small_bytes(&found) {
            Some(size_bytes) => {
                self.batch.found.push(found);
                self.batch.size_bytes += size_bytes;
                !self.batch.is_full() || self.hand_on()
            }
            None => {
                if !self.hand_on() {
                    return false;
                }
                self.batch.found.push(found);
                self.hand_on()
            }
        }
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) {
        self.hand_on();
    }

    fn hand_on(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        batch.found.is_empty() || self.sender.blocking_send(batch).is_ok()
    }
}

/// The size of something small.
fn small_bytes(found: &Found) -> Option<usize> {
    match &found.body {
        Ok(Body::Memory(bytes)) => Some(bytes.len()).filter(|size| *size <= SMALL_FILE_BYTES),
        Ok(Body::File(_)) => None,
        Err(_) => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::sync::mpsc;

    use super::*;

    fn lengths_of_batches(sizes: &[Option<usize>]) -> Vec<usize> {
        let (sender, mut receiver) = mpsc::channel(sizes.len() + 1);
        let mut batches = Batches::new(sender);
        for (number, size) in sizes.iter().enumerate() {
            let body = match size {
                Some(size) => Ok(Body::Memory(vec![0; *size].into())),
                None => Err(io::Error::other("gone")),
            };
            let name = number.to_string();
            assert!(batches.add(Found { name, body }));
        }
        batches.finish();
        let mut lengths = Vec::new();
        let mut names = Vec::new();
        while let Ok(batch) = receiver.try_recv() {
            lengths.push(batch.len());
            names.extend(batch.into_found().into_iter().map(|found| found.name));
        }
        let in_order: Vec<String> = (0..sizes.len()).map(|number| number.to_string()).collect();
        assert_eq!(names, in_order);
        lengths
    }

    #[test]
    fn small_things_go_together_and_a_large_one_alone() {
        let large = Some(SMALL_FILE_BYTES + 1);
        let small = Some(100);
        assert_eq!(lengths_of_batches(&[small; 35]), [16, 16, 3]);
        assert_eq!(
            lengths_of_batches(&[small, small, large, None, small]),
            [2, 1, 2]
        );
        assert_eq!(lengths_of_batches(&[Some(SMALL_FILE_BYTES); 5]), [2, 2, 1]);
        assert_eq!(lengths_of_batches(&[]), [0; 0]);
    }

    #[test]
    fn nothing_is_taken_once_nobody_wants_more() {
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        let mut batches = Batches::new(sender);
        let body = Ok(Body::Memory(vec![0; SMALL_FILE_BYTES + 1].into()));
        let name = "large".into();
        assert!(!batches.add(Found { name, body }));
    }
}
