//! Whole deliveries through `unpack` and the parser.

#[cfg(test)]
#[path = "it/bombs.rs"]
mod bombs;
#[cfg(test)]
#[path = "it/corpus.rs"]
mod corpus;
#[cfg(test)]
#[path = "it/damage.rs"]
mod damage;
#[cfg(test)]
#[path = "it/fixtures.rs"]
mod fixtures;
#[cfg(test)]
#[path = "it/mail.rs"]
mod mail;
#[cfg(test)]
#[path = "it/outcome.rs"]
mod outcome;
#[cfg(test)]
#[path = "it/rules.rs"]
mod rules;
