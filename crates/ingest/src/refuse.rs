//! Deliveries that are rejected for what they are, before anybody looks for reports in them.

use store::{Outcome, OutcomeRow, Pending, Submission};

use crate::{
    Accepted, Delivery, Error, Intake,
    files::FILE_BYTES_MAX,
    read::{for_ledger, measure},
};

/// Why a delivery is not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing shows that it comes from where it says, and that is asked for.
    NotAuthentic,
    /// It has more bytes than a message may have; they are not at hand.
    TooLarge {
        /// Its size.
        size_bytes: u64,
    },
    /// It is a file with more bytes than one may have.
    FileTooLarge {
        /// Its size.
        size_bytes: u64,
    },
}

/// Records a delivery as rejected, and keeps its bytes if they are at hand.
pub(crate) async fn refuse(
    intake: &Intake,
    delivery: Delivery,
    refusal: Refusal,
) -> Result<Accepted, Error> {
    let (code, detail) = match refusal {
        Refusal::NotAuthentic => (
            "not_authentic",
            "nothing shows that the mail comes from its From domain (require_authentic)".to_owned(),
        ),
        Refusal::TooLarge { size_bytes } => (
            "too_large",
            format!(
                "a message of {size_bytes} bytes, more than limits.message_bytes = {}; it was not kept",
                intake.limits.message_bytes
            ),
        ),
        Refusal::FileTooLarge { size_bytes } => (
            "too_large",
            format!(
                "a file of {size_bytes} bytes, more than the {FILE_BYTES_MAX} of a file; it was not read"
            ),
        ),
    };
    let row = OutcomeRow::without_report(String::new(), Outcome::Rejected, code, Some(detail));
    let (size_bytes, sha256) = match refusal {
        Refusal::NotAuthentic => {
            let body = delivery.body.clone();
            let (size_bytes, sha256) = intake.on_a_core(move || measure(&body)).await??;
            (size_bytes, Some(sha256))
        }
        Refusal::TooLarge { size_bytes } | Refusal::FileTooLarge { size_bytes } => {
            (size_bytes, None)
        }
    };
    let delivery_id = delivery.delivery_id;
    let submission = Submission {
        delivery: for_ledger(delivery, size_bytes, sha256),
        documents: vec![Pending::Settled(row)],
    };
    let room = intake.store.reserve(&[]).await?;
    let documents = intake.store.submit(submission, room).await?;
    Ok(Accepted {
        delivery_id,
        documents,
    })
}
