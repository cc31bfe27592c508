//! The one allowance of decompressed bytes that all documents of a delivery share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{Code, Error};

/// A document's access to the allowance of its delivery.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: Arc<AtomicU64>,
    /// What this document has been charged for; reading it again costs nothing more.
    charged: Arc<AtomicU64>,
}

impl Budget {
    pub(crate) fn new(delivery_bytes: u64) -> Self {
        Self {
            left: Arc::new(delivery_bytes.into()),
            charged: Arc::default(),
        }
    }

    pub(super) fn for_document(&self) -> Self {
        Self {
            left: Arc::clone(&self.left),
            charged: Arc::default(),
        }
    }

    /// Takes note that the document has been read up to `offset`.
    pub(crate) fn charge(&self, offset: u64) -> Result<(), Error> {
        let charged = self.charged.fetch_max(offset, Ordering::Relaxed);
        let due = offset.saturating_sub(charged);
        let paid = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(due)
            });
        match paid {
            Ok(_) => Ok(()),
            Err(_) => {
                let detail = "the documents of the delivery are too large together";
                Err(Error::new(Code::TooLarge, offset, detail))
            }
        }
    }
}
